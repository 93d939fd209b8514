"""What a real server exports, to something that listens as a collector of OpenTelemetry's does."""

import gzip
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from tests.servers import eventually, running

pytestmark = pytest.mark.slow

HELLO = "def handler(event, context): return 'hello'"
SENDING = """
import json, os, socket, time

def handler(event, context):
    given = dict(part.split('=', 1) for part in os.environ['_X_AMZN_TRACE_ID'].split(';'))
    host, port = os.environ['AWS_XRAY_DAEMON_ADDRESS'].split(':')
    now = time.time()
    mine = {'name': 'work', 'start_time': now - 0.01, 'end_time': now, 'type': 'subsegment',
            'id': os.urandom(8).hex(), 'trace_id': given['Root'], 'parent_id': given['Parent']}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b'{"format": "json", "version": 1}\\n' + json.dumps(mine).encode(),
                    (host, int(port)))
    return [given['Root'], mine['id']]
"""


class Collector(BaseHTTPRequestHandler):
    """Refuses once, then takes what is posted."""

    protocol_version = "HTTP/1.1"
    taken: list[trace_service_pb2.ExportTraceServiceRequest]
    refusals: list[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        status = self.refusals.pop() if self.refusals else 200
        if status == 200:
            assert (self.path, self.headers["content-encoding"]) == ("/v1/traces", "gzip")
            self.taken.append(
                trace_service_pb2.ExportTraceServiceRequest.FromString(gzip.decompress(body))
            )
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_what_was_seen_is_exported(tmp_path: Path) -> None:
    taken: list[trace_service_pb2.ExportTraceServiceRequest] = []
    handler = type("Once", (Collector,), {"taken": taken, "refusals": [503]})
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=listener.serve_forever, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{listener.server_address[1]}"
        settings = {"FORERUN_MONITORING_OTLP_ENDPOINT": endpoint}
        with running(tmp_path / "data", settings=settings) as server:
            name = server.function(SENDING)
            root, span = server.call(name)
            eventually(
                lambda: (
                    {"work", name}
                    <= {
                        span.name
                        for request in taken
                        for of_resource in request.resource_spans
                        for span in of_resource.scope_spans[0].spans
                    }
                )
            )
        resource = taken[0].resource_spans[0].resource
        said = {pair.key: pair.value.string_value for pair in resource.attributes}
        assert (said["service.name"], said["faas.name"]) == (name, name)
        ids = {
            (each.trace_id.hex(), each.span_id.hex())
            for request in taken
            for of_resource in request.resource_spans
            for each in of_resource.scope_spans[0].spans
        }
        assert (root[2:].replace("-", ""), span) in ids
    finally:
        listener.shutdown()
        listener.server_close()


def test_a_collector_that_is_away_delays_nobody(tmp_path: Path) -> None:
    settings = {"FORERUN_MONITORING_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with running(tmp_path / "data", settings=settings) as server:
        name = server.function(HELLO)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda _: server.call(name), range(20))) == ["hello"] * 20
        assert server.stop() == 0
