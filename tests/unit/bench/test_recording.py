"""Recordings become call trees; what is broken in them is left out and counted."""

import gzip
import random

import pytest
from bench.recording import DATABASE, Node, Step, parse, read, service_of, truth
from hypothesis import given
from hypothesis import strategies as st

COLUMNS = "TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration"
BASE = 1_661_273_974_730_000_000


def row(span, parent, pod, start_ms, end_ms, *, operation="op", trace="t1"):
    start, end = (BASE + int(ms * 1e6) for ms in (start_ms, end_ms))
    return {
        "TraceID": trace,
        "SpanID": span,
        "ParentID": parent,
        "PodName": pod,
        "OperationName": operation,
        "StartTimeUnixNano": str(start),
        "EndTimeUnixNano": str(end),
        "Duration": str(int((end_ms - start_ms) * 1000)),
    }


SHOP = [
    row("a", "root", "front-579b9bff58-t2dbm", 0, 100),
    row("b", "a", "front-579b9bff58-t2dbm", 10, 40, operation="client: stock"),
    row("c", "b", "stock-6f6cfc45b-h5m2n", 12, 38),
    row("d", "c", "stock-6f6cfc45b-h5m2n", 15, 20, operation="SELECT shop.items"),
    row("e", "a", "price-6f6cfc45b-d9pnv", 30, 90),
]


def test_a_trace_becomes_a_tree():
    found = parse(SHOP)
    assert not found.skipped
    stock = Node(
        "stock",
        "op",
        26.0,
        (Step(3.0, 8.0, Node(DATABASE, "SELECT shop.items", 5.0, outside=True)),),
    )
    front = Node(
        "front",
        "op",
        100.0,
        # The call as the caller saw it; one without a span of the caller's as the callee did.
        (Step(10.0, 40.0, stock), Step(30.0, 90.0, Node("price", "op", 60.0))),
    )
    assert found.trees == [front]
    assert [node.service for node in front.executions()] == ["front", "price", "stock"]
    assert front.without_outside().steps[0].node == Node("stock", "op", 26.0)


@pytest.mark.parametrize(
    ("pod", "service"),
    [
        ("frontend-579b9bff58-t2dbm", "frontend"),
        ("ts-order-other-service-6f6cfc45b-h5m2n", "ts-order-other-service"),
        ("ts-order-other-service", "ts-order-other-service"),
        ("mysql-0", "mysql"),
        ("a b/c", "a-b-c"),
        ("///", "unnamed"),
    ],
)
def test_services_have_no_pods_hash(pod, service):
    assert service_of(pod) == service


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"StartTimeUnixNano": "soon"}, "malformed"),
        ({"EndTimeUnixNano": "1"}, "malformed"),
        ({"PodName": ""}, "malformed"),
        ({"SpanID": None}, "malformed"),
        ({"SpanID": "c"}, "duplicate"),
        ({"ParentID": "nobody"}, "not below a root"),
    ],
    ids=["text", "ends-early", "no-pod", "no-id", "twice", "orphan"],
)
def test_what_is_broken_is_left_out_and_counted(bad, reason):
    found = parse([*SHOP, row("z", "a", "late", 1, 2) | bad])
    assert found.trees == parse(SHOP).trees
    assert found.skipped == {reason: 1}


def test_parents_in_a_circle_end_nothing():
    found = parse([row("a", "b", "x", 0, 1), row("b", "a", "y", 0, 1)])
    assert found.trees == []
    assert found.skipped == {"not below a root": 2}


@given(st.integers(0, 1 << 30))
def test_the_order_of_rows_does_not_matter(seed):
    rows = list(SHOP)
    random.Random(seed).shuffle(rows)
    assert parse(rows).trees == parse(SHOP).trees


def test_chains_are_bounded():
    rows = [row("s0", "root", "p0", 0, 9)]
    rows += [row(f"s{n}", f"s{n - 1}", f"p{n}", 0, 9) for n in range(1, 3000)]
    found = parse(rows)
    assert 30 < len(list(found.trees[0].executions())) < 60
    assert found.skipped["not below a root"] > 2900


def test_a_folder_of_files_is_one_recording(tmp_path):
    def text(rows):
        return "\n".join([COLUMNS, *(",".join(each.values()) for each in rows)]) + "\n"

    (tmp_path / "one.csv").write_text(text(SHOP))
    with gzip.open(tmp_path / "two.csv.gz", "wt") as file:
        file.write(text([row("a", "root", "front", -5, 1, trace="t2")]))
    trees = read(tmp_path).trees
    assert [tree.duration_ms for tree in trees] == [100.0, 6.0]
    known = truth(trees)
    assert known["front"].executions == 2
    assert known["front"].likelihood("stock") == 0.5
    assert known["stock"].calls == {DATABASE: 1}
