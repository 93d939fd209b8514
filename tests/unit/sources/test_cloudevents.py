"""CloudEvents over HTTP: the three modes, and what the specification does not allow."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.errors import InvalidInput
from forerun.sources.hooks.cloudevents import (
    BATCH,
    STRUCTURED,
    encode,
    make_event,
    read_events,
    trace_headers,
)

# The example of the specification.
EXAMPLE: dict[str, Any] = {
    "specversion": "1.0",
    "type": "com.github.pull_request.opened",
    "source": "https://github.com/cloudevents/spec/pull",
    "subject": "123",
    "id": "A234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "comexampleothervalue": 5,
    "datacontenttype": "text/xml",
    "data": '<much wow="xml"/>',
}


def read(event: Any, kind: str = STRUCTURED) -> list[dict[str, Any]]:
    found = read_events({"content-type": kind}, json.dumps(event).encode())
    assert found is not None
    return found


def test_structured_mode() -> None:
    assert read(EXAMPLE) == [EXAMPLE]
    assert read(EXAMPLE, f"{STRUCTURED}; charset=UTF-8") == [EXAMPLE]
    without = read({**EXAMPLE, "subject": None})
    assert "subject" not in without[0], "null is as if it was left out"


def test_batched_mode() -> None:
    assert read([], BATCH) == []
    assert read([EXAMPLE, {**EXAMPLE, "id": "2"}], BATCH)[1]["id"] == "2"


def test_binary_mode() -> None:
    headers = {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-type": "com.example.someevent",
        "ce-time": "2018-04-05T03:56:24Z",
        "ce-id": "1234-1234-1234",
        "ce-source": "/mycontext/subcontext",
        "ce-text": "Euro%20%E2%82%AC%20%F0%9F%98%80",
        "host": "example.com",
    }
    found = read_events(headers, b'{"a": 1}')
    assert found is not None
    [event] = found
    assert event["data"] == {"a": 1}
    assert event["text"] == "Euro € \U0001f600"
    assert event["datacontenttype"] == "application/json"
    assert "host" not in event
    other = read_events({**headers, "content-type": "image/png"}, b"\x89PNG")
    assert other is not None
    assert base64.b64decode(other[0]["data_base64"]) == b"\x89PNG"
    assert "data" not in other[0]


def test_what_is_no_cloudevent() -> None:
    assert read_events({"content-type": "application/json"}, b'{"specversion": "1.0"}') is None
    assert read_events({}, b"") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"specversion": "0.3"}, "specversion must be 1.0"),
        ({"specversion": None}, "specversion"),
        ({"id": ""}, "id must be a text"),
        ({"id": 5}, "id must be a text"),
        ({"source": None}, "source must be a text"),
        ({"source": "a b"}, "source must be a URI"),
        ({"source": "http://[x"}, "source must be a URI"),
        ({"type": ""}, "type must be a text"),
        ({"type": "a\nb"}, "control characters"),
        ({"type": "x" * 5000}, "4096 characters"),
        ({"time": "yesterday"}, "time must be"),
        ({"time": "2018-13-05T17:31:00Z"}, "time must be"),
        ({"time": 5}, "time must be"),
        ({"subject": ""}, "subject must be"),
        ({"dataschema": "relative"}, "dataschema must be an absolute URI"),
        ({"datacontenttype": "nothing"}, "datacontenttype must be a media type"),
        ({"data_base64": "AAAA"}, "either data or data_base64"),
        ({"data": None, "data_base64": "!"}, "data_base64 must be base64"),
        ({"Extension": "x"}, "no name of an attribute"),
        ({"an_extension": "x"}, "no name of an attribute"),
        ({"extension": 2**31}, "integer of 32 bits"),
        ({"extension": 1.5}, "a text, an integer or a boolean"),
        ({"extension": {"a": 1}}, "a text, an integer or a boolean"),
        ({f"e{n}": "x" for n in range(70)}, "64 attributes"),
    ],
    ids=lambda value: json.dumps(value)[:30] if isinstance(value, dict) else "",
)
def test_what_the_specification_does_not_allow(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        read({**EXAMPLE, **change})


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (STRUCTURED, b""),
        (STRUCTURED, b"{"),
        (STRUCTURED, b"[]"),
        (STRUCTURED, b'"\xff"'),
        (STRUCTURED, b"[" * 100_000),
        (BATCH, b"{}"),
        (BATCH, b"[1]"),
        (BATCH, json.dumps([EXAMPLE] * 1001).encode()),
    ],
    ids=["empty", "broken", "array", "no-utf8", "deep", "no-array", "number", "too-many"],
)
def test_bodies_that_are_no_events(kind: str, body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_events({"content-type": kind}, body)


def test_headers_that_are_no_utf8() -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "%FF", "ce-source": "/", "ce-type": "t"}
    with pytest.raises(InvalidInput, match="UTF-8"):
        read_events(headers, b"")


@given(st.binary(max_size=200), st.sampled_from(["application/json", "text/plain", "x/y", "", "é"]))
def test_what_is_made_of_any_body_is_an_event(body: bytes, content_type: str) -> None:
    try:
        event = make_event(
            event_id="1",
            source="arn:x",
            event_type="t",
            now=1.5,
            body=body,
            content_type=content_type,
        )
    except InvalidInput:
        assert content_type == "application/json"
        return
    assert read_events({"content-type": STRUCTURED}, encode(event)) == [event]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*EXAMPLE, "x"]), inner),
    )
)
def test_anything_is_an_event_or_refused(anything: Any) -> None:
    body = json.dumps(anything).encode()
    for kind in (STRUCTURED, BATCH):
        try:
            found = read_events({"content-type": kind}, body)
        except InvalidInput:
            continue
        assert found is not None
        assert all(each["specversion"] == "1.0" for each in found)


def test_the_trace_comes_as_headers() -> None:
    event = {**EXAMPLE, "traceparent": "00-a-b-01"}
    assert trace_headers(event) == {b"traceparent": b"00-a-b-01"}
