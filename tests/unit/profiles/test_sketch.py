"""Quantiles within 1 %, of the whole as of its parts."""

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.profiles.sketch import ERROR, LARGEST, SMALLEST, Sketch, summary

SHARES = (0.0, 0.1, 0.5, 0.9, 0.95, 0.99, 1.0)
values = st.floats(0, 1e7, allow_nan=False)
weighted = st.lists(st.tuples(values, st.integers(1, 50)), max_size=60)


def sketch_of(entries: list[tuple[float, int]]) -> Sketch:
    sketch = Sketch()
    for value, weight in entries:
        sketch.add(value, weight)
    return sketch


@given(weighted)
def test_quantiles_are_within_their_error_of_a_sorted_list(entries):
    ordered = sorted(value for value, weight in entries for _ in range(weight))
    found = sketch_of(entries).quantiles(SHARES)
    for share, told in zip(SHARES, found, strict=True):
        rank = max(1, math.ceil(share * len(ordered) - 1e-9))
        exact = ordered[rank - 1] if ordered else 0.0
        if exact <= SMALLEST:
            assert told <= SMALLEST * (1 + 2 * ERROR)
        else:
            assert told == pytest.approx(exact, rel=ERROR * 1.001)


@given(weighted, weighted)
def test_merging_is_counting_all(one, two):
    merged, whole = sketch_of(one), sketch_of(one + two)
    merged.merge(sketch_of(two))
    assert merged.buckets == whole.buckets
    assert (merged.count, merged.zeros, merged.most) == (whole.count, whole.zeros, whole.most)
    assert merged.least == whole.least
    assert merged.total == pytest.approx(whole.total)


@given(weighted)
def test_a_sketch_that_was_stored_is_the_same(entries):
    sketch = sketch_of(entries)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sketch), type=Sketch) == sketch


@given(st.integers(1, 40), st.integers(1, 9))
def test_a_moved_value_is_as_if_it_had_been_the_other(calls, weight):
    moved = sketch_of([(1, weight), (7, 2)])
    for number in range(1, calls):
        moved.move(number, number + 1, weight)
    plain = sketch_of([(calls, weight), (7, 2)])
    assert moved.buckets == plain.buckets
    assert moved.count == plain.count
    assert moved.total == pytest.approx(plain.total)


@pytest.mark.parametrize("odd", [0.0, -5.0, math.nan, -math.inf, 1e-9])
def test_what_is_no_positive_number_counts_as_zero(odd):
    sketch = sketch_of([(odd, 3)])
    assert summary(sketch).count == 3
    assert summary(sketch).p99 == summary(sketch).mean == 0.0


def test_the_number_of_buckets_is_bounded():
    sketch = Sketch()
    chance = random.Random(1)
    for _ in range(50_000):
        sketch.add(10 ** chance.uniform(-300, 300))
    sketch.add(math.inf)
    assert len(sketch.buckets) < 1_400
    assert summary(sketch).max == LARGEST


def test_nothing_counted_has_no_quantiles():
    assert summary(Sketch()).count == summary(Sketch()).p50 == 0.0
