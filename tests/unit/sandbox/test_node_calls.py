"""Calls of Node functions by other means than plain HTTP, and of functions that end badly."""

import socket
import ssl

import pytest
from tests.unit.sandbox.echo import certificate
from tests.unit.sandbox.node_calls import ALL, MONITORED, PREAMBLE, expected, names, run
from tests.unit.sandbox.program import Sink, make_call


async def test_connections_that_are_not_for_requests(start_node, server, tmp_path):
    path = str(tmp_path / "s")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        api = await start_node(
            PREAMBLE
            + """const net = require("node:net");
            const opened = (socket) => new Promise((resolve, reject) =>
              socket.on("connect", () => { socket.destroy(); resolve(); }).on("error", (e) => resolve(e.code)));
            exports.handler = async ({ port, path, url }) => {
              await answered(http.get(url));
              await fetch(url);
              await opened(net.connect(port, "127.0.0.1"));
              await opened(new net.Socket().connect({ port, host: "localhost" }));
              await opened(net.createConnection(path));
              await opened(net.connect({ path: path + "x" }));
            };"""
        )
        port = tcp.getsockname()[1]
        event = {"port": port, "path": path, "url": f"http://{server.place}"}
        outcome, _ = await run(api, event, **MONITORED)
        shown = [(one.kind, one.host, one.error) for one in outcome.calls]
        assert shown == [
            ("http", server.place, ""),
            ("http", server.place, ""),
            ("connection", f"127.0.0.1:{port}", ""),
            ("connection", f"localhost:{port}", ""),
            ("connection", f"unix:{path}", ""),
            ("connection", f"unix:{path}x", "ENOENT"),
        ]
        assert all(one.ended and not one.injected for one in outcome.calls[2:])


