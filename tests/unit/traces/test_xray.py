"""X-Ray's documents and what is said of traces: read, written, filtered, counted."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.errors import InvalidInput
from forerun.model import Span, SpanStatus
from forerun.traces import (
    ServiceGraph,
    compile_filter,
    documents_of,
    facts_of,
    from_xray_id,
    read_document,
    to_xray_id,
)
from forerun.traces.xray_reading import MAX_DOCUMENT, MAX_SPANS

NOW = 1_790_000_000.0
TRACE = "6ab13c80" + "a" * 24


def span(number: int, parent: int = 0, **more: object) -> Span:
    given = {
        "trace_id": TRACE,
        "span_id": f"{number:016x}",
        "parent_id": f"{parent:016x}" if parent else "",
        "name": f"span-{number}",
        "service": "shop",
        "kind": "internal",
        "started": NOW + number,
        "ended": NOW + number + 0.5,
    }
    return Span(**(given | more))  # type: ignore[arg-type]


def document(**more: object) -> str:
    given = {
        "id": "00f067aa0ba902b7",
        "trace_id": to_xray_id(TRACE),
        "name": "shop",
        "start_time": NOW,
        "end_time": NOW + 1,
    }
    return json.dumps(given | more)


def ids_in(texts: list[tuple[str, str]]) -> list[str]:
    """The ids of all segments and subsegments."""
    found = []
    waiting = [json.loads(text) for _, text in texts]
    while waiting:
        one = waiting.pop()
        found.append(one["id"])
        waiting += one.get("subsegments", ())
    return found


# Reading


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
MEMBERS = ("id", "trace_id", "parent_id", "name", "start_time", "end_time", "http", "aws", "sql")
MORE = ("annotations", "metadata", "cause", "subsegments", "type", "namespace", "user", "fault")


@given(st.dictionaries(st.sampled_from(MEMBERS + MORE), json_values))
def test_any_document_is_refused_or_read(members: dict[str, object]) -> None:
    with contextlib.suppress(InvalidInput):
        read_document(document(**members), "1")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_document(data, "1")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"trace_id": "1-2-3"}, "trace id"),
        ({"id": "xyz"}, "id must"),
        ({"id": "0" * 16}, "id must"),
        ({"name": ""}, "name"),
        ({"start_time": "now"}, "start_time"),
        ({"start_time": 10**400}, "start_time"),
        ({"start_time": True}, "start_time"),
        ({"name": "x" * MAX_DOCUMENT}, "bytes"),
    ],
    ids=["trace", "id", "zero-id", "name", "text-time", "huge-time", "no-time", "long"],
)
def test_a_bad_document_is_refused_by_its_field(members: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read_document(document(**members), "1")


def test_what_a_segment_says_is_kept() -> None:
    inner = {
        "id": "1" * 16,
        "name": "DynamoDB",
        "namespace": "aws",
        "start_time": NOW,
        "in_progress": True,
        "throttle": True,
        "aws": {"operation": "PutItem", "retries": 2},
    }
    segment = read_document(
        document(
            http={"request": {"method": "GET", "url": "http://x/"}, "response": {"status": 500}},
            fault=True,
            annotations={"tier": "gold", "count": 2},
            metadata={"debug": {"a": [1]}},
            user="ann",
            cause={"exceptions": [{"type": "OSError", "message": "gone"}]},
            subsegments=[inner],
        ),
        "1",
    )
    first, second = segment.spans
    assert (first.kind, first.service, first.source) == ("server", "shop", "xray")
    assert first.status is SpanStatus.FAULT
    assert first.attributes["http.response.status_code"] == 500
    assert first.attributes["annotation.tier"] == "gold"
    assert first.attributes["exception.type"] == "OSError"
    assert (second.kind, second.ended, second.parent_id) == ("client", 0.0, first.span_id)
    assert second.status is SpanStatus.THROTTLE
    assert second.attributes["aws.operation"] == "PutItem"


def test_a_document_is_written_as_it_was_read() -> None:
    text = document(
        annotations={"tier": "gold"},
        metadata={"debug": {"a": [1]}},
        http={"request": {"method": "GET", "url": "http://x/"}, "response": {"status": 404}},
        error=True,
        user="ann",
    )
    [(id_, written)] = documents_of(read_document(text, "1").spans)
    assert id_ == "00f067aa0ba902b7"
    assert json.loads(text).items() <= json.loads(written).items()


def test_more_subsegments_than_are_kept_are_left_out() -> None:
    # Ids alone would make the document too long.
    many = [
        {"id": f"{n:016x}", "name": "x", "start_time": 1_000_000_000}
        for n in range(1, MAX_SPANS + 5)
    ]
    text = document(subsegments=many).replace(" ", "")
    assert len(text) <= MAX_DOCUMENT
    assert len(read_document(text, "1").spans) == MAX_SPANS


@given(st.from_regex(r"[0-9a-f]{32}", fullmatch=True))
def test_trace_ids_in_both_forms(trace_id: str) -> None:
    assert from_xray_id(to_xray_id(trace_id)) == from_xray_id(trace_id) == trace_id


# Writing


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(["server", "internal", "client"])),
        max_size=12,
    )
)
def test_every_span_is_in_exactly_one_document(shape: list[tuple[int, str]]) -> None:
    """Also when parents are missing, stand below their children, or go in a circle."""
    spans = [span(number, parent, kind=kind) for number, (parent, kind) in enumerate(shape, 1)]
    assert sorted(ids_in(documents_of(spans))) == sorted(each.span_id for each in spans)


def test_a_deep_chain_is_cut_into_documents() -> None:
    spans = [span(number, number - 1) for number in range(1, 200)]
    texts = documents_of(spans)
    assert len(texts) > 1
    assert len(ids_in(texts)) == 199


def test_calls_stand_below_and_callees_beside() -> None:
    spans = [
        span(1, kind="server", service="a", source="forerun"),
        span(2, 1, kind="client", attributes={"aws.service": "lambda"}),
        span(3, 2, kind="server", service="b", source="forerun"),
    ]
    first, second = (json.loads(text) for _, text in documents_of(spans))
    assert (first["name"], first["origin"]) == ("a", "AWS::Lambda::Function")
    assert first["subsegments"][0]["name"] == "Lambda"
    assert first["subsegments"][0]["namespace"] == "aws"
    assert (second["name"], second["parent_id"]) == ("b", first["subsegments"][0]["id"])


# Filters


SPANS = [
    span(
        1,
        kind="server",
        service="shop",
        attributes={"annotation.tier": "gold", "annotation.n": 3, "http.response.status_code": 404},
    ),
    span(2, 1, status=SpanStatus.ERROR, attributes={"enduser.id": "ann"}),
]


@pytest.mark.parametrize(
    ("expression", "fits"),
    [
        ("", True),
        ("error", True),
        ("fault", False),
        ("ok", False),
        ("!fault AND NOT ok", True),
        ("error = true", True),
        ("error != true", False),
        ('service("shop")', True),
        ('service("sho")', False),
        ("responsetime > 0.4", True),
        ("responsetime>=0.6", False),
        ("duration < 2", True),
        ("http.status = 404", True),
        ('annotation.tier = "gold"', True),
        ("annotation[tier] BEGINSWITH 'go'", True),
        ("annotation.n >= 3", True),
        ('annotation.n = "3"', False),
        ("annotation.none", False),
        ('user CONTAINS "nn"', True),
        ('(fault OR error) AND service("shop")', True),
        ('fault OR ok AND service("shop")', False),
        (f'id("{to_xray_id(TRACE)}")', True),
    ],
)
def test_filters(expression: str, fits: bool) -> None:
    assert compile_filter(expression)(facts_of(SPANS)) is fits


@given(st.text("()!<>=\"'[]abdeorstu .1ANDORservice", max_size=40))
def test_any_text_is_a_filter_or_refused(expression: str) -> None:
    with contextlib.suppress(InvalidInput):
        compile_filter(expression)(facts_of(SPANS))


@pytest.mark.parametrize(
    "expression", ["(" * 200 + "ok" + ")" * 200, "!" * 2000 + "ok", "x" * 3000], ids=len
)
def test_long_and_deep_filters_are_refused(expression: str) -> None:
    with pytest.raises(InvalidInput):
        compile_filter(expression)


# The graph of services


def test_the_graph_counts_who_calls_whom() -> None:
    graph = ServiceGraph()
    for status in (SpanStatus.OK, SpanStatus.FAULT):
        graph.add(
            [
                span(1, kind="server", service="a", source="forerun"),
                span(2, 1, kind="client", service="a", attributes={"aws.service": "lambda"}),
                span(3, 2, kind="server", service="b", source="forerun", status=status),
                span(4, 1, kind="client", service="a", attributes={"aws.service": "sqs"}),
            ]
        )
    edges = {
        (caller.name, caller.kind, callee.name): measure.total
        for (caller, callee), measure in graph.edges.items()
    }
    function = "AWS::Lambda::Function"
    assert edges == {
        ("a", "client", "a"): 2,
        ("a", function, "b"): 2,
        ("a", function, "SQS"): 2,
    }
    nodes = {(service.name, service.kind): node for service, node in graph.nodes.items()}
    assert nodes["a", function].root
    assert not nodes["b", function].root
    assert nodes["b", function].measure.fault == 1
    assert not nodes["SQS", "AWS::SQS"].seen


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.sampled_from(["server", "internal", "client"])), max_size=8
    )
)
def test_any_spans_can_be_counted(shape: list[tuple[int, str]]) -> None:
    spans = [span(number, parent, kind=kind) for number, (parent, kind) in enumerate(shape, 1)]
    graph = ServiceGraph()
    graph.add(spans)
    assert all(caller in graph.nodes and callee in graph.nodes for caller, callee in graph.edges)
    if spans:
        assert facts_of(spans).duration_s >= 0
