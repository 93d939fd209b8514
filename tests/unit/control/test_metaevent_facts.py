"""Every notice becomes a fact with exactly the fields that its kind has, so that no expression misses one."""

import pytest
from tests.unit.control.watching import MINE

from forerun.control.metaevents.facts import fact_of, facts_of_record
from forerun.events import (
    DeadLetterKept,
    ExecutionDetected,
    ExecutionEnded,
    ExecutionQueued,
    ExecutionSeen,
    ExecutionStarted,
    FindingRaised,
    FunctionChanged,
    HostChanged,
    MetaeventRaised,
    RecursionStopped,
)
from forerun.metaevents import KINDS, bind, bindings, parse_criteria
from forerun.model import InvocationRecord, Origin, Timings, TraceContext

OF = {"account": MINE, "name": "f", "at": 7.0}
CONTEXT = TraceContext(
    trace_id="t", span_id="a span", origin=Origin(execution="its cause"), header=""
)
NUMBERS = dict.fromkeys(
    ("sandboxes", "idle", "busy", "pooled", "waiting", "started", "destroyed", "failed"), 2
)


NEVER = {"start_type": None, "timings": Timings(received=1.0, answered=2.0)}


def record(**changed):
    values = {
        "request_id": "r",
        "account": MINE,
        "name": "f",
        "version": "1",
        "qualifier": "live",
        "invocation_type": "Event",
        "attempt": 2,
        "error_type": "E",
        "start_type": "pool",
        "duration_ms": 5.0,
        "init_ms": 9.0,
        "memory_mb": 128,
        "max_memory_mb": 64,
        "request_bytes": 1,
        "response_bytes": 2,
        "foresight": "miss",
        "source": "arn",
        "timings": Timings(received=1.0, started=3.5, answered=7.0),
    }
    return InvocationRecord(**(values | changed))


def ended(status="error", output=b""):
    return ExecutionSeen(
        ended=ExecutionEnded(record=record(status=status), context=CONTEXT, region="r"),
        output=output,
    )


NOTICES = {
    "execution.detected": ExecutionDetected(
        **OF, qualifier=None, request_id="r", invocation_type="Event"
    ),
    "execution.queued": ExecutionQueued(**OF, qualifier="live", request_id="r"),
    "execution.started": ExecutionStarted(
        **OF, version="1", request_id="r", attempt=1, context=CONTEXT
    ),
    "execution.ended": ended(),
    "execution.throttled": ended("throttled"),
    "deadletter.kept": DeadLetterKept(
        account=MINE, target="arn", reason="NotFound", at=7.0, function="f"
    ),
    "recursion.stopped": RecursionStopped(**OF, request_id="r", runs=16),
    "function.changed": FunctionChanged(**OF, change="created"),
    "finding.raised": FindingRaised(
        **OF, version="1", finding="waiting", title="t", confidence="high"
    ),
    "host.changed": HostChanged(host="h", memory_mb=100, booked_mb=90, at=7.0, **NUMBERS),
    "metaevent.raised": MetaeventRaised(
        account=MINE, name="m", id="i", function="f", chain=("a", "m"), at=7.0
    ),
}


def test_there_is_a_notice_for_every_kind():
    assert NOTICES.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fact_has_the_fields_of_its_kind(kind):
    fact = fact_of(NOTICES[kind])
    assert (fact.kind, fact.at) == (kind, 7.0)
    assert (fact.account, fact.function) == (("", "") if kind == "host.changed" else (MINE, "f"))
    types = {name: type(value) for name, value in fact.fields.items()}
    assert types == {name: field.type for name, field in KINDS[kind].fields.items()}
    for name, value in fact.fields.items():
        shown = repr(value) if isinstance(value, str | float) else str(value).lower()
        where = f"event.{name} == {shown}"
        leaf = parse_criteria({"event": kind, "where": where}).leaves[0]
        assert leaf.where.holds(bind(kind, bindings(fact))) is True, where


def test_what_an_end_says():
    fact = fact_of(ended(output="ümlaut".encode() + b"\xff"))
    assert fact.fields["queued_ms"] == 2500.0
    assert fact.fields["cold"] is True
    assert fact.fields["output"] == "ümlaut\ufffd"
    assert (fact.execution, fact.cause, fact.request_id) == ("a span", "its cause", "r")
    assert len(fact_of(ended(output=b"x" * 100_000)).fields["output"]) == 65_536


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({"status": "success"}, ["execution.started", "execution.ended"]),
        ({"status": "timeout"}, ["execution.started", "execution.ended"]),
        (
            {"status": "throttled", "timings": Timings(received=1.0, answered=2.0)},
            ["execution.throttled"],
        ),
        (
            {"status": "error", "timings": Timings(received=1.0, answered=2.0)},
            ["execution.ended"],
        ),
        (NEVER | {"status": "error"}, []),
        (NEVER | {"status": "expired"}, []),
    ],
    ids=["success", "timeout", "throttled", "init failed", "no function", "too old"],
)
def test_what_a_record_says_has_happened(changed, kinds):
    facts = facts_of_record(record(**changed))
    assert [fact.kind for fact in facts] == kinds
    for fact in facts:
        assert fact.fields.keys() == KINDS[fact.kind].fields.keys()
        assert fact.function == "f"
