"""Pollers over a source in memory and a clock that stands still: what they take, when they stop, what they give back."""

import asyncio
import json

import pytest
from tests.fakes.clock import settle
from tests.unit.control.polled import ACCOUNT, QUEUE, Bench

from forerun.control.delivery.batch_runs import BROKEN, FAILED, NOTHING_YET, OK, THROTTLED
from forerun.control.delivery.filtering import compile_filters
from forerun.errors import InvalidInput, RecursionDetected, StorageFailed, Throttled
from forerun.model import RECURSION_LIMIT, Origin, extended


@pytest.fixture
async def bench():
    bench = Bench()
    yield bench
    for poller in bench.pollers:
        closing = asyncio.ensure_future(poller.close(grace_s=1.0))
        while not closing.done():
            await bench.pass_time(0.5)
            await asyncio.sleep(0)
        await closing


async def test_what_is_sent_is_run_at_once_and_finished(bench):
    poller = bench.begin(batch=10)
    await settle()
    assert (bench.source.waiting, poller.result) == (1, NOTHING_YET)
    bench.source.send("a", "b")
    await settle()
    assert bench.invoker.batches == [['"a"', '"b"']]
    await bench.pass_time(0.05)
    assert not len(bench.source)
    assert poller.result == OK
    [invocation] = bench.invoker.invocations
    assert invocation.source == QUEUE
    assert invocation.received == invocation.dequeued == bench.clock.now() - 0.05
    assert poller.taken.total == 2


async def test_messages_of_one_taking_run_side_by_side(bench):
    bench.invoker.takes_s = 1.0
    bench.source.send(*"abcdefgh")
    poller = bench.begin(at_once=4)
    await settle()
    assert (bench.invoker.at_once, poller.running, poller.in_flight) == (4, 4, 4)
    assert bench.source.asked == [4], "nothing is taken that could not start"


async def test_a_window_gathers_and_a_full_batch_does_not_wait(bench):
    bench.begin(batch=3, window_s=5.0)
    bench.source.send("a")
    await bench.pass_time(3.0)
    bench.source.send("b")
    await bench.pass_time(1.5)
    assert bench.invoker.batches == []
    await bench.pass_time(0.6)
    assert [len(batch) for batch in bench.invoker.batches] == [2]
    bench.source.send("c", "d", "e")
    await settle()
    assert [len(batch) for batch in bench.invoker.batches] == [2, 3]


async def test_what_no_filter_wants_is_done_with(bench):
    wants = compile_filters({"Filters": [{"Pattern": '{"body": {"go": [true]}}'}]})
    bench.begin(wants=wants)
    bench.source.send({"go": False}, {"go": True}, {"other": 1})
    await bench.pass_time(0.1)
    assert bench.invoker.batches == [['{"go":true}']]
    assert sorted(bench.source.finished) == ["m1", "m2", "m3"]


async def test_a_failed_batch_comes_again_when_the_source_shows_it(bench):
    bench.invoker.answers = lambda bodies: "fail" if len(bench.invoker.batches) < 2 else None
    poller = bench.begin(batch=2)
    bench.source.send("a", "b")
    await bench.pass_time(29.0)
    assert len(bench.invoker.batches) == 1
    assert poller.result == FAILED
    assert poller.failed.total == 1
    await bench.pass_time(62.0)
    assert len(bench.invoker.batches) == 3
    assert not len(bench.source)
    assert poller.result == OK


async def test_only_what_is_reported_comes_again(bench):
    def report(bodies):
        failed = [f"m{n}" for n, body in enumerate(bodies, 1) if "bad" in body and len(bodies) > 1]
        return {"batchItemFailures": [{"itemIdentifier": each} for each in failed]}

    bench.invoker.answers = report
    bench.begin(batch=3, report_items=True)
    bench.source.send("good", "bad", "fine")
    await bench.pass_time(0.1)
    assert sorted(bench.source.finished) == ["m1", "m3"]
    await bench.pass_time(31.0)
    assert bench.source.finished[-1] == "m2"
    assert bench.source.taken == ["m1", "m2", "m3", "m2"]


