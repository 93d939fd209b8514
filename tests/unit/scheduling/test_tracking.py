"""Target tracking: when capacity follows use, when it rests, and what keeps it in its bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.model import Expectation, Reason
from forerun.scheduling import (
    Bounds,
    Forecast,
    Load,
    Periods,
    Target,
    Wanted,
    foreseen,
    settle,
    share_out,
    track,
)

PERIODS = Periods(length_s=60, above=3, below=5)
TARGET = Target(share=0.5)


def loaded(*means: float) -> Load:
    """Periods with these means, sampled once a second."""
    load = Load(PERIODS, 0.0)
    now = 0
    for mean in means:
        for second in range(60):
            load.sample(int(mean) + (second % 10 < round(mean % 1 * 10)), now)
            now += 1
    load.sample(0, now)
    return load


@pytest.mark.parametrize(
    ("means", "capacity", "expected"),
    [
        ((3, 3, 3), 4, 6),
        ((3, 4, 3), 4, 8),
        ((9, 9, 9), 4, 18),
        ((3, 3), 4, None),
        ((3, 1, 3), 4, None),
        ((2, 2, 2, 2, 2), 4, None),
        ((1.9, 1.9, 1.9, 1.9, 1.9), 4, None),
        ((1, 1, 1, 1, 1), 4, 2),
        ((1, 1, 1.5, 1, 1), 4, 3),
        ((1, 1, 1, 1), 4, None),
        ((0, 0, 0, 0, 0), 4, 0),
        ((1, 1, 1), 0, 2),
        ((0, 0, 0, 0, 0), 0, None),
    ],
    ids=str,
)
def test_capacity_follows_use(means, capacity, expected):
    assert track(TARGET, loaded(*means), capacity, PERIODS) == expected


def test_cooldowns_and_disabled_scale_in():
    high, low = loaded(3, 3, 3), loaded(1, 1, 1, 1, 1)
    resting = Target(share=0.5, out_cooldown_s=100, in_cooldown_s=200)
    assert track(resting, high, 4, PERIODS, since_out_s=99) is None
    assert track(resting, high, 4, PERIODS, since_out_s=100, since_in_s=0) == 6
    assert track(resting, low, 4, PERIODS, since_in_s=199) is None
    assert track(resting, low, 4, PERIODS, since_out_s=199) is None
    assert track(resting, low, 4, PERIODS, since_in_s=200, since_out_s=200) == 2
    assert track(Target(share=0.5, no_scale_in=True), low, 4, PERIODS) is None


def test_a_gap_is_no_measurement():
    load = loaded(3, 3, 3)
    load.sample(3, 1000.0)
    assert load.lately(1) == []
    load.sample(3, 10.0)
    assert load.lately(1) == []


def test_what_is_unlikely_is_not_foreseen():
    def window(since: float, until: float, probability: float, count: int) -> Expectation:
        return Expectation(
            since=since, until=until, probability=probability, reason=Reason.HABIT, count=count
        )

    windows = [window(10, 20, 0.9, 2), window(15, 30, 0.5, 3), window(0, 50, 0.4, 9)]
    assert [foreseen(windows, at) for at in (5, 10, 15, 20, 30)] == [0, 2, 3, 3, 0]
    assert [foreseen(windows, at, 5) for at in (4, 5, 9, 10)] == [0, 2, 2, 3]


def test_peaks_count_where_they_are_asked_for():
    load = loaded(0.5, 0.5, 0.5)
    assert track(TARGET, load, 1, PERIODS) is None
    assert track(Target(share=0.5, by_peak=True), load, 1, PERIODS) == 2


@pytest.mark.parametrize(
    ("wishes", "bounds", "expected"),
    [
        ([], Bounds(1, 10), None),
        ([], Bounds(6, 10), Wanted(6)),
        ([], Bounds(1, 3), Wanted(3)),
        ([None], Bounds(1, 10), None),
        ([8], Bounds(1, 10), Wanted(8, 0)),
        ([8, 9], Bounds(1, 10), Wanted(9, 1)),
        ([2], Bounds(1, 10), Wanted(2, 0)),
        ([2, None], Bounds(1, 10), None),
        ([2, 3], Bounds(1, 10), Wanted(3, 1)),
        ([20], Bounds(1, 10), Wanted(10, 0)),
        ([0], Bounds(1, 10), Wanted(1, 0)),
        ([2], Bounds(7, 10), Wanted(7)),
        ([8], Bounds(1, 10, out_suspended=True), None),
        ([2], Bounds(1, 10, out_suspended=True), Wanted(2, 0)),
        ([2], Bounds(1, 10, in_suspended=True), None),
        ([Forecast(20)], Bounds(1, 10), Wanted(10, 0)),
        ([Forecast(20, limit=22)], Bounds(1, 10), Wanted(20, 0)),
        ([Forecast(3)], Bounds(1, 10), Wanted(3, 0)),
        ([None, Forecast(3)], Bounds(1, 10), None),
    ],
    ids=str,
)
def test_one_capacity_of_all_wishes(wishes, bounds, expected):
    assert settle(5, wishes, bounds) == expected


@given(
    capacity=st.integers(0, 50),
    wishes=st.lists(st.none() | st.integers(0, 100), max_size=4),
    low=st.integers(0, 50),
    more=st.integers(0, 50),
)
def test_what_is_settled_stays_settled(capacity, wishes, low, more):
    bounds = Bounds(low, low + more)
    wanted = settle(capacity, wishes, bounds)
    end = capacity if wanted is None else wanted.capacity
    assert low <= end <= low + more
    steady = [end if wish is None else wish for wish in wishes]
    assert settle(end, steady, bounds) is None


@given(total=st.integers(1, 1000), weight=st.floats(0, 1))
def test_shares_of_a_weighted_alias_come_to_the_whole(total, weight):
    own, further = share_out(total, weight)
    assert own + further == total
    assert own >= 0 <= further
    assert abs(further - total * weight) <= 1
    if total >= 2 and 0 < weight < 1:
        assert min(own, further) >= 1
