"""When schedules fire: against a naive model that looks at every moment, while clocks jump and servers are down."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forerun.errors import InvalidInput
from forerun.sources.schedules.plan import begin, done, following, judge
from forerun.storage.schedules import Firing, ScheduleConfig

START = 1_780_000_000.0  # 2026-05-28T20:26:40Z
DAYS = 3


def config(expression: str, **more: object) -> ScheduleConfig:
    given: dict[str, object] = {
        "target": {"RetryPolicy": {"MaximumEventAgeInSeconds": 1800}},
        "anchor": START,
        "created": START,
        "modified": START,
    }
    return ScheduleConfig(expression=expression, **(given | more))  # type: ignore[arg-type]


def all_moments(kind: str, every_s: int) -> list[float]:
    """Every moment of the days, found by trying each second that may be one."""
    if kind == "rate":
        return [START + n * every_s for n in range(DAYS * 86_400 // every_s + 1)]
    if kind == "at":
        return [START + every_s + 20]
    first = START + 20  # the first whole minute of UTC
    return [
        at
        for n in range(DAYS * 1440)
        if (at := first + 60 * n) and int(at // 60) % 60 % (every_s // 60) == 0
    ]


def expression_of(kind: str, every_s: int) -> str:
    if kind == "rate":
        return f"rate({every_s // 60} minutes)"
    if kind == "at":
        # START + 20 s is 20:27:00.
        minutes = 20 * 60 + 27 + every_s // 60
        return f"at(2026-05-28T{minutes // 60:02d}:{minutes % 60:02d}:00)"
    return f"cron(*/{every_s // 60} * * * ? *)"


class Played:
    """A server that runs a schedule; its clock and its life are in the hands of the test."""

    def __init__(self, config: ScheduleConfig) -> None:
        self.config = config
        self.now = START
        self.firing = begin(config, START, lambda: 0.5)
        self.fired: list[tuple[float, float]] = []
        self.missed: list[float] = []

    def look(self) -> None:
        while (verdict := judge(self.config, self.firing, self.now)) is not None:
            if verdict.missed:
                self.missed.append(verdict.moment)
            else:
                self.fired.append((verdict.moment, self.now))
            self.firing = done(self.config, self.firing, verdict, self.now, lambda: 0.5)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        self.look()
        while self.firing.due is not None and self.firing.due <= end:
            self.now = max(self.now, self.firing.due)
            self.look()
        self.now = end


steps = st.lists(
    st.tuples(
        st.sampled_from(["run", "run", "down", "forward", "back"]),
        st.integers(1, 4 * 3600),
    ),
    max_size=12,
)


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(["rate", "cron", "at"]),
    every_s=st.sampled_from([120, 300, 600, 1800]),
    steps=steps,
)
def test_firings_equal_a_naive_model_under_jumps_and_restarts(kind, every_s, steps):
    played = Played(config(expression_of(kind, every_s)))
    moments = all_moments(kind, every_s)
    fired: list[float] = []
    missed: list[float] = []
    passed = -math.inf

    def look(now: float) -> None:
        """The naive rule: of all moments not yet passed the latest stands for all, if it is young enough."""
        nonlocal passed
        if due := [at for at in moments if passed < at <= now]:
            passed = due[-1]
            (missed if now - passed > 1800 else fired).append(passed)

    look(START)
    played.look()
    for what, seconds in steps:
        if what == "run":
            look(played.now)
            for at in moments:
                if played.now <= at <= played.now + seconds:
                    look(at)
            played.run(seconds)
        elif what == "back":
            played.now -= seconds
        else:
            played.now += seconds
            if what == "forward":
                look(played.now)
                played.look()
    assert [moment for moment, _ in played.fired] == fired
    assert played.missed == missed
    assert all(one < other for one, other in pairwise([m for m, _ in played.fired]))


@settings(max_examples=100, deadline=None)
@given(
    minutes=st.integers(1, 1440),
    drawn=st.floats(0, 1, exclude_max=True),
    every=st.sampled_from(["rate(5 minutes)", "cron(*/7 * * * ? *)"]),
)
def test_within_a_window_each_moment_is_fired_once_at_the_drawn_time(minutes, drawn, every):
    schedule = config(every, window_minutes=minutes)
    firing = begin(schedule, START, lambda: drawn)
    moments = []
    for _ in range(20):
        assert firing.moment is not None
        assert firing.due is not None
        assert firing.due == firing.moment + drawn * minutes * 60
        assert judge(schedule, firing, math.nextafter(firing.due, 0)) is None
        verdict = judge(schedule, firing, firing.due)
        assert verdict is not None
        assert verdict == (firing.moment, False)
        moments.append(verdict.moment)
        firing = done(schedule, firing, verdict, firing.due, lambda: drawn)
    assert moments == [moments[0], *following(schedule, moments[0], 19)]


def test_a_rate_begins_at_once_or_at_its_start_date():
    assert begin(config("rate(1 hour)"), START, lambda: 0).moment == START
    later = config("rate(1 hour)", since=START + 90, anchor=START + 90)
    assert begin(later, START, lambda: 0).moment == START + 90
    earlier = config("rate(1 minute)", since=START - 200, anchor=START - 200)
    assert begin(earlier, START, lambda: 0).moment == START + 40


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [("rate(1 minutes)", 60), ("rate(2 minute)", 120), ("rate(1 days)", 86_400)],
)
def test_a_rate_may_be_written_with_any_number(expression, seconds):
    assert list(following(config(expression), START, 2)) == [START + seconds, START + 2 * seconds]


def test_begin_and_end_bound_what_recurs_and_not_what_is_once():
    bounded = config("cron(* * * * ? *)", since=START + 200, until=START + 320)
    assert list(following(bounded, START, 9)) == [START + 200, START + 260, START + 320]
    once = config("at(2026-05-28T20:30:00)", since=START + 86_400, until=START + 2)
    assert begin(once, START, lambda: 0).moment == START + 200


@pytest.mark.parametrize(
    ("expression", "until"),
    [
        ("cron(0 0 31 2 ? *)", None),
        ("cron(0 0 1 1 ? 2020)", None),
        ("at(2026-05-28T20:25:00)", None),
        ("cron(0 0 1 * ? *)", START + 86_400),
    ],
    ids=["no such day", "a year gone by", "a time gone by", "end before the first"],
)
def test_what_would_never_fire_is_refused(expression, until):
    with pytest.raises(InvalidInput, match="Invalid Schedule Expression"):
        begin(config(expression, until=until), START, lambda: 0)


def test_a_time_that_passed_a_moment_ago_is_now():
    firing = begin(config("at(2026-05-28T20:26:10)"), START, lambda: 0)
    assert firing == Firing(moment=START - 30, due=START - 30)
