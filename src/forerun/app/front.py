"""The front door: everything that is answered over HTTP, put together over the services."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from forerun.api.application import Application, Routes
from forerun.api.platform import Command, PlatformRoutes, Route
from forerun.app.console import Sources, make_console
from forerun.app.ground import Ground
from forerun.app.sourcing import Sourcing
from forerun.app.watching import Watching
from forerun.app.ways import make_ways
from forerun.console import Console
from forerun.control.recorder import Recorder


class Own(NamedTuple):
    """What the platform tells of itself: this host's name, its status, an account's sandboxes, and what else can be asked and done by name."""

    host: str
    status: Callable[[], dict[str, Any]]
    sandboxes: Callable[[str], list[dict[str, Any]]]
    routes: Mapping[str, Route]
    commands: Mapping[str, Command]


class Front(NamedTuple):
    """The application of the platform, and the console that is behind it."""

    application: Application
    console: Console


def make_front(
    ground: Ground, sourcing: Sourcing, watching: Watching, recorder: Recorder, own: Own
) -> Front:
    """Construct it."""
    settings, clock, services = ground.settings, ground.clock, ground.services
    ways = make_ways(
        settings.server,
        services,
        clock,
        invoker=ground.invoker,
        events=ground.events,
        monitor=ground.monitor,
    )
    about = {"host": own.host, "monitoring": settings.monitoring.enabled}
    console = make_console(
        services,
        ground.state,
        Sources(ground.bus, recorder, lambda: platform),
        clock,
        about=about,
    )
    platform = PlatformRoutes(
        status=own.status,
        sandboxes=own.sandboxes,
        invocations=ground.state.invocations,
        authorizer=services.authorizer,
        more={**own.routes, **sourcing.routes, "console-link": console.link},
        commands={**own.commands, **sourcing.commands},
    )

    routes = Routes(
        operations={**services.operations, **sourcing.operations},
        invocations=ways.invocations,
        urls=ways.urls,
        platform=platform,
        packages=services.packages,
        origin_of=ways.origin_of,
        s3=sourcing.s3,
        console=console,
        doors=sourcing.doors,
        linked=sourcing.linked,
        policies=sourcing.policies,
        otlp=watching.exchange.door(ways.authenticator, services.authorizer, ways.limits.body_s),
    )
    application = Application(
        routes,
        authenticator=ways.authenticator,
        authorizer=services.authorizer,
        limits=ways.limits,
        health=lambda: b'{"status":"ok"}',
    )
    return Front(application, console)
