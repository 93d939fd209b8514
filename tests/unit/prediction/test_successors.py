"""How likely an execution leads to a function: against an enumeration of all that its calls may do."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.model import Qualified, Successor
from forerun.prediction.successors import MOST_SUCCESSORS, Successors, edge_of

ACCOUNT = "1" * 12
NAMES = "ABCD"


def function(name: str, qualifier: str = "") -> Qualified:
    return Qualified(ACCOUNT, name, qualifier)


def successor(name: str, likelihood: float = 1.0, **more) -> Successor:
    return Successor(function(name), likelihood, more.pop("samples", 1_000), **more)


def learned(graph: dict[str, list[Successor]], depth: int = 4) -> Successors:
    known = Successors(depth=depth)
    for name, successors in graph.items():
        known.learn((ACCOUNT, name), successors)
    return known


def enumerated(known: Successors, depth: int) -> dict[str, float]:
    """What an execution of A leads to, summed over everything that the calls within ``depth`` may do."""
    # The tree of all calls that may come, each with the place of the one that has to come before it.
    calls: list[tuple[int | None, str, float]] = []
    level: list[tuple[int | None, str]] = [(None, "A")]
    for _ in range(depth):
        following: list[tuple[int | None, str]] = []
        for before, name in level:
            for edge in known.edges((ACCOUNT, name)):
                following.append((len(calls), edge.function.name))
                calls.append((before, edge.function.name, edge.probability))
        level = following
    found = dict.fromkeys(NAMES, 0.0)
    for made in product((True, False), repeat=len(calls)):
        weight = 1.0
        reached = []
        for (before, _, probability), is_made in zip(calls, made, strict=True):
            weight *= probability if is_made else 1 - probability
            reached.append(is_made and (before is None or reached[before]))
        for name in {name for (_, name, _), is_in in zip(calls, reached, strict=True) if is_in}:
            found[name] += weight
    return found


def size(graph: dict[str, list[Successor]], depth: int) -> int:
    level, calls = ["A"], 0
    for _ in range(depth):
        level = [each.function.name for name in level for each in graph.get(name, ())]
        calls += len(level)
    return calls


edges = st.dictionaries(st.sampled_from(NAMES), st.floats(0.3, 1.0), max_size=3)
graphs = st.dictionaries(st.sampled_from(NAMES), edges, max_size=4).map(
    lambda graph: {
        name: [successor(to, share) for to, share in calls.items()] for name, calls in graph.items()
    }
)


@given(graphs.filter(lambda graph: size(graph, 3) <= 12), st.integers(1, 3))
def test_likelihoods_are_those_of_an_enumeration(graph, depth):
    known = learned(graph, depth)
    ways = known.ways((ACCOUNT, "A"), depth)
    expected = enumerated(known, depth)
    for name in NAMES:
        way = ways.get(function(name))
        share = way.probability if way else 0.0
        # What is fainter than shown is left out, and so are its further calls.
        assert share == pytest.approx(expected[name], abs=0.07 if way is None else 0.05)
        if (
            min(
                (edge.probability for each in NAMES for edge in known.edges((ACCOUNT, each))),
                default=1,
            )
            > 0.3
        ):
            assert share == pytest.approx(expected[name], abs=1e-9)


def test_a_way_over_two_others_is_counted_once_for_what_they_share():
    # A -> B -> {C, D} -> E: without B there is neither.
    known = learned(
        {
            "A": [successor("B", 0.5)],
            "B": [successor("C"), successor("D")],
            "C": [successor("E", 0.5)],
            "D": [successor("E", 0.5)],
        }
    )
    assert known.ways((ACCOUNT, "A"), 4)[function("E")].probability == pytest.approx(
        0.5 * 0.75, abs=0.01
    )


def test_delays_and_numbers_add_up_along_a_chain():
    known = learned(
        {
            "A": [successor("B", calls=5, delay_p50_s=1.0, delay_p95_s=2.0)],
            "B": [successor("C", calls=2, delay_p50_s=10.0, delay_p95_s=20.0)],
        }
    )
    way = known.ways((ACCOUNT, "A"), 4)[function("C")]
    assert way.calls == pytest.approx(10)
    assert (way.early_s, way.late_s) == (5.5, 22.0)


def test_loops_end_at_the_depth():
    known = learned({"A": [successor("A", delay_p50_s=1.0, delay_p95_s=1.0)]}, depth=3)
    ((target, steps),) = known.steps((ACCOUNT, "A")).items()
    assert (target, len(steps)) == (function("A"), 1)
    # The first of its calls is the nearest; that it comes is all there is to it.
    assert steps[0].way.late_s == 1.0


def test_no_depth_is_no_looking_ahead():
    known = learned({"A": [successor("B")]}, depth=0)
    assert not known.knows((ACCOUNT, "A"))
    assert known.steps((ACCOUNT, "A")) == {}


def test_few_samples_are_never_sure():
    sure, never = edge_of(successor("B", 1.0, samples=1)), edge_of(successor("B", 0.0, samples=1))
    assert sure.probability == pytest.approx(2 / 3)
    assert never.probability == pytest.approx(1 / 3)
    assert edge_of(successor("B", 0.9, samples=10_000)).probability == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize(
    ("given_", "name", "value"),
    [
        ({"likelihood": 1.5}, "probability", 1001 / 1002),
        ({"likelihood": -1.0}, "probability", 1 / 1002),
        ({"calls": 0}, "calls", 1),
        ({"calls": 10**9}, "calls", 1_000),
        ({"delay_p50_s": -3.0}, "median_s", 0.0),
        ({"delay_p50_s": 3.0, "delay_p95_s": 1.0}, "late_s", 3.0),
    ],
    ids=["too-likely", "less-than-never", "no-calls", "too-many-calls", "before", "late-is-early"],
)
def test_what_cannot_be_is_bounded(given_, name, value):
    edge = edge_of(successor("B")._replace(**given_))
    assert getattr(edge, name) == pytest.approx(value)


def test_callers_and_callees_are_known_until_nobody_calls_them():
    known = learned({"A": [successor("B")], "C": [successor("B")]})
    assert [known.knows((ACCOUNT, name)) for name in NAMES] == [True, True, True, False]
    known.learn((ACCOUNT, "A"), [successor("D")])
    assert [known.knows((ACCOUNT, name)) for name in NAMES] == [True] * 4
    known.learn((ACCOUNT, "C"), [])
    assert [known.knows((ACCOUNT, name)) for name in NAMES] == [True, False, False, True]


def test_memory_is_bounded():
    known = Successors(depth=2, most=3)
    for number in range(5):
        known.learn((ACCOUNT, f"F{number}"), [successor(f"G{number}")])
    assert [known.knows((ACCOUNT, f"F{number}")) for number in range(5)] == [False] * 2 + [True] * 3
    assert not known.knows((ACCOUNT, "G0"))
    known.learn(
        (ACCOUNT, "wide"), [successor(f"W{number}", 0.5 + number / 1000) for number in range(300)]
    )
    kept = known.edges((ACCOUNT, "wide"))
    assert len(kept) == MOST_SUCCESSORS
    assert kept[0].function.name == "W299"
