"""Chains of functions that call each other: reading what each was given, and the trace that was kept of them."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tests.servers import Server, eventually

TRACED = re.compile(
    r"Root=1-(?P<root>[0-9a-f]{8}-[0-9a-f]{24});Parent=(?P<parent>[0-9a-f]{16});Sampled=1;"
    r"Forerun=(?P<execution>[0-9a-f]{16})-(?P<depth>\d+)-(?P<weight>\d+)-[0-9a-f]{16}"
)


def traced(header: str) -> re.Match[str]:
    """The parts of a monitored execution's ``X-Amzn-Trace-Id``."""
    read = TRACED.fullmatch(header)
    assert read, header
    return read


def counts(server: Server) -> dict[str, int]:
    """What the server saw of trace information so far."""
    return server.platform("/forerun/monitoring")["Counts"]


def spans_of(server: Server, trace: str, executions: int) -> list[dict]:
    """The spans of a trace, once it has so many executions: they are written behind the answers."""
    path = f"/forerun/trace?TraceId={trace.replace('-', '')}"

    def found():
        answer = server.request("GET", path, headers=server.signed("GET", path, service="forerun"))
        tree = answer.json()
        return answer.status == 200 and tree["executions"] >= executions and tree["roots"]

    return list(_flat(eventually(found, what=f"{executions} executions of {trace}")))


def check_linked(spans: Sequence[dict], chain: Sequence[re.Match[str]]) -> None:
    """That each call of a chain led to the next execution, and carried what says so."""
    by_id = {span["span_id"]: span for span in spans}
    for caller, callee in pairwise(chain):
        call = by_id[by_id[callee["execution"]]["parent_id"]]
        assert (call["name"], call["parent_id"]) == ("lambda.Invoke", caller["execution"])
        assert call["attributes"]["http.response.status_code"] == 200
        assert call["attributes"]["forerun.injected"] is True
    assert by_id[chain[0]["execution"]]["attributes"]["forerun.cpu_ms"] > 0


def _flat(spans: Sequence[dict]) -> Iterator[dict]:
    for span in spans:
        yield span
        yield from _flat(span["children"])
