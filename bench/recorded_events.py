"""Recorded call trees as the events that the platform would tell of them."""

import random
from collections.abc import Iterable, Iterator

from imagined import ACCOUNT, BEGIN, PLATFORM
from recording import Node

from forerun.events import ExecutionEnded
from forerun.model import (
    Channel,
    InvocationRecord,
    Origin,
    OutgoingCall,
    Timings,
    TraceContext,
)

# Between the starts of two trees, seconds.
APART_S = 1.0


def events_of_trees(trees: Iterable[Node], seed: int = 1) -> Iterator[ExecutionEnded]:
    """One event per execution; callees end before their callers do."""
    chance = random.Random(seed)
    for number, tree in enumerate(trees):
        trace_id = f"{chance.getrandbits(128):032x}"
        yield from _events(tree, BEGIN + number * APART_S, Origin(trace_id=trace_id), chance)


def _events(
    node: Node, begins: float, origin: Origin, chance: random.Random
) -> Iterator[ExecutionEnded]:
    me = f"{chance.getrandbits(64):016x}"
    calls = []
    for step in node.steps:
        call = _call(step.node, begins + step.at_ms / 1000, begins + step.end_ms / 1000, chance)
        calls.append(call)
        if not step.node.outside:
            linked = Origin(
                trace_id=origin.trace_id,
                parent_id=call.span_id,
                execution=me,
                account=ACCOUNT,
                weight=1,
                depth=origin.depth + 1,
                channel=Channel.HEADER,
            )
            yield from _events(step.node, call.started, linked, chance)
    ends = max([begins + node.duration_ms / 1000, *(call.ended for call in calls)])
    record = InvocationRecord(
        request_id=f"00000000-0000-4000-8000-{chance.getrandbits(48):012x}",
        account=ACCOUNT,
        name=node.service,
        version="1",
        start_type="warm",
        duration_ms=(ends - begins) * 1000,
        memory_mb=128,
        max_memory_mb=60,
        timings=Timings(received=begins, started=begins, ended=ends, answered=ends),
    )
    context = TraceContext(
        trace_id=origin.trace_id, span_id=me, origin=origin, header="", weight=1, depth=origin.depth
    )
    yield ExecutionEnded(record=record, context=context, region="r", calls=calls)


def _call(node: Node, started: float, ended: float, chance: random.Random) -> OutgoingCall:
    call = OutgoingCall(
        span_id=f"{chance.getrandbits(64):016x}",
        started=started,
        ended=ended,
        method="POST",
        host=f"{node.service}:5432",
        path="/query",
        operation=node.operation,
        status=200,
        fingerprint=chance.getrandbits(60) + 1,
    )
    if not node.outside:
        call.host = PLATFORM
        call.path = f"/2015-03-31/functions/{node.service}/invocations"
        call.service, call.operation = "lambda", "Invoke"
    return call
