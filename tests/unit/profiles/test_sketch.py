"""Sketches against sorted lists: any quantile is within 1 %, whatever is counted and however it is split."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.profiles.likelihood import likelihood
from forerun.profiles.sketch import ERROR, LARGEST, SMALLEST, Sketch, summary

values = st.lists(
    st.one_of(
        st.floats(SMALLEST * 1.001, LARGEST, allow_nan=False),
        st.sampled_from([0.0, 1.0, 5.0, 5.0, 1e-9, 250.0]),
    ),
    min_size=1,
    max_size=200,
)
SHARES = (0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 1.0)


def sketch_of(numbers: list[float], weight: int = 1) -> Sketch:
    made = Sketch()
    for number in numbers:
        made.add(number, weight)
    return made


def exact(numbers: list[float], share: float) -> float:
    """The smallest value that at least ``share`` of all are not above."""
    ordered = sorted(numbers)
    return ordered[max(1, math.ceil(share * len(ordered) - 1e-9)) - 1]


@given(values, st.integers(1, 50))
def test_quantiles_are_within_one_percent(numbers, weight):
    made = sketch_of(numbers, weight)
    assert made.count == len(numbers) * weight
    counted = [number if number > SMALLEST else 0.0 for number in numbers]
    for share, told in zip(SHARES, made.quantiles(SHARES), strict=True):
        wanted = exact([number for number in counted for _ in range(weight)], share)
        assert told == pytest.approx(wanted, rel=ERROR * 1.001, abs=1e-12)
    assert made.most == max(counted)
    assert made.least == min(counted)


@given(values, values)
def test_sketches_of_parts_merge_to_the_sketch_of_all(one, two):
    merged, whole = sketch_of(one), sketch_of(one + two)
    merged.merge(sketch_of(two))
    assert merged.buckets == whole.buckets
    assert (merged.zeros, merged.count) == (whole.zeros, whole.count)
    assert (merged.least, merged.most) == (whole.least, whole.most)
    assert merged.total == pytest.approx(whole.total)


@given(values)
def test_it_survives_being_written_down(numbers):
    made = sketch_of(numbers)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Sketch) == made


@given(st.lists(st.floats() | st.integers(-(2**60), 2**60), max_size=50))
def test_nothing_that_is_a_number_breaks_it(numbers):
    made = sketch_of([float(number) for number in numbers])
    shown = summary(made)
    assert all(math.isfinite(value) and value >= 0 for value in msgspec.structs.astuple(shown))
    assert len(made.buckets) < 1400


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 9))
def test_what_is_moved_is_counted_once(old, new, weight):
    moved = Sketch()
    moved.add(3, weight)
    moved.add(old, weight)
    moved.move(old, new, weight)
    wanted = sketch_of([3, new], weight)
    assert moved.buckets == wanted.buckets
    assert moved.count == wanted.count
    assert moved.total == pytest.approx(wanted.total)


def test_an_interval_gets_narrower_with_more_and_wider_with_weights():
    few, many = likelihood(6, 10, 10), likelihood(600, 1000, 1000)
    assert few.low < many.low < 0.6 < many.high < few.high
    weighted = likelihood(600, 1000, 1000 * 10)
    assert (weighted.low, weighted.high) == pytest.approx(
        (likelihood(60, 100, 100).low, likelihood(60, 100, 100).high)
    )


def test_an_interval_is_that_of_wilson():
    assert (likelihood(60, 100, 100).low, likelihood(60, 100, 100).high) == pytest.approx(
        (0.50202, 0.69060), abs=1e-4
    )


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 100))
def test_an_interval_holds_its_share(part, whole, weight):
    told = likelihood(part * weight, whole * weight, whole * weight * weight)
    assert 0 <= told.low <= told.value <= told.high <= 1
