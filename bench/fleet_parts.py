"""What single parts of a large cluster cost: a ring that changes, and telling the holder of the duties of calls that ran elsewhere."""

import time
import uuid
from collections import OrderedDict

from bench.fleet_traffic import Traffic

from forerun.control.relaying import Arrival, Departure, packed, unpacked
from forerun.events import ExecutionEnded
from forerun.model import Channel, InvocationRecord, Origin, Timings, TraceContext
from forerun.scheduling import Ring

CLIENTS = 20_000
BATCH = 500
ROUNDS = 20


def churn(hosts: int) -> dict[str, float]:
    """How many clients another host comes first for when one joins or goes, and what finding the new ring costs."""
    names = [f"host-{number}" for number in range(hosts)]
    ring = Ring(names)
    before = [next(ring.walk(str(client))) for client in range(CLIENTS)]
    found: dict[str, float] = {}
    for what, others in (("joins", [*names, "one-more"]), ("goes", names[1:])):
        began = time.thread_time()
        new = ring.of(others)
        found[f"{what}: ring, ms"] = round((time.thread_time() - began) * 1000, 2)
        moved = sum(first != next(new.walk(str(client))) for client, first in enumerate(before))
        found[f"{what}: clients moved, over what one host has"] = round(moved * hosts / CLIENTS, 2)
    held = sorted(before.count(name) for name in names[:200])
    found["clients of the fullest host over mean"] = round(held[-1] * hosts / CLIENTS, 2)
    began = time.thread_time()
    for client in range(1000):
        next(ring.walk(str(client)))
    found["first of a client, us"] = round((time.thread_time() - began) * 1000, 2)
    return found


def remembering(traffic: Traffic) -> dict[str, float]:
    """Which part of calls is of a function among those that were called last, by how many of all are remembered."""
    calls = [traffic.draw() for _ in range(4 * traffic.functions)]
    found = {}
    for part in (0.01, 0.05, 0.1, 0.25):
        most, known, hits = int(part * traffic.functions), OrderedDict[int, None](), 0
        for number, function in enumerate(calls):
            if function in known:
                known.move_to_end(function)
                hits += number >= len(calls) // 2
                continue
            known[function] = None
            if len(known) > most:
                known.popitem(last=False)
        found[f"{part:.0%}"] = round(hits / (len(calls) // 2), 3)
    return found


def relaying() -> dict[str, float]:
    """Microseconds of the processor to pack and to read what is told of one call, and its bytes; what it is counted for comes on top."""
    tellings = [each for number in range(BATCH) for each in _told(number)]
    began = time.thread_time()
    for _ in range(ROUNDS):
        batch = packed(tellings)
    sent = time.thread_time()
    for _ in range(ROUNDS):
        assert len(unpacked(batch)) == len(tellings)
    read = time.thread_time()
    calls = ROUNDS * BATCH
    return {
        "packed, us": round((sent - began) / calls * 1e6, 1),
        "read, us": round((read - sent) / calls * 1e6, 1),
        "bytes": round(len(batch) / BATCH),
    }


def _told(number: int) -> tuple[Arrival, ExecutionEnded, Departure]:
    at, request = 1_790_000_000.0 + number, str(uuid.uuid4())
    origin = Origin(
        trace_id=f"{number:032x}",
        parent_id="",
        execution="",
        depth=0,
        weight=0,
        channel=Channel.NONE,
    )
    context = TraceContext(
        trace_id=f"{number:032x}",
        span_id=f"{number:016x}",
        origin=origin,
        header="",
        weight=1,
        depth=0,
    )
    record = InvocationRecord(
        request_id=request,
        account="1" * 12,
        name=f"function-{number}",
        version="$LATEST",
        status="success",
        error_type=None,
        start_type="warm",
        sandbox="s1",
        host="host-1",
        placement="idle sandbox of this version; on host-1: warm",
        isolation="jail",
        duration_ms=12.5,
        memory_mb=128,
        max_memory_mb=40,
        request_bytes=100,
        response_bytes=100,
        timings=Timings(
            received=at, admitted=at, acquired=at, loaded=at, started=at, ended=at, answered=at
        ),
    )
    arrival = Arrival(
        account="1" * 12,
        name=f"function-{number}",
        qualifier=None,
        request_id=request,
        context=context,
        at=at,
    )
    ended = ExecutionEnded(record=record, context=context, region="us-home-1", calls=[])
    return arrival, ended, Departure(span_id=context.span_id)
