"""A clock that is kept at another one's time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.clock import FakeClock

from forerun.aio import CorrectedClock, Reading, difference

SPANS = st.floats(0, 0.5)


@given(
    offset=st.floats(-1e6, 1e9),
    believed=st.floats(-1e6, 1e9),
    trips=st.lists(st.tuples(st.floats(0, 1e6), SPANS, SPANS), min_size=1, max_size=8),
)
def test_a_difference_is_wrong_by_no_more_than_the_shortest_round_trip(offset, believed, trips):
    readings = [
        Reading(asked, asked + there + offset, asked + there + back) for asked, there, back in trips
    ]
    shortest = min(reading.answered - reading.asked for reading in readings)
    assert abs(difference(readings, believed) - offset) <= shortest + 1e-5


def test_what_the_readings_allow_is_believed_on():
    readings = [Reading(10.0, 110.02, 10.1), Reading(11.0, 111.5, 12.0)]
    assert difference(readings, 99.95) == 99.95
    assert difference(readings, 100.5) == pytest.approx(99.97)
    assert difference([], 5.0) == 5.0


def corrected(machine):
    """A clock that was told the time before."""
    clock = CorrectedClock(machine)
    clock.correct(clock.offset)
    return clock


def test_the_first_correction_is_made_at_once():
    machine = FakeClock()
    clock = CorrectedClock(machine)
    clock.correct(clock.offset + 0.5)
    assert clock.now() == pytest.approx(machine.now() + 0.5)


def test_a_small_correction_is_made_gradually_and_time_never_goes_back():
    machine = FakeClock()
    clock = corrected(machine)
    start = clock.now()
    assert clock.correct(clock.offset - 0.5) == pytest.approx(-0.5)
    seen = [start]
    for _ in range(200):
        machine.jump(0.1)
        seen.append(clock.now())
    assert seen == sorted(seen)
    assert seen[10] - start == pytest.approx(0.95)
    assert seen[-1] - start == pytest.approx(19.5)


def test_a_correction_in_the_middle_of_another_goes_on_from_where_it_was():
    machine = FakeClock()
    clock = corrected(machine)
    clock.correct(clock.offset + 0.5)
    machine.jump(4)
    between = clock.now()
    clock.correct(clock.offset - 0.5)
    assert clock.now() == pytest.approx(between)
    machine.jump(4)
    assert clock.now() == pytest.approx(between + 4 - 0.2)
    machine.jump(100)
    assert clock.now() == pytest.approx(machine.now())


def test_a_large_correction_is_made_at_once_and_said(caplog):
    machine = FakeClock()
    clock = CorrectedClock(machine)
    clock.correct(clock.offset - 3600)
    assert clock.now() == pytest.approx(machine.now() - 3600)
    assert "-3600.000 s" in caplog.text


class Wandering(FakeClock):
    """A machine whose wall clock can be set."""

    def set(self, seconds):
        self._epoch += seconds


def test_setting_the_machines_clock_changes_nothing():
    machine = Wandering()
    clock = CorrectedClock(machine)
    before = clock.now()
    machine.set(-86_400)
    machine.jump(1)
    assert clock.now() == pytest.approx(before + 1)
