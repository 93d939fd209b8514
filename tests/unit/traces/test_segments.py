"""What is kept of an execution says all that was known of it, under the names that others use."""

import msgspec
import pytest

from forerun.events import ExecutionEnded
from forerun.model import (
    Channel,
    InvocationRecord,
    Origin,
    OutgoingCall,
    SpanStatus,
    Timings,
    TraceContext,
)
from forerun.traces import segment_of

A, E, P = "a" * 32, "e" * 16, "b" * 16
T0 = 1_700_000_000.0


def ended(calls=(), origin=None, steps=None, dropped=0, cpu_ms=0.0, **record) -> ExecutionEnded:
    steps = steps or {
        "received": 0.0,
        "admitted": 0.001,
        "acquired": 0.003,
        "loaded": 0.003,
        "started": 0.004,
        "ended": 0.104,
        "answered": 0.105,
    }
    values = {
        "request_id": "r-1",
        "account": "1" * 12,
        "name": "orders",
        "version": "7",
        "start_type": "warm",
        "memory_mb": 128,
    }
    return ExecutionEnded(
        record=InvocationRecord(
            timings=Timings(**{name: T0 + at for name, at in steps.items()}), **(values | record)
        ),
        context=TraceContext(
            trace_id=A, span_id=E, origin=origin or Origin(), header="", weight=4, depth=2
        ),
        region="us-home-1",
        calls=list(calls),
        dropped=dropped,
        cpu_ms=cpu_ms,
    )


def call(**given) -> OutgoingCall:
    values = {"span_id": "c" * 16, "started": T0 + 0.01, "ended": T0 + 0.02, "method": "GET"}
    return OutgoingCall(**(values | given))


def test_an_execution_is_a_server_span_with_the_id_of_its_context():
    segment = segment_of(
        ended(
            origin=Origin(parent_id=P, execution="d" * 16, channel=Channel.CREDENTIAL),
            cpu_ms=12.3456,
            dropped=3,
            sandbox="s-1",
            host="h-1",
            qualifier="live",
            request_bytes=10,
            response_bytes=20,
            max_memory_mb=44,
        )
    )
    [span] = segment.spans
    assert (segment.function, segment.version, segment.request_id) == ("orders", "7", "r-1")
    assert (segment.account, segment.trace_id) == ("1" * 12, A)
    assert (span.trace_id, span.span_id, span.parent_id) == (A, E, P)
    assert (span.kind, span.name, span.service, span.source) == (
        "server",
        "orders",
        "orders",
        "forerun",
    )
    assert (span.started, span.ended, span.status) == (T0, T0 + 0.105, SpanStatus.OK)
    assert span.attributes == {
        "faas.name": "orders",
        "faas.version": "7",
        "faas.invocation_id": "r-1",
        "faas.coldstart": False,
        "cloud.region": "us-home-1",
        "forerun.invocation_type": "RequestResponse",
        "forerun.status": "success",
        "forerun.start_type": "warm",
        "forerun.attempt": 1,
        "forerun.weight": 4,
        "forerun.depth": 2,
        "forerun.memory_mb": 128,
        "forerun.max_memory_mb": 44,
        "forerun.cpu_ms": 12.346,
        "forerun.dropped_calls": 3,
        "forerun.channel": "credential",
        "forerun.caused_by": "d" * 16,
        "forerun.host": "h-1",
        "forerun.sandbox": "s-1",
        "forerun.qualifier": "live",
        "http.request.body.size": 10,
        "http.response.body.size": 20,
        "forerun.step.admit_ms": 1.0,
        "forerun.step.sandbox_ms": 2.0,
        "forerun.step.load_ms": 0.0,
        "forerun.step.enter_ms": 1.0,
        "forerun.step.run_ms": 100.0,
        "forerun.step.answer_ms": 1.0,
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("success", SpanStatus.OK),
        ("error", SpanStatus.FAULT),
        ("timeout", SpanStatus.FAULT),
        ("throttled", SpanStatus.THROTTLE),
        ("expired", SpanStatus.FAULT),
    ],
)
def test_how_it_ended(status, expected):
    [span] = segment_of(ended(status=status, error_type="KeyError")).spans
    assert span.status is expected
    assert span.attributes["error.type"] == "KeyError"


