"""Node functions that call others: the calls carry trace information, are recognised, and are in the trace."""

from pathlib import Path

import pytest
from tests.chains import check_linked, counts, spans_of, traced
from tests.servers import Server, package, running

pytestmark = pytest.mark.slow

SDK = Path(__file__).parents[1] / "conformance" / "nodejs" / "node_modules"

# Signs as the AWS SDKs do, and with ``all`` as some others do: the trace id, too.
CALLER = """
const http = require("node:http");
const { createHash, createHmac } = require("node:crypto");
const hmac = (key, text) => createHmac("sha256", key).update(text).digest();
const sha = (text) => createHash("sha256").update(text).digest("hex");

function signed(url, body, all) {
  const env = process.env;
  const moment = new Date().toISOString().replace(/[:-]|\\.\\d{3}/g, "");
  const scope = [moment.slice(0, 8), env.AWS_REGION, "lambda", "aws4_request"].join("/");
  const headers = { host: url.host, "x-amz-date": moment, "x-amz-security-token": env.AWS_SESSION_TOKEN };
  if (all) headers["x-amzn-trace-id"] = env._X_AMZN_TRACE_ID;
  const names = Object.keys(headers).sort();
  const canonical = ["POST", url.pathname, "", ...names.map((n) => n + ":" + headers[n]), "", names.join(";"), sha(body)];
  const text = ["AWS4-HMAC-SHA256", moment, scope, sha(canonical.join("\\n"))].join("\\n");
  const key = scope.split("/").reduce(hmac, "AWS4" + env.AWS_SECRET_ACCESS_KEY);
  const { host, ...sent } = headers;
  sent.authorization = "AWS4-HMAC-SHA256 Credential=" + env.AWS_ACCESS_KEY_ID + "/" + scope + ", SignedHeaders=" +
    names.join(";") + ", Signature=" + createHmac("sha256", key).update(text).digest("hex");
  return sent;
}

const ways = {
  fetch: async (url, headers, body) => (await fetch(url, { method: "POST", headers, body })).text(),
  http: (url, headers, body) => new Promise((resolve, reject) => {
    http.request(url, { method: "POST", headers }, (answer) => {
      let text = "";
      answer.on("data", (part) => { text += part; }).on("end", () => resolve(text)).on("error", reject);
    }).on("error", reject).end(body);
  }),
};

async function bySdk(name, body) {
  const { LambdaClient, InvokeCommand } = require("@aws-sdk/client-lambda");
  const answer = await new LambdaClient().send(new InvokeCommand({ FunctionName: name, Payload: body }));
  return Buffer.from(answer.Payload).toString();
}

exports.handler = async (event, context) => {
  const seen = { header: process.env._X_AMZN_TRACE_ID, w3c: context.w3c(), client: context.clientContext ?? null };
  if (event?.call) {
    const body = JSON.stringify(event.with ?? {});
    const url = new URL(process.env.AWS_ENDPOINT_URL + "/2015-03-31/functions/" + event.call + "/invocations");
    const answer = event.how === "sdk" ? await bySdk(event.call, body)
      : await ways[event.how](url, signed(url, body, event.all), body);
    seen.called = JSON.parse(answer);
  }
  if (event?.hang) {
    const silent = require("node:net").createServer(() => {});
    await new Promise((resolve) => silent.listen(0, "127.0.0.1", resolve));
    await fetch("http://127.0.0.1:" + silent.address().port + "/hangs/12345?secret");
  }
  return seen;
};
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("outgoing-nodejs") / "data") as one:
        yield one


def make(server: Server, monitoring: str = "on", files=None, **more: object) -> str:
    """A function of the newest Node.js here that is monitored as said."""
    runtimes = server.platform("/forerun/status")["runtimes"]
    newest = max((one for one in runtimes if one.startswith("nodejs")), default=None)
    assert newest, "no Node.js is installed"
    return server.function(
        package({"index.js": CALLER, **(files or {})}),
        runtime=newest,
        handler="index.handler",
        Tags={"forerun:monitoring": monitoring},
        **{"MemorySize": 256, "Timeout": 20, **more},
    )


@pytest.fixture(scope="module")
def pair(server):
    return make(server), make(server)


@pytest.mark.parametrize("how", ["fetch", "http"])
def test_a_called_function_is_linked_to_its_caller(server, pair, how):
    a, b = pair
    before = counts(server)
    first = server.call(a, {"call": b, "how": how, "with": {"call": a, "how": how}})
    second = first["called"]
    chain = [traced(each["header"]) for each in (first, second, second["called"])]
    assert len({read["root"] for read in chain}) == 1
    assert [read["depth"] for read in chain] == ["0", "1", "2"]
    after = counts(server)
    assert after["linked"] - before["linked"] == 2
    assert after["credential"] == before["credential"], "the headers were enough"
    assert after["malformed"] == before["malformed"]
    trace = chain[0]["root"].replace("-", "")
    assert first["w3c"]["traceparent"] == f"00-{trace}-{chain[0]['execution']}-01"
    assert first["client"] is None
    spans = spans_of(server, trace, 3)
    check_linked(spans, chain)


def test_a_signature_that_covers_the_trace_id_stays_good(server, pair):
    a, b = pair
    seen = server.call(a, {"call": b, "how": "fetch", "all": True})
    first, second = traced(seen["header"]), traced(seen["called"]["header"])
    assert first["root"] == second["root"]
    assert second["depth"] == "1"


def test_the_aws_sdk(server, pair):
    if not (SDK / "@aws-sdk" / "client-lambda").is_dir():
        pytest.skip("the AWS SDK for Node.js is not installed: make clients, with npm")
    files = {
        f"node_modules/{path.relative_to(SDK)}": path.read_bytes()
        for path in SDK.rglob("*")
        if path.is_file() and (path.suffix in (".js", ".cjs") or path.name == "package.json")
    }
    a = make(server, files=files, MemorySize=512)
    seen = server.call(a, {"call": pair[1], "how": "sdk"})
    first, second = traced(seen["header"]), traced(seen["called"]["header"])
    assert second["depth"] == "1"
    spans = spans_of(server, first["root"].replace("-", ""), 2)
    by_id = {span["span_id"]: span for span in spans}
    call = by_id[by_id[second["execution"]]["parent_id"]]
    assert call["parent_id"] == first["execution"]
    assert (call["name"], call["attributes"]["http.response.status_code"]) == ("lambda.Invoke", 200)
    assert sum(span["kind"] == "client" for span in spans) == 1, (
        "its connection is no call of its own"
    )


def test_a_call_of_an_execution_that_was_killed_is_in_its_trace(server):
    name = make(server, Timeout=1)
    path = f"/2015-03-31/functions/{name}/invocations"
    trace = "5759e988bd862e3fe1be46a994272793"
    signed = server.signed("POST", path, b'{"hang":true}')
    answer = server.request(
        "POST",
        path,
        b'{"hang":true}',
        {**signed, "X-Amzn-Trace-Id": f"Root=1-{trace[:8]}-{trace[8:]}"},
    )
    assert answer.json()["errorType"] == "Sandbox.Timedout"
    (call,) = [span for span in spans_of(server, trace, 1) if span["kind"] == "client"]
    assert call["attributes"]["url.path"] == "/hangs/*"
    assert call["ended"] == 0
    assert "secret" not in str(call)


def test_what_is_not_monitored_carries_nothing(server, pair):
    a = make(server, "off")
    for how in ("fetch", "http"):
        seen = server.call(a, {"call": pair[1], "how": how})
        assert "Forerun=" not in seen["header"]
        called = traced(seen["called"]["header"])
        assert called["depth"] == "0", "whoever was called is the first that is known"
