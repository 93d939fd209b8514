"""Spans in any state become a tree that shows every one of them once, or says how many it leaves out."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.model import Span, SpanStatus
from forerun.traces import TraceNode, TraceTree, tree_of

A = "a" * 32
T0 = 1_700_000_000.0


def span(span_id: str, parent_id: str = "", at: float = 0.0, for_s: float = 1.0, **more) -> Span:
    values = {"name": span_id, "kind": "internal", "started": T0 + at, "ended": T0 + at + for_s}
    return Span(trace_id=A, span_id=span_id, parent_id=parent_id, **(values | more))


def execution(span_id: str, parent_id: str = "", caused_by: str = "", **more) -> Span:
    said = {"forerun.caused_by": caused_by} if caused_by else {}
    return span(span_id, parent_id, kind="server", service=span_id.upper(), attributes=said, **more)


def call(span_id: str, parent_id: str, **more) -> Span:
    return span(span_id, parent_id, kind="client", **more)


def shape(nodes: list[TraceNode]) -> list:
    return [(node.name, shape(node.children)) if node.children else node.name for node in nodes]


def nodes_of(tree: TraceTree) -> list[TraceNode]:
    found = list(tree.roots)
    for node in found:
        found += node.children
    return found


def test_a_call_holds_what_it_called():
    tree = tree_of(
        A,
        [
            call("a-b", "a", at=0.1, for_s=0.5),
            execution("b", "a-b", at=0.2, for_s=0.3),
            execution("a"),
            call("a-s", "a", at=0.7, for_s=0.1),
        ],
    )
    assert shape(tree.roots) == [("a", [("a-b", ["b"]), "a-s"])]
    assert (tree.spans, tree.executions, tree.functions) == (4, 2, ["A", "B"])
    assert (tree.started, tree.duration_ms, tree.cut, tree.circles) == (T0, 1000.0, 0, 0)


def test_a_chain_that_comes_back_to_its_function_is_seen_as_such():
    tree = tree_of(
        A,
        [
            execution("1", at=0.0, for_s=3.0),
            call("1-2", "1", at=0.1, for_s=2.0),
            execution("2", "1-2", at=0.2, for_s=1.5),
            call("2-3", "2", at=0.3, for_s=1.0),
            span("3", "2-3", at=0.4, for_s=0.5, kind="server", service="1"),
        ],
    )
    assert shape(tree.roots) == [("1", [("1-2", [("2", [("2-3", ["3"])])])])]
    assert tree.functions == ["1", "2"]
    assert tree.executions == 3


def test_children_stand_in_the_order_of_their_start():
    spans = [span("root", at=-1), *(span(f"c{n}", "root", at=n) for n in range(5))]
    random.Random(1).shuffle(spans)
    assert shape(tree_of(A, spans).roots) == [("root", [f"c{n}" for n in range(5)])]


def test_what_came_twice_is_shown_once():
    tree = tree_of(A, [span("r"), span("c", "r"), span("c", "r", name="again"), span("r")])
    assert shape(tree.roots) == [("r", ["again"])]
    assert tree.spans == 2


def test_orphans_stand_under_one_root_and_a_single_one_for_itself():
    several = tree_of(A, [span("r"), span("x", "gone", at=1), span("y", "lost", at=0.5, for_s=3)])
    assert shape(several.roots) == ["r", ("missing", ["y", "x"])]
    missing = several.roots[1]
    assert (missing.source, missing.started, missing.duration_ms) == ("", T0 + 0.5, 3000.0)
    assert [node.orphan for node in missing.children] == [True, True]
    single = tree_of(A, [span("x", "gone"), span("y", "x")])
    assert shape(single.roots) == [("x", ["y"])]
    assert single.roots[0].orphan


def test_a_cause_stands_in_for_a_parent_that_nobody_sent():
    """An outside service put its own span in between, or the call carried nothing and its credential told."""
    tree = tree_of(A, [execution("a"), call("a-s", "a"), execution("b", "of-s", caused_by="a")])
    assert shape(tree.roots) == [("a", ["a-s", "b"])]
    [b] = [node for node in nodes_of(tree) if node.name == "b"]
    assert b.caused_by
    assert not b.orphan
    known = tree_of(A, [execution("a"), call("a-s", "a"), execution("b", "a-s", caused_by="a")])
    assert shape(known.roots) == [("a", [("a-s", ["b"])])]


def test_only_the_platform_may_name_a_cause():
    foreign = span("b", "of-s", kind="server", source="otlp", attributes={"forerun.caused_by": "a"})
    assert shape(tree_of(A, [execution("a"), foreign]).roots) == ["a", "b"]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        pytest.param([span("a", "a")], ["a"], id="itself"),
        pytest.param([span("a", "b"), span("b", "a", at=1)], [("a", ["b"])], id="two"),
        pytest.param(
            [span("a", "c", at=1), span("b", "a", at=0), span("c", "b", at=2), span("d", "a")],
            [("b", [("c", [("a", ["d"])])])],
            id="three-and-one-below",
        ),
    ],
)
def test_circles_are_opened_at_what_began_first(spans, expected):
    tree = tree_of(A, spans)
    assert shape(tree.roots) == expected
    assert tree.circles == (len(spans) > 1)


def test_clocks_that_are_behind_are_corrected():
    """The callee's host says that it began before it was called: it is laid into the middle of the call."""
    tree = tree_of(
        A,
        [
            execution("a", for_s=10.0),
            call("a-b", "a", at=2.0, for_s=4.0),
            execution("b", "a-b", at=-100.0, for_s=2.0),
            call("b-c", "b", at=-99.5, for_s=1.0),
        ],
    )
    [b, b_c] = [node for node in nodes_of(tree) if node.name in ("b", "b-c")]
    assert (b.started - T0, b.ended - T0, b.skew_ms) == pytest.approx((3.0, 5.0, 103_000.0))
    assert (b_c.started - T0, b_c.skew_ms) == pytest.approx((3.5, 103_000.0))
    assert tree.started == T0
    assert tree.duration_ms == pytest.approx(10_000.0)


