"""The ways to an invocation: who asks, what is asked of whom, and with which bounds; the same wherever requests are answered."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from forerun.aio import Clock
from forerun.api.application import Limits
from forerun.api.authentication import Authenticator
from forerun.api.caller import Caller
from forerun.api.function_urls import UrlRoutes
from forerun.api.keys import IdentityKeys
from forerun.api.lambda_.invoke import Invocations
from forerun.api.sigv4 import Verifier
from forerun.app.services import Services
from forerun.control.asynchronous import EventInvoker
from forerun.control.invoke import Invoker
from forerun.control.monitoring import Monitor
from forerun.model import Origin
from forerun.settings import ServerSettings

# A body that comes in small pieces may take so many times as long as one piece may.
BODY_GAPS = 10


class Ways(NamedTuple):
    """What an ``Application`` and its ``Routes`` are made of, besides what is served."""

    authenticator: Authenticator
    limits: Limits
    invocations: Invocations
    urls: UrlRoutes
    origin_of: Callable[[Caller, Mapping[bytes, bytes]], Origin]


def make_ways(
    settings: ServerSettings,
    services: Services,
    clock: Clock,
    *,
    invoker: Invoker,
    events: EventInvoker,
    monitor: Monitor,
) -> Ways:
    """Construct them."""
    keys = IdentityKeys(services.identities)

    def origin_of(caller: Caller, headers: Mapping[bytes, bytes]) -> Origin:
        account = caller.account
        return monitor.recognise(
            headers, caller.access_key_id, account, trusted=True, caller=account
        )

    return Ways(
        authenticator=Authenticator(Verifier(keys.secret, clock.now), keys, settings.region),
        limits=Limits(settings.max_body_bytes, BODY_GAPS * settings.body_timeout_s),
        invocations=Invocations(
            registry=services.estate.registry,
            authorizer=services.authorizer,
            invoker=invoker,
            events=events,
            monitor=monitor,
            clock=clock,
        ),
        urls=UrlRoutes(
            urls=services.estate.urls,
            registry=services.estate.registry,
            authorizer=services.authorizer,
            invoker=invoker,
            monitor=monitor,
            clock=clock,
        ),
        origin_of=origin_of,
    )
