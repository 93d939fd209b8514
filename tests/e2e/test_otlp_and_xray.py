"""Spans through the doors to other tools, with a real server: OpenTelemetry's libraries, X-Ray's, and their clients."""

import gzip
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from tests.servers import FORERUN, Server, clean_environment, eventually, running

pytestmark = pytest.mark.slow

HELLO = "def handler(event, context): return 'hello'"
TRACED = """
import json, os, socket, time

def send(*segments):
    host, port = os.environ['AWS_XRAY_DAEMON_ADDRESS'].split(':')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for segment in segments:
            text = segment if isinstance(segment, str) else json.dumps(segment)
            sock.sendto(b'{"format": "json", "version": 1}\\n' + text.encode(), (host, int(port)))

def handler(event, context):
    given = dict(part.split('=', 1) for part in os.environ['_X_AMZN_TRACE_ID'].split(';'))
    now = time.time()
    about = {'name': 'work', 'start_time': now - 0.01, 'end_time': now, 'type': 'subsegment'}
    mine = {**about, 'id': os.urandom(8).hex(), 'trace_id': given['Root'],
            'parent_id': given['Parent'], 'annotations': {'order': 7}, 'metadata': {'a': {'b': 1}},
            'subsegments': [{**about, 'id': os.urandom(8).hex(), 'name': 'inner',
                             'namespace': 'remote'}]}
    foreign = {**mine, 'id': os.urandom(8).hex(), 'trace_id': '1-6a000000-' + os.urandom(12).hex()}
    impostor = {**mine, 'id': given['Parent']}
    send(mine, foreign, impostor, 'garbage', '[' * 60_000)
    return [given['Root'], mine['id'], os.environ['AWS_XRAY_CONTEXT_MISSING']]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("exchange") / "data") as one:
        yield one


def otlp_environment(server: Server) -> dict[str, str]:
    shown = subprocess.run(
        [str(FORERUN), "env", "--otlp", "--json", "--data", str(server.data)],
        capture_output=True,
        check=True,
        timeout=20,
        env=clean_environment(server.data.parent),
    )
    return dict(json.loads(shown.stdout))


def document(trace_id: str, **more: object) -> str:
    now = time.time()
    given = {"id": os.urandom(8).hex(), "trace_id": trace_id, "name": "shop"}
    return json.dumps(given | {"start_time": now - 0.2, "end_time": now} | more)


def new_trace() -> str:
    return f"1-{int(time.time()):08x}-{os.urandom(12).hex()}"


def trace(server: Server, trace_id: str) -> list[dict[str, Any]]:
    """The segment documents of a trace."""
    answer = server.client("xray").batch_get_traces(TraceIds=[trace_id])
    return [
        json.loads(each["Document"]) for found in answer["Traces"] for each in found["Segments"]
    ]


def names(documents: list[dict[str, Any]]) -> set[str]:
    found: set[str] = set()
    waiting = list(documents)
    while waiting:
        one = waiting.pop()
        found.add(one["name"])
        waiting += one.get("subsegments", ())
    return found


def test_spans_of_opentelemetrys_exporter_are_kept(server: Server) -> None:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    told = otlp_environment(server)
    token = told["OTEL_EXPORTER_OTLP_HEADERS"].partition("=")[2].replace("%20", " ")
    exporter = OTLPSpanExporter(
        endpoint=told["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces",
        headers={"Authorization": token},
        compression=Compression.Gzip,
    )
    provider = TracerProvider(resource=Resource.create({"service.name": "instrumented"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("outer") as outer, tracer.start_as_current_span("inner"):
        pass
    provider.shutdown()
    root = f"{outer.get_span_context().trace_id:032x}"
    shown = f"1-{root[:8]}-{root[8:]}"
    documents = eventually(lambda: len(trace(server, shown)) and trace(server, shown))
    assert names(documents) == {"instrumented", "inner"}


@pytest.mark.parametrize("form", ["protobuf", "json"])
def test_what_is_refused_of_a_batch_is_told(server: Server, form: str) -> None:
    token = otlp_environment(server)["OTEL_EXPORTER_OTLP_HEADERS"].partition("=")[2]
    request = trace_service_pb2.ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    scope.spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=time.time_ns())
    scope.spans.add(trace_id=b"t" * 16, span_id=b"", start_time_unix_nano=time.time_ns())
    headers = {"authorization": token.replace("%20", " ")}
    if form == "json":
        span = {"traceId": "aa" * 16, "spanId": "bb" * 8, "startTimeUnixNano": str(time.time_ns())}
        spans = [span, span | {"spanId": ""}]
        body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
        answer = server.request(
            "POST", "/v1/traces", body, headers | {"content-type": "application/json"}
        )
        partial = answer.json()["partialSuccess"]
        assert (answer.status, partial["rejectedSpans"]) == (200, "1")
        assert "spanId" in partial["errorMessage"]
        return
    answer = server.request(
        "POST",
        "/v1/traces",
        request.SerializeToString(),
        headers | {"content-type": "application/x-protobuf"},
    )
    said = trace_service_pb2.ExportTraceServiceResponse.FromString(answer.body)
    assert (answer.status, said.partial_success.rejected_spans) == (200, 1)
    assert "spanId" in said.partial_success.error_message


def test_a_signed_request_needs_no_token(server: Server) -> None:
    body = trace_service_pb2.ExportTraceServiceRequest().SerializeToString()
    headers = server.signed(
        "POST",
        "/v1/traces",
        body,
        headers={"content-type": "application/x-protobuf"},
        service="xray",
    )
    assert server.request("POST", "/v1/traces", body, headers).status == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"", 401),
        ({"authorization": "Bearer 000000000000.forged"}, b"", 401),
        ({"content-type": "text/plain"}, b"x", 415),
        ({"content-encoding": "br"}, b"x", 415),
        ({"content-encoding": "gzip"}, b"no gzip", 400),
        ({"content-encoding": "gzip"}, gzip.compress(b"\x00" * (17 << 20)), 413),
        ({}, b"\xff" * 100, 400),
        ({}, b"\x00" * (17 << 20), 413),
    ],
    ids=["nobody", "forged", "form", "coding", "no-gzip", "bomb", "garbage", "large"],
)
def test_what_is_no_batch_is_refused(
    server: Server, headers: dict[str, str], body: bytes, status: int
) -> None:
    token = otlp_environment(server)["OTEL_EXPORTER_OTLP_HEADERS"].partition("=")[2]
    known = {"content-type": "application/x-protobuf"}
    if status != 401:
        known["authorization"] = token.replace("%20", " ")
    answer = server.request("POST", "/v1/traces", body, known | headers)
    assert answer.status == status, answer


def test_documents_put_are_found_again(server: Server) -> None:
    xray, trace_id = server.client("xray"), new_trace()
    first = document(trace_id, annotations={"tier": "gold"}, http={"response": {"status": 404}})
    bad = document(trace_id, id="no id")
    answer = xray.put_trace_segments(TraceSegmentDocuments=[first, bad, "garbage"])
    assert len(answer["UnprocessedTraceSegments"]) == 2
    [found] = eventually(lambda: trace(server, trace_id))
    assert found["annotations"] == {"tier": "gold"}
    assert found["http"]["response"]["status"] == 404
    now = time.time()
    page = xray.get_trace_summaries(
        StartTime=now - 60, EndTime=now + 1, FilterExpression='annotation.tier = "gold"'
    )
    assert [each["Id"] for each in page["TraceSummaries"]] == [trace_id]
    assert xray.batch_get_traces(TraceIds=[new_trace()])["Traces"] == []


@pytest.mark.parametrize("expression", ["edge(a, b)", "duration >", "(error", "service(3)"])
def test_a_filter_that_is_not_served_says_what_is(server: Server, expression: str) -> None:
    xray = server.client("xray")
    with pytest.raises(xray.exceptions.InvalidRequestException, match="Served are: ok, error"):
        xray.get_trace_summaries(StartTime=0, EndTime=1, FilterExpression=expression)


def test_executions_are_in_the_graph_of_services(server: Server) -> None:
    name = server.function(HELLO)
    server.call(name)
    xray = server.client("xray")

    def node() -> dict[str, Any] | None:
        graph = xray.get_service_graph(StartTime=time.time() - 300, EndTime=time.time() + 1)
        found = {(each["Name"], each["Type"]): each for each in graph["Services"] if "Type" in each}
        function = found.get((name, "AWS::Lambda::Function"))
        client = found.get((name, "client"))
        if function is None or client is None:
            return None
        assert client["Edges"][0]["ReferenceId"] == function["ReferenceId"]
        return function

    found = eventually(node)
    assert found["SummaryStatistics"]["TotalCount"] == 1
    assert found["ResponseTimeHistogram"][0]["Count"] == 1
    page = xray.get_trace_summaries(
        StartTime=time.time() - 300,
        EndTime=time.time() + 1,
        FilterExpression=f'service("{name}")',
    )
    [summary] = page["TraceSummaries"]
    graph = xray.get_trace_graph(TraceIds=[summary["Id"]])
    assert {each["Name"] for each in graph["Services"]} == {name}


def test_sampling_is_the_default(server: Server) -> None:
    xray = server.client("xray")
    [record] = xray.get_sampling_rules()["SamplingRuleRecords"]
    assert record["SamplingRule"]["RuleName"] == "Default"
    told = xray.get_sampling_targets(
        SamplingStatisticsDocuments=[
            {
                "RuleName": name,
                "ClientID": "a" * 24,
                "Timestamp": time.time(),
                "RequestCount": 1,
                "SampledCount": 1,
            }
            for name in ("Default", "other")
        ]
    )
    assert [each["RuleName"] for each in told["SamplingTargetDocuments"]] == ["Default"]
    assert [each["RuleName"] for each in told["UnprocessedStatistics"]] == ["other"]
    with pytest.raises(xray.exceptions.InvalidRequestException, match="forerun:monitoring"):
        xray.create_group(GroupName="mine")


def test_segments_of_a_function_stand_below_its_execution(server: Server) -> None:
    expect_segments(server)


def test_segments_come_from_plain_processes(tmp_path: Path) -> None:
    with running(tmp_path / "data", mode="process") as server:
        expect_segments(server)


def expect_segments(server: Server) -> None:
    """What a function sends is below its execution; what it may not send is counted."""
    name = server.function(TRACED)
    root, span, missing = server.call(name)
    assert missing == "LOG_ERROR"
    documents = eventually(lambda: "inner" in names(trace(server, root)) and trace(server, root))
    [execution] = [each for each in documents if each.get("origin") == "AWS::Lambda::Function"]
    assert execution["name"] == name
    [work] = [each for each in execution["subsegments"] if each["id"] == span]
    assert work["annotations"] == {"order": 7}
    assert work["metadata"] == {"a": {"b": 1}}
    assert [each["name"] for each in work["subsegments"]] == ["inner"]
    counted = server.platform("/forerun/status")["monitoring"]["xray_daemon"]
    assert (counted["kept"], counted["foreign"], counted["malformed"]) == (1, 2, 2)


def test_a_function_hands_in_spans_without_a_token(server: Server) -> None:
    if server.mode != "jail":
        pytest.skip("only in a jail is a request known by its socket")
    source = """
