"""Calls at their times go in; when a sandbox shall be ready comes out."""

import random
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.model import Expectation, Qualified, Reason
from forerun.prediction import Cost, Predictor

BEGIN = 1_700_000_000.0
LIGHT = Cost(memory_mb=13.0, start_ms=5.0)
DAY_S = 86_400.0


class Watched:
    """Runs a predictor through time in steps, and notes what was ready when."""

    def __init__(self, cost: Cost = LIGHT, step_s: float = 0.25, **options) -> None:
        self.predictor = Predictor(cost=lambda _: cost, **options)
        self.windows: dict[object, list[Expectation]] = {}
        self.now = BEGIN
        self.step_s = step_s
        self.cold: list[tuple[object, float]] = []
        self.held_s: dict[object, float] = {}

    def wait_until(self, until: float) -> None:
        while self.now < until:
            self._look(self.predictor.advance(self.now))
            for function in self.windows:
                if self.ready(function):
                    self.held_s[function] = self.held_s.get(function, 0.0) + self.step_s
            self.now += self.step_s

    def call(self, function: object, at: float, count: int = 1) -> None:
        self.wait_until(at)
        if self.ready(function) < count:
            self.cold.append((function, at))
        self._look(self.predictor.observe(function, at, count))

    def ready(self, function: object) -> int:
        return max(
            (
                each.count
                for each in self.windows.get(function, ())
                if each.since <= self.now < each.until
            ),
            default=0,
        )

    def _look(self, functions: Iterable[object]) -> None:
        for function in set(functions):
            self.windows[function] = list(self.predictor.windows(function, self.now))


@pytest.mark.parametrize("period_s", [10, 30, 45, 240, 600, 1800])
def test_what_comes_regularly_is_ready_when_it_comes_and_hardly_in_between(period_s):
    watched = Watched(step_s=0.5)
    times = [BEGIN + (number + 1) * period_s for number in range(24)]
    for at in times:
        watched.call("report", at)

    assert len(watched.cold) <= 3
    assert watched.held_s["report"] < 0.35 * (times[-1] - BEGIN)
    period, degree = watched.predictor.regularity("report", times[-1] + 1.0)
    assert period == pytest.approx(period_s, rel=0.02)
    assert degree > 0.9


def test_a_period_is_no_longer_believed_in_after_some_misses():
    watched = Watched()
    for number in range(20):
        watched.call("report", BEGIN + 30.0 * number)
    last = BEGIN + 30.0 * 19
    watched.wait_until(last + 60.0)
    assert watched.predictor.regularity("report", watched.now)[0] == pytest.approx(30.0)
    watched.wait_until(last + 110.0)
    assert watched.predictor.regularity("report", watched.now) == (0.0, 0.0)
    held = watched.held_s["report"]
    watched.wait_until(last + 1000.0)
    assert watched.held_s["report"] - held < 15.0


def test_a_start_that_takes_longer_is_worth_more_memory():
    chance = random.Random(1)
    held = []
    for start_ms in (2.0, 2000.0):
        watched = Watched(Cost(memory_mb=200.0, start_ms=start_ms))
        at = BEGIN
        for _ in range(60):
            at += chance.uniform(1.0, 120.0)
            watched.call("shop", at)
        held.append(watched.held_s.get("shop", 0.0))
    assert held[0] < 0.2 * held[1]


def test_a_leader_makes_its_followers_ready_in_the_number_they_come_in():
    chance = random.Random(2)
    watched = Watched(Cost(memory_mb=13.0, start_ms=0.5))
    at = BEGIN
    for _ in range(20):
        at += chance.uniform(150.0, 400.0)
        strange = at + chance.uniform(20.0, 100.0)
        watched.call("web", at, 5)
        watched.call("score", at + 6.0, 10)
        watched.call("stranger", strange, 4)

    cold = [at for function, at in watched.cold if function == "score"]
    assert len(cold) <= 7
    assert cold[-1] < BEGIN + 8 * 400.0
    leaders = {each.name: each for each in watched.predictor.explain("score", at).leaders}
    assert leaders["web"].believed
    assert leaders["web"].lag_s == pytest.approx(6.0, abs=0.6)
    assert leaders["web"].gain == pytest.approx(2.0, abs=0.1)
    assert not any(
        each.believed
        for function in ("web", "stranger")
        for each in watched.predictor.explain(function, at).leaders
    )
    watched.call("web", at + 300.0, 5)
    (expected,) = [
        each
        for each in watched.predictor.windows("score", watched.now)
        if each.reason is Reason.LEADER
    ]
    assert (expected.count, expected.cause) == (10, "web")
    assert expected.since - watched.now == pytest.approx(5.0, abs=1.1)


