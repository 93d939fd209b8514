"""Sandboxes in virtual time: who waits, who finds one ready, and what idles."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forerun.model import Expectation, Reason
from forerun.prediction.replay import (
    DEFAULT,
    About,
    ByCalls,
    Call,
    CallHost,
    CallReplay,
    Held,
    Plain,
)
from forerun.prediction.replay.events import working_at

START_S = 1.0
GB = 1024.0


def recorded(*calls, functions=1, memory_mb=GB):
    """Calls as (begin, seconds) or (begin, seconds, place)."""
    found = sorted(Call(each[0], each[1], each[2] if len(each) > 2 else 0) for each in calls)
    abouts = [About(f"f{n}", "app", "", memory_mb, START_S * 1000) for n in range(functions)]
    return ByCalls(abouts, found, Counter())


class Windows:
    """A policy whose windows are written down: from, until, how many."""

    def __init__(self, *windows):
        self._named = (0,)
        self._windows = [
            Expectation(since=since, until=until, probability=1.0, reason=Reason.HABIT, count=count)
            for since, until, count in windows
        ]

    def observe(self, function, at, count=1):
        return ()

    def advance(self, now):
        named, self._named = self._named, ()
        return named

    def windows(self, function, now):
        return self._windows


def run(recording, *windows, linger_s=0.0, lead_s=0.0, count_from=0.0, memory_mb=None):
    holding = Plain(Windows(*windows), linger_s, lambda _: lead_s)
    return CallReplay(recording, holding, count_from=count_from).run(memory_mb)


def test_without_windows_every_call_starts_one():
    score = run(recorded((0.0, 5.0), (10.0, 5.0), (20.0, 5.0)))
    assert (score.invocations, score.cold, score.wasted_mb_minutes) == (3, 3, 0.0)
    assert score.delays == {1000.0: 3}
    assert score.used_mb_minutes == pytest.approx(GB * 3 * (5.0 + START_S) / 60)


def test_a_sandbox_that_lingers_is_used_again_and_its_idling_counts():
    score = run(recorded((0.0, 5.0), (10.0, 5.0), (100.0, 5.0)), linger_s=30.0)
    assert score.cold == 2
    idle_s = (10.0 - 6.0) + 30.0
    assert score.wasted_mb_minutes == pytest.approx(GB * idle_s / 60)


def test_calls_that_overlap_need_a_sandbox_each_and_find_them_again():
    burst = [(0.0, 5.0), (1.0, 5.0), (2.0, 5.0)]
    later = [(20.0 + at, seconds) for at, seconds in burst]
    score = run(recorded(*burst, *later), linger_s=60.0)
    assert score.cold == 3
    assert score.peak_mb == 3 * GB


def test_the_one_that_became_idle_last_is_taken_so_that_others_may_go():
    first = [(0.0, 1.0), (0.0, 1.0)]
    single = [(at, 0.5) for at in (10.0, 20.0, 30.0, 40.0)]
    score = run(recorded(*first, *single), linger_s=15.0)
    assert score.cold == 2
    # One idles until each next call, the other for what it may linger.
    taken = 8.0 + 3 * 9.5
    assert score.wasted_mb_minutes == pytest.approx(GB * (taken + 15.0) / 60)


def test_what_a_window_asks_for_is_ready_when_it_opens():
    calls = recorded((0.0, 1.0, 1), (50.0, 0.5), (50.0, 0.5), (90.0, 1.0), functions=2)
    ready = run(calls, (40.0, 60.0, 2), lead_s=START_S)
    assert ready.cold == 2, "the call after the window, and the other function"
    assert run(calls, (40.0, 60.0, 1), lead_s=START_S).cold == 3
    idle_s = 2 * (START_S + 10.0) + 2 * (60.0 - 50.5)
    assert ready.wasted_mb_minutes == pytest.approx(GB * idle_s / 60)


def test_a_call_waits_for_one_that_is_being_made_where_that_is_sooner():
    score = run(recorded((0.0, 1.0, 1), (10.4, 1.0), functions=2), (10.0, 20.0, 1))
    assert score.cold == 2
    assert score.delays == {1000.0: 1, 600.0: 1}


def test_what_nobody_used_goes_when_fewer_are_wanted_and_what_has_worked_lingers():
    calls = recorded((0.0, 0.0, 1), (10.0, 0.5), (200.0, 1.0, 1), functions=2)
    score = run(calls, (5.0, 20.0, 3), linger_s=40.0, lead_s=START_S)
    unused_s = 2 * (START_S + 15.0)
    worked_s = START_S + 5.0 + 40.0
    other_s = 40.0
    assert score.wasted_mb_minutes == pytest.approx(GB * (unused_s + worked_s + other_s) / 60)


def test_one_that_is_being_made_comes_to_nothing_when_it_is_wanted_no_more():
    calls = recorded((0.0, 0.0, 1), (5.7, 0.0, 0), functions=2)
    assert run(calls, (5.0, 5.5, 1)).delays == {1000.0: 2}


def test_calls_take_what_has_worked_before_what_nobody_used():
    calls = recorded((0.0, 0.0, 1), (10.0, 1.0), (12.0, 1.0), (14.0, 1.0), (14.1, 1.0), functions=2)
    score = run(calls, (5.0, 20.0, 2), linger_s=40.0, lead_s=START_S)
    assert score.cold == 1, "the other function"
    assert score.ahead == 2, "the first call, and that of 14.1 beside another"


def test_one_that_was_taken_is_replaced_only_when_it_stays_away():
    def peak_mb(seconds):
        calls = recorded((0.0, 0.0, 1), (10.0, seconds), (30.0, 0.1), functions=2)
        return run(calls, (5.0, 20.0, 1), lead_s=START_S).peak_mb

    assert peak_mb(0.5) == GB
    assert peak_mb(8.0) == 2 * GB


def test_nothing_is_counted_before_the_time_that_counts():
    calls = recorded((0.0, 5.0), (10.0, 5.0), (70.0, 5.0))
    score = run(calls, linger_s=1000.0, count_from=60.0)
    assert (score.invocations, score.cold) == (1, 0)
    assert score.wasted_mb_minutes == pytest.approx(GB * (70.0 - 60.0) / 60)
    assert list(score.rates) == [0.0]


def test_minutes_in_which_more_is_held_than_there_is():
    calls = recorded((0.0, 120.0), (0.0, 120.0), (300.0, 1.0))
    assert run(calls, memory_mb=1.5 * GB).over == 2
    assert run(calls, memory_mb=2 * GB).over == 0


def test_how_many_work_at_each_arrival():
    calls = recorded((0.0, 5.0), (1.0, 1.0), (2.0, 9.0), (2.0, 1.0), (20.0, 1.0))
    assert sorted(working_at(calls)[0]) == sorted([1, 2, 2, 3, 1])


def test_clairvoyant_is_ready_for_all_but_first_calls():
    rows = [(at, 0.2) for at in (10.0, 500.0, 500.0, 500.1, 1400.0)]
    host = CallHost(recorded(*rows), 0.0)
    (only,) = host.run(["clairvoyant"], lambda: 0.0)
    assert only.score.cold == 1


class Whatever:
    """A holding that wants this many, in turn."""

    def __init__(self, wishes):
        self._wishes = wishes
        self._place = 0

    def began(self, place, now):
        return ()

    def ended(self, place, now, start_ms):
        assert start_ms in (None, START_S * 1000)

    def turn(self, now):
        return ()

    def next_at(self, now):
        return now + 1.0

    def hold(self, place, now):
        self._place = (self._place + 1) % len(self._wishes)
        idle, linger_s, wait_s = self._wishes[self._place]
        return Held(idle, linger_s, now + wait_s)


@settings(max_examples=100, deadline=None)
@given(
    calls=st.lists(
        st.tuples(st.floats(0, 200), st.floats(0, 60), st.integers(0, 2)), min_size=1, max_size=40
    ),
    wishes=st.lists(
        st.tuples(st.integers(0, 4), st.floats(0, 50), st.floats(0.5, 60)), min_size=1, max_size=5
    ),
)
def test_whatever_is_held_every_call_is_served_once_and_no_sandbox_is_lost(calls, wishes):
    recording = recorded(*calls, functions=3)
    replay = CallReplay(recording, Whatever(wishes), count_from=0.0)
    score = replay.run()
    assert score.invocations == len(calls)
    assert score.cold == sum(score.delays.values())
    busy_s = sum(call.seconds for call in recording.calls)
    waited_s = sum(ms * count for ms, count in score.delays.items()) / 1000
    assert score.used_mb_minutes == pytest.approx(GB * (busy_s + waited_s) / 60, abs=GB * 0.01)
    held = sum(each.waiting + len(each.making) + each.working for each in replay._functions)
    assert replay._held_mb == pytest.approx(held * GB)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 5000), st.floats(0, 30), st.integers(0, 2)), min_size=1, max_size=60
    )
)
def test_every_policy_serves_every_call(calls):
    recording = recorded(*calls, functions=3)
    runs = CallHost(recording, recording.first_s).run(DEFAULT, lambda: 0.0)
    assert [run.name for run in runs] == list(DEFAULT)
    for run_ in runs:
        assert run_.score.invocations == len(calls)
        assert 0 < run_.score.cold <= len(calls)
        assert run_.score.wasted_mb_minutes >= 0.0
