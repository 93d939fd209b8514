"""The own policy in a replay call by call is held as a server holds it."""

from collections import Counter

import pytest

from forerun.cli.prepared import make_holding
from forerun.prediction.replay import About, ByCalls, Call, CallHost, Setting

MB = 1024.0


def replay(*begins, seconds=0.1, start_ms=250.0, count_from=0.0):
    calls = [Call(begin, seconds, 0) for begin in begins]
    recording = ByCalls([About("f", "app", "", MB, start_ms)], calls, Counter())
    host = CallHost(recording, count_from, None, make_holding)
    (run,) = host.run(["forerun"], lambda: 0.0)
    return run.score


def test_others_are_held_by_their_own_windows():
    setting = Setting([About("f")], 0.0, 0.0, dict)
    assert make_holding("fixed-10", setting) is None
    assert make_holding("forerun-2", setting) is not None


@pytest.mark.parametrize("period_s", [60.0, 300.0])
def test_between_regular_calls_nothing_waits_and_each_is_met(period_s):
    begins = [number * period_s for number in range(60)]
    score = replay(*begins, count_from=20 * period_s)
    assert score.invocations == 40
    assert score.cold <= 2
    waited_s = score.wasted_mb_minutes / MB * 60
    assert waited_s < 0.3 * 40 * period_s


@pytest.mark.parametrize(("gap_s", "cold"), [(50.0, 1), (1000.0, 2)])
def test_of_what_is_not_known_yet_the_host_decides(gap_s, cold):
    assert replay(0.0, gap_s).cold == cold


def test_a_burst_keeps_its_sandboxes_for_the_next_one():
    bursts = [base + offset / 100 for base in (0.0, 20.0, 40.0, 60.0, 80.0) for offset in range(5)]
    score = replay(*bursts, seconds=1.0)
    assert score.cold == 5
    assert score.peak_mb == 5 * MB
