"""When events that may wait are run: never without room, never in a busy hour, and in a cheaper hour if one comes in time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.scheduling import Deferral, Room, Usual, due_at

NINE = 9 * 3600.0
DAY = 86_400.0
ACCOUNT = "1" * 12
DAYTIME = {hour: 6000.0 if 8 <= hour < 20 else 600.0 for hour in range(24)}

shares = st.floats(0, 100)
loads = st.floats(0, 1e6)
hours = st.dictionaries(st.integers(0, 23), loads, max_size=24)
moments = st.floats(0, 4e9)


def decide(now=NINE, *, room=None, running=0, load=0.0, usual=None, idle=50.0, at_once=10):
    room = room or Room(16_000, 0, {ACCOUNT: (0, 1000)})
    deferral = Deferral(idle_percent=idle, at_once=at_once)
    return deferral.decide(now, room, running=running, load=load, usual=usual or Usual())


def test_an_idle_machine_that_knows_nothing_yet_runs_all_it_may():
    assert decide() == (10, (ACCOUNT,), math.inf, "")
    assert decide(running=7).most == 3
    assert decide(running=10).most == 0


@pytest.mark.parametrize(("booked_mb", "most"), [(8000, 1), (8001, 0), (6000, 3), (16_000, 0)])
def test_half_of_the_memory_stays_free(booked_mb, most):
    assert decide(room=Room(16_000, booked_mb, {ACCOUNT: (0, 1000)})).most == most


def test_only_accounts_with_concurrency_to_spare_are_served():
    accounts = {"1" * 12: (501, 1000), "2" * 12: (500, 1000), "3" * 12: (0, 0)}
    assert decide(room=Room(16_000, 0, accounts)).accounts == ("2" * 12,)
    turn = decide(room=Room(16_000, 0, {"1" * 12: (501, 1000)}))
    assert (turn.most, turn.held_by) == (0, "too much of the account's concurrency is in use")


def test_a_moment_busier_than_usual_is_left_to_others():
    usual = Usual({9: 1000.0})
    assert decide(load=1250.0, usual=usual).most == 10
    busy = decide(load=1251.0, usual=usual)
    assert (busy.most, "more than the 1000 usual" in busy.held_by) == (0, True)
    assert decide(load=60.0, usual=Usual({9: 0.0})).most == 10


def test_at_peak_only_what_cannot_wait_for_the_cheap_hours_is_run():
    usual = Usual(DAYTIME)
    turn = decide(NINE, load=6000.0, usual=usual)
    assert turn.before == 20 * 3600 + 600
    assert turn.held_by == "the hour from 20:00 UTC is cheaper"
    assert decide(NINE + DAY, load=6000.0, usual=usual).before == DAY + 20 * 3600 + 600
    assert decide(20 * 3600.0, load=600.0, usual=usual).before == math.inf
    assert decide(3 * 3600.0, load=600.0, usual=usual).before == math.inf


def test_what_is_usual_is_learned_and_recent_days_count_more():
    days = [(day * DAY + NINE, 100.0 if day < 7 else 400.0) for day in range(14)]
    usual = Usual.learn(days, 14 * DAY)
    assert 250 < usual.at(NINE) < 400
    assert usual.at(NINE + 3600) is None
    assert Usual.learn([], 0.0).at(NINE) is None


@given(
    now=moments,
    memory=st.integers(0, 1 << 20),
    booked=shares,
    calls=st.integers(0, 2000),
    limit=st.integers(0, 2000),
    running=st.integers(0, 40),
    load=loads,
    usual=hours,
    idle=shares,
    at_once=st.integers(1, 30),
)
def test_nothing_runs_without_room(
    now, memory, booked, calls, limit, running, load, usual, idle, at_once
):
    booked_mb = int(memory * booked / 100)
    turn = decide(
        now,
        room=Room(memory, booked_mb, {ACCOUNT: (calls, limit)}),
        running=running,
        load=load,
        usual=Usual(usual),
        idle=idle,
        at_once=at_once,
    )
    assert 0 <= turn.most <= max(0, at_once - running)
    if not turn.most:
        assert turn.held_by
        return
    assert memory - booked_mb >= memory * idle / 100 - 1e-6
    assert calls < limit
    assert limit - calls >= limit * idle / 100 - 1e-6
    expected = Usual(usual).at(now)
    assert expected is None or load <= max(60.0, 1.25 * expected)
    assert turn.before > now
    assert (turn.before == math.inf) == (not turn.held_by)


@given(now=moments, usual=hours)
def test_a_cheaper_hour_is_one_and_comes_within_the_day(now, usual):
    known = Usual(usual)
    begins = known.cheaper_from(now)
    if begins < math.inf:
        assert now < begins <= now + DAY
        assert begins % 3600 == 0
        assert known.at(begins) <= known.at(now) / 2


@given(accepted=moments, patience=st.floats(0, 21_600))
def test_an_event_is_due_before_its_latest_start_but_not_before_it_is_accepted(accepted, patience):
    due = due_at(accepted, patience)
    assert accepted <= due <= accepted + patience
    if patience >= 1:
        assert 0.2 <= accepted + patience - due <= 5.01