import json, os, time, urllib.request
def handler(event, context):
    root = os.environ['_X_AMZN_TRACE_ID'].split(';')
    given = dict(part.split('=', 1) for part in root)
    span = {'traceId': given['Root'][2:].replace('-', ''), 'spanId': os.urandom(8).hex(), 'kind': 1,
            'parentSpanId': given['Parent'], 'name': 'by hand',
            'startTimeUnixNano': str(time.time_ns()), 'endTimeUnixNano': str(time.time_ns())}
    body = json.dumps({'resourceSpans': [{'scopeSpans': [{'spans': [span]}]}]}).encode()
    request = urllib.request.Request(os.environ['AWS_ENDPOINT_URL'] + '/v1/traces', body,
                                     {'Content-Type': 'application/json'})
    urllib.request.urlopen(request, timeout=5).read()
    return given['Root']
"""
    root = server.call(server.function(source))
    eventually(lambda: "by hand" in names(trace(server, root)))


def test_inside_a_jail_everything_else_is_signed(server: Server) -> None:
    if server.mode != "jail":
        pytest.skip("only in a jail is a request known by its socket")
    source = """
import os, urllib.error, urllib.request
def handler(event, context):
    statuses = []
    for path in ('/forerun/otlp', '/TraceSummaries', '/2015-03-31/functions/', '/v1/traces'):
        try:
            urllib.request.urlopen(os.environ['AWS_ENDPOINT_URL'] + path, timeout=5)
            statuses.append(200)
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
    return statuses
"""
    assert server.call(server.function(source)) == [403, 403, 403, 405]


def test_accounts_do_not_see_each_others_traces(server: Server) -> None:
    made = subprocess.run(
        [str(FORERUN), "account", "create", uuid.uuid4().hex, "--json", "--data", str(server.data)],
        capture_output=True,
        check=True,
        timeout=20,
        env=clean_environment(server.data.parent),
    )
    key = json.loads(made.stdout)
    trace_id = new_trace()
    server.client("xray").put_trace_segments(TraceSegmentDocuments=[document(trace_id)])
    eventually(lambda: trace(server, trace_id))
    other = server.client(
        "xray",
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
    )
    found = eventually(
        lambda: _answered(lambda: other.batch_get_traces(TraceIds=[trace_id])["Traces"])
    )
    assert found == [[]]


def _answered(ask: Any) -> list[Any]:
    """The answer in a list; empty as long as the new key is not known."""
    try:
        return [ask()]
    except ClientError as error:
        if error.response["Error"]["Code"] != "UnrecognizedClientException":
            raise
        return []
