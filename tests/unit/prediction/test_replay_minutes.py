"""The engine counts windows when they end; here every minute of every function is looked at, and the figures are the same."""

import statistics
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forerun.errors import InvalidInput
from forerun.model import Expectation, Reason
from forerun.prediction import Predictor
from forerun.prediction.replay import (
    DEFAULT,
    About,
    ByMinutes,
    Calls,
    History,
    Host,
    Sample,
    Setting,
    from_history,
    host_of,
    make_policy,
    spread,
)
from forerun.prediction.replay.minutes import MinuteReplay

MINUTE_S = 60.0
FIRST = 480


def recorded(rows, memory_mb=(), first=FIRST):
    """Functions of rows of counts per minute."""
    functions = []
    for place, row in enumerate(rows):
        size = memory_mb[place] if memory_mb else 100.0 + 37 * place
        calls = Calls(About(f"f{place}", "app", "call", size, 1000.0))
        for minute, count in enumerate(row):
            if count:
                calls.add(first + minute, count)
        functions.append(calls)
    return functions


def replayed(rows, name, train=0, **options):
    length = len(rows[0])
    host = Host(recorded(rows, **options), FIRST, FIRST + length, FIRST + train)
    ticks = iter(range(1000))
    (run,) = host.run([name], lambda: float(next(ticks)))
    assert run.seconds == 1.0
    return run.score.result(name, run.seconds)


# -- the counting rule, minute by minute ---------------------------------------------------------------------------


def fixed_plan(keep):
    return lambda _gaps: (0, keep)


def hybrid_plan(gaps):
    inside = sorted(gap for gap in gaps if gap < 240)
    if len(gaps) < 5 or len(inside) < 0.5 * len(gaps):
        return 0, 10
    counts = [inside.count(length) for length in range(240)]
    if statistics.pstdev(counts) / statistics.fmean(counts) < 2:
        return 0, 10
    head = int(inside[int(0.05 * (len(inside) - 1))] * 0.9)
    tail = int(inside[min(len(inside) - 1, int(0.99 * len(inside)))] * 1.1) + 1
    pre = head if head > 1 else 0
    return pre, max(1, tail - pre)


def counted(rows, plan, train, memory_mb=(), *, foreseen=False):
    """Cold starts, idle GB-minutes, and the rates of the functions that were called."""
    cold, wasted, rates = 0, 0.0, []
    for place, row in enumerate(rows):
        gaps, last, own_cold, invocations = [], None, 0, 0
        pre, keep = plan(gaps)
        size = memory_mb[place] if memory_mb else 100.0 + 37 * place
        for minute, count in enumerate(row):
            age = None if last is None else minute - last
            if foreseen:
                warm = age is not None if count else any(row[minute + 1 : minute + 2])
            else:
                warm = age is not None and (age > pre or pre == 0) and age <= pre + keep
            if count:
                if minute >= train:
                    invocations += count
                    own_cold += not warm
                if age is not None:
                    gaps.append(age)
                last = minute
                pre, keep = plan(gaps)
            elif warm and minute >= train:
                wasted += size / 1024
        cold += own_cold
        if invocations:
            rates.append(own_cold / invocations)
    return cold, wasted, sorted(rates)


counts = st.sampled_from([0, 0, 0, 0, 0, 0, 1, 1, 3])
periodic = st.tuples(st.integers(1, 40), st.integers(0, 39), st.integers(1, 5))


@st.composite
def traces(draw):
    """Rows of one length: some by chance, some at regular times."""
    length = draw(st.integers(1, 200))
    rows = [
        draw(st.lists(counts, min_size=length, max_size=length))
        for _ in range(draw(st.integers(0, 3)))
    ]
    for period, phase, count in draw(st.lists(periodic, min_size=1, max_size=4)):
        rows.append([count if m % period == phase % period else 0 for m in range(length)])
    return rows


@pytest.mark.parametrize(
    ("name", "plan", "foreseen"),
    [
        ("fixed-1", fixed_plan(1), False),
        ("fixed-10", fixed_plan(10), False),
        ("fixed-60", fixed_plan(60), False),
        ("hybrid", hybrid_plan, False),
        ("clairvoyant", fixed_plan(0), True),
    ],
    ids=["fixed-1", "fixed-10", "fixed-60", "hybrid", "clairvoyant"],
)
@settings(max_examples=60, deadline=None)
@given(rows=traces(), share=st.floats(0, 1))
def test_equal_to_looking_at_every_minute(name, plan, foreseen, rows, share):
    train = int(share * (len(rows[0]) - 1))
    result = replayed(rows, name, train)
    cold, wasted, rates = counted(rows, plan, train, foreseen=foreseen)
    assert result.cold_starts == cold
    assert result.wasted_gb_minutes == pytest.approx(wasted, abs=0.006)
    assert result.functions == len(rates)
    assert result.invocations == sum(sum(row[train:]) for row in rows)
    for share_of, figure in ((0.5, result.q50), (0.75, result.q75)):
        expected = round(rates[int(share_of * (len(rates) - 1))] * 100, 1) if rates else 0
        assert figure == expected


