"""What is told of executions that somebody watches: each step once, and nothing of what is not watched."""

import pytest
from tests.unit.control.test_invoke import ACCOUNT, Rig

from forerun.errors import Throttled
from forerun.events import (
    ExecutionDetected,
    ExecutionQueued,
    ExecutionSeen,
    ExecutionStarted,
    Watch,
    Watched,
)
from forerun.model import Outcome
from forerun.storage import QueuedEvent
from forerun.traces import NOTHING


def watching(outcome=None, watch=Watch.METADATA):
    """An invoker whose function ``f`` is watched, a host that begins calls twice, and what was noted."""
    rig = Rig(outcome)
    rig.bus.watch(Watched({(ACCOUNT, "f"): watch}))
    notices = []
    rig.bus.note = notices.append
    run = rig.host.run

    async def begin_twice(spec, call, timings):
        if not isinstance(rig.host.outcome, Exception):
            call.began()
            call.began()
        return await run(spec, call, timings)

    rig.host.run = begin_twice
    return rig, notices


async def test_of_what_is_not_watched_nothing_is_noted_and_no_call_carries_anything():
    rig = Rig()
    notices = []
    rig.bus.note = notices.append
    rig.bus.watch(Watched({(ACCOUNT, "g"): Watch.OUTPUT}, {"2" * 12: Watch.OUTPUT}))
    await rig.run()
    assert notices == []
    [call] = rig.host.calls
    assert call.began is None


async def test_a_call_is_detected_started_once_and_seen():
    rig, notices = watching()
    reply = await rig.run(attempt=1)
    detected, started, seen = notices
    assert isinstance(detected, ExecutionDetected)
    assert isinstance(started, ExecutionStarted)
    assert isinstance(seen, ExecutionSeen)
    assert (detected.account, detected.name, detected.request_id) == (ACCOUNT, "f", "r")
    assert detected.invocation_type == "RequestResponse"
    assert (started.version, started.attempt, started.context) == ("7", 1, reply.context)
    assert seen.ended.record is reply.record
    assert seen.output == b""
    assert seen.ended in rig.bus.told


async def test_an_attempt_of_an_event_is_not_detected_again():
    rig, notices = watching()
    await rig.run(invocation_type="Event")
    assert [type(each) for each in notices] == [ExecutionStarted, ExecutionSeen]


async def test_what_is_refused_has_not_started():
    rig, notices = watching(Throttled("no", reason="x"))
    with pytest.raises(Throttled):
        await rig.run()
    detected, seen = notices
    assert isinstance(detected, ExecutionDetected)
    assert seen.ended.record.status == "throttled"


async def test_the_beginning_of_an_answer_is_told_where_it_is_wanted():
    rig, notices = watching(Outcome(payload=b"x" * 100_000), Watch.OUTPUT)
    await rig.run()
    assert notices[-1].output == b"x" * 65_536


def test_events_are_detected_and_queued():
    rig, notices = watching()
    rig.invoker.queued([event("f"), event("g")])
    detected, queued = notices
    assert isinstance(detected, ExecutionDetected)
    assert isinstance(queued, ExecutionQueued)
    assert (detected.invocation_type, detected.at, queued.at) == ("Event", 5.0, 5.0)
    assert queued.request_id == "id-f"


def event(name):
    return QueuedEvent(
        id=f"id-{name}",
        account=ACCOUNT,
        name=name,
        qualifier=None,
        payload=b"",
        client_context=None,
        origin=NOTHING,
        accepted_at=5.0,
        due_at=5.0,
    )
