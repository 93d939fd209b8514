"""What is chosen to be monitored: within budgets, without bias, also in bursts, at hardly any cost."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forerun.traces import AUTO, MAX_WEIGHT, OFF, ON, Selector

KEY = ("1" * 12, "f")
START = 1_700_000_000.0


def make(*, least=0.0, function_per_s=5.0, total_per_s=100.0, functions=10_000):
    return Selector(
        min_calls_per_hour=least,
        function_per_s=function_per_s,
        total_per_s=total_per_s,
        functions=functions,
    )


def run(selector, times, *, key=KEY, seed=1):
    """The weight of each call."""
    chance = random.Random(seed).random
    return [selector.choose(key, AUTO, at, chance()) for at in times]


def evenly(rate, seconds, start=START):
    return [start + index / rate for index in range(int(rate * seconds))]


def most_in(times, weights, seconds):
    """Monitored executions in the fullest stretch of that length."""
    chosen = [at for at, weight in zip(times, weights, strict=True) if weight]
    most = first = 0
    for last, at in enumerate(chosen):
        while at - chosen[first] > seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("rate", [0.001, 0.1, 1.0, 2.0])
def test_every_execution_of_a_rare_function_is_monitored(rate):
    weights = run(make(), evenly(rate, 60 if rate >= 1 else 20 / rate))
    assert set(weights) == {1}


@pytest.mark.parametrize("rate", [10, 50, 1000, 5000])
def test_a_busy_function_is_monitored_about_as_often_as_it_may(rate):
    seconds = 60
    times = evenly(rate, seconds)
    weights = run(make(), times)
    monitored = sum(weight > 0 for weight in weights)
    assert 0.6 * 5 * seconds < monitored < 1.3 * 5 * seconds + 20
    assert sum(weights) == pytest.approx(len(times), rel=0.2)


def test_a_burst_out_of_nothing_is_thinned_out_and_still_counted():
    times = [START + index / 20_000 for index in range(20_000)]
    totals = []
    for seed in range(40):
        weights = run(make(), times, seed=seed)
        assert sum(weight > 0 for weight in weights) <= 105
        totals.append(sum(weights))
    assert sum(totals) / len(totals) == pytest.approx(20_000, rel=0.15)


@given(
    bursts=st.lists(
        st.tuples(st.integers(1, 400), st.sampled_from([0.0, 0.001, 0.05, 1.0, 30.0])),
        min_size=1,
        max_size=20,
    ),
    function_per_s=st.sampled_from([0.5, 5.0, 20.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_no_pattern_of_calls_exceeds_the_budget_of_a_function(bursts, function_per_s, seed):
    times, at = [], START
    for count, gap in bursts:
        for _ in range(count):
            times.append(at)
            at += gap
        at += 0.7
    weights = run(make(function_per_s=function_per_s), times, seed=seed)
    reserve = max(1.0, function_per_s * 20)
    for seconds in (1.0, 10.0, 100.0):
        assert most_in(times, weights, seconds) <= reserve + function_per_s * seconds + 1
    assert all(0 <= weight <= MAX_WEIGHT for weight in weights)


@given(
    gaps=st.lists(st.floats(0.0, 0.5), min_size=200, max_size=400),
    function_per_s=st.sampled_from([0.5, 2.0, 5.0]),
)
@settings(max_examples=15, deadline=None)
def test_weights_estimate_how_often_it_was_called(gaps, function_per_s):
    """Calm days follow, in which what was left out for want of budget is weighed."""
    times, at = [], START
    for gap in [*gaps, *[20.0] * 20]:
        at += gap * gap if gap < 1 else gap
        times.append(at)
    seeds = range(50)
    totals = [sum(run(make(function_per_s=function_per_s), times, seed=seed)) for seed in seeds]
    assert sum(totals) / len(totals) == pytest.approx(len(times), rel=0.2)


def test_what_rare_outcomes_are_is_not_distorted_by_sampling():
    """A path that one call in ten takes has a weighted share of one in ten, though N changes all the time."""
    chance = random.Random(7)
    selector = make()
    taken = total = 0
    at = START
    for second in range(400):
        rate = (3, 40, 700)[second % 3]
        for _ in range(rate):
            at += 1 / rate
            weight = selector.choose(KEY, AUTO, at, chance.random())
            total += weight
            taken += weight * (chance.random() < 0.1)
    assert taken / total == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("functions", [100, 1000])
def test_all_functions_together_keep_the_total(functions):
    selector = make(total_per_s=50)
    chance = random.Random(3).random
    monitored, at, seconds = [], START, 30
    for step in range(seconds * 2000):
        at = START + step / 2000
        weight = selector.choose(("a", f"f{step % functions}"), AUTO, at, chance())
        if weight:
            monitored.append(at)
    assert 0.5 * 50 * seconds < len(monitored) <= 50 * seconds + 50
    late = [each for each in monitored if each >= START + 10]
    assert len(late) == pytest.approx(50 * (seconds - 10), rel=0.4)


def test_many_new_functions_at_once_are_not_all_monitored():
    selector = make(total_per_s=100)
    chance = random.Random(5).random
    weights = [selector.choose(("a", f"f{each}"), AUTO, START, chance()) for each in range(5000)]
    assert sum(weight > 0 for weight in weights) <= 100


def test_what_monitored_executions_cause_counts_against_the_total():
    """Each chosen execution causes twenty: a tenth of the roots is left once that is known."""
    selector = make(function_per_s=1000, total_per_s=100)
    chance = random.Random(5).random
    late = 0
    for step in range(60 * 200):
        at = START + step / 200
        if selector.choose(KEY, AUTO, at, chance()):
            for each in range(20):
                selector.caused(("a", f"g{each}"), at)
            if step >= 30 * 200:
                late += 21
    assert late / 30 == pytest.approx(100, rel=0.5)


def test_functions_called_less_often_than_the_threshold_are_not_monitored():
    selector = make(least=100)
    times = evenly(50 / 3600, 4 * 3600)
    assert set(run(selector, times)) == {0}
    assert "less often than 100 times an hour" in selector.decision(KEY, AUTO, times[-1]).reason
    often = run(selector, evenly(200 / 3600, 4 * 3600, start=times[-1]))
    assert set(often[-100:]) == {1}
    assert selector.decision(KEY, AUTO, times[-1] + 4 * 3600).weight == 1


def test_the_tag_decides_when_it_says_something():
    selector = make(least=100)
    assert all(selector.choose(KEY, ON, START, chance) == 1 for chance in (0.0, 0.5, 0.999))
    assert selector.choose(KEY, OFF, START, 0.0) == 0
    weights = [selector.choose(KEY, "4", START, chance / 1000) for chance in range(1000)]
    assert weights.count(4) == 250
    assert weights.count(0) == 750


@pytest.mark.parametrize(
    ("tag", "weight", "words"),
    [(ON, 1, "tag says on"), (OFF, 0, "tag says off"), ("7", 7, "tag says 7")],
)
def test_a_decision_names_the_tag(tag, weight, words):
    decision = make().decision(KEY, tag, START)
    assert decision.weight == weight
    assert words in decision.reason


def test_a_decision_says_rate_and_reason_and_changes_nothing():
    selector = make()
    run(selector, evenly(1000, 20))
    now = START + 20
    decision = selector.decision(KEY, AUTO, now)
    assert decision == selector.decision(KEY, AUTO, now)
    assert decision.rate == pytest.approx(1000, rel=0.1)
    assert decision.weight == pytest.approx(200, rel=0.2)
    assert "monitoring.function_per_s" in decision.reason
    assert decision.executions == 20_000
    assert 50 < decision.monitored < 200
    rare = selector.decision(("a", "never"), AUTO, now)
    assert (rare.weight, rare.rate, rare.executions) == (1, 0.0, 0)


def test_the_clock_may_go_backwards():
    selector = make()
    run(selector, evenly(100, 5))
    assert sum(run(selector, evenly(100, 5, start=START - 3600))) > 0


def test_memory_is_bounded_and_the_busiest_stay():
    selector = make(functions=300)
    chance = random.Random(1).random
    for step in range(20_000):
        at = START + step / 100
        selector.choose(("a", "busy"), AUTO, at, chance())
        selector.choose(("a", f"rare{step}"), AUTO, at, chance())
    assert selector.decision(("a", "busy"), AUTO, START + 200).executions == 20_000
    assert selector.decision(("a", "rare0"), AUTO, START + 200).executions == 0
    assert len(selector._known) == 300


@pytest.mark.slow
def test_choosing_costs_about_a_microsecond():
    selector = make()
    chance = random.Random(1).random
    best = 1.0
    for _ in range(5):
        began = time.perf_counter()
        for step in range(20_000):
            selector.choose(KEY, AUTO, START + step / 5000, chance())
        best = min(best, (time.perf_counter() - began) / 20_000)
    assert best < 5e-6
