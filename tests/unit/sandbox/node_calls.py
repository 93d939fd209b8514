"""Monitored invocations of Node functions, and what their calls must have carried."""

import json
import os
import shutil
from pathlib import Path

from tests.unit.sandbox.program import make_call

import forerun.runtime

# Other versions: FORERUN_TEST_NODE=/path/to/node.
NODE = os.environ.get("FORERUN_TEST_NODE") or shutil.which("node") or "node"
BOOTSTRAP = Path(forerun.runtime.__file__).parent / "nodejs" / "bootstrap.mjs"
TRACE_ID = "5759e988bd862e3fe1be46a994272793"
ROOT = f"1-{TRACE_ID[:8]}-{TRACE_ID[8:]}"
SIGNED = "53995c3f42cd8ad8-1-10-0123456789abcdef"
XRAY = f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1;Forerun={SIGNED}"
MONITORED = {
    "monitored": True,
    "trace_id": XRAY,
    "tracestate": "other=1,forerun=old",
    "baggage": "k=v",
}


async def run(api, event, **members):
    outcome = await api.submit(make_call(event, **members))
    assert outcome.error is None, outcome.payload
    return outcome, json.loads(outcome.payload)


def names(request, *wanted):
    """The values of headers, each of which must come once."""
    found = {}
    for name, value in request[2]:
        key = name.lower()
        assert key not in found, f"{name} came twice"
        found[key] = value
    return [found.get(name) for name in wanted]


ALL = ("x-amzn-trace-id", "traceparent", "tracestate", "baggage")


def expected(call):
    """The headers that a call must have had."""
    return [
        f"Root={ROOT};Parent={call.span_id};Sampled=1;Forerun={SIGNED}",
        f"00-{TRACE_ID}-{call.span_id}-01",
        f"forerun={SIGNED},other=1",
        "k=v",
    ]


PREAMBLE = """
const http = require("node:http");
const text = (stream) => new Promise((resolve, reject) => {
  let all = ""; stream.on("data", (part) => { all += part; }); stream.on("end", () => resolve(all));
  stream.on("error", reject); });
const answered = (request) => new Promise((resolve, reject) => {
  request.on("response", (response) => text(response).then(resolve, reject)); request.on("error", reject); });
"""
