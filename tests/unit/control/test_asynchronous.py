"""Asynchronous invocations: run at least once, retried, aged out, reported to destinations, finished when recorded."""

import asyncio
import json
from collections import Counter

import pytest
from tests.databases import open_database
from tests.unit.control.asynchronously import (
    ACCOUNT,
    QUEUE,
    TARGET,
    FakeInvoker,
    Rig,
    make_monitor,
)

from forerun.aio import SystemClock
from forerun.control import asynchronous
from forerun.errors import HostLost, RecursionDetected, StorageFailed, Throttled
from forerun.model import (
    DestinationConfig,
    EventInvokeConfig,
)
from forerun.storage import EventQueue, QueuedEvent


@pytest.fixture
async def rig(tmp_path):
    db = await open_database(tmp_path / "db")
    rigs = []

    async def make(*script, config=None, start=True):
        queue = EventQueue(db)
        await queue.recover(SystemClock().now())
        made = Rig(queue, FakeInvoker(make_monitor(), *script), config)
        if start:
            made.events.start()
        rigs.append(made)
        return made

    yield make
    for made in rigs:
        await made.events.close(grace_s=1)
    await db.close()


async def test_an_accepted_event_runs_once_and_leaves_the_queue(rig):
    made = await rig()
    await made.accept()
    await made.emptied()
    assert [(name, call.payload, call.attempt) for name, call in made.invoker.calls] == [
        ("work", b'{"a":1}', 1)
    ]
    assert made.invoker.told == [call.request_id for _, call in made.invoker.calls]


async def test_a_failing_event_is_tried_three_times_and_reported(rig):
    config = EventInvokeConfig(destinations=DestinationConfig(on_failure=TARGET))
    made = await rig("Boom", "Boom", "Boom", config=config)
    await made.accept()
    await made.emptied()
    assert [call.attempt for name, call in made.invoker.calls if name == "work"] == [1, 2, 3]
    [(target, report)] = made.outlet.documents
    assert target == TARGET
    assert made.outlet.letters == []
    assert report["requestContext"]["condition"] == "RetriesExhausted"
    assert report["requestContext"]["approximateInvokeCount"] == 3
    assert report["requestPayload"] == {"a": 1}
    assert report["responseContext"]["functionError"] == "Unhandled"


async def test_success_is_reported_to_its_destination(rig):
    config = EventInvokeConfig(destinations=DestinationConfig(on_success=TARGET))
    made = await rig("Boom", config=config)
    await made.accept()
    await made.emptied()
    [(_, report)] = made.outlet.documents
    assert report["requestContext"]["condition"] == "Success"
    assert report["responsePayload"] == {"v": 1}


async def test_no_retries_when_configured_so(rig):
    made = await rig("Boom", config=EventInvokeConfig(max_retries=0))
    await made.accept()
    await made.emptied()
    assert len(made.invoker.calls) == 1


async def test_refusals_do_not_count_as_attempts(rig):
    throttled = [Throttled("Rate Exceeded.", reason="x") for _ in range(4)]
    made = await rig(*throttled)
    await made.accept()
    await made.emptied()
    assert [call.attempt for _, call in made.invoker.calls] == [1] * 5


async def test_an_event_whose_host_was_lost_runs_again_when_it_surely_runs_there_no_more(rig):
    made = await rig(HostLost(over_in_s=1.5))
    began = SystemClock().monotonic()
    await made.accept()
    await made.emptied()
    assert SystemClock().monotonic() - began >= 1.5
    assert [call.attempt for _, call in made.invoker.calls] == [1, 1]


async def test_an_old_event_is_not_run_but_recorded_and_reported(rig):
    config = EventInvokeConfig(max_age_s=60, destinations=DestinationConfig(on_failure=TARGET))
    made = await rig(config=config)
    await made.accept(received=SystemClock().now() - 61)
    await made.emptied()
    assert made.invoker.calls == []
    [(_, report)] = made.outlet.documents
    assert report["requestContext"]["condition"] == "EventAgeExceeded"
    assert "responseContext" not in report
    [record] = made.invoker.records
    assert (record.status, record.error_type) == ("expired", "EventAgeExceeded")


async def test_an_event_for_a_deleted_function_ends_with_a_record(rig):
    made = await rig()
    made.registry.missing = True
    await made.accept()
    await made.emptied()
    assert [record.error_type for record in made.invoker.records] == ["ResourceNotFound"]
    [letter] = made.outlet.letters
    assert (letter.id, letter.reason, letter.detail) == ("r1", "NotFound", "Function not found")
    assert letter.message.target.endswith(f":{ACCOUNT}:function:work")