def test_init_is_a_span_of_its_own_with_the_same_id_each_time():
    told = ended(
        init_ms=1.5,
        start_type="pool",
        steps={
            "received": 0.0,
            "acquired": 0.001,
            "loaded": 0.004,
            "started": 0.005,
            "answered": 1.0,
        },
    )
    [span, init] = segment_of(told).spans
    assert (init.name, init.kind, init.parent_id, init.service) == ("init", "internal", E, "orders")
    assert (init.started, init.ended) == pytest.approx((T0 + 0.0025, T0 + 0.004))
    assert init.status is SpanStatus.OK
    assert init.span_id not in (E, "")
    assert span.attributes["faas.coldstart"] is True
    assert segment_of(told).spans == [span, init]


def test_a_failed_init_is_the_fault():
    failed = ended(
        init_ms=9_000.0,
        status="error",
        error_type="Runtime.ImportModuleError",
        steps={"received": 0.0, "acquired": 0.001, "loaded": 0.004, "answered": 0.005},
    )
    [span, init] = segment_of(failed).spans
    assert (span.status, init.status) == (SpanStatus.FAULT, SpanStatus.FAULT)
    assert init.started == T0 + 0.001
    assert init.attributes == {"error.type": "Runtime.ImportModuleError"}


def test_an_attempt_does_not_begin_when_its_event_was_accepted():
    late = {"received": 0.0, "admitted": 60.0, "started": 60.1, "ended": 60.2, "answered": 60.3}
    [span] = segment_of(ended(invocation_type="Event", attempt=2, steps=late)).spans
    assert (span.started, span.ended) == (T0 + 60.0, T0 + 60.3)
    refused = {"received": 0.0, "answered": 5.0}
    [span] = segment_of(ended(invocation_type="Event", status="throttled", steps=refused)).spans
    assert (span.started, span.ended) == (T0 + 5.0, T0 + 5.0)


def test_a_call_of_the_platform_is_a_client_span():
    [_, span] = segment_of(
        ended(
            [
                call(
                    method="POST",
                    service="lambda",
                    operation="Invoke",
                    host="127.0.0.1:4566",
                    path="/2015-03-31/functions/stock%3Alive/invocations",
                    status=200,
                    sent_bytes=5,
                    received_bytes=7,
                    fingerprint=-1,
                    injected=True,
                )
            ]
        )
    ).spans
    assert (span.name, span.kind, span.service, span.parent_id) == (
        "lambda.Invoke",
        "client",
        "orders",
        E,
    )
    assert (span.started, span.ended, span.status) == (T0 + 0.01, T0 + 0.02, SpanStatus.OK)
    assert span.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": 4566,
        "url.path": "/2015-03-31/functions/stock%3Alive/invocations",
        "aws.service": "lambda",
        "aws.operation": "Invoke",
        "faas.invoked_name": "stock:live",
        "http.request.body.size": 5,
        "http.response.body.size": 7,
        "forerun.fingerprint": "f" * 16,
        "forerun.injected": True,
    }


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("example.com:443", {"server.address": "example.com", "server.port": 443}),
        ("[::1]:80", {"server.address": "::1", "server.port": 80}),
        ("unix:/run/db.sock", {"server.address": "/run/db.sock", "network.transport": "unix"}),
        ("nowhere", {"server.address": "nowhere"}),
        ("", {"server.address": ""}),
    ],
)
def test_addresses_of_connections(host, expected):
    [_, span] = segment_of(ended([call(kind="connection", method="", host=host)])).spans
    assert span.name == f"connect {host}"
    assert span.attributes == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"status": 204}, SpanStatus.OK, id="well"),
        pytest.param({"status": 404}, SpanStatus.ERROR, id="not-found"),
        pytest.param({"status": 429}, SpanStatus.THROTTLE, id="refused"),
        pytest.param({"status": 503}, SpanStatus.FAULT, id="broken"),
        pytest.param({"error": "TimeoutError"}, SpanStatus.FAULT, id="exception"),
    ],
)
def test_how_a_call_ended(given, expected):
    [_, span] = segment_of(ended([call(path="/x", **given)])).spans
    assert span.name == "GET /x"
    assert span.status is expected
    assert span.attributes.get("error.type") == given.get("error")


def test_a_call_under_way_has_no_end():
    [_, span] = segment_of(ended([call(ended=0.0)])).spans
    assert span.ended == 0.0
    assert span.attributes["forerun.unfinished"] is True


def test_a_clock_that_was_set_back_gives_no_negative_time():
    [span, called] = segment_of(
        ended([call(ended=T0)], steps={"received": 5.0, "answered": 1.0})
    ).spans
    assert span.ended == span.started
    assert called.ended == called.started


def test_segments_are_json_and_msgpack():
    segment = segment_of(ended([call()], init_ms=1.0))
    assert msgspec.json.decode(msgspec.json.encode(segment), type=type(segment)) == segment
