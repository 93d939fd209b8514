"""Spans through OpenTelemetry's wire formats and back."""

import contextlib
import json
import math

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from forerun.errors import InvalidInput
from forerun.model import Segment, Span, SpanStatus
from forerun.traces.bounds import MAX_ATTRIBUTES, MAX_VALUE
from forerun.traces.otlp_messages import new_request, request_of, response_bytes, status_bytes
from forerun.traces.otlp_reading import PART, Imported, read_json, read_protobuf
from forerun.traces.otlp_writing import write_protobuf

NOW = 1_790_000_000.0
ids = st.binary(min_size=8, max_size=8).filter(any).map(bytes.hex)
times = st.integers(1_600_000_000_000_000, 1_900_000_000_000_000).map(lambda micros: micros / 1e6)
values = (
    st.text(max_size=50)
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.booleans()
    | st.floats(allow_nan=False)
)
spans = st.builds(
    Span,
    trace_id=st.binary(min_size=16, max_size=16).filter(any).map(bytes.hex),
    span_id=ids,
    name=st.text(max_size=100),
    kind=st.sampled_from(["server", "client", "internal", "producer", "consumer"]),
    service=st.just("it"),
    started=times,
    status=st.sampled_from([SpanStatus.OK, SpanStatus.FAULT]),
    attributes=st.dictionaries(
        st.text("abcdefg.", min_size=1, max_size=20).filter(
            lambda key: not key.startswith(("exception", "http"))
        ),
        values,
        max_size=8,
    ),
)


def sent(**given: object) -> bytes:
    span = {
        "traceId": "5b8aa5a2d2c872e8321cf37308d69df2",
        "spanId": "051581bf3cb55c13",
        "name": "GET /",
        "kind": 2,
        "startTimeUnixNano": "1790000000000000000",
        "endTimeUnixNano": "1790000001500000000",
    } | given
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    scopes = [{"scope": {"name": "lib"}, "spans": [span]}]
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": scopes}]}).encode()


def read_part(**given: object) -> Imported:
    [part] = read_json(sent(**given), "1")
    return part


def read_one(**given: object) -> Span:
    [segment] = read_part(**given).segments
    [span] = segment.spans
    return span


@given(spans)
def test_a_span_survives_the_way_out_and_in(span: Span) -> None:
    body = write_protobuf([Segment(account="1", trace_id=span.trace_id, spans=[span])], "us-home-1")
    [part] = read_protobuf(body, "1")
    [segment] = part.segments
    [back] = segment.spans
    assert (back.trace_id, back.span_id, back.name, back.kind) == (
        span.trace_id,
        span.span_id,
        span.name,
        span.kind,
    )
    assert back.started == pytest.approx(span.started, abs=2e-6)
    assert back.status is span.status
    for key, value in span.attributes.items():
        assert back.attributes[key] == value
        assert type(back.attributes[key]) is type(value)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(body: bytes) -> None:
    for read in (read_protobuf, read_json):
        try:
            found = list(read(body, "1"))
        except InvalidInput:
            continue
        assert all(part.rejected or part.segments for part in found)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["resourceSpans", "scopeSpans", "spans", "attributes", "value", "x"]
                ),
                inner,
                max_size=3,
            )
        ),
    )
)
def test_any_json_is_refused_or_read(document: object) -> None:
    with contextlib.suppress(InvalidInput):
        list(read_json(json.dumps(document).encode(), "1"))


def test_both_formats_say_the_same() -> None:
    body = sent(
        attributes=[
            {"key": "text", "value": {"stringValue": "x"}},
            {"key": "whole", "value": {"intValue": "7"}},
            {"key": "number", "value": {"doubleValue": 1.5}},
            {"key": "truth", "value": {"boolValue": False}},
            {"key": "list", "value": {"arrayValue": {"values": [{"intValue": 1}]}}},
        ],
        status={"code": 2, "message": "it broke"},
    )
    plain = json.loads(body)
    for of_resource in plain["resourceSpans"]:
        for span in of_resource["scopeSpans"][0]["spans"]:
            # protobuf's own JSON has bytes in base64, OTLP's in hexadecimal digits.
            span["traceId"] = "W4qlotLIcugyHPNzCNad8g=="
            span["spanId"] = "BRWBvzy1XBM="
    message = json_format.ParseDict(plain, new_request())
    assert list(read_json(body, "1")) == list(read_protobuf(message.SerializeToString(), "1"))


