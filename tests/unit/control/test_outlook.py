"""What is expected of a function from its past and from what runs, told together."""

from collections.abc import Sequence
from typing import Any

from forerun.control.ahead.outlook import Outlook
from forerun.control.ahead.traffic import Arrivals
from forerun.model import Expectation, Qualified, Reason, Successor
from forerun.prediction import Traversals
from forerun.scheduling import Demand, Preparer

ACCOUNT = "1" * 12
T0 = 1_760_000_000.0
A, B = Qualified(ACCOUNT, "a"), Qualified(ACCOUNT, "b")


class Past:
    """A policy that always expects what it is given."""

    def __init__(self, *windows: Expectation) -> None:
        self._windows = windows

    def windows(self, _function: Qualified, _now: float) -> Sequence[Expectation]:
        return self._windows

    def regularity(self, _function: Qualified, _now: float) -> tuple[float, float]:
        return 0.0, 0.0


class Told:
    """What was told of each function."""

    opened: Any = None

    def __init__(self) -> None:
        self.demands: dict[Qualified, Demand | None] = {}

    def set(self, function: Qualified, demand: Demand | None, _now: float) -> None:
        self.demands[function] = demand


def outlook(*windows: Expectation, running: Traversals) -> tuple[Outlook, Told]:
    told = Told()
    return Outlook(Past(*windows), running, Arrivals(), told), told  # type: ignore[arg-type]


def called() -> Traversals:
    """A runs, and calls B twice at once in most of its runs."""
    running = Traversals(likelihood=0.5, samples=1, margin_s=2.0, depth=2)
    running.learn(A, [Successor(B, 0.8, 1_000, 2, 1.0, 1.0)])
    running.began(A, "span", "", "request", T0)
    return running


def test_what_runs_is_prepared_for_though_the_past_is_surer_of_less():
    # Calls like those of late find their sandboxes; but there may be none.
    recent = Expectation(since=T0 - 5, until=T0 + 60, probability=0.99, reason=Reason.RECENT)
    looking, told = outlook(recent, running=called())
    looking.attend(B, T0 + 0.9)
    demand = told.demands[B]
    assert demand is not None
    assert [each.reason for each in demand.windows] == [Reason.RECENT, Reason.CALLER]
    held = Preparer(keep_s=60.0).decide([demand], now=T0 + 0.9, start_s=0.1).standby
    assert held is not None
    assert (held.idle, held.reason, held.cause) == (2, Reason.CALLER, "request")


def test_when_nothing_that_runs_leads_there_the_past_decides():
    later = Expectation(since=T0 + 100, until=T0 + 160, probability=0.9, reason=Reason.PERIOD)
    running = called()
    running.ended("span", T0)
    looking, told = outlook(later, running=running)
    looking.attend(B, T0)
    demand = told.demands[B]
    assert demand is not None
    assert list(demand.windows) == [later]


def test_without_either_nothing_is_told():
    looking, told = outlook(running=Traversals(likelihood=0.5, samples=1, margin_s=2.0, depth=2))
    looking.attend(B, T0)
    assert told.demands == {B: None}
