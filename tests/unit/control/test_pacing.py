"""How much a poller takes: few when little comes, more while much waits and runs take long, nothing where there is no room."""

from itertools import pairwise

import pytest

from forerun.control.delivery.metering import Meter
from forerun.control.delivery.pacing import FEWEST, MOST_TAKEN, Pace


def busy(pace, now, *, size=1, handler_s=0.05):
    """All slots run, the source gave all that was asked for, and runs took so long."""
    pace.took(size, size, 100 * size)
    pace.ran(handler_s, handler_s)
    pace.widen(now, running=pace.slots, longest_s=0.0)


def test_it_begins_with_few_and_asks_for_what_can_start():
    pace = Pace(most=100, size=10)
    assert pace.room(0.0, running=0, waiting=0, free=1000) == FEWEST * 10
    assert pace.room(0.0, running=3, waiting=15, free=1000) == (FEWEST - 3) * 10 - 15
    assert pace.room(0.0, running=FEWEST, waiting=0, free=1000) == 0


@pytest.mark.parametrize(
    ("free", "running", "asked"), [(0, 0, 0), (2, 0, 20), (0, 3, 0), (1, 3, 10)]
)
def test_nothing_is_taken_that_would_not_be_admitted(free, running, asked):
    assert Pace(most=100, size=10).room(0.0, running=running, waiting=0, free=free) == asked


def test_the_owners_bound_holds_from_the_beginning():
    pace = Pace(most=2, size=1)
    assert pace.room(0.0, running=0, waiting=0, free=100) == 2
    for step in range(20):
        busy(pace, step * 0.2)
    assert pace.slots == 2


def test_it_doubles_while_all_is_busy_with_long_runs_and_comes_back():
    pace = Pace(most=100, size=1)
    seen = []
    for step in range(1, 30):
        busy(pace, step * 0.1)
        seen.append(pace.slots)
    assert seen[-1] == 100
    assert all(after in (before, before * 2, 100) for before, after in pairwise(seen))
    pace.took(5, 0, 0)
    assert pace.slots == FEWEST


def test_short_runs_need_no_more_at_once_but_are_taken_ahead():
    pace = Pace(most=100, size=1)
    for step in range(1, 30):
        busy(pace, step * 0.1, handler_s=0.001)
    assert pace.slots == FEWEST
    ahead = pace.room(3.0, running=0, waiting=0, free=1000) - FEWEST
    assert 10 <= ahead <= 64
    assert pace.room(3.0, running=0, waiting=0, free=0) == 0


def test_one_that_got_less_than_it_asked_for_needs_no_more_at_once():
    pace = Pace(most=100, size=1)
    pace.took(5, 4, 400)
    pace.ran(0.5, 0.5)
    pace.widen(10.0, running=FEWEST, longest_s=9.0)
    assert pace.slots == FEWEST


def test_refusals_make_it_wait_longer_each_time_until_something_runs():
    pace = Pace(most=100, size=1)
    now, waits = 0.0, []
    for _ in range(12):
        until = pace.refused(now, 0.0)
        assert pace.refused(now, 0.9) == until, "several refusals of one moment are one"
        assert pace.room(now, running=0, waiting=0, free=9) == 0
        assert pace.room(until, running=0, waiting=0, free=9) > 0
        waits.append(until - now)
        now = until
    assert waits[0] == pytest.approx(0.1)
    assert waits[-1] == pytest.approx(15.0)
    assert waits == sorted(waits)
    pace.ran(0.01, 0.01)
    assert pace.refused(now, 0.0) - now == pytest.approx(0.1)
    assert pace.slots == 1


def test_chance_only_shortens_the_wait():
    first, second = Pace(most=9, size=1), Pace(most=9, size=1)
    assert second.refused(0.0, 0.99) < first.refused(0.0, 0.0)


def test_large_messages_are_taken_few_at_a_time():
    pace = Pace(most=100, size=10_000)
    assert pace.room(0.0, running=0, waiting=0, free=9) <= 128
    pace.took(100, 100, 100 * 1024 * 1024)
    assert pace.room(0.0, running=0, waiting=0, free=9) <= 64
    for _ in range(20):
        pace.took(100, 100, 100 * 200)
    assert pace.room(0.0, running=0, waiting=0, free=9) == MOST_TAKEN


def test_a_meter_counts_the_last_minute():
    meter = Meter()
    for second in range(100, 130):
        meter.count(second + 0.5, 2)
    assert meter.per_second(130.0) == 2.0
    assert meter.per_minute(130.0) == 60
    assert meter.per_second(139.9) == pytest.approx(0.2)
    assert meter.per_second(150.0) == 0.0
    assert meter.per_minute(175.0) == 28
    assert meter.per_minute(1e6) == 0
    assert meter.total == 60