async def test_calls_of_a_program_that_exits_or_hangs_are_known(start_node, server):
    api = await start_node(
        """const net = require("node:net");
        exports.handler = async ({ port, url }) => {
          await (await fetch(url + "/done")).text();
          net.connect(port, "127.0.0.1");
          fetch("http://127.0.0.1:" + port + "/hangs").catch(() => {});
          await new Promise(() => setInterval(() => {}, 1000));
        };"""
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        event = {"port": silent.getsockname()[1], "url": f"http://{server.place}"}
        outcome = await api.submit(make_call(event, seconds=-4.0, **MONITORED))
    assert outcome.status == "timeout"
    shown = {(one.kind, one.path): bool(one.ended) for one in outcome.calls}
    assert shown == {("http", "/done"): True, ("connection", ""): True, ("http", "/hangs"): False}


async def test_many_calls_are_told_in_time_and_those_beyond_the_bound_are_counted(
    start_node, server
):
    api = await start_node(
        """exports.handler = async (url) => {
          for (let round = 0; round < 21; round += 1) {
            await Promise.all(Array.from({ length: 50 }, () => fetch(url).then((answer) => answer.text())));
          } };"""
    )
    outcome, _ = await run(api, f"http://{server.place}", seconds=30, **MONITORED)
    assert len(outcome.calls) == 1000
    assert len({call.span_id for call in outcome.calls}) == 1000
    assert all(call.status == 200 and call.ended for call in outcome.calls)
    assert outcome.calls_dropped == 50
    assert len(server.requests) == 1050
    assert all(all(names(request, *ALL)) for request in server.requests)


@pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
async def test_a_streamed_response(start_node, server, fails):
    api = await start_node(
        """exports.handler = awslambda.streamifyResponse(async ({ url, fails }, stream) => {
          stream.write("a"); await (await fetch(url)).text(); stream.write("b");
          if (fails) throw new Error("no"); stream.end(); });"""
    )
    sink = Sink()
    event = {"url": f"http://{server.place}", "fails": fails}
    outcome = await api.submit(make_call(event, sink=sink, **MONITORED))
    assert sink.body == b"ab"
    assert (outcome.error is not None) is fails
    assert [call.status for call in outcome.calls] == [200]
    assert outcome.cpu_ms > 0


async def test_a_handler_that_throws(start_node, server):
    api = await start_node(
        "exports.handler = async (url) => { await (await fetch(url)).text(); throw new Error('no'); };"
    )
    outcome = await api.submit(make_call(f"http://{server.place}", **MONITORED))
    assert outcome.error_type == "Error"
    assert [call.status for call in outcome.calls] == [200]


async def test_nothing_is_carried_over_to_another_invocation(start_node, server):
    api = await start_node(
        """let late;
        exports.handler = async ({ url, begin }) => {
          if (begin) { late = fetch(url + "/slow?" + "x".repeat(10)); return; }
          await (await late).text(); await (await fetch(url + "/second")).text(); };"""
    )
    event = {"url": f"http://{server.place}"}
    await run(api, {**event, "begin": True}, **MONITORED)
    outcome, _ = await run(api, {**event, "begin": False}, request_id="r2", **MONITORED)
    assert [call.path for call in outcome.calls] == ["/second"]


async def test_tls(start_node, make_server, tmp_path):
    pem = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    server = make_server(context)
    api = await start_node(
        PREAMBLE
        + """const https = require("node:https"); const tls = require("node:tls");
        const ca = require("node:fs").readFileSync(process.env.PEM);
        exports.handler = async ({ url, port }) => {
          await answered(https.get(url + "/one", { ca }));
          const agent = new https.Agent({ ca, keepAlive: true });
          await answered(https.request({ hostname: "127.0.0.1", port, path: "/two", agent }).end());
          agent.destroy();
          await new Promise((resolve, reject) => { const s = tls.connect({ port, host: "127.0.0.1", ca });
            s.on("secureConnect", () => { s.destroy(); resolve(); }); s.on("error", reject); });
        };""",
        user={"PEM": str(pem)},
    )
    event = {"url": f"https://{server.place}", "port": server.server_port}
    outcome, _ = await run(api, event, **MONITORED)
    shown = [(call.kind, call.host, call.path, call.status) for call in outcome.calls]
    assert shown == [
        ("http", server.place, "/one", 200),
        ("http", server.place, "/two", 200),
        ("connection", server.place, "", 0),
    ]
    for call, request in zip(outcome.calls, server.requests, strict=False):
        assert names(request, *ALL) == expected(call)


@pytest.mark.parametrize("early", [True, False], ids=["at init", "in the handler"])
async def test_http2(start_node, early):
    api = await start_node(
        """
        const load = () => require("node:http2");
        const early = process.env.EARLY ? load() : undefined;
        exports.handler = async (event) => {
          const http2 = early ?? load();
          const seen = [];
          const server = http2.createServer();
          server.on("stream", (stream, headers) => { seen.push(headers); stream.respond({ ":status": 207 }); stream.end("x"); });
          await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
          const place = "127.0.0.1:" + server.address().port;
          const session = http2.connect("http://" + place);
          for (const headers of [{ ":path": "/a/12345?q" }, { ":path": "/b", ":method": "POST", "X-Amzn-Trace-Id": "mine" }]) {
            const given = JSON.stringify(headers);
            const stream = session.request(headers);
            stream.end(); stream.resume();
            await new Promise((resolve, reject) => stream.on("close", resolve).on("error", reject));
            if (JSON.stringify(headers) !== given) throw new Error("changed");
          }
          await new Promise((resolve) => session.close(resolve));
          await new Promise((resolve) => server.close(resolve));
          return { place, seen };
        };""",
        user={"EARLY": "1"} if early else {},
    )
    outcome, got = await run(api, None, **MONITORED)
    shown = [(call.kind, call.method, call.host, call.path, call.status) for call in outcome.calls]
    assert shown == [
        ("http", "GET", got["place"], "/a/*", 207),
        ("http", "POST", got["place"], "/b", 207),
    ]
    for call, headers in zip(outcome.calls, got["seen"], strict=True):
        assert [headers.get(name) for name in ALL] == expected(call)
    again, got = await run(api, None)
    assert again.calls == []
    assert not any("forerun" in str(headers) for headers in got["seen"])
