"""One attempt: what the sandbox is given of its trace, and what is told of it."""

import json

import pytest
from tests.fakes.functions import ACCOUNT, make_function

from forerun.aio import SystemClock
from forerun.control.invoke import Invocation, Invoker
from forerun.control.monitoring import Monitor
from forerun.control.registry import Resolved
from forerun.control.specs import Specs
from forerun.errors import RecursionDetected, SetupFailed, Throttled
from forerun.events import Bus, ExecutionBegan, ExecutionEnded
from forerun.host import Run
from forerun.model import (
    InitFailure,
    LogLine,
    Origin,
    Outcome,
    OutgoingCall,
    StartType,
    extended,
)
from forerun.scheduling import Admission
from forerun.settings import MonitoringSettings
from forerun.traces import NOTHING

TRACE, SPAN = "5759e988bd862e3fe1be46a994272793", "53995c3f42cd8ad8"
W3C = Origin(trace_id=TRACE, parent_id=SPAN, tracestate="a=1", baggage="k=v", w3c=True)
CALLS = [OutgoingCall(span_id="ab" * 8, started=1.0, ended=2.0)]


class FakeHost:
    name = "here"

    def __init__(self, outcome, told):
        self.outcome = outcome
        self.told = told
        self.calls = []

    async def run(self, spec, call, timings):
        self.calls.append(call)
        self.told.append("run")
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return Run(
            outcome=self.outcome,
            start_type=StartType.WARM,
            sandbox_id="s",
            isolation="process",
            placement="",
            log_stream="",
        )


class FakeRecorder:
    def __init__(self):
        self.records = []

    def add(self, record, *_rest, **_named):
        self.records.append(record)


class FakeTrees:
    def path(self, digest):
        return f"/{digest}"


class ListeningBus(Bus):
    def __init__(self):
        super().__init__()
        self.told = []

    def tell(self, event):
        self.told.append(event)


class Rig:
    def __init__(self, outcome=None, **settings):
        self.bus = ListeningBus()
        self.host = FakeHost(outcome or Outcome(payload=b"1", calls=CALLS), self.bus.told)
        self.recorder = FakeRecorder()
        self.invoker = Invoker(
            admission=Admission(10),
            host=self.host,
            recorder=self.recorder,
            monitor=Monitor(MonitoringSettings(**settings), key=b"k" * 32, running={}.get),
            bus=self.bus,
            specs=Specs(FakeTrees()),
            clock=SystemClock(),
        )

    async def run(
        self, *, runtime="python3.11", monitoring="auto", recursion="Terminate", **changes
    ):
        values = {"request_id": "r", "payload": b"{}", "received": 1.0}
        return await self.invoker.run(
            Resolved(
                function=make_function(version="7", runtime=runtime, monitoring=monitoring),
                qualifier=None,
                invoked_arn="arn",
                recursion=recursion,
            ),
            Invocation(**(values | changes)),
        )


async def test_a_monitored_run_is_told_before_and_after():
    rig = Rig()
    reply = await rig.run()
    began, ran, ended = rig.bus.told
    assert isinstance(began, ExecutionBegan)
    assert ran == "run"
    assert isinstance(ended, ExecutionEnded)
    assert (began.account, began.name, began.version, began.request_id) == (ACCOUNT, "f", "7", "r")
    assert began.context is ended.context is reply.context
    assert (ended.record, ended.region, ended.calls) == (reply.record, "us-home-1", CALLS)
    assert ended.record.status == "success"
    assert ended.record.response_bytes == 1


async def test_a_run_that_is_not_monitored_is_told_when_it_ended():
    rig = Rig()
    await rig.run(monitoring="off")
    ran, ended = rig.bus.told
    assert (ran, ended.context.monitored) == ("run", False)
    [call] = rig.host.calls
    assert (call.monitored, call.context.monitored) == (False, False)


@pytest.mark.parametrize(
    ("outcome", "status", "raised"),
    [
        (Throttled("no", reason="x"), "throttled", Throttled),
        (SetupFailed("no"), "error", SetupFailed),
        (InitFailure(payload=b"{}", error_type="E", duration_ms=1.0), "error", None),
        (
            Outcome(payload=b"{}", error="Unhandled", error_type="E", status="timeout"),
            "timeout",
            None,
        ),
    ],
    ids=["throttled", "no sandbox", "init", "timeout"],
)
async def test_failures_and_refusals_are_told_as_well(outcome, status, raised):
    rig = Rig(outcome)
    if raised:
        with pytest.raises(raised):
            await rig.run()
    else:
        await rig.run()
    ended = rig.bus.told[-1]
    assert isinstance(ended, ExecutionEnded)
    assert ended.record.status == status
    assert [ended.record] == rig.recorder.records


