"""What is held for what is expected: in windows, between them, and for what somebody has asked for."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.model import Expectation, Reason, StartType
from forerun.scheduling import FOREVER, OVERLAP_S, Demand, Periodic, Preparer, pool_floor

NOW = 1_000_000.0
KEEP_S = 60.0
PREPARER = Preparer(keep_s=KEEP_S)


def window(since=-1.0, until=10.0, **more):
    given = {"probability": 0.8, "reason": Reason.HABIT} | more
    return Expectation(since=NOW + since, until=NOW + until, **given)


def decide(*demands, now=NOW, start_s=0.1, **more):
    return PREPARER.decide(demands, now=now, start_s=start_s, **more)


def test_inside_a_window_as_many_wait_as_are_expected_at_once():
    decision = decide(Demand([window(count=3, cause="why")], known=True))
    standby = decision.standby
    assert (standby.idle, standby.total, standby.linger_s) == (3, 0, KEEP_S)
    assert standby.lease_s == pytest.approx(10.0 + OVERLAP_S)
    assert (standby.reason, standby.cause, standby.start) == (
        Reason.HABIT,
        "why",
        StartType.PREWARMED,
    )
    assert decision.again_at == NOW + 10.0
    assert decision.opened == [window(count=3, cause="why")]


def test_a_start_and_a_margin_before_a_window_they_are_begun():
    lead_s = PREPARER.lead_s(2.0)
    assert lead_s > 2.0
    coming = Demand([window(since=50.0, until=60.0)])
    before = decide(coming, start_s=2.0)
    assert before.standby is None
    assert before.again_at == NOW + 50.0 - lead_s
    at = decide(coming, now=before.again_at, start_s=2.0)
    assert at.standby is not None
    assert at.standby.idle == 1
    assert at.again_at == NOW + 60.0


def test_what_a_running_execution_is_likely_to_call_is_preloaded_because_of_it():
    caused = window(reason=Reason.CALLER, cause="request", count=2)
    standby = decide(Demand([window(count=2), caused])).standby
    assert (standby.start, standby.cause, standby.idle) == (StartType.PRELOADED, "request", 2)


def test_between_the_calls_of_a_regular_function_nothing_waits():
    regular = Demand([window(since=30.0, until=31.0)], known=True, next_at=NOW + 30.0)
    decision = decide(regular)
    assert (decision.standby.idle, decision.standby.linger_s) == (0, 0.0)
    assert decision.standby.lease_s >= decision.again_at - NOW


def test_also_when_the_next_window_is_not_seen_yet():
    assert decide(Demand([], known=True, next_at=NOW + 30.0)).standby.linger_s == 0.0


def test_in_a_pause_hardly_longer_than_a_start_it_waits_all_the_same():
    regular = Demand([window(since=30.0)], known=True, next_at=NOW + 30.0)
    assert decide(regular, start_s=2.0).standby.linger_s == KEEP_S


def test_a_regular_call_that_is_late_finds_what_it_would_otherwise_find():
    late = Demand([], known=True, next_at=NOW - 5.0)
    assert decide(late).standby.linger_s == KEEP_S


def test_of_functions_that_are_not_known_the_host_decides():
    assert decide(Demand([window(since=60.0, until=70.0)])).standby is None
    assert decide().standby is None
    inside = decide(Demand([window()]))
    assert inside.standby.linger_s is None


def test_calls_like_those_of_late_find_the_sandboxes_of_those():
    recent = window(reason=Reason.RECENT, until=600.0, count=50)
    busy = Demand([recent], known=True, working=5.0, last=NOW - 10.0)
    standby = decide(busy).standby
    assert standby.idle == 0
    assert standby.linger_s == pytest.approx(610.0)
    resting = decide(busy._replace(working=0.0)).standby
    assert (resting.idle, resting.linger_s) == (1, standby.linger_s)


def test_they_are_kept_to_the_end_of_the_window_however_often_it_is_decided():
    recent = window(reason=Reason.RECENT, until=600.0)
    demand = Demand([recent], known=True, last=NOW)
    for later in (0.0, 100.0, 599.0):
        linger_s = decide(demand, now=NOW + later).standby.linger_s
        assert demand.last + linger_s == pytest.approx(recent.until)


def test_short_calls_of_a_burst_share_sandboxes():
    burst = window(count=100, reason=Reason.PERIOD)
    assert decide(Demand([burst], at_once=0.05, known=True)).standby.idle == 5


def test_names_of_one_version_add_up_by_their_shares():
    one = Demand([window(count=4)], share=0.5)
    other = Demand([window(count=3)], share=1.0)
    assert decide(one, other).standby.idle == 5


def test_no_more_than_may_run_at_once():
    assert decide(Demand([window(count=900)]), most=7).standby.idle == 7
    assert decide(Demand([window(count=900)]), most=0).standby.idle == 0


def test_what_is_provisioned_holds_besides_and_is_renewed():
    alone = decide(total=3)
    assert (alone.standby.total, alone.standby.idle, alone.standby.linger_s) == (3, 0, None)
    assert NOW < alone.again_at < NOW + alone.standby.lease_s
    both = decide(Demand([window(count=2)], known=True), total=3).standby
    assert (both.total, both.idle, both.reason) == (3, 2, Reason.HABIT)
    paused = decide(Demand([], known=True, next_at=NOW + 30.0), total=3).standby
    assert (paused.total, paused.linger_s) == (3, 0.0)


windows = st.builds(
    lambda since, length, probability, count, reason: Expectation(
        since=NOW + since,
        until=NOW + since + length,
        probability=probability,
        count=count,
        reason=reason,
    ),
    st.floats(-100, 100),
    st.floats(0.1, 100),
    st.floats(0, 1),
    st.integers(1, 5000),
    st.sampled_from([each for each in Reason if each is not Reason.PROVISIONED]),
)
demands = st.builds(
    Demand,
    st.lists(windows, max_size=4),
    share=st.floats(0.01, 1),
    at_once=st.floats(0, 1),
    last=st.floats(NOW - 1000, NOW),
    working=st.floats(0, 1000),
    known=st.booleans(),
    next_at=st.one_of(st.just(FOREVER), st.floats(NOW - 100, NOW + 100)),
)


@given(st.lists(demands, max_size=3), st.floats(0, 60), st.integers(0, 50), st.integers(0, 2000))
def test_whatever_is_expected_it_can_be_held(expected, start_s, total, most):
    decision = decide(*expected, start_s=start_s, total=total, most=most)
    standby = decision.standby
    assert decision.again_at > NOW
    assert len(decision.opened) == len(expected)
    if standby is None:
        assert not total
        return
    assert standby.total == total
    assert 0 <= standby.idle <= min(most, 1000)
    assert math.isfinite(standby.lease_s)
    assert standby.lease_s > 0
    assert standby.calls_per_s >= 0
    assert standby.linger_s is None or standby.linger_s >= 0
    if standby.idle:
        assert any(decision.opened)
    if standby.start is StartType.PRELOADED:
        assert standby.reason is Reason.CALLER
    # What holds does so until it is decided anew.
    assert decision.again_at == FOREVER or standby.lease_s >= min(
        decision.again_at - NOW,
        max((each.until - NOW for each in decision.opened if each), default=0),
    )


@given(st.lists(demands, min_size=1, max_size=3), st.floats(0, 5))
def test_nothing_changes_until_it_is_decided_again(expected, start_s):
    decision = decide(*expected, start_s=start_s)
    later = min(decision.again_at - 1e-3, NOW + 1000.0)
    if later <= NOW:
        return
    again = decide(*expected, now=later, start_s=start_s)
    assert [each is None for each in again.opened] == [each is None for each in decision.opened]
    if any(decision.opened):
        assert again.standby.idle == decision.standby.idle


@pytest.mark.parametrize(
    ("base", "starts", "periodic", "floor"),
    [
        (4, 10, [], 4),
        (4, 10, [(10, 1.0)], 1),
        (4, 10, [(10, 0.5)], 2),
        (4, 10, [(5, 1.0)], 2),
        (10, 10, [(2, 0.9), (2, 0.9)], 6),
        (1, 10, [(10, 1.0)], 1),
        (0, 10, [(10, 1.0)], 0),
        (4, 0, [(0, 1.0)], 4),
        (4, 10, [(20, 1.0)], 1),
    ],
    ids=["none", "all", "loose", "half", "several", "one", "zero", "no starts", "more than all"],
)
def test_pools_shrink_by_what_is_foreseen(base, starts, periodic, floor):
    found = pool_floor(base, starts, [Periodic(*each) for each in periodic])
    assert (found.floor, found.base) == (floor, base)


@given(
    st.integers(0, 100),
    st.floats(0, 1000),
    st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 1)), max_size=5),
)
def test_a_pool_is_never_more_than_its_base_nor_empty_by_this(base, starts, periodic):
    found = pool_floor(base, starts, [Periodic(*each) for each in periodic])
    assert min(1, base) <= found.floor <= base
    more = pool_floor(base, starts, [Periodic(each[0], 1.0) for each in periodic])
    assert more.floor <= found.floor or not any(each[1] for each in periodic)
