"""Windows against a list of all that happened."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from forerun.metaevents.windows import BUCKETS, STEP, Window

OVER = 6.0
LENGTH = OVER / BUCKETS
TIMES = st.lists(st.tuples(st.floats(0, 30), st.floats(0, 1e6)), max_size=60)


def within(happened, now):
    last = math.floor(now / LENGTH)
    return [value for at, value in happened if last - BUCKETS < math.floor(at / LENGTH) <= last]


@given(TIMES, st.floats(0, 40))
@settings(max_examples=200, deadline=None)
def test_what_is_counted_is_what_happened_within(happened, now):
    window = Window(OVER, True)
    for at, value in happened:
        window.add(at, value)
    window.expire(now)
    expected = within(happened, now)
    assert window.count() == len(expected)
    assert math.isclose(window.total(), math.fsum(expected), abs_tol=1e-6)
    change = window.next_change()
    assert (change is None) == (not expected)
    if change is not None:
        assert change > now - 1e-9
        window.expire(change + 1e-9)
        assert window.count() < len(expected)


@given(st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=80), st.floats(0.01, 1))
@settings(max_examples=200, deadline=None)
def test_a_quantile_is_off_by_a_step_at_most(values, p):
    window = Window(OVER, True)
    for value in values:
        window.add(1.0, value)
    exact = sorted(values)[max(1, math.ceil(p * len(values))) - 1]
    found = window.quantile(p)
    assert exact / STEP <= found <= exact * STEP


def test_a_quantile_of_nothing_and_of_zeros():
    window = Window(OVER, True)
    assert window.quantile(0.5) is None
    window.add(1.0, 0.0)
    assert window.quantile(0.5) == 0.0


def test_memory_is_bounded_whatever_comes():
    window = Window(OVER, True)
    for number in range(50_000):
        window.add(number / 1000, 10.0 ** (number % 30 - 10))
        if number % 100 == 0:
            window.expire(number / 1000)
    window.expire(50.0)
    assert len(window.buckets) <= BUCKETS + 1
    assert sum(len(each.sizes) for each in window.buckets) <= BUCKETS * 31