async def test_refused_before_it_began_it_only_ended():
    rig = Rig()
    rig.invoker._admission.reserve(ACCOUNT, "f", 0)
    with pytest.raises(Throttled):
        await rig.invoker.run(
            Resolved(
                function=make_function(version="7", monitoring="on"),
                qualifier=None,
                invoked_arn="a",
                reserved=0,
            ),
            Invocation(request_id="r", payload=b"", received=1.0),
        )
    [ended] = rig.bus.told
    assert (ended.record.status, ended.context.monitored) == ("throttled", True)


async def test_the_sandbox_is_given_the_signed_header_and_the_record_is_not():
    rig = Rig()
    reply = await rig.run(origin=W3C)
    [call] = rig.host.calls
    assert call.monitored
    assert call.context is reply.context
    assert call.trace_id == reply.context.header
    assert "Forerun=" in call.trace_id
    assert (call.tracestate, call.baggage) == ("a=1", "k=v")
    assert reply.record.trace_id == call.trace_id.partition(";Forerun=")[0]


@pytest.mark.parametrize(
    ("runtime", "monitoring", "origin", "given", "members"),
    [
        ("python3.11", "off", NOTHING, None, None),
        ("python3.11", "off", NOTHING, '{"custom":{}}', {"custom"}),
        ("python3.11", "on", NOTHING, None, {"w3c"}),
        ("python3.11", "off", W3C, None, {"w3c"}),
        ("python3.11", "on", NOTHING, '{"custom":{}}', {"custom", "w3c"}),
        ("nodejs22.x", "on", NOTHING, None, {"w3c"}),
        ("provided.al2023", "on", W3C, None, None),
        ("provided.al2023", "on", NOTHING, '{"custom":{}}', {"custom", "w3c"}),
    ],
    ids=[
        "nothing to say",
        "the caller's own",
        "monitored",
        "the caller's trace",
        "both",
        "node",
        "a program without context",
        "a program with context",
    ],
)
async def test_w3c_is_handed_in_where_no_handler_sees_it_as_client_context(
    runtime, monitoring, origin, given, members
):
    rig = Rig()
    await rig.run(runtime=runtime, monitoring=monitoring, origin=origin, client_context=given)
    [call] = rig.host.calls
    if members is None:
        assert call.client_context is None
    else:
        read = json.loads(call.client_context)
        assert set(read) == members
        if "w3c" in members:
            assert read["w3c"]["traceparent"][3:35] == call.trace_id[7:15] + call.trace_id[16:40]


@pytest.mark.parametrize("given", ["[1]", '"x"', "7", '{"n":1e400,"n2":12345678901234567890123}'])
async def test_a_client_context_is_not_spoiled(given):
    rig = Rig()
    await rig.run(client_context=given)
    [call] = rig.host.calls
    if given.startswith("{"):
        assert '"n":1e400,"n2":12345678901234567890123' in call.client_context
    else:
        assert call.client_context == given


async def test_what_was_printed_stands_before_what_came_after_and_before_the_end():
    logs = [LogLine(7_050, "printed, read late"), LogLine(7_010, "logged"), LogLine(7_060, "last")]
    outcome = Outcome(payload=b"1", started=7.0, ended=7.02, logs=logs)
    lines = (await Rig(outcome).run()).log()
    texts = [line.text for line in lines]
    printed = texts.index("printed, read late")
    assert texts[printed + 1 : printed + 3] == ["logged", "last"]
    assert [line.time_ms for line in lines[printed : printed + 3]] == [7_010, 7_010, 7_020]
    assert [line.time_ms for line in lines] == sorted(line.time_ms for line in lines)


def chain_of(name, runs):
    lineage = ""
    for _ in range(runs):
        lineage = extended(extended(lineage, ACCOUNT, name), ACCOUNT, "another")
    return Origin(lineage=lineage)


async def test_a_function_is_not_run_a_seventeenth_time_in_one_chain():
    rig = Rig()
    notices = []
    rig.bus.note = notices.append
    await rig.run(origin=chain_of("f", 15))
    with pytest.raises(RecursionDetected, match=r"invoked 16 times.*put-function-recursion-config"):
        await rig.run(origin=chain_of("f", 16), source="arn:aws:sqs:r:1:q", attempt=2)
    assert len(rig.host.calls) == 1
    refused = rig.recorder.records[-1]
    assert (refused.status, refused.error_type) == ("error", "RecursionDetected")
    assert (refused.attempt, refused.source) == (2, "arn:aws:sqs:r:1:q")
    assert [(each.name, each.runs) for each in notices] == [("f", 16)]
    assert rig.invoker.stopped_loops == 1


async def test_a_loop_that_is_allowed_goes_on_and_other_functions_are_not_concerned():
    rig = Rig()
    await rig.run(origin=chain_of("f", 40), recursion="Allow")
    await rig.run(origin=chain_of("g", 40))
    assert len(rig.host.calls) == 2


async def test_the_source_and_the_moment_it_was_taken_from_it_are_recorded():
    rig = Rig()
    reply = await rig.run(source="arn:aws:sqs:r:1:q", dequeued=2.5)
    assert (reply.record.source, reply.record.timings.dequeued) == ("arn:aws:sqs:r:1:q", 2.5)