async def test_a_group_stays_in_order_and_goes_on_only_when_its_failure_is_gone(bench):
    bench.invoker.answers = lambda bodies: (
        "fail" if bodies == ["a2"] and ["a2"] not in bench.invoker.batches else None
    )
    for number in range(1, 5):
        bench.source.send(f"a{number}".encode(), group="a")
        bench.source.send(f"b{number}".encode(), group="b")
    bench.begin()
    await bench.pass_time(1.0)
    ran = [body for [body] in bench.invoker.batches]
    assert [body for body in ran if body[0] == "a"] == ["a1", "a2"]
    assert [body for body in ran if body[0] == "b"] == ["b1", "b2", "b3", "b4"]
    await bench.pass_time(31.0)
    ran = [body for [body] in bench.invoker.batches if body[0] == "a"]
    assert ran == ["a1", "a2", "a2", "a3", "a4"]
    assert not len(bench.source)


async def test_without_room_a_message_goes_back_as_if_never_taken_and_is_tried_ever_later(bench):
    throttled = Throttled("Rate Exceeded.", reason="ConcurrentInvocationLimitExceeded")
    bench.invoker.answers = lambda bodies: throttled
    [message] = bench.source.send("a")
    poller = bench.begin()
    await bench.pass_time(20.0)
    tries = len(bench.source.taken)
    assert 4 <= tries <= 12
    assert poller.result == THROTTLED
    assert poller.failed.total == 0
    assert {(delay, begun) for _, delay, begun in bench.source.released} == {(0.0, False)}
    assert bench.source.received(message) <= 1
    bench.invoker.answers = lambda bodies: None
    await bench.pass_time(16.0)
    assert not len(bench.source)
    assert poller.result == OK


@pytest.mark.parametrize("reserved", [None, 0, 2])
async def test_nothing_is_taken_while_nothing_would_be_admitted(bench, reserved):
    bench.registry.reserved = reserved
    bench.admission.set_limit(ACCOUNT, 10)
    leases = [
        bench.admission.admit(ACCOUNT, "work", reserved)
        for _ in range(10 if reserved is None else reserved)
    ]
    bench.source.send("a", "b", "c")
    bench.begin()
    await bench.pass_time(5.0)
    assert bench.source.asked == []
    if not leases:
        return
    leases.pop().release()
    await bench.pass_time(0.2)
    assert bench.source.asked[0] == 1
    await bench.pass_time(1.0)
    assert not len(bench.source)


async def test_concurrency_grows_with_the_backlog_and_comes_back(bench):
    bench.invoker.takes_s = 0.2
    poller = bench.begin(at_once=40)
    await settle()
    first = poller.at_once
    bench.source.send(*(str(number) for number in range(500)))
    await bench.until(lambda: not len(bench.source))
    assert bench.invoker.most_at_once == 40
    await bench.until(lambda: poller.at_once == first)
    assert len(bench.invoker.batches) == 500


async def test_stopped_it_takes_nothing_and_what_runs_is_finished(bench):
    bench.invoker.takes_s = 2.0
    bench.source.send(*"abcdefgh")
    poller = bench.begin(at_once=2)
    await settle()
    assert poller.running == 2
    poller.stop()
    bench.source.send("later")
    await bench.pass_time(1.0)
    assert (bench.drained, poller.running) == (0, 2)
    await bench.until(lambda: bench.drained)
    assert len(bench.source.finished) == 2
    assert sorted(bench.source.taken) == ["m1", "m2"]
    assert bench.drained == 1


async def test_stopped_it_gives_back_what_waits_for_its_window(bench):
    [message] = bench.source.send("a")
    poller = bench.begin(batch=10, window_s=10.0)
    await settle()
    assert poller.in_flight == 1
    poller.stop()
    await settle()
    assert bench.source.released == [(message, 0.0, False)]
    assert bench.drained == 1


