"""Agreement of a seen tree with a recorded one: what is missing, foreign, or in another order is counted."""

import pytest
from bench.agreement import Agreement, compare, ideal_ms, observed
from bench.recording import Node, Step


def node(service, *steps, ms=50.0):
    return Node(service, "op", ms, tuple(Step(at, end, each) for at, end, each in steps))


RECORDED = node(
    "a", (0, 10, node("b", ms=10)), (10, 30, node("c", ms=20)), (20, 40, node("b", ms=20))
)


def count(seen):
    agreement = Agreement()
    compare(RECORDED, seen, agreement)
    return agreement


def test_an_equal_tree_agrees():
    agreement = count(RECORDED)
    assert agreement.complete
    assert (agreement.executions, agreement.calls) == (4, 3)
    assert (agreement.sequences, agreement.overlaps) == (2, 1)
    assert agreement.trees_equal == 1


@pytest.mark.parametrize(
    ("seen", "short"),
    [
        (None, {"executions_seen": 0, "calls_seen": 0}),
        (node("z"), {"executions_seen": 0}),
        (node("a", *[(s.at_ms, s.end_ms, s.node) for s in RECORDED.steps[:2]]), {"calls_seen": 2}),
        (
            node(
                "a",
                (0, 9, node("b")),
                (10, 30, node("c")),
                (20, 40, node("b")),
                (41, 42, node("d")),
            ),
            {"calls_foreign": 1, "calls_seen": 3},
        ),
        (
            node("a", (0, 15, node("b")), (10, 30, node("c")), (20, 40, node("b"))),
            {"sequences_kept": 1},
        ),
        (
            node("a", (0, 9, node("b")), (10, 30, node("c")), (31, 40, node("b"))),
            {"overlaps_kept": 0},
        ),
    ],
    ids=["nothing", "another-root", "call-missing", "call-foreign", "order-lost", "overlap-lost"],
)
def test_what_differs_is_counted(seen, short):
    agreement = count(seen)
    assert {name: getattr(agreement, name) for name in short} == short
    assert agreement.trees_equal == 0


def test_a_trace_becomes_a_tree_by_its_executions():
    def span(kind, service, at, ms, *children, **attributes):
        return {
            "kind": kind,
            "service": service,
            "name": "n",
            "started": at / 1000,
            "duration_ms": ms,
            "attributes": attributes,
            "children": list(children),
        }

    inner = span("server", "b", 15.0, 5.0)
    call = span("client", "a", 10.0, 20.0, inner)
    out = span("client", "a", 40.0, 2.0, **{"server.address": "db", "server.port": 5432})
    trace = {"roots": [span("server", "a", 0.0, 50.0, span("internal", "a", 1.0, 2.0), call, out)]}
    (seen,) = observed(trace)
    assert [(step.at_ms, step.end_ms, step.node.service) for step in seen.steps] == [
        (10.0, 30.0, "b")
    ]
    (more,) = observed(trace, outside={"db:5432": "database"})
    assert [step.node.outside for step in more.steps] == [False, True]


def test_what_the_replayer_should_take():
    assert ideal_ms(node("a", ms=50.0)) == 50
    # Own time 0 and 10; b takes 10, then c and b overlap and the later one ends at 40.
    assert ideal_ms(RECORDED) == pytest.approx(50)
    assert ideal_ms(RECORDED, 0.5) == pytest.approx(25)
    # The network's share of a call is not played.
    assert ideal_ms(node("a", (0, 40, node("b", ms=10)))) == pytest.approx(20)
