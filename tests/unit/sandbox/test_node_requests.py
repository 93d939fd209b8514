"""What Node functions ask for is seen, and carries trace information: bootstrap, Runtime API and server are real."""

import json
import socket

import pytest
from tests.unit.sandbox.node_calls import (
    ALL,
    MONITORED,
    PREAMBLE,
    SIGNED,
    XRAY,
    expected,
    names,
    run,
)

WAYS = {
    "get by text": "return answered(http.get(url + '/x'));",
    "get by URL": "return answered(http.get(new URL(url + '/x'), { agent: false }));",
    "get by options": "return answered(http.get({ host: '127.0.0.1', port, path: '/x' }));",
    "get with callback": "return new Promise((r) => http.get(url + '/x', (a) => text(a).then(r)));",
    "request": "const q = http.request(url + '/x', { method: 'GET' }); q.end(); return answered(q);",
    "headers as list": "const q = http.request({ host: '127.0.0.1', port, path: '/x', headers: "
    "['Host', '127.0.0.1:' + port, 'tracestate', 'mine=1'] }); q.end(); return answered(q);",
    "headers as pairs": "const q = http.request({ host: '127.0.0.1', port, path: '/x', headers: "
    "[['Host', '127.0.0.1:' + port], ['X-Amzn-Trace-Id', 'mine']] }); q.end(); return answered(q);",
    "new ClientRequest": "const q = new http.ClientRequest(url + '/x'); q.end(); return answered(q);",
    "keep-alive agent": "const agent = new http.Agent({ keepAlive: true }); "
    "const all = await answered(http.get(url + '/x', { agent })); agent.destroy(); return all;",
    "flushed head": "const q = http.request(url + '/x'); q.flushHeaders(); q.end(); return answered(q);",
    "an SDK's header": "return answered(http.get(url + '/x', "
    "{ headers: { 'X-Amzn-Trace-Id': process.env._X_AMZN_TRACE_ID } }));",
    "fetch": "return (await fetch(url + '/x')).text();",
    "fetch with Request": "return (await fetch(new Request(url + '/x', "
    "{ headers: { 'X-Amzn-Trace-Id': 'mine', tracestate: 'a=b' } }))).text();",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_each_way_of_asking_is_seen_and_marked(start_node, server, way):
    api = await start_node(
        PREAMBLE + "exports.handler = async ({ url, port }) => { WAY };".replace("WAY", way),
    )
    event = {"url": f"http://{server.place}", "port": server.server_port}
    outcome, got = await run(api, event, **MONITORED)
    assert got == "hello"
    (request,) = server.requests
    (call,) = outcome.calls
    assert names(request, *ALL) == expected(call)
    shown = (call.kind, call.method, call.host, call.path, call.status, call.error, call.injected)
    assert shown == ("http", "GET", server.place, "/x", 200, "", True)
    assert (call.sent_bytes, call.received_bytes) == (0, 5)
    assert outcome.started - 1 <= call.started <= call.ended <= outcome.ended + 1
    assert outcome.cpu_ms > 0

    outcome, _ = await run(api, event, trace_id=XRAY, tracestate="a=b", baggage="c=d")
    given = names(server.requests[1], *ALL)
    assert not any(value and ("Parent" in value and value != XRAY) for value in given)
    assert given[1] is given[3] is None
    assert (outcome.calls, outcome.cpu_ms) == ([], 0.0)


async def test_modules_named_imports_and_require_inside_the_handler(start_node, server):
    api = await start_node(
        """
        import { get } from "node:http";
        import { createRequire } from "node:module";
        const ask = (get, url) => new Promise((resolve, reject) =>
          get(url, (response) => response.resume().on("end", resolve)).on("error", reject));
        export const handler = async (url) => {
          await ask(get, url + "/one");
          await ask(createRequire(import.meta.url)("http").get, url + "/two");
          await ask((await import("http")).default.get, url + "/three");
        };
        """,
        name="index.mjs",
    )
    outcome, _ = await run(api, f"http://{server.place}", **MONITORED)
    assert [call.path for call in outcome.calls] == ["/one", "/two", "/three"]
    for call, request in zip(outcome.calls, server.requests, strict=True):
        assert names(request, *ALL) == expected(call)


BODIES = {
    "http": "const q = http.request(url + path, { method: 'POST' }); q.write('ab'); q.end(Buffer.from('c')); "
    "await answered(q);",
    "http with length": "const q = http.request(url + path, { method: 'POST', headers: { 'Content-Length': 3 } }); "
    "q.end('abc'); await answered(q);",
    "fetch": "await (await fetch(url + path, { method: 'POST', body: 'abc' })).text();",
    "fetch of a stream": "await (await fetch(url + path, { method: 'POST', duplex: 'half', "
    "body: new Blob(['abc']).stream() })).text();",
}


@pytest.mark.parametrize("way", BODIES.values(), ids=BODIES)
async def test_bodies_arrive_as_they_were_and_count(start_node, server, way):
    api = await start_node(
        PREAMBLE
        + "exports.handler = async ({ url, paths }) => { for (const path of paths) { WAY } };".replace(
            "WAY", way
        )
    )
    event = {"url": f"http://{server.place}", "paths": ["/chunked", "/chunked", "/other"]}
    outcome, _ = await run(api, event, **MONITORED)
    assert [request[3] for request in server.requests] == [b"abc"] * 3
    one, same, other = outcome.calls
    assert (one.method, one.sent_bytes, one.received_bytes) == ("POST", 3, 5)
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.span_id != same.span_id


async def test_equal_requests_with_other_bodies_are_others(start_node, server):
    api = await start_node(
        PREAMBLE
        + """exports.handler = async ({ url }) => {
          for (const body of ["one body", "two body", "one body"]) {
            const q = http.request(url, { method: "PUT" }); q.end(body); await answered(q);
            await fetch(url, { method: "PUT", body });
          } };"""
    )
    outcome, _ = await run(api, {"url": f"http://{server.place}/p"}, **MONITORED)
    prints = [call.fingerprint for call in outcome.calls]
    assert prints[0] == prints[4] != prints[2]
    assert prints[1] == prints[5] != prints[3]


@pytest.mark.parametrize(
    ("headers", "left"),
    [
        pytest.param(
            {"traceparent": "00-aa-bb-01"}, ["00-aa-bb-01", f"forerun={SIGNED}", None], id="own"
        ),
        pytest.param(
            {"Traceparent": "00-aa-bb-01", "TraceState": "v=1,forerun=x", "baggage": "b=c"},
            ["00-aa-bb-01", f"forerun={SIGNED},v=1", "b=c"],
            id="own with state",
        ),
        pytest.param(
            {"traceparent": "00-aa-bb-01", "tracestate": "v=" + "x" * 500},
            ["00-aa-bb-01", "v=" + "x" * 500, None],
            id="own with a full state",
        ),
    ],
)
@pytest.mark.parametrize("client", ["http", "fetch"])
async def test_an_instrumented_function_keeps_its_own_trace(
    start_node, server, headers, left, client
):
    way = {
        "http": "await answered(http.get(url, { headers }));",
        "fetch": "await (await fetch(url, { headers })).text();",
    }[client]
    api = await start_node(
        PREAMBLE + "exports.handler = async ({ url, headers }) => { WAY };".replace("WAY", way)
    )
    outcome, _ = await run(api, {"url": f"http://{server.place}/", "headers": headers}, **MONITORED)
    (call,) = outcome.calls
    assert names(server.requests[0], *ALL) == [expected(call)[0], *left]


@pytest.mark.parametrize("client", ["http", "fetch"])
async def test_what_a_signature_covers_is_not_touched(start_node, server, client):
    headers = {
        "authorization": "AWS4-HMAC-SHA256 Credential=AK/20260101/eu-central-1/sqs/aws4_request, "
        "SignedHeaders=host;tracestate;x-amzn-trace-id, Signature=00",
        "x-amzn-trace-id": "mine",
        "x-amz-target": "AmazonSQS.SendMessage",
    }
    way = {
        "http": "await answered(http.get(url, { headers }));",
        "fetch": "await (await fetch(url, { headers })).text();",
    }[client]
    api = await start_node(
        PREAMBLE + "exports.handler = async ({ url, headers }) => { WAY };".replace("WAY", way)
    )
    outcome, _ = await run(api, {"url": f"http://{server.place}/", "headers": headers}, **MONITORED)
    (call,) = outcome.calls
    assert names(server.requests[0], *ALL) == ["mine", None, None, None]
    assert (call.service, call.operation, call.injected) == ("sqs", "SendMessage", False)


async def test_what_is_asked_of_aws(start_node, server):
    api = await start_node(
        PREAMBLE
        + """
        const scope = (service) => ({ authorization: "AWS4-HMAC-SHA256 Credential=AK/20260101/eu-central-1/" + service +
          "/aws4_request, SignedHeaders=host, Signature=00" });
        const post = (url, headers, body = "") => {
          const q = http.request(url, { method: "POST", headers }); q.end(body); return answered(q); };
        exports.handler = async (url) => {
          await post(url + "/2015-03-31/functions/fn-12345/invocations?Qualifier=1", scope("lambda"));
          await post(url + "/2017-03-31/tags/12345", scope("lambda"));
          await post(url + "/", { ...scope("sns"), "Content-Type": "application/x-www-form-urlencoded" },
            "Action=Publish&Message=secret");
          await post(url + "/b/o?X-Amz-Credential=AK%2F20260101%2Feu-central-1%2Fs3%2Faws4_request", {});
          await post(url + "/users/550e8400-e29b-41d4-a716-446655440000/17?token=secret", {});
        };"""
    )
    outcome, _ = await run(api, f"http://{server.place}", **MONITORED)
    assert [(call.service, call.operation, call.path) for call in outcome.calls] == [
        ("lambda", "Invoke", "/2015-03-31/functions/fn-12345/invocations"),
        ("lambda", "", "/2017-03-31/tags/*"),
        ("sns", "Publish", "/"),
        ("s3", "", "/b/o"),
        ("", "", "/users/*/*"),
    ]


async def test_redirects_and_statuses(start_node, server):
    api = await start_node(
        PREAMBLE
        + """exports.handler = async (url) => {
          await (await fetch(url + "/redirect")).text();
          await answered(http.get(url + "/busy"));
          await answered(http.request(url + "/head", { method: "HEAD" }).end());
        };"""
    )
    outcome, _ = await run(api, f"http://{server.place}", **MONITORED)
    shown = [(one.method, one.path, one.status, one.received_bytes) for one in outcome.calls]
    assert shown == [
        ("GET", "/redirect", 302, 0),
        ("GET", "/landed", 200, 5),
        ("GET", "/busy", 503, 5),
        ("HEAD", "/head", 200, 0),
    ]
    for call, request in zip(outcome.calls, server.requests, strict=True):
        assert names(request, *ALL) == expected(call)


async def test_failures(start_node, server):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    api = await start_node(
        PREAMBLE
        + """
        const tried = async (make) => { try { await make(); return ""; } catch (e) { return (e.cause ?? e).code ?? e.name; } };
        exports.handler = async ({ url, dead }) => [
          await tried(() => answered(http.get(dead))),
          await tried(() => fetch(dead)),
          await tried(() => answered(http.get(url + "/abort"))),
          await tried(async () => (await fetch(url + "/abort")).text()),
          await tried(() => { const q = http.get(url); q.destroy(); return answered(q); }),
          await tried(() => fetch(url, { signal: AbortSignal.timeout(1) }).then(() => { throw { code: "late" } })),
        ];"""
    )
    event = {"url": f"http://{server.place}", "dead": f"http://127.0.0.1:{port}"}
    outcome, got = await run(api, event, **MONITORED)
    assert got[:2] == ["ECONNREFUSED", "ECONNREFUSED"]
    refused, fetched, aborted, fetch_aborted, destroyed = outcome.calls[:5]
    assert (refused.error, refused.status) == (fetched.error, fetched.status) == ("ECONNREFUSED", 0)
    assert (aborted.status, aborted.error) == (200, "ECONNRESET")
    assert fetch_aborted.status == 200
    assert fetch_aborted.error
    assert destroyed.error == "ECONNRESET"
    assert all(call.ended for call in outcome.calls[:5])


async def test_a_response_that_nobody_reads_ended_with_its_headers(start_node, server):
    api = await start_node(
        PREAMBLE
        + """exports.handler = (url, context, done) => {
          context.callbackWaitsForEmptyEventLoop = false;
          http.get(url, () => setTimeout(done, 50, null, 1)); };"""
    )
    outcome, _ = await run(api, f"http://{server.place}", **MONITORED)
    (call,) = outcome.calls
    assert call.status == 200
    assert call.started < call.ended < outcome.ended - 0.02


async def test_what_the_platform_hands_in_is_not_the_callers_client_context(start_node):
    api = await start_node(
        "exports.handler = async (event, c) => [c.clientContext ?? null, c.w3c()];",
    )
    w3c = {"traceparent": "00-1-2-01", "tracestate": "forerun=x", "baggage": "k=v"}
    for context, expected_ in (
        (None, [None, {}]),
        ({"w3c": w3c}, [None, w3c]),
        (
            {"custom": {"a": 1}, "w3c": {**w3c, "other": 1, "baggage": 7}},
            [{"custom": {"a": 1}}, {k: w3c[k] for k in ("traceparent", "tracestate")}],
        ),
        ({"w3c": "no"}, [None, {}]),
        ({"custom": 1}, [{"custom": 1}, {}]),
        ([1], [[1], {}]),
    ):
        given = None if context is None else json.dumps(context)
        assert (await run(api, 1, client_context=given))[1] == expected_


STRANGE = """
const http = require("node:http");
require("node:http2");
exports.handler = async ({ url, port }) => {
  const ended = (request) => new Promise((resolve) => request.on("close", resolve).on("error", () => {}));
  const first = http.request({ host: "127.0.0.1", port, method: "POST",
    path: "/\\x7f\\xe9/" + "x".repeat(3000) });
  first.on("response", (response) => response.resume());
  first.end("abc");
  await ended(first);
  Error.prepareStackTrace = () => { throw new Error("mine"); };
  Error.stackTraceLimit = 0;
  globalThis.setTimeout = () => undefined;
  Math.random = () => 0;
  const second = http.get({ host: "127.0.0.1", port, path: "/second" }, (response) => response.resume());
  delete Error.prepareStackTrace;
  await ended(second);
  await ended(http.get({ socketPath: "/no/\\ud83d/" + "y".repeat(80) }));
  try { http.get(url, { headers: { "X-Strange": "a\\nb" } }); } catch (error) { return error.code; }
};
"""


async def test_strange_functions_get_what_they_would_have_got(start_node, server):
    api = await start_node(STRANGE)
    event = {"url": f"http://{server.place}", "port": server.server_port}
    _, unwatched = await run(api, event)
    outcome, watched = await run(api, event, **MONITORED)
    assert unwatched == watched == "ERR_INVALID_CHAR"
    assert [call.status for call in outcome.calls] == [200, 200, 0]
    assert outcome.calls[0].path.startswith("/?é/xxx")
    assert outcome.calls[0].sent_bytes == 3, "on a connection that is open already, too"
    assert outcome.calls[2].error == "ENOENT"
    assert len({call.span_id for call in outcome.calls}) == 3