async def test_a_function_that_is_gone_is_told_and_its_messages_go_back(bench):
    poller = bench.begin()
    await settle()
    bench.registry.missing = True
    [message] = bench.source.send("a")
    await settle()
    assert bench.orphaned
    assert bench.source.released == [(message, 0.0, False)]
    assert "Function not found" in poller.result


async def test_a_source_that_is_gone_is_looked_for_until_it_is_there_again(bench):
    bench.source.missing = True
    poller = bench.begin()
    await bench.pass_time(60.0)
    assert "does not exist" in poller.result
    assert not poller.polling
    bench.source.missing = False
    bench.source.send("a")
    await bench.pass_time(16.0)
    assert not len(bench.source)
    assert poller.result == OK


async def test_a_store_that_fails_is_not_hammered(bench):
    bench.source.fails = StorageFailed("the disk is full")
    poller = bench.begin()
    asked = []
    original = bench.source.receive

    async def receive(arn, **given):
        asked.append(bench.clock.now())
        return await original(arn, **given)

    bench.source.receive = receive
    await bench.pass_time(60.0)
    assert 5 <= len(asked) <= 15
    assert poller.result == "PROBLEM: the disk is full"


async def test_what_cannot_be_finished_at_once_is_finished_later(bench):
    bench.source.finish_fails = 2
    bench.source.send("a")
    bench.begin()
    await bench.pass_time(3.0)
    assert bench.source.finished == ["m1"]
    assert len(bench.invoker.batches) == 1


async def test_a_role_that_may_no_longer_take_stops_it(bench):
    bench.refused = InvalidInput("The provided execution role does not have permissions")
    bench.source.send("a")
    poller = bench.begin()
    await bench.pass_time(10.0)
    assert bench.source.asked == []
    assert "does not have permissions" in poller.result
    bench.refused = None
    await bench.pass_time(16.0)
    assert not len(bench.source)


async def test_what_a_function_caused_itself_too_often_is_put_away_and_the_rest_runs(bench):
    lineage = ""
    for _ in range(RECURSION_LIMIT):
        lineage = extended(lineage, ACCOUNT, "work")
    loop = Origin(lineage=lineage)
    stopped = RecursionDetected("it was invoked 16 times in one chain")
    bench.invoker.answers = lambda bodies: stopped if b"loop" in "".join(bodies).encode() else None
    bench.source.send(b"a")
    [looping] = bench.source.send(b"loop", origin=loop)
    bench.source.send(b"b")
    poller = bench.begin(batch=10)
    await bench.pass_time(0.5)
    assert bench.invoker.batches == [["a", "b"]]
    assert not len(bench.source)
    [letter] = bench.letters
    assert (letter.reason, letter.message.id) == ("RecursionDetected", looping)
    assert letter.message.source == QUEUE
    assert json.loads(letter.message.payload)["Records"][0]["body"] == "loop"
    assert "16 times" in poller.result


async def test_the_longest_lineage_of_a_batch_is_that_of_its_run(bench):
    first, second = Origin(lineage="a:1"), Origin(lineage="a:1|b:2")
    bench.source.send(b"x", origin=first)
    bench.source.send(b"y", origin=second)
    bench.begin(batch=10)
    await bench.pass_time(0.1)
    assert [each.origin for each in bench.invoker.invocations] == [second]


async def test_an_error_of_the_platforms_own_stops_no_poller_and_no_group(bench, caplog):
    bench.invoker.answers = lambda bodies: ZeroDivisionError("nobody expects this")
    bench.source.send(b"a1", b"a2", group="a")
    poller = bench.begin()
    await bench.pass_time(1.0)
    assert poller.result == BROKEN
    assert "ZeroDivisionError" in caplog.text
    bench.source.fails = TypeError("nor this")
    bench.invoker.answers = lambda bodies: None
    await bench.pass_time(20.0)
    assert "TypeError" in caplog.text
    bench.source.fails = None
    await bench.pass_time(20.0)
    assert bench.source.finished == ["m1", "m2"]
    assert poller.result == OK
