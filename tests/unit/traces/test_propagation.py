"""Trace information as it is written and read: what comes back, what is believed, and what strangers send."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forerun.model import Channel, Origin, TraceContext
from forerun.traces import (
    MAX_WEIGHT,
    NOTHING,
    Reader,
    Seen,
    Signed,
    Signer,
    linked,
    unsigned,
    w3c_fields,
    xray_header,
)

ACCOUNT, OTHER = "1" * 12, "2" * 12
TRACE = "5759e988bd862e3fe1be46a994272793"
SPAN, EXECUTION = "53995c3f42cd8ad8", "00f067aa0ba902b7"
SIGNER = Signer(b"k" * 32)
PART = SIGNER.sign(TRACE, Signed(EXECUTION, 3, 20), ACCOUNT)
PLAIN = f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent={SPAN};Sampled=1"
HEADER = f"{PLAIN};Forerun={PART}"
PARENT = f"00-{TRACE}-{SPAN}-01"

hexadecimal = st.text("0123456789abcdef", min_size=16, max_size=16)


def read(headers, *, trusted=True, account=ACCOUNT, caller=ACCOUNT, signer=SIGNER):
    """The origin, and what was counted that is not 0."""
    seen = Seen()
    given = {name.lower().encode(): value.encode("latin-1") for name, value in headers.items()}
    origin = Reader(signer).origin_of(given, account, seen, trusted=trusted, caller=caller)
    return origin, {
        name: count for name in Seen.__struct_fields__ if (count := getattr(seen, name))
    }


LINKED = Origin(
    trace_id=TRACE,
    parent_id=SPAN,
    execution=EXECUTION,
    account=ACCOUNT,
    depth=3,
    weight=20,
    channel=Channel.HEADER,
    sampled=True,
)


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "anonymous"])
@pytest.mark.parametrize(
    ("headers", "w3c", "tracestate"),
    [
        ({"X-Amzn-Trace-Id": HEADER}, False, ""),
        ({"traceparent": PARENT, "tracestate": f"forerun={PART}"}, True, ""),
        ({"traceparent": PARENT, "tracestate": f"a=1, forerun={PART} ,b@c=2"}, True, "a=1,b@c=2"),
        (
            {"X-Amzn-Trace-Id": HEADER, "traceparent": PARENT, "tracestate": "a=1"},
            True,
            "a=1",
        ),
        (
            {
                "X-Amzn-Trace-Id": PLAIN,
                "traceparent": PARENT,
                "tracestate": f"forerun={PART}",
            },
            True,
            "",
        ),
        (
            {
                "X-Amzn-Trace-Id": f"Root=1-{'0' * 7}1-{'a' * 24};Parent={SPAN};Forerun={PART}",
                "traceparent": PARENT,
                "tracestate": f"forerun={PART}",
            },
            True,
            "",
        ),
    ],
    ids=["xray", "tracestate", "among others", "both", "only in tracestate", "broken and good"],
)
def test_a_signed_part_names_the_execution_that_caused_the_call(headers, w3c, tracestate, trusted):
    origin, counted = read(headers, trusted=trusted)
    assert origin == Origin(
        **{name: getattr(LINKED, name) for name in Origin.__struct_fields__}
        | {"w3c": w3c, "tracestate": tracestate}
    )
    assert counted == {"linked": 1}


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"X-Amzn-Trace-Id": PLAIN}, Origin(trace_id=TRACE, parent_id=SPAN, sampled=True)),
        (
            {"X-Amzn-Trace-Id": f"Self=1-2-3; Root=1-{TRACE[:8]}-{TRACE[8:]} ;Lineage=x:1"},
            Origin(trace_id=TRACE),
        ),
        (
            {"traceparent": PARENT[:-1] + "0", "tracestate": "a=b", "baggage": "k=v"},
            Origin(trace_id=TRACE, parent_id=SPAN, tracestate="a=b", baggage="k=v", w3c=True),
        ),
        (
            {"traceparent": f"cc-{TRACE}-{SPAN}-01-and-more"},
            Origin(trace_id=TRACE, parent_id=SPAN, sampled=True, w3c=True),
        ),
        ({"tracestate": f"forerun={PART}", "baggage": "k=v"}, NOTHING),
        ({}, NOTHING),
    ],
    ids=["xray", "only a root", "w3c", "later version", "no trace", "nothing"],
)
def test_what_is_not_signed_is_taken_from_trusted_callers_only(headers, wanted):
    assert read(headers) == (wanted, {})
    assert read(headers, trusted=False) == (NOTHING, {})


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Amzn-Trace-Id": "nonsense"},
        {"X-Amzn-Trace-Id": ""},
        {"X-Amzn-Trace-Id": "Root="},
        {"X-Amzn-Trace-Id": "Root=1-00000000-" + "0" * 24},
        {"X-Amzn-Trace-Id": PLAIN.replace("5759e988", "5759E988")},
        {"X-Amzn-Trace-Id": PLAIN.replace(SPAN, SPAN + "0")},
        {"X-Amzn-Trace-Id": PLAIN + "\n"},
        {"X-Amzn-Trace-Id": PLAIN + ";a=\x00"},
        {"X-Amzn-Trace-Id": PLAIN + ";a=\xe9"},
        {"X-Amzn-Trace-Id": HEADER + ";a=" + "b" * 1024},
        {"traceparent": f"00-{TRACE}-{SPAN}-01-x", "tracestate": f"forerun={PART}"},
        {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
        {"traceparent": f"00-{'0' * 32}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE}-{'0' * 16}-01"},
        {"traceparent": PARENT.upper()},
        {"traceparent": ""},
    ],
    ids=str,
)
def test_malformed_headers_are_counted_and_say_nothing(headers):
    assert read(headers) == (NOTHING, {"malformed": 1})


@pytest.mark.parametrize(
    "tracestate",
    [
        "a=1,a=2",
        "A=1",
        "=1",
        "a",
        "a=\x01",
        "a=b=c",
        ",".join(f"k{each}=1" for each in range(33)),
        "a=" + "b" * 511,
        f"forerun={PART},x=" + "y" * 500,
    ],
    ids=lambda text: text[:12],
)
def test_a_tracestate_that_breaks_the_rules_is_dropped_whole(tracestate):
    origin, counted = read({"traceparent": PARENT, "tracestate": tracestate})
    assert (origin.trace_id, origin.tracestate, origin.execution) == (TRACE, "", "")
    assert counted == {"malformed": 1}


@pytest.mark.parametrize(
    "baggage", ["k=" + "v" * 8191, "k=\x7f", "k=\xe9"], ids=["long", "control", "latin"]
)
def test_a_baggage_that_breaks_the_rules_is_dropped_whole(baggage):
    origin, counted = read({"traceparent": PARENT, "baggage": baggage})
    assert (origin.trace_id, origin.baggage) == (TRACE, "")
    assert counted == {"malformed": 1}


@pytest.mark.parametrize(
    ("account", "caller", "counted"),
    [(OTHER, ACCOUNT, "foreign"), (OTHER, OTHER, "forged"), (OTHER, "", "forged")],
    ids=["caller's own", "stolen", "anonymous"],
)
def test_a_link_across_accounts_is_counted_and_not_made(account, caller, counted):
    origin, seen = read({"X-Amzn-Trace-Id": HEADER}, account=account, caller=caller)
    assert (origin.trace_id, origin.execution, origin.account) == (TRACE, "", "")
    assert seen == {counted: 1}


@given(st.integers(0, len(PART) - 1), st.sampled_from(string.printable))
def test_no_character_of_a_signed_part_can_be_changed(index, character):
    changed = PART[:index] + character + PART[index + 1 :]
    origin, seen = read({"X-Amzn-Trace-Id": f"{PLAIN};Forerun={changed}"})
    if changed == PART:
        assert origin.execution == EXECUTION
    else:
        assert (origin.execution, origin.weight, origin.depth) == ("", 0, 0)
        assert "linked" not in seen
    through_state, seen = read({"traceparent": PARENT, "tracestate": f"forerun={changed}"})
    assert bool(through_state.execution) == (changed == PART)


@given(st.integers(0, 31), st.sampled_from("0123456789abcdef"))
def test_a_signed_part_belongs_to_one_trace(index, digit):
    trace = TRACE[:index] + digit + TRACE[index + 1 :]
    header = f"Root=1-{trace[:8]}-{trace[8:]};Parent={SPAN};Forerun={PART}"
    assert bool(read({"X-Amzn-Trace-Id": header})[0].execution) == (trace == TRACE)


def test_another_key_and_no_key_recognise_nothing():
    assert read({"X-Amzn-Trace-Id": HEADER}, signer=Signer(b"x" * 32))[1] == {"forged": 1}
    origin, seen = read({"X-Amzn-Trace-Id": HEADER}, signer=None)
    assert (origin, seen) == (Origin(trace_id=TRACE, parent_id=SPAN, sampled=True), {})


@given(
    trace=st.text("0123456789abcdef", min_size=32, max_size=32).filter(lambda each: int(each, 16)),
    span=hexadecimal,
    execution=hexadecimal,
    depth=st.integers(0, 255),
    weight=st.integers(1, MAX_WEIGHT),
    account=st.text("0123456789", min_size=12, max_size=12),
)
def test_what_is_written_is_read(trace, span, execution, depth, weight, account):
    signed = Signed(execution, depth, weight)
    header = xray_header(trace, span, sampled=True, signed=SIGNER.sign(trace, signed, account))
    origin, seen = read({"X-Amzn-Trace-Id": header}, account=account)
    assert (origin.trace_id, origin.parent_id, origin.account) == (trace, span, account)
    assert (origin.execution, origin.depth, origin.weight) == signed
    assert seen == {"linked": 1}
    assert "Forerun" not in unsigned(header)
    assert read({"X-Amzn-Trace-Id": unsigned(header)})[0].trace_id == trace


@given(
    st.dictionaries(
        st.sampled_from([b"x-amzn-trace-id", b"traceparent", b"tracestate", b"baggage"]),
        st.one_of(
            st.binary(max_size=2000),
            st.text(max_size=200).map(str.encode),
            st.lists(
                st.sampled_from(
                    [
                        HEADER,
                        PARENT,
                        PART,
                        "Root=",
                        "Forerun=",
                        "forerun=",
                        ";",
                        ",",
                        "=",
                        "-",
                        " ",
                        "\t",
                    ]
                ),
                max_size=8,
            ).map(lambda parts: "".join(parts).encode()),
        ),
    ),
    st.booleans(),
)
@example({b"traceparent": PARENT.encode(), b"tracestate": b"," * 512}, True)
def test_nothing_that_can_be_sent_raises_or_gets_through_unread(headers, trusted):
    origin = Reader(SIGNER).origin_of(headers, ACCOUNT, Seen(), trusted=trusted)
    for text in (origin.trace_id, origin.parent_id, origin.tracestate, origin.baggage):
        assert all(" " <= character <= "~" for character in text)
    assert origin.execution in ("", EXECUTION)
    assert len(origin.trace_id) in (0, 32)
    assert len(origin.parent_id) in (0, 16)
    assert not any(each.startswith("forerun=") for each in origin.tracestate.split(","))
    assert len(origin.tracestate) <= 512
    assert len(origin.baggage) <= 8192


def context(origin=NOTHING, *, weight=20):
    header = HEADER.replace(SPAN, EXECUTION) if weight else PLAIN
    return TraceContext(
        trace_id=TRACE, span_id=EXECUTION, origin=origin, header=header, weight=weight, depth=3
    )


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (context(), {"traceparent": f"00-{TRACE}-{EXECUTION}-01", "tracestate": f"forerun={PART}"}),
        (
            context(Origin(tracestate="a=1,b=2", baggage="k=v")),
            {
                "traceparent": f"00-{TRACE}-{EXECUTION}-01",
                "tracestate": f"forerun={PART},a=1,b=2",
                "baggage": "k=v",
            },
        ),
        (
            context(
                Origin(trace_id=TRACE, parent_id=SPAN, tracestate="a=1", sampled=True), weight=0
            ),
            {"traceparent": PARENT, "tracestate": "a=1"},
        ),
        (
            context(Origin(trace_id=TRACE, parent_id=SPAN), weight=0),
            {"traceparent": PARENT[:-1] + "0"},
        ),
    ],
    ids=["monitored", "with others", "passed on", "passed on, not sampled"],
)
def test_functions_are_given_the_w3c_context(given, wanted):
    assert w3c_fields(given) == wanted


def test_a_tracestate_never_grows_beyond_what_others_must_accept():
    others = ",".join(f"k{each}=1" for each in range(32))
    members = w3c_fields(context(Origin(tracestate=others)))["tracestate"].split(",")
    assert members == [f"forerun={PART}", *others.split(",")[:31]]


@pytest.mark.parametrize(
    ("origin", "parent"),
    [
        (NOTHING, EXECUTION),
        (Origin(trace_id=TRACE, parent_id=SPAN), SPAN),
        (Origin(trace_id="a" * 32, parent_id=SPAN), EXECUTION),
    ],
    ids=["said nothing", "a span of the trace", "another trace"],
)
def test_a_known_cause_without_header_is_a_link(origin, parent):
    made = linked(origin, context(), ACCOUNT, Channel.CREDENTIAL)
    assert (made.trace_id, made.parent_id, made.execution) == (TRACE, parent, EXECUTION)
    assert (made.account, made.depth, made.weight) == (ACCOUNT, 3, 20)
    assert made.channel is Channel.CREDENTIAL