async def test_a_failure_that_nobody_is_told_of_becomes_a_dead_letter_with_the_functions_error(rig):
    made = await rig("Boom", config=EventInvokeConfig(max_retries=0))
    await made.accept(client_context='{"custom":{}}')
    await made.emptied()
    assert made.outlet.sent == []
    [letter] = made.outlet.letters
    assert (letter.shelf, letter.reason, letter.attempts) == ("platform", "RetriesExhausted", 1)
    assert (letter.detail, letter.message.payload) == ('{"v":1}', b'{"a":1}')
    assert letter.message.attributes == {"ClientContext": '{"custom":{}}'}


@pytest.mark.databases
async def test_an_event_is_not_finished_before_its_dead_letter_is_kept(rig):
    made = await rig("Boom", "Boom", config=EventInvokeConfig(max_retries=0))
    made.outlet.fails = StorageFailed("disk full")
    await made.accept()
    await calls_of(made, 2)
    assert made.queue.depth().events == 1
    made.outlet.fails = None
    await made.emptied()


async def test_a_stopped_loop_is_over_at_once_and_told(rig):
    made = await rig(RecursionDetected("it calls itself"))
    await made.accept()
    await made.emptied()
    [letter] = made.outlet.letters
    assert (letter.reason, letter.detail) == ("RecursionDetected", "it calls itself")
    assert len(made.invoker.calls) == 1


async def test_the_dead_letter_queue_gets_the_event_and_what_went_wrong(rig):
    made = await rig("Boom", config=EventInvokeConfig(max_retries=0))
    made.registry.dead_letter_arn = QUEUE
    await made.accept()
    await made.emptied()
    [message] = made.outlet.sent
    assert (message.target, message.payload) == (QUEUE, b'{"a":1}')
    assert (message.principal, message.role) == ("lambda.amazonaws.com", "")
    shown = json.loads(message.attributes["MessageAttributes"])
    assert shown["RequestID"] == {"DataType": "String", "StringValue": "r1"}
    assert shown["ErrorCode"] == {"DataType": "Number", "StringValue": "200"}
    assert made.outlet.letters == []


async def test_a_bus_is_told_in_the_form_of_an_event(rig):
    bus = f"arn:aws:events:us-home-1:{ACCOUNT}:event-bus/default"
    made = await rig(config=EventInvokeConfig(destinations=DestinationConfig(on_success=bus)))
    await made.accept()
    await made.emptied()
    [message] = made.outlet.sent
    assert message.attributes == {
        "Source": "lambda",
        "DetailType": "Lambda Function Invocation Result - Success",
        "Resources": json.dumps(
            [f"arn:aws:lambda:us-home-1:{ACCOUNT}:function:work:$LATEST", bus],
            separators=(",", ":"),
        ),
    }


async def test_an_event_can_be_run_with_another_memory_and_timeout(rig):
    made = await rig()
    now = SystemClock().now()
    event = QueuedEvent(
        id="r1",
        account=ACCOUNT,
        name="work",
        payload=b"{}",
        accepted_at=now,
        source=QUEUE,
        memory_mb=512,
        timeout_s=9,
    )
    await made.events.enqueue([event])
    await made.emptied()
    [function_run] = made.invoker.functions
    assert (function_run.memory_mb, function_run.timeout_s) == (512, 9)
    assert function_run.sandbox_key == "work.$LATEST.512mb.9s"
    [(_, call)] = made.invoker.calls
    assert call.source == QUEUE
    assert now <= call.dequeued <= SystemClock().now()
    [reply] = made.invoker.replies
    assert reply.record.placement.endswith(
        "memory set to 512 MB and timeout set to 9 s for this run"
    )


async def test_an_event_stays_queued_until_its_record_is_stored(rig):
    made = await rig()
    made.invoker.store_records = False
    await made.accept()
    async with asyncio.timeout(5):
        await made.invoker.called.wait()
    await made.events.close(grace_s=1)
    assert made.queue.depth().events == 1
    # Another server takes it over, and it is run again.
    other = await rig()
    await other.emptied()
    assert len(other.invoker.calls) == 1


async def calls_of(made, count):
    async with asyncio.timeout(10):
        while len(made.invoker.calls) < count:
            await asyncio.sleep(0.005)
    return [call for _, call in made.invoker.calls]


