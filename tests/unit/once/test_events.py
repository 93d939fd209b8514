"""An event keeps its execution id wherever it goes: into the queue, to its attempts, and through the dead letters."""

from tests.fakes.clock import FakeClock
from tests.fakes.functions import ACCOUNT, REGION, make_function

from forerun.control.delivery.functions import EXECUTION_ID, FunctionTargets
from forerun.control.destinations import letter_of_event
from forerun.control.registry import Resolved
from forerun.storage import QueuedEvent


class Permission:
    async def function(self, sender, target):
        return Resolved(function=make_function(), qualifier=None, invoked_arn=target)


class Monitor:
    def rooted(self, origin, now):
        return origin


class Events:
    async def enqueue(self, events):
        raise AssertionError("nothing is sent here")


def event(**headers):
    return QueuedEvent(
        id="e", account=ACCOUNT, name="f", payload=b"{}", accepted_at=1.0, headers=headers
    )


async def redriven(given):
    letter = letter_of_event(given, REGION, reason="RetriesExhausted", detail="", at=2.0)
    targets = FunctionTargets(
        permission=Permission(), events=Events(), monitor=Monitor(), clock=FakeClock()
    )
    return await targets.prepared(letter.message)


async def test_an_id_goes_through_the_dead_letters():
    assert (await redriven(event(**{EXECUTION_ID: "x"}))).headers == {EXECUTION_ID: "x"}
    assert (await redriven(event())).headers == {}