def test_leaders_are_found_within_an_account_only():
    watched = Watched(step_s=1.0, group=lambda function: function.account)
    web, score = Qualified("111111111111", "web"), Qualified("222222222222", "score")
    for number in range(12):
        watched.call(web, BEGIN + 200.0 * number, 5)
        watched.call(score, BEGIN + 200.0 * number + 6.0, 10)
    assert watched.predictor.explain(score, watched.now).leaders == []


def test_what_comes_once_a_day_is_expected_at_its_minute():
    predictor = Predictor(cost=lambda _: LIGHT)
    nine = (BEGIN // DAY_S + 1) * DAY_S + 9 * 3600.0
    for day in range(5):
        at = nine + day * DAY_S + 20.0
        list(predictor.advance(at))
        list(predictor.observe("daily", at))
        for hour in range(1, 24):
            list(predictor.advance(at + hour * 3600.0))
    now = nine + 5 * DAY_S - 3600.0
    soon = predictor.windows("daily", now)
    assert [(each.since, each.until, each.reason) for each in soon][:1] == [
        (nine + 5 * DAY_S, nine + 5 * DAY_S + 60.0, Reason.PERIOD)
    ]
    assert ("09:00", [0, 1, 2, 3, 4]) in predictor.explain("daily", now).days


def test_what_comes_on_one_day_of_the_week_is_expected_on_that_day():
    predictor = Predictor(cost=lambda _: Cost(memory_mb=1024.0, start_ms=400.0))
    first = (BEGIN // DAY_S + 1) * DAY_S + 9 * 3600.0
    for week in range(4):
        at = first + week * 7 * DAY_S
        list(predictor.observe("weekly", at))
        for hour in range(1, 7 * 24):
            list(predictor.advance(at + hour * 3600.0))
    due = first + 4 * 7 * DAY_S
    chances = {
        day: [
            each.probability
            for each in predictor.windows("weekly", due + day * DAY_S - 7200.0)
            if each.since == due + day * DAY_S
        ]
        for day in (-1, 0)
    }
    assert chances[-1] == []
    assert chances[0][0] > 0.4


def test_kinds_learn_from_each_other():
    watched = Watched(Cost(memory_mb=13.0, start_ms=3.0), kind=lambda name: name[:4])
    for number in range(30):
        for name in ("cron1", "cron2", "cron3"):
            watched.call(name, BEGIN + 20.0 * number)
    for number in range(3):
        watched.call("cron9", watched.now + 20.0)
        del number
    last = watched.now
    windows = watched.predictor.windows("cron9", last, far=True)
    assert any(each.since <= last + 20.0 < each.until for each in windows)


def test_what_it_knows_survives_in_its_states():
    watched = Watched(group=lambda function: function.account)
    web, score = Qualified("1", "web"), Qualified("1", "score", "live")
    for number in range(10):
        watched.call(web, BEGIN + 100.0 * number, 2)
        watched.call(score, BEGIN + 100.0 * number + 4.0, 4)
    before = watched.predictor
    after = Predictor(
        cost=lambda _: LIGHT,
        group=lambda function: function.account,
        revive=lambda parts: Qualified(*parts),
    )
    after.restore_population(before.population())
    for function in before.functions():
        after.restore(function, before.state(function))

    now = watched.now + 20.0
    list(before.advance(now))
    list(after.advance(now))
    for function in (web, score):
        assert after.explain(function, now) == before.explain(function, now)
    at = BEGIN + 1000.0
    assert set(after.observe(web, at, 2)) == set(before.observe(web, at, 2)) == {web, score}
    assert after.state(Qualified("1", "nobody")) == b""
    after.forget(score)
    assert after.explain(score, now) is None
    assert set(after.observe(web, at + 100.0, 2)) == {web}


calls = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.floats(min_value=-50.0, max_value=5000.0, allow_nan=False),
        st.integers(min_value=1, max_value=50),
    ),
    max_size=60,
)


@given(calls, st.booleans())
def test_windows_are_in_order_disjoint_and_sane_whatever_the_clock_does(calls, by_minutes):
    predictor = Predictor(cost=lambda _: LIGHT, finest_s=60.0 if by_minutes else 1.0)
    now = BEGIN
    for function, wait_s, count in calls:
        now += wait_s
        list(predictor.advance(now))
        list(predictor.observe(function, now, count))
        for each in "abc":
            for far in (False, True):
                windows = predictor.windows(each, now, far=far)
                for one in windows:
                    assert one.since < one.until
                    assert 0.0 < one.probability <= 1.0
                    assert one.count >= 1
                assert all(one.until <= two.since for one, two in pairwise(windows))


def test_a_function_that_sleeps_costs_no_more_visits():
    predictor = Predictor(cost=lambda _: LIGHT)
    list(predictor.observe("once", BEGIN))
    visits = sum(len(list(predictor.advance(BEGIN + minute * 60.0))) for minute in range(3 * 1440))
    assert visits <= 24
