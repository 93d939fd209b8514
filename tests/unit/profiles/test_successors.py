"""Whom a function calls, as it is told to what acts ahead of calls."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock
from tests.unit.profiles.events import ACCOUNT, OTHER, PLATFORM, T0, Ran, call, invoke

from forerun.events import Event
from forerun.model import Channel, OutgoingCall, Qualified, Successor
from forerun.profiles import Profiler
from forerun.profiles.fold import fold, name_calls
from forerun.profiles.successors import successors_of
from forerun.profiles.tally import Tally
from forerun.storage.profiles import ProfileStore
from forerun.storage.sqlite import TRACES

A, B, C = (Qualified(ACCOUNT, name) for name in "ABC")


def tally(*runs: Ran) -> Tally:
    counted = Tally()
    for run in runs:
        event = run.ended
        fold(counted, event, name_calls(event.calls, (), ACCOUNT, {PLATFORM}))
    return counted


def only(*runs: Ran) -> Successor:
    (found,) = successors_of([tally(*runs)], ACCOUNT)
    return found


def by_name(*parts: Tally) -> dict[str, Successor]:
    return {each.function.name: each for each in successors_of(parts, ACCOUNT)}


def accepted(name: str, *, at: float = 0.01) -> OutgoingCall:
    return invoke(name, at=at, for_s=0.001, status=202)


def events(*runs: Ran) -> list[Event]:
    return [event for run in runs for event in (run.began, run.ended)]


def test_functions_are_successors_by_their_share_and_services_are_none():
    found = only(
        *(Ran("A", invoke("B", at=0.02), call("s:80")) for _ in range(9)), Ran("A", call("s:80"))
    )
    assert found.function == B
    assert (found.likelihood, found.samples, found.calls) == (pytest.approx(0.9), 10, 1)
    assert found.delay_p50_s == pytest.approx(0.02, rel=0.02)
    assert found.delay_p95_s == pytest.approx(0.02, rel=0.02)
    assert not found.outlives


def test_one_in_ten_stands_for_ten_but_is_one_sample():
    found = only(Ran("A", invoke("B"), weight=10), *(Ran("A") for _ in range(10)))
    assert (found.likelihood, found.samples) == (0.5, 11)


def test_nobody_is_expected_in_another_account():
    other = f"arn:aws:lambda:us-home-1:{OTHER}:function:B"
    assert successors_of([tally(Ran("A", invoke(other)))], ACCOUNT) == []
    assert successors_of([], ACCOUNT) == []


def test_hours_count_together():
    before = tally(*(Ran("A", invoke("B", at=0.1)) for _ in range(10)))
    hour = tally(*(Ran("A", invoke("C", at=0.2)) for _ in range(30)))
    found = by_name(before, hour)
    assert {name: each.likelihood for name, each in found.items()} == {"B": 0.25, "C": 0.75}
    assert {each.samples for each in found.values()} == {40}


@pytest.mark.parametrize(
    ("calls", "number"),
    [
        ([invoke("B", at=0.01, for_s=0.05) for _ in range(5)], 5),
        ([invoke("B", at=0.01 * (each + 1), for_s=0.01 - 1e-6) for each in range(5)], 1),
        ([invoke("B", at=at, for_s=0.03) for at in (0.01, 0.02, 0.05)], 2),
        ([accepted("B", at=0.01 * (each + 1)) for each in range(5)], 5),
        ([invoke("B", at=0.01, for_s=0.0), invoke("B", at=0.05, for_s=0.01)], 2),
    ],
    ids=["at-once", "one-after-the-other", "overlapping", "accepted", "unfinished"],
)
def test_as_many_are_needed_as_are_under_way_at_once(calls, number):
    assert only(*(Ran("A", *calls) for _ in range(20))).calls == number


@pytest.mark.parametrize(
    ("asked", "qualifier"),
    [
        (["B:live", "B:live", "B"], "live"),
        (["B:live", "B", "B"], ""),
        (["B:3", "B:3", "B:live"], "3"),
    ],
    ids=["alias", "none", "version"],
)
def test_a_callee_is_told_as_it_is_mostly_asked_for(asked, qualifier):
    assert only(*(Ran("A", invoke(name)) for name in asked)).function.qualifier == qualifier


def test_events_outlive_their_sender_and_calls_that_are_awaited_do_not():
    found = by_name(tally(*(Ran("A", accepted("B"), invoke("C", at=0.02)) for _ in range(3))))
    assert (found["B"].outlives, found["C"].outlives) == (True, False)


def test_branches_that_never_meet_exclude_each_other():
    runs = [Ran("A", invoke("B" if number % 10 else "C")) for number in range(60)]
    found = by_name(tally(*runs))
    assert (found["B"].excludes, found["C"].excludes) == ({C}, {B})


def test_branches_that_may_have_missed_each_other_by_chance_do_not():
    few = by_name(tally(*(Ran("A", invoke("B" if number else "C")) for number in range(10))))
    assert (few["B"].excludes, few["C"].excludes) == (frozenset(), frozenset())


def test_branches_that_met_before_do_not_exclude_each_other():
    before = tally(Ran("A", invoke("B"), invoke("C", at=0.05)))
    hour = tally(*(Ran("A", invoke("B" if number % 2 else "C")) for number in range(60)))
    found = by_name(before, hour)
    assert (found["B"].excludes, found["C"].excludes) == (frozenset(), frozenset())


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ProfileStore]:
    opened = await open_database(tmp_path / "traces.db", migrations=TRACES)
    yield ProfileStore(opened)
    await opened.close()


@pytest.fixture
def profiler(store: ProfileStore) -> Profiler:
    return Profiler(store, FakeClock(T0), {PLATFORM})


async def test_who_is_reached_through_a_service_is_a_successor(profiler):
    runs = []
    for _ in range(4):
        sent = call("s:80", at=0.01)
        caller = Ran("A", sent)
        reached = Ran("B", at=0.05, version="3", origin=caller.through(sent.span_id))
        runs += [caller.began, reached.began, reached.ended, caller.ended]
    await profiler.consume(runs)
    (found,) = (await profiler.successors())[A]
    # It was not seen by which qualifier it was asked for, but which version came of it.
    assert found.function == Qualified(ACCOUNT, "B", "3")
    assert (found.likelihood, found.calls, found.outlives) == (1.0, 1, True)
    assert found.delay_p50_s == pytest.approx(0.05, rel=0.02)


async def test_several_ways_to_one_function_are_one(profiler):
    runs: list[Event] = []
    for number in range(10):
        direct, sent = invoke("B", at=0.01), call("s:80", at=0.02)
        caller = Ran("A", *((direct,) if number % 2 else (sent,)))
        span = (direct if number % 2 else sent).span_id
        reached = Ran("B", at=0.05, version="$LATEST", origin=caller.through(span))
        runs += [caller.began, reached.began, reached.ended, caller.ended]
    await profiler.consume(runs)
    (found,) = (await profiler.successors())[A]
    assert (found.function, found.likelihood) == (B, 0.75)


async def test_destinations_are_reached_when_the_caller_has_ended(profiler):
    caller = Ran("A")
    reached = Ran("B", at=0.2, origin=caller.through("", Channel.DESTINATION))
    await profiler.consume([*events(caller), *events(reached)])
    (found,) = (await profiler.successors())[A]
    assert (found.function.name, found.outlives) == ("B", True)


@pytest.mark.databases
async def test_only_what_has_changed_is_told_again(profiler, store):
    await profiler.consume(events(Ran("A", invoke("B")), Ran("C")))
    told = await profiler.successors()
    assert {function: len(each) for function, each in told.items()} == {A: 1, C: 0}
    assert await profiler.successors() == {}
    await profiler.consume(events(Ran("A")))
    assert [each.likelihood for each in (await profiler.successors())[A]] == [0.5]
    await profiler.forget(ACCOUNT, "A")
    assert await profiler.successors() == {A: []}
    assert await profiler.successors() == {}


@pytest.mark.databases
async def test_another_server_is_told_of_all_at_first(profiler, store):
    await profiler.consume(events(Ran("A", invoke("B")), Ran("C", invoke("A"))))
    another = Profiler(store, FakeClock(T0), {PLATFORM})
    told = await another.successors()
    assert told == await profiler.successors()
    assert {function: len(each) for function, each in told.items()} == {A: 1, C: 1}
    assert await another.successors() == {}


async def test_the_version_that_was_watched_last_stands_for_the_function(profiler):
    await profiler.consume(events(Ran("A", invoke("B"), version="1")))
    await profiler.consume(events(Ran("A", invoke("C"), version="2", at=1.0)))
    ((found,),) = (await profiler.successors()).values()
    assert found.function == C