def test_a_child_that_outlives_its_parent_is_left_where_it_is():
    tree = tree_of(A, [execution("a"), call("a-b", "a", at=0.5), execution("b", "a-b", at=60.0)])
    assert [node.skew_ms for node in nodes_of(tree)] == [0.0, 0.0, 0.0]
    assert tree.duration_ms == 61_000.0


def test_what_has_not_ended_has_no_duration():
    tree = tree_of(A, [execution("a"), call("a-b", "a", at=0.5, ended=0.0)])
    assert [(node.ended, node.duration_ms) for node in nodes_of(tree)] == [
        (T0 + 1.0, 1000.0),
        (0.0, None),
    ]


def test_the_worst_status_is_the_trace_s():
    spans = [span("a"), span("b", "a", status=SpanStatus.THROTTLE), span("c", "a", status=SpanStatus.ERROR)]  # fmt: skip
    assert tree_of(A, spans).status is SpanStatus.THROTTLE


def test_depth_and_size_are_bounded_and_it_is_said_what_is_missing():
    chain = [span(f"{n:05}", f"{n - 1:05}" if n else "", at=n / 1000) for n in range(3_000)]
    deep = tree_of(A, chain)
    assert len(nodes_of(deep)) == 200
    assert (deep.spans, deep.cut) == (3_000, 2_800)
    assert [node.cut for node in nodes_of(deep)][-2:] == [0, 1]
    wide = tree_of(A, [span("r", at=-1), *(span(f"{n:05}", "r", at=n) for n in range(9_000))])
    assert len(nodes_of(wide)) == 5_000
    assert (wide.spans, wide.cut, wide.roots[0].cut) == (9_001, 4_001, 4_001)
    assert wide.roots[0].children[-1].name == "04998"
    many = tree_of(A, [*(span(f"{n:05}", at=n) for n in range(6_000)), span("x", "05999")])
    assert (len(nodes_of(many)), many.cut) == (5_000, 1_001)


def test_a_trace_of_nothing():
    tree = tree_of(A, [])
    assert (tree.spans, tree.roots, tree.duration_ms) == (0, [], 0.0)


ids = st.sampled_from(["", *"abcdefgh"])
anything = st.builds(
    Span,
    trace_id=st.just(A),
    span_id=ids,
    parent_id=ids,
    name=st.text(max_size=3),
    kind=st.sampled_from(["server", "client", "internal", "producer", "consumer", "odd"]),
    source=st.sampled_from(["forerun", "otlp", "xray"]),
    status=st.sampled_from(SpanStatus),
    started=st.floats(0, 4e9),
    ended=st.floats(0, 4e9),
    attributes=st.builds(lambda cause: {"forerun.caused_by": cause}, ids),
)


@given(st.lists(anything, max_size=30), st.integers(1, 5), st.integers(1, 10))
def test_any_spans_make_a_tree_that_accounts_for_each(spans, most_depth, most_nodes):
    tree = tree_of(A, spans, most_depth=most_depth, most_nodes=most_nodes)
    shown = [node for node in nodes_of(tree) if node.source]
    assert len({node.span_id for node in shown}) == len(shown) <= most_nodes
    assert tree.spans == len({each.span_id for each in spans}) == len(shown) + tree.cut
    for node in nodes_of(tree):
        for child in node.children:
            assert child.started >= node.started - 0.001
        starts = [child.started for child in node.children]
        assert starts == sorted(starts)


@given(st.lists(anything, max_size=15, unique_by=lambda each: each.span_id), st.randoms())
def test_the_order_of_arrival_does_not_matter(spans, chance):
    shuffled = list(spans)
    chance.shuffle(shuffled)
    assert tree_of(A, shuffled) == tree_of(A, spans)