def test_what_a_span_says_is_kept() -> None:
    span = read_one(
        parentSpanId="00f067aa0ba902b7",
        attributes=[{"key": "http.response.status_code", "value": {"intValue": 503}}],
        events=[
            {
                "name": "exception",
                "timeUnixNano": "1790000000000000000",
                "attributes": [{"key": "exception.type", "value": {"stringValue": "OSError"}}],
            }
        ],
        links=[{"traceId": "aa", "spanId": "bb"}],
    )
    assert (span.service, span.kind, span.source) == ("shop", "server", "otlp")
    assert span.parent_id == "00f067aa0ba902b7"
    assert math.isclose(span.ended - span.started, 1.5)
    assert span.status is SpanStatus.FAULT
    assert span.attributes["exception.type"] == "OSError"
    assert span.attributes["otel.links"] == "aa:bb"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (200, SpanStatus.OK),
        (404, SpanStatus.ERROR),
        (429, SpanStatus.THROTTLE),
        (500, SpanStatus.FAULT),
    ],
)
def test_the_http_status_tells_whose_fault_it_was(code: int, status: SpanStatus) -> None:
    attribute = {"key": "http.response.status_code", "value": {"intValue": code}}
    assert read_one(attributes=[attribute]).status is status


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"traceId": "0" * 32}, "traceId"),
        ({"traceId": "12"}, "traceId"),
        ({"spanId": "0" * 16}, "spanId"),
        ({"spanId": "xyz"}, "spanId"),
        ({"startTimeUnixNano": "0"}, "startTimeUnixNano"),
        ({"startTimeUnixNano": str((1 << 64) - 1)}, "startTimeUnixNano"),
    ],
    ids=["zero-trace", "short-trace", "zero-span", "bad-span", "no-time", "far-time"],
)
def test_a_bad_span_is_refused_with_its_reason(given: dict[str, str], reason: str) -> None:
    found = read_part(**given)
    assert (found.segments, found.rejected) == ([], 1)
    assert found.reason.startswith(reason)


def test_an_end_before_the_beginning_is_the_beginning() -> None:
    span = read_one(endTimeUnixNano="1780000000000000000")
    assert span.ended == span.started


def test_nothing_claims_to_be_the_platforms() -> None:
    span = read_one(attributes=[{"key": "forerun.weight", "value": {"intValue": 9}}])
    assert span.source == "otlp"
    assert not span.attributes.keys() & {"forerun.weight"}


def test_attributes_are_bounded() -> None:
    many = [{"key": f"k{each}", "value": {"stringValue": "x" * 9999}} for each in range(500)]
    span = read_one(attributes=many)
    assert len(span.attributes) == MAX_ATTRIBUTES
    assert max(len(str(value)) for value in span.attributes.values()) == MAX_VALUE


def test_what_is_above_the_others_comes_first() -> None:
    request = new_request()
    scope = request.resource_spans.add().scope_spans.add()
    for number, parent in ((2, 1), (1, 9), (3, 2)):
        span = scope.spans.add()
        span.trace_id, span.span_id = b"t" * 16, bytes([number]) * 8
        span.parent_span_id = bytes([parent]) * 8
        span.start_time_unix_nano = 1_790_000_000_000_000_000 - number
    [part] = read_protobuf(request.SerializeToString(), "1")
    [segment] = part.segments
    assert segment.spans[0].span_id == "01" * 8


def test_many_spans_come_in_parts() -> None:
    request = new_request()
    scope = request.resource_spans.add().scope_spans.add()
    for number in range(1, 2 * PART + 2):
        scope.spans.add(
            trace_id=b"t" * 16,
            span_id=number.to_bytes(8),
            start_time_unix_nano=1_790_000_000_000_000_000,
        )
    parts = list(read_protobuf(request.SerializeToString(), "1"))
    assert [len(part.segments[0].spans) for part in parts] == [PART, PART, 1]


def test_what_is_exported_is_a_resource_for_each_function() -> None:
    def segment(function: str, span_id: str) -> Segment:
        span = Span(trace_id="a" * 32, span_id=span_id, name=function, kind="server", started=NOW)
        return Segment(account="1", trace_id="a" * 32, spans=[span], function=function, version="3")

    body = write_protobuf(
        [segment("one", "1" * 16), segment("two", "2" * 16), segment("one", "3" * 16)], "us-home-1"
    )
    resources = request_of(body).resource_spans
    said = [
        {pair.key: pair.value.string_value for pair in each.resource.attributes}
        for each in resources
    ]
    assert [each["service.name"] for each in said] == ["one", "two"]
    assert said[0]["faas.version"] == "3"
    assert said[0]["cloud.resource_id"] == "arn:aws:lambda:us-home-1:1:function:one:3"
    assert [len(each.scope_spans[0].spans) for each in resources] == [2, 1]


def test_a_whole_success_is_an_empty_answer() -> None:
    assert response_bytes(0, "") == b""


def test_an_error_is_a_status_that_protobuf_reads() -> None:
    status = pytest.importorskip("google.rpc.status_pb2")
    read = status.Status.FromString(status_bytes(300, "wörter"))
    assert (read.code, read.message) == (300, "wörter")
