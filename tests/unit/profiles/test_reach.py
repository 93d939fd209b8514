"""What is reached in the end, how likely and how often; loops end; the map of an account is complete."""

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.profiles.findings.profiles import callee, profile, spread

from forerun.profiles import Graph, Likelihood, Profile, latest, reach, service_map
from forerun.profiles.reach import MOST_DEPTH


def graph(**calls: dict[str, float]) -> dict[str, Profile]:
    """Functions by name, with whom they call how likely, once each; names in lower case are services."""
    return {
        name: profile(
            function=name,
            callees=[
                callee(
                    to,
                    kind="function" if to.isupper() else "service",
                    executions=1000 * share,
                    calls=1000 * share,
                    likelihood=Likelihood(value=share, low=share, high=share),
                )
                for to, share in callees.items()
            ],
        )
        for name, callees in calls.items()
    }


def likelihoods(found: Graph) -> dict[str, float | None]:
    return {node.name: node.likelihood for node in found.nodes}


def reached(known: dict[str, Profile], root: str = "A") -> Graph:
    return reach(known[root], known)


def test_likelihoods_multiply_along_a_way():
    found = reached(graph(A={"B": 0.5, "s": 1.0}, B={"C": 0.4}, C={"t": 0.5}))
    assert likelihoods(found) == pytest.approx({"A": 1, "B": 0.5, "s": 1, "C": 0.2, "t": 0.1})
    assert {node.name: node.depth for node in found.nodes} == {
        "A": 0,
        "B": 1,
        "s": 1,
        "C": 2,
        "t": 3,
    }
    assert found.cycles == []
    assert not found.cut


def test_several_ways_are_at_least_one_of_them():
    found = reached(graph(A={"B": 0.5, "C": 0.5}, B={"D": 1.0}, C={"D": 1.0}, D={}))
    assert likelihoods(found)["D"] == pytest.approx(0.75)
    calls = {node.name: node.calls for node in found.nodes}
    assert calls["D"] == pytest.approx(1.0)


def test_what_all_ways_have_in_common_counts_once():
    """Both ways to E begin with B, which is called half of the time: so is E at most."""
    found = reached(
        graph(A={"B": 0.5}, B={"C": 1.0, "D": 1.0}, C={"E": 1.0}, D={"E": 1.0}, E={"F": 0.5})
    )
    assert likelihoods(found) == pytest.approx(
        {"A": 1, "B": 0.5, "C": 0.5, "D": 0.5, "E": 0.5, "F": 0.25}
    )


def test_a_loop_ends_and_is_told():
    found = reached(graph(A={"B": 0.5}, B={"A": 1.0, "C": 0.5}, C={"B": 0.5, "s": 1.0}))
    assert likelihoods(found) == pytest.approx({"A": 1, "B": 0.5, "C": 0.25, "s": 0.25})
    assert sorted(sorted(chain) for chain in found.cycles) == [
        ["function:A", "function:B"],
        ["function:B", "function:C"],
    ]


def test_a_function_that_calls_itself_is_a_cycle():
    found = reached(graph(A={"A": 1.0}))
    assert found.cycles == [["function:A"]]
    assert likelihoods(found) == {"A": 1.0}


def test_depth_is_bounded():
    chain = {f"A{number}": {f"A{number + 1}": 1.0} for number in range(100)}
    found = reached(graph(**chain), "A0")
    assert found.cut
    assert max(node.depth or 0 for node in found.nodes) == MOST_DEPTH


def test_who_passed_it_on_is_told_and_counted_once():
    known = graph(A={"s": 0.6}, B={})
    through = callee("B", via="s", likelihood=Likelihood(value=0.6, low=0.5, high=0.7))
    known["A"] = profile(function="A", callees=[*known["A"].callees, through])
    found = reached(known)
    assert likelihoods(found) == pytest.approx({"A": 1, "s": 0.6, "B": 0.6})
    assert [edge.via for edge in found.edges if edge.target == "function:B"] == ["s"]


names = st.sampled_from("ABCDEfg")
graphs = st.dictionaries(
    st.sampled_from("ABCDE"), st.dictionaries(names, st.floats(0, 1), max_size=6), min_size=1
)


@given(graphs)
def test_any_graph_has_likelihoods_and_an_end(calls):
    known = graph(**calls)
    root = next(iter(known))
    found = reached(known, root)
    ids = {node.id for node in found.nodes}
    assert found.nodes[0].id == f"function:{root}"
    assert len(ids) == len(found.nodes)
    assert all(0 <= (node.likelihood or 0) <= 1 + 1e-9 for node in found.nodes)
    assert all(edge.source in ids and edge.target in ids for edge in found.edges)
    for edge in found.edges:
        if edge.source == f"function:{root}" and edge.target != edge.source:
            node = next(node for node in found.nodes if node.id == edge.target)
            assert (node.likelihood or 0) >= edge.likelihood - 1e-9
    msgspec.json.encode(found)


def test_the_map_holds_everybody():
    known = graph(A={"B": 0.5, "s": 1.0}, B={"s": 0.5, "C": 1.0})
    found = service_map(known, {"A": 100.0, "B": 50.0, "idle": 7.0})
    nodes = {node.id: node for node in found.nodes}
    assert set(nodes) == {
        "function:A",
        "function:B",
        "function:C",
        "function:idle",
        "service:s",
    }
    rates = {(edge.source, edge.target): edge.per_hour for edge in found.edges}
    assert rates["function:A", "function:B"] == pytest.approx(50.0)
    assert nodes["service:s"].per_hour == pytest.approx(125.0)
    assert nodes["service:s"].p50 is None, "of several callers none speaks for all"
    assert nodes["function:idle"].per_hour == 7.0


def test_a_thousand_functions_take_less_than_half_a_second():
    known = {
        f"F{number}": profile(
            function=f"F{number}",
            callees=[
                callee(f"F{(number * 7 + step) % 1000}", kind="function") for step in range(10)
            ],
        )
        for number in range(1000)
    }
    began = time.process_time()
    found = service_map(known, {})
    assert len(found.nodes) == 1000
    assert len(found.edges) == 10_000
    assert time.process_time() - began < 0.5
    began = time.process_time()
    assert len(reach(known["F0"], known).nodes) == 1000
    assert time.process_time() - began < 0.5


def test_the_version_watched_last_speaks_for_its_function():
    old, new = profile(version="1", until=5.0), profile(version="2", until=6.0)
    assert latest([new, old])["A"].version == "2"
    assert spread(1.0).count == 1000
