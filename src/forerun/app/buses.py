"""Makes the part that matches events and sends them on: EventBridge."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from forerun.api.caller import Caller
from forerun.api.eventbridge import BusRoutes, RuleRoutes, rule_rows
from forerun.app.ground import Ground, Part
from forerun.model import Origin
from forerun.sources import Outbox
from forerun.sources.buses import Books, Buses, BusSink, Firer, Rules, Sender
from forerun.storage.buses import BusStore


class BusesPart(NamedTuple):
    """The part, and what an account's rules do by the clock, for whoever shows that."""

    part: Part
    firings: Callable[[str], Awaitable[Sequence[dict[str, Any]]]]


def make_buses(ground: Ground, outbox: Outbox) -> BusesPart:
    """Construct it."""
    region, clock = ground.settings.server.region, ground.clock
    authorizer = ground.services.authorizer
    store = BusStore(ground.state.messages)
    books = Books(store, region=region)
    firer = Firer(store, outbox, clock, region=region)
    rules = Rules(store, books, firer, clock, region=region)
    sender = Sender(books, outbox, clock, region=region)
    sink = BusSink(sender, books, clock, region=region)

    def trace_of(caller: Caller, header: str) -> Origin:
        headers = {b"x-amzn-trace-id": header.encode()}
        account = caller.account
        return ground.monitor.recognise(headers, None, account, trusted=True, caller=account)

    buses = BusRoutes(
        buses=Buses(store, books, clock, region=region),
        rules=rules,
        sender=sender,
        sink=sink,
        authorizer=authorizer,
        trace_of=trace_of,
    )
    part = Part(
        operations={sink.service: {**buses.routes(), **RuleRoutes(rules, authorizer).routes()}},
        sinks=[sink],
        rows=rule_rows(rules, region),
        start=firer.start,
        close=firer.close,
    )
    return BusesPart(part, firer.firings)