async def test_a_deferrable_event_runs_as_soon_as_there_is_room(rig):
    made = await rig()
    made.booked_mb = 513
    await made.accept(patience_s=600)
    await made.accept("plain")
    held = {"waiting": 1, "running": 0, "held_by": "50 % of the memory is booked"}
    async with asyncio.timeout(10):
        while made.queue.depth().events > 1 or made.events.deferrable() != held:
            await asyncio.sleep(0.005)
    made.booked_mb = 512
    await made.emptied()
    plain, deferred = await calls_of(made, 2)
    assert (plain.request_id, plain.deferred_s) == ("plain", 0.0)
    assert deferred.request_id == "r1"
    assert deferred.deferred_s > 0
    assert made.events.deferrable() == {"waiting": 0, "running": 0, "held_by": ""}


async def test_a_deferrable_event_starts_before_its_latest_start_whatever_goes_on(rig):
    made = await rig()
    made.booked_mb = 1024
    began = SystemClock().now()
    await made.accept(patience_s=4.0)
    [call] = await calls_of(made, 1)
    assert 2.9 < call.deferred_s <= SystemClock().now() - began < 4.0


async def test_deferrable_events_are_taken_by_their_latest_start(rig):
    made = await rig(start=False)
    for name, patience_s in (("c", 900), ("a", 300), ("d", 1200), ("b", 600)):
        await made.accept(name, patience_s=patience_s)
    made.events.start()
    assert [call.request_id for call in await calls_of(made, 4)] == ["a", "b", "c", "d"]


async def test_deferrable_events_never_take_the_place_of_others(rig):
    made = await rig()
    release, running = asyncio.Event(), []
    ran = made.invoker.run

    async def hold(resolved, invocation, on_stored=None):
        running.append(invocation.request_id)
        if invocation.deferred_s:
            await release.wait()
        return await ran(resolved, invocation, on_stored)

    made.invoker.run = hold
    for number in range(6):
        await made.accept(f"d{number}", patience_s=600)
    async with asyncio.timeout(10):
        while len(running) < 2:
            await asyncio.sleep(0.005)
    for number in range(8):
        await made.accept(f"p{number}")
    assert {call.request_id for call in await calls_of(made, 8)} == {f"p{n}" for n in range(8)}
    assert len(running) == 10
    assert made.events.deferrable()["running"] == 2
    release.set()
    await made.emptied()


async def test_a_deferrable_event_that_finds_no_room_waits_on(rig):
    made = await rig(Throttled("Rate Exceeded.", reason="x"))
    await made.accept(patience_s=600)
    first, second = await calls_of(made, 2)
    assert (first.attempt, second.attempt) == (1, 1)
    assert second.deferred_s > first.deferred_s + 0.9
    await made.emptied()


async def test_a_deferrable_event_that_fails_is_retried_like_any_other(rig):
    made = await rig("Boom", "Boom")
    await made.accept(patience_s=600)
    calls = await calls_of(made, 3)
    assert [(call.attempt, call.deferred_s > 0) for call in calls] == [
        (1, True),
        (2, False),
        (3, False),
    ]
    await made.emptied()


async def test_a_disk_that_fails_for_a_while_stops_nothing_for_good(rig, monkeypatch):
    """Whatever the queue is asked meanwhile: taking, giving back, and finishing."""
    monkeypatch.setattr(asynchronous, "FAILED_S", 0.01)
    made = await rig(Throttled("busy", reason="x"), start=False)
    failed = Counter()

    def failing(name, method):
        async def call(*given, **named):
            if failed[name] < 3:
                failed[name] += 1
                raise StorageFailed("full")
            return await method(*given, **named)

        return call

    for name in ("claim", "retry", "finish"):
        monkeypatch.setattr(made.queue, name, failing(name, getattr(made.queue, name)))
    made.events.start()
    for number in range(3):
        await made.accept(f"r{number}")
    await made.emptied()
    assert len(made.invoker.calls) == 4
    assert failed == {"claim": 3, "retry": 3, "finish": 3}


async def test_what_nobody_expected_costs_no_place(rig):
    made = await rig(*[ValueError("nobody expected it")] * 20)
    for number in range(5):
        await made.accept(f"r{number}")
    await made.emptied()
    assert len(made.invoker.calls) == 25


@pytest.mark.parametrize(
    "answer", [b"[" * 100_000, b'{"errorMessage": "\xff"}', b""], ids=["deep", "not-utf8", "none"]
)
async def test_an_error_that_cannot_be_read_is_reported_all_the_same(rig, answer):
    made = await rig("Boom", config=EventInvokeConfig(max_retries=0))
    made.registry.dead_letter_arn = QUEUE
    made.invoker.payload = answer
    await made.accept()
    await made.emptied()
    [sent] = made.outlet.sent
    assert (sent.target, sent.payload) == (QUEUE, b'{"a":1}')
    assert len(made.invoker.calls) == 1
