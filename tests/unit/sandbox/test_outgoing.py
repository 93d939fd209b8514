"""What is believed of a report of outgoing calls."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.model import Outcome, OutgoingCall
from forerun.sandbox.outgoing import OutgoingCalls

BEGAN, NOW = 1000.0, 1010.0
MEMBERS = OutgoingCall.__struct_fields__


def span(number: int) -> str:
    return f"{number + 1:016x}"


def call(number: int = 0, **members: object) -> list[object]:
    """A call as the runtimes send it."""
    given: dict[str, object] = {
        "span_id": span(number),
        "started": BEGAN + 1,
        "ended": BEGAN + 2,
        "kind": "http",
        "method": "GET",
        "service": "lambda",
        "operation": "Invoke",
        "host": "127.0.0.1:4566",
        "path": "/2015-03-31/functions/b/invocations",
        "status": 200,
        "error": "",
        "sent_bytes": 1,
        "received_bytes": 2,
        "fingerprint": 3,
        "injected": True,
        "rtt_ms": 0.5,
    }
    assert set(given) == set(MEMBERS)
    return [({**given, **members})[name] for name in MEMBERS]


def kept(outgoing: OutgoingCalls) -> Outcome:
    outcome = Outcome(payload=b"")
    outgoing.tell(outcome)
    return outcome


def reported(*reports: object, limit: int = 1000) -> Outcome:
    outgoing = OutgoingCalls(BEGAN, limit)
    for report in reports:
        outgoing.report(json.dumps(report).encode(), NOW)
    return kept(outgoing)


def test_the_last_word_of_a_call_counts():
    under_way = call(0, ended=0.0, status=0)
    outcome = reported([under_way, call(1)], {"calls": [call(0)], "cpu_ms": 12.5})
    assert [(one.span_id, one.ended, one.status) for one in outcome.calls] == [
        (span(0), BEGAN + 2, 200),
        (span(1), BEGAN + 2, 200),
    ]
    assert outcome.calls[0].host == "127.0.0.1:4566"
    assert outcome.calls[0].injected is True
    assert (outcome.calls_dropped, outcome.cpu_ms) == (0, 12.5)


def test_calls_beyond_the_limit_are_counted_once_each():
    first = [call(number, ended=0.0) for number in range(3)]
    more = [call(number, ended=0.0) for number in range(3, 5)]
    ends = [[call(number)] for number in range(5)]
    outcome = reported(first, more, *ends, limit=3)
    assert [one.span_id for one in outcome.calls] == [span(0), span(1), span(2)]
    assert all(one.ended for one in outcome.calls), "those that are kept end"
    assert outcome.calls_dropped == 2


def test_a_report_of_too_many_calls_is_refused():
    with pytest.raises(ValueError, match="calls: more than 3"):
        reported([call(number) for number in range(4)], limit=3)


def test_what_the_runtime_left_out_is_counted():
    assert reported({"dropped": 3}, {"dropped": 4}).calls_dropped == 7


@pytest.mark.parametrize(
    ("members", "named"),
    [
        pytest.param({"span_id": "0" * 16}, "span_id", id="zero id"),
        pytest.param({"span_id": "A" * 16}, "span_id", id="upper case"),
        pytest.param({"span_id": "1" * 15}, "span_id", id="short id"),
        pytest.param({"span_id": "1" * 16 + "\n"}, "span_id", id="line after id"),
        pytest.param({"span_id": 7}, "[0]", id="number for id"),
        pytest.param({"kind": "file"}, "kind", id="kind"),
        pytest.param({"started": BEGAN - 5}, "started", id="before the execution"),
        pytest.param({"started": NOW + 5}, "started", id="in the future"),
        pytest.param({"ended": BEGAN}, "ended", id="ends before it starts"),
        pytest.param({"ended": NOW + 5}, "ended", id="ends in the future"),
        pytest.param({"ended": -1.0}, "ended", id="negative end"),
        pytest.param({"started": "now"}, "[1]", id="text for time"),
        pytest.param({"status": 1000}, "status", id="status"),
        pytest.param({"status": True}, "[9]", id="bool for status"),
        pytest.param({"sent_bytes": -1}, "sent_bytes", id="negative bytes"),
        pytest.param({"fingerprint": 2**63}, "fingerprint", id="fingerprint"),
        pytest.param({"host": "a\r\nb"}, "host", id="line in host"),
        pytest.param({"path": "/" * 2049}, "path", id="long path"),
        pytest.param({"operation": None}, "[6]", id="null"),
    ],
)
def test_a_report_that_cannot_be_is_refused_whole(members, named):
    outgoing = OutgoingCalls(BEGAN)
    body = json.dumps([call(0), call(1, **members)]).encode()
    with pytest.raises(ValueError, match=r"calls\[1\]") as caught:
        outgoing.report(body, NOW)
    assert named in str(caught.value)
    assert kept(outgoing).calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[",
        b"3",
        b'"x"',
        b"[1]",
        b"[[]]",
        b'{"calls":{}}',
        b'{"cpu_ms":-1}',
        b'{"cpu_ms":1e999}',
        b'{"cpu_ms":NaN}',
        b'{"dropped":-1}',
        b'{"dropped":1e30}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=lambda body: body[:16].decode("latin-1"),
)
def test_what_is_no_report_is_refused(body):
    with pytest.raises(ValueError, match=r"."):
        OutgoingCalls(BEGAN).report(body, NOW)


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(
        lambda value: json.dumps([value]).encode()
    )
)
def test_no_bytes_do_anything_else_than_raise(body):
    outgoing = OutgoingCalls(BEGAN)
    try:
        outgoing.report(body, NOW)
    except ValueError:
        assert kept(outgoing).calls == []
