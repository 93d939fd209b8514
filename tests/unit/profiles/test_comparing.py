"""What changed between two profiles is told when it is beyond chance, and only then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.profiles.findings.profiles import callee, profile, spread

from forerun.profiles import Memory, compare
from forerun.profiles.likelihood import likelihood


def share(part: int, whole: int = 1000):
    return likelihood(part, whole, whole)


def told(before, after) -> list[tuple[str, str]]:
    return [(change.what, change.who) for change in compare(before, after)]


def test_equal_profiles_do_not_differ():
    same = profile(callees=[callee("B"), callee("s:80")])
    assert compare(same, same) == []


def test_a_likelihood_that_moved_beyond_its_interval_is_told():
    before = profile(callees=[callee("B", likelihood=share(500))])
    assert told(before, profile(callees=[callee("B", likelihood=share(530))])) == []
    (change,) = compare(before, profile(callees=[callee("B", likelihood=share(800))]))
    assert (change.what, change.who) == ("likelihood", "function:B")
    assert (change.before, change.after) == (0.5, 0.8)
    assert "50.0% before" in change.words
    assert "80.0% now" in change.words


@pytest.mark.parametrize("forward", [True, False], ids=["appears", "vanishes"])
def test_a_callee_that_came_or_went_is_told(forward):
    without, with_it = profile(), profile(callees=[callee("B", likelihood=share(100))])
    pair = (without, with_it) if forward else (with_it, without)
    (change,) = compare(*pair)
    assert change.what == "likelihood"
    assert ("did not before" in change.words) is forward


def test_a_rare_callee_that_was_not_seen_this_time_is_no_change():
    before = profile(callees=[callee("B", likelihood=share(2))])
    assert compare(before, profile(sampled=50, executions=50)) == []


def test_latency_is_compared_by_quantiles():
    before = profile(callees=[callee("B", latency_ms=spread(20.0))], duration_ms=spread(200.0))
    after = profile(callees=[callee("B", latency_ms=spread(40.0))], duration_ms=spread(210.0))
    assert told(before, after) == [
        ("latency_ms.p50", "function:B"),
        ("latency_ms.p95", "function:B"),
    ]
    assert "2.0 times longer" in compare(before, after)[0].words


def test_few_executions_prove_nothing():
    before = profile(duration_ms=spread(200.0), sampled=20)
    assert compare(before, profile(duration_ms=spread(400.0))) == []


def test_memory_and_errors_are_compared():
    before = profile(error_rate=share(0))
    after = profile(
        error_rate=share(50), memory=Memory(configured_mb=512, used_mb=spread(240.0, tail=1.25))
    )
    assert told(before, after) == [
        ("error_rate", ""),
        ("memory.used_mb.p95", ""),
        ("memory.configured_mb", ""),
    ]


counts = st.tuples(st.integers(0, 200), st.integers(0, 200)).map(sorted)


@given(counts, counts, st.floats(0, 1e6), st.floats(0, 1e6))
def test_what_differs_differs_the_other_way_round_too(one, two, a, b):
    pair = [
        profile(
            sampled=max(1, whole),
            error_rate=likelihood(part, whole, whole),
            duration_ms=spread(ms),
            callees=[callee("B", likelihood=likelihood(part, whole, whole))] if part else [],
        )
        for (part, whole), ms in ((one, a), (two, b))
    ]
    forth, back = compare(*pair), compare(*pair[::-1])
    assert [(each.what, each.who) for each in forth] == [(each.what, each.who) for each in back]
    assert compare(pair[0], pair[0]) == []
