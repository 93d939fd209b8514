"""Policies of others against what their papers say, written down plainly."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.prediction import Cost
from forerun.prediction.baselines import Clairvoyant, Fixed, GreedyDual, Hybrid

MINUTE_S = 60.0


def plan(gaps, fallback=10, bins=240):
    """The hybrid histogram of ATC'20: minutes to wait after a call, and minutes to hold then."""
    inside = sorted(gap for gap in gaps if gap < bins)
    if len(gaps) < 5 or len(inside) < 0.5 * len(gaps):
        return 0, fallback
    counts = [inside.count(length) for length in range(bins)]
    if statistics.pstdev(counts) / statistics.fmean(counts) < 2:
        return 0, fallback
    head = int(inside[int(0.05 * (len(inside) - 1))] * 0.9)
    tail = int(inside[min(len(inside) - 1, int(0.99 * len(inside)))] * 1.1) + 1
    pre = head if head > 1 else 0
    return pre, max(1, tail - pre)


def minutes(windows):
    return [(window.since / MINUTE_S, window.until / MINUTE_S) for window in windows]


def test_fixed_holds_from_a_call_to_so_many_minutes_later_and_the_minute_that_is_told():
    policy = Fixed(10 * MINUTE_S)
    assert policy.windows("a", 0.0) == ()
    assert list(policy.observe("a", 300.0)) == ["a"]
    assert minutes(policy.windows("a", 300.0)) == [(5, 16)]
    assert minutes(policy.windows("a", 600.0)) == [(10, 16)]
    assert policy.windows("a", 960.0) == ()


@given(st.lists(st.integers(1, 300), min_size=1, max_size=80))
def test_hybrid_plans_as_its_paper_says(gaps):
    policy, minute = Hybrid(), 0
    policy.observe("a", 0.0)
    for gap in gaps:
        minute += gap
        policy.observe("a", minute * MINUTE_S)
    pre, stay = plan(gaps)
    expected = (minute + pre + 1 if pre else minute, minute + pre + stay + 1)
    assert minutes(policy.windows("a", minute * MINUTE_S)) == [expected]


@pytest.mark.parametrize(("lengths", "flat"), [(40, False), (47, False), (50, True), (55, True)])
def test_hybrid_does_not_believe_in_a_flat_histogram(lengths, flat):
    gaps = range(1, lengths + 1)
    assert (plan(gaps) == (0, 10)) is flat
    policy, minute = Hybrid(), 0
    policy.observe("a", 0.0)
    for gap in gaps:
        minute += gap
        policy.observe("a", minute * MINUTE_S)
    ((_, until),) = minutes(policy.windows("a", minute * MINUTE_S))
    assert until == minute + sum(plan(gaps)) + 1


def test_hybrid_holds_nothing_between_calls_at_regular_times():
    policy = Hybrid()
    for number in range(20):
        policy.observe("a", number * 30 * MINUTE_S)
    ((since, until),) = minutes(policy.windows("a", 19 * 30 * MINUTE_S))
    assert 19 * 30 + 20 < since <= 19 * 30 + 30 < until


def test_greedy_dual_gives_up_what_is_large_and_rarely_called_first():
    costs = {"large": Cost(600, 100), "small": Cost(100, 100), "often": Cost(600, 100)}
    policy = GreedyDual(1300.0, cost=lambda each: costs[each])
    for _ in range(50):
        policy.observe("often", 0.0)
    policy.observe("large", 0.0)
    assert list(policy.observe("small", 0.0)) == ["small"]
    costs["new"] = Cost(300, 100)
    changed = list(policy.observe("new", 1.0))
    assert "large" in changed
    assert not policy.windows("large", 1.0)
    assert policy.windows("often", 1.0)
    assert policy.windows("small", 1.0)


def test_greedy_dual_lets_what_was_called_often_age():
    policy = GreedyDual(100.0, cost=lambda _: Cost(100, 100))
    policy.observe("before", 0.0, 100)
    policy.observe("now", 1.0)
    assert policy.windows("before", 1.0), "a single call is worth less"
    for number in range(200):
        policy.observe("now", 2.0 + number)
    assert policy.windows("now", 300.0)
    assert not policy.windows("before", 300.0)
    policy.observe("before", 300.0)
    assert policy.windows("now", 300.0), "its calls before it went do not count"


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50)), max_size=200),
    st.integers(50, 1000),
)
def test_greedy_dual_holds_no_more_than_there_is(calls, capacity):
    policy = GreedyDual(float(capacity), cost=lambda each: Cost(40.0 + 7 * each, 100))
    for at, (function, count) in enumerate(calls):
        policy.observe(function, float(at), count)
        held = sum(40.0 + 7 * each for each in range(10) if policy.windows(each, float(at)))
        assert held <= capacity


def test_clairvoyant_is_ready_one_minute_before_each_call_but_the_first():
    policy = Clairvoyant({"a": [600.0, 1200.0, 1260.0]})
    assert list(policy.advance(0.0)) == ["a"]
    assert list(policy.advance(60.0)) == []
    assert minutes(policy.windows("a", 0.0)) == [(9, 10)], "what it would hold for a new function"
    policy.observe("a", 600.0)
    assert minutes(policy.windows("a", 600.0)) == [(19, 21)]
    policy.observe("a", 1200.0)
    assert minutes(policy.windows("a", 1200.0)) == [(20, 22)]
    policy.observe("a", 1260.0)
    assert policy.windows("a", 1260.0) == ()


@pytest.mark.parametrize(("working", "count"), [((1, 1, 2), 2), ((1, 2, 3), 2), ((3, 1, 1), 1)])
def test_clairvoyant_knows_how_many_more_will_be_needed(working, count):
    policy = Clairvoyant({"a": [0.0, 100.0, 110.0]}, working={"a": working}, tick_s=0.0)
    policy.observe("a", 0.0)
    (window,) = policy.windows("a", 0.0)
    assert window.count == count
