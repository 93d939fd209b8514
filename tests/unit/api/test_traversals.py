"""Running executions as they are told to people."""

from forerun.api.traversals import shown_traversal
from forerun.model import Qualified, Successor
from forerun.prediction import Traversals

ACCOUNT = "1" * 12
T0 = 1_760_000_000.0


def test_a_run_is_shown_with_what_it_may_call():
    running = Traversals(likelihood=0.5, samples=1, margin_s=2.0, depth=2)
    a, b = Qualified(ACCOUNT, "a"), Qualified(ACCOUNT, "b", "live")
    running.learn(a, [Successor(b, 0.75, 10_000, 3, 1.0, 1.0)])
    running.began(a, "span", "", "request", T0)
    assert [shown_traversal(each) for each in running.live(ACCOUNT, T0)] == [
        {
            "function": "a",
            "request_id": "request",
            "execution": "span",
            "cause": "request",
            "caller": "",
            "began": T0,
            "branches": [{"function": "b:live", "probability": 0.75, "seen": 0, "excluded": False}],
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
