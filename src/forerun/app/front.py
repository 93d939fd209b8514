"""The front door: everything that is answered over HTTP, put together over the services."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from forerun.api.application import Application, Limits, Routes
from forerun.api.authentication import Authenticator
from forerun.api.caller import Caller
from forerun.api.function_urls import UrlRoutes
from forerun.api.keys import IdentityKeys
from forerun.api.lambda_.invoke import Invocations
from forerun.api.platform import Command, PlatformRoutes, Route
from forerun.api.sigv4 import Verifier
from forerun.app.console import Sources, make_console
from forerun.app.ground import Ground
from forerun.app.sourcing import Sourcing
from forerun.app.watching import Watching
from forerun.console import Console
from forerun.control.recorder import Recorder
from forerun.model import Origin

# A body that comes in small pieces may take so many times as long as one piece may.
BODY_GAPS = 10


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
    keys = IdentityKeys(services.identities)
    authenticator = Authenticator(Verifier(keys.secret, clock.now), keys, settings.server.region)
    body_s = BODY_GAPS * settings.server.body_timeout_s
    limits = Limits(settings.server.max_body_bytes, body_s)
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

    def origin_of(caller: Caller, headers: Mapping[bytes, bytes]) -> Origin:
        account = caller.account
        return ground.monitor.recognise(
            headers, caller.access_key_id, account, trusted=True, caller=account
        )

    routes = Routes(
        operations={**services.operations, **sourcing.operations},
        invocations=Invocations(
            registry=services.estate.registry,
            authorizer=services.authorizer,
            invoker=ground.invoker,
            events=ground.events,
            monitor=ground.monitor,
            clock=clock,
        ),
        urls=UrlRoutes(
            urls=services.estate.urls,
            registry=services.estate.registry,
            authorizer=services.authorizer,
            invoker=ground.invoker,
            monitor=ground.monitor,
            clock=clock,
        ),
        platform=platform,
        packages=services.packages,
        origin_of=origin_of,
        s3=sourcing.s3,
        console=console,
        doors=sourcing.doors,
        linked=sourcing.linked,
        policies=sourcing.policies,
        otlp=watching.exchange.door(authenticator, services.authorizer, limits.body_s),
    )
    application = Application(
        routes,
        authenticator=authenticator,
        authorizer=services.authorizer,
        limits=limits,
        health=lambda: b'{"status":"ok"}',
    )
    return Front(application, console)