class Scripted:
    """A policy whose windows come from a list, and which names other functions than the one that was called."""

    def __init__(self, script, functions):
        self._script = script
        self._functions = functions
        self._windows = {}
        self.told = []

    def _next(self, salt):
        return self._script[salt % len(self._script)] if self._script else ()

    def _change(self, function, now, salt):
        shifts = self._next(salt)
        found, at = [], now
        for wait, length in shifts:
            found.append(
                Expectation(
                    since=at + wait, until=at + wait + length, probability=1.0, reason=Reason.HABIT
                )
            )
            at = found[-1].until
        self._windows[function] = found
        return function

    def observe(self, function, at, count=1):
        self.told.append(("call", at, function))
        minute = int(at // MINUTE_S)
        other = (function + minute) % self._functions
        yield self._change(other, at, minute + function)

    def advance(self, now):
        self.told.append(("time", now, None))
        minute = int(now // MINUTE_S)
        return [self._change(minute % self._functions, now, minute)] if minute % 3 == 0 else []

    def windows(self, function, now):
        return self._windows.get(function, ())


def looked_at_one_by_one(rows, policy, train):
    """The same rule as the engine's, without its book-keeping."""
    held = [()] * len(rows)
    cold, idle = [0] * len(rows), [0] * len(rows)
    for offset in range(len(rows[0])):
        now = (FIRST + offset) * MINUTE_S
        for place in policy.advance(now):
            held[place] = policy.windows(place, now)
        for place, row in enumerate(rows):
            warm = any(each.since <= now < each.until for each in held[place])
            if offset >= train:
                cold[place] += bool(row[offset]) and not warm
                idle[place] += warm and not row[offset]
        changed = []
        for place, row in enumerate(rows):
            if row[offset]:
                changed += policy.observe(place, now, row[offset])
        for place in dict.fromkeys(changed):
            held[place] = policy.windows(place, now)
    return sum(cold), sum(idle)


@settings(max_examples=150, deadline=None)
@given(
    rows=traces(),
    share=st.floats(0, 1),
    script=st.lists(
        st.lists(
            st.tuples(st.sampled_from([0.0, 1.0, 59.0, 60.0, 300.0]), st.floats(0.5, 2000)),
            max_size=3,
        ),
        max_size=7,
    ),
)
def test_whatever_a_policy_changes_and_when_nothing_is_counted_twice_or_missed(rows, share, script):
    train = int(share * (len(rows[0]) - 1))
    functions = recorded(rows, memory_mb=[1024.0] * len(rows))
    policy, same = Scripted(script, len(rows)), Scripted(script, len(rows))
    score = MinuteReplay(
        functions, policy, first=FIRST, end=FIRST + len(rows[0]), count_from=FIRST + train
    ).run()
    cold, idle = looked_at_one_by_one(rows, same, train)
    assert (score.cold, score.wasted_mb_minutes) == (cold, pytest.approx(idle * 1024.0))
    assert policy.told == same.told, "time and calls in the same order"


def test_the_own_policy_is_told_of_time_before_calls():
    rows = [[1 if minute % 7 == 0 else 0 for minute in range(300)]]
    ready = replayed(rows, "forerun", train=60)
    kept = replayed(rows, "fixed-10", train=60)
    assert ready.cold_starts <= 2
    assert ready.wasted_gb_minutes < 0.5 * kept.wasted_gb_minutes


# -- figures ---------------------------------------------------------------------------------------------------------


def test_what_waiting_cost_and_what_a_host_held():
    rows = [[1, 0, 0, 0, 3, 0], [0, 0, 2, 0, 0, 0]]
    result = replayed(rows, "fixed-1", memory_mb=[1024.0, 512.0])
    assert result.cold_starts == 3
    assert result.wasted_gb_minutes == 1 + 1 + 0.5
    assert result.used_gb_minutes == 2 + 0.5
    assert result.peak_host_gb == 1.0
    assert result.added_latency_ms == {"p50": 0.0, "p95": 1000.0, "p99": 1000.0, "total": 3000.0}
    assert result.cold_percent == 50.0


def test_a_host_that_holds_more_than_it_has_is_told_of():
    rows = [[1, 0, 0, 0], [1, 0, 0, 0]]
    functions = recorded(rows, memory_mb=[1024.0, 1024.0])
    host = Host(functions, FIRST, FIRST + 4, FIRST, memory_mb=1500.0)
    runs = host.run(["fixed-2", "greedy-dual"], lambda: 0.0)
    assert [run.score.over for run in runs] == [3, 1]


def test_greedy_dual_has_as_much_memory_as_ten_minutes_hold_where_none_is_given():
    rows = [[1 if minute % (13 + place) == 0 else 0 for minute in range(240)] for place in range(9)]
    given, held = replayed(rows, "greedy-dual"), replayed(rows, "fixed-10")
    used = held.wasted_gb_minutes + held.used_gb_minutes
    assert given.wasted_gb_minutes + given.used_gb_minutes <= 1.05 * used


@pytest.mark.parametrize("name", DEFAULT)
def test_nothing_called_costs_nothing(name):
    result = replayed([[0] * 30, [0] * 30], name)
    assert (result.cold_starts, result.invocations, result.functions) == (0, 0, 0)
    assert result.wasted_gb_minutes == 0


# -- hosts -----------------------------------------------------------------------------------------------------------


def test_functions_are_spread_by_name_and_scores_add_up():
    rows = [[int(m % (place + 2) == 0) for m in range(100)] for place in range(40)]
    functions = [
        Calls(About(f"f{place}", f"app{place // 2}", "call", 128.0, 1000.0)) for place in range(40)
    ]
    for calls, row in zip(functions, rows, strict=True):
        for minute, count in enumerate(row):
            if count:
                calls.add(minute, count)
    recording = ByMinutes(functions, 0, 100, {})
    hosts = spread(recording, 8, train=10)
    assert sum(len(host.functions) for host in hosts) == 40
    assert len(hosts) > 4
    for place in range(0, 40, 2):
        assert host_of(functions[place].about, 8) == host_of(functions[place + 1].about, 8)
    whole = spread(recording, 1, train=10)
    for name in ("fixed-10", "hybrid", "clairvoyant"):
        totals = []
        for parts in (hosts, whole):
            first, *others = [run.score for host in parts for run in host.run([name], lambda: 0.0)]
            for other in others:
                first.add(other)
            totals.append(first.result(name, 0.0))
        apart, together = totals
        assert apart.peak_host_gb < together.peak_host_gb
        for field in ("cold_starts", "wasted_gb_minutes", "q50", "q75", "added_latency_ms"):
            assert getattr(apart, field) == getattr(together, field)


@pytest.mark.parametrize(
    "name", ["", "fixed-", "fixed-0", "nothing", "hybrid-3", "fixed-9999999", "x" * 500]
)
def test_names_of_no_policy_are_refused_by_name(name):
    setting = Setting([], MINUTE_S, 0.0, dict)
    with pytest.raises(InvalidInput, match=r"policy|number"):
        make_policy(name, setting)


def test_the_dial_of_the_own_policy_turns_its_price():
    setting = Setting([About("f")], MINUTE_S, 0.0, dict)
    assert isinstance(make_policy("forerun-0.5", setting), Predictor)
    rows = [[int(minute % 31 in (0, 3, 17)) for minute in range(400)] for _ in range(3)]
    little, much = replayed(rows, "forerun-0.02", 60), replayed(rows, "forerun-50", 60)
    assert little.wasted_gb_minutes < much.wasted_gb_minutes
    assert little.cold_starts > much.cold_starts


# -- own history -----------------------------------------------------------------------------------------------------


def test_history_becomes_a_recording_and_what_cannot_be_is_counted():
    sample = Sample("f", [(12, 3), (10, 1), (12, 9), (99, 1), (11, -1), (13, 0)], 64.0, 20.0)
    found = from_history(History(10, 20, [sample, Sample("never", [])]))
    (calls,) = found.functions
    assert calls.minutes == array("I", [10, 12])
    assert calls.counts == array("I", [1, 3])
    assert calls.about.memory_mb == 64.0
    assert found.skipped == {
        "counts that cannot be": 1,
        "minutes told twice": 1,
        "minutes outside of the history": 1,
    }


def test_a_history_of_centuries_is_refused():
    with pytest.raises(InvalidInput, match="minutes"):
        from_history(History(0, 10**12, []))
