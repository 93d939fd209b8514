"""What is counted of the calls of one name."""

import pytest

from forerun.control.ahead.traffic import Traffic
from forerun.model import Qualified


def traffic_of(*, running, working, seen_at=1_000.0):
    traffic = Traffic(Qualified("1", "f"), "arn")
    traffic.running, traffic.working, traffic.seen_at = running, working, seen_at
    return traffic


def test_calls_that_were_at_work_when_they_were_noticed_do_not_work_for_ever():
    traffic = Traffic(Qualified("1", "f"), "arn")
    traffic.running = traffic.high = traffic.count = 1
    traffic.at = 999.8
    traffic.note(1_000.0)
    traffic.running = 0
    assert traffic.level(1_000.0) == pytest.approx(1.0)
    assert traffic.level(1_005.0) == pytest.approx(0.61, abs=0.01)
    assert traffic.level(1_100.0) < 0.001


@pytest.mark.parametrize("now", [1_000.0, 1_001.0, 2_000.0])
def test_those_that_work_now_count_whole(now):
    assert traffic_of(running=3, working=1.0).level(now) == 3.0


def test_a_clock_that_was_set_back_raises_nothing():
    assert traffic_of(running=0, working=2.0).level(900.0) == 2.0
