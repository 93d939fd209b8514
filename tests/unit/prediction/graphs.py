"""Graphs of who calls whom, and what is expected of runs through them."""

from forerun.model import Qualified, Successor
from forerun.prediction import Traversals

ACCOUNT = "1" * 12
T0 = 1_760_000_000.0
A, B, C, D, E = (Qualified(ACCOUNT, name) for name in "ABCDE")


def to(function: Qualified, likelihood: float = 1.0, delay_s: float = 1.0, **more) -> Successor:
    """A call that always comes after ``delay_s``."""
    given = {"samples": 1_000, "delay_p50_s": delay_s, "delay_p95_s": delay_s} | more
    return Successor(function, likelihood, given.pop("samples"), **given)


def traversals(graph: dict[Qualified, list[Successor]] | None = None, **more) -> Traversals:
    values = {"likelihood": 0.5, "samples": 20, "margin_s": 2.0, "depth": 4} | more
    made = Traversals(**values)
    for function, successors in (graph or {}).items():
        made.learn(function, successors)
    return made


def branching() -> Traversals:
    """A calls B, which calls D; or else, rarely, C, which calls E."""
    return traversals(
        {
            A: [to(B, 0.9, excludes=frozenset({C})), to(C, 0.1, excludes=frozenset({B}))],
            B: [to(D)],
            C: [to(E)],
        }
    )


def expected(of: Traversals, now: float = T0) -> dict[str, int]:
    """How many calls of which function are expected."""
    return {
        each.name: max(one.count for one in found)
        for each in (A, B, C, D, E)
        if (found := of.expectations(each, now))
    }
