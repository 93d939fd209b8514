"""Which headers an outgoing call gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runtime.driver import ROOT, SIGNED, TRACE, TRACE_ID

from forerun.runtime.injection import Carrier

SPAN = "00f067aa0ba902b7"
XRAY = ("X-Amzn-Trace-Id", f"Root={ROOT};Parent={SPAN};Sampled=1;Forerun={SIGNED}")
PARENT = ("traceparent", f"00-{TRACE_ID}-{SPAN}-01")
STATE = ("tracestate", f"forerun={SIGNED}")
FOREIGN = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}


def test_a_call_without_anything_gets_all():
    taken, added = Carrier(TRACE).edit(SPAN, {})
    assert added == [XRAY, PARENT, STATE]
    assert set(taken) == {"x-amzn-trace-id", "tracestate"}


def test_what_came_in_is_passed_on():
    carrier = Carrier(TRACE, "a=1,forerun=old, b=2", "user=7")
    _, added = carrier.edit(SPAN, {})
    assert added[2:] == [("tracestate", f"forerun={SIGNED},a=1,b=2"), ("baggage", "user=7")]
    _, added = carrier.edit(SPAN, {"baggage": "mine=1"})
    assert "baggage" not in dict(added)


def test_the_sdk_s_header_is_replaced():
    taken, added = Carrier(TRACE).edit(SPAN, {"x-amzn-trace-id": "Root=1-other"})
    assert "x-amzn-trace-id" in taken
    assert added[0] == XRAY


def test_an_instrumented_function_keeps_its_own_trace():
    taken, added = Carrier(TRACE, "a=1", "in=1").edit(
        SPAN, {**FOREIGN, "tracestate": "mine=2,forerun=old"}
    )
    assert taken == ["x-amzn-trace-id", "tracestate"]
    assert added == [XRAY, ("tracestate", f"forerun={SIGNED},mine=2")]
    full = ",".join(f"m{number}=x" for number in range(32))
    taken, added = Carrier(TRACE).edit(SPAN, {**FOREIGN, "tracestate": full})
    assert (taken, added) == (["x-amzn-trace-id"], [XRAY])
    taken, added = Carrier(TRACE).edit(SPAN, {**FOREIGN, "tracestate": "m=" + "x" * 500})
    assert (taken, added) == (["x-amzn-trace-id"], [XRAY])


def test_what_a_signature_covers_is_not_touched():
    covering = (
        "AWS4-HMAC-SHA256 Credential=A/20260101/r/s3/aws4_request, SignedHeaders={}, Signature=0"
    )
    taken, added = Carrier(TRACE).edit(
        SPAN, {"authorization": covering.format("host;x-amzn-trace-id"), "x-amzn-trace-id": "x"}
    )
    assert "x-amzn-trace-id" not in taken
    assert added == [PARENT, STATE]
    _, added = Carrier(TRACE).edit(SPAN, {"authorization": covering.format("host;traceparent")})
    assert added == [XRAY]
    _, added = Carrier(TRACE).edit(SPAN, {"authorization": covering.format("host;x-amz-date")})
    assert added == [XRAY, PARENT, STATE]


@pytest.mark.parametrize(
    ("trace", "added"),
    [
        pytest.param("", [], id="none"),
        pytest.param("nonsense", [], id="nonsense"),
        pytest.param(
            f"Root={ROOT}",
            [("X-Amzn-Trace-Id", f"Root={ROOT};Parent={SPAN};Sampled=1"), PARENT],
            id="unsigned",
        ),
        pytest.param(
            "Root=1-zz;Forerun=a",
            [("X-Amzn-Trace-Id", f"Root=1-zz;Parent={SPAN};Sampled=1;Forerun=a")],
            id="no W3C id",
        ),
        pytest.param(f"Root={ROOT}\r\nEvil: 1", [], id="line break"),
        pytest.param(f"Root={ROOT}é", [], id="not ASCII"),
        pytest.param("Root=" + "1" * 300, [], id="too long"),
    ],
)
def test_a_strange_header_carries_what_makes_sense(trace, added):
    assert Carrier(trace).edit(SPAN, {})[1] == added


def test_state_that_would_be_too_long_is_not_passed_on():
    _, added = Carrier(TRACE, "m=" + "x" * 500, "b" * 9000).edit(SPAN, {})
    assert added == [XRAY, PARENT, STATE]


@given(
    st.text(),
    st.text(),
    st.text(),
    st.dictionaries(
        st.sampled_from(
            ["traceparent", "tracestate", "baggage", "x-amzn-trace-id", "authorization"]
        ),
        st.text(),
    ),
)
def test_whatever_comes_in_what_goes_out_is_a_header(trace, state, baggage, given_headers):
    _, added = Carrier(trace, state, baggage).edit(SPAN, given_headers)
    for name, value in added:
        assert (name + value).isascii()
        assert value.isprintable()
