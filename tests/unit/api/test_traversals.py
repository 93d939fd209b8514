"""Running executions as they are told to people."""

from tests.fakes.clock import FakeClock

from forerun.api.caller import Caller
from forerun.api.traversals import TraversalRoutes
from forerun.model import Qualified, Successor
from forerun.prediction import Traversals

ACCOUNT, OTHER = "1" * 12, "2" * 12
T0 = 1_760_000_000.0


def caller(account: str) -> Caller:
    return Caller(account=account, region="r", principal_arn="", access_key_id="", request_id="")


async def test_each_account_sees_its_own_runs_and_what_they_may_call():
    running = Traversals(likelihood=0.5, samples=1, margin_s=2.0, depth=2)
    a, b = Qualified(ACCOUNT, "a"), Qualified(ACCOUNT, "b", "live")
    running.learn(a, [Successor(b, 0.75, 10_000, 3, 1.0, 1.0)])
    running.began(a, "span", "", "request", T0)
    (route,) = TraversalRoutes(running, FakeClock(T0)).routes().values()
    shown = await route(caller(ACCOUNT), {})
    assert shown == {
        "Traversals": [
            {
                "function": "a",
                "request_id": "request",
                "execution": "span",
                "cause": "request",
                "caller": "",
                "began": T0,
                "branches": [
                    {"function": "b:live", "probability": 0.75, "seen": 0, "excluded": False}
                ],
                "ahead": [
                    {
                        "function": "b:live",
                        "probability": 0.75,
                        "since": T0 + 1,
                        "until": T0 + 3,
                        "count": 3.0,
                    }
                ],
            }
        ]
    }
    assert await route(caller(OTHER), {}) == {"Traversals": []}
