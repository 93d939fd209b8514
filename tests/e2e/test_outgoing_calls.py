"""Python functions that call others: the calls carry trace information, are recognised, and are in the trace."""

import pytest
from tests.chains import check_linked, counts, spans_of, traced
from tests.servers import Server, running

pytestmark = pytest.mark.slow

# The header comes in the environment; what a sandbox was started for says how its client was loaded: before the fork
# (boto3 at the top), or by the function itself.
SDK = """
import json, os, boto3
client = boto3.client("lambda")
def handler(event, context):
    seen = {"header": os.environ["_X_AMZN_TRACE_ID"], "w3c": context.w3c()}
    if event and event.get("call"):
        answer = client.invoke(FunctionName=event["call"], Payload=json.dumps(event.get("with")))
        seen["called"] = json.loads(answer["Payload"].read())
    return seen
"""
URLLIB = """
import json, os
def handler(event, context):
    seen = {"header": os.environ["_X_AMZN_TRACE_ID"], "w3c": context.w3c()}
    if event and event.get("call"):
        seen["called"] = ask(event["call"], json.dumps(event.get("with")).encode())
    return seen

def ask(name, body):
    import urllib.request
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.session import get_session
    url = os.environ["AWS_ENDPOINT_URL"] + "/2015-03-31/functions/" + name + "/invocations"
    request = AWSRequest("POST", url, data=body)
    SigV4Auth(get_session().get_credentials(), "lambda", os.environ["AWS_REGION"]).add_auth(request)
    asked = urllib.request.Request(url, body, dict(request.headers))
    with urllib.request.urlopen(asked) as answer:
        return json.load(answer)
"""
HANGING = """
import http.client, socket
def handler(event, context):
    listener = socket.create_server(("127.0.0.1", 0))
    connection = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1])
    connection.request("GET", "/hangs/12345?secret")
    connection.getresponse()
"""
SOURCES = {"sdk": SDK, "urllib": URLLIB}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("outgoing") / "data") as one:
        yield one


def make(server: Server, source: str, monitoring: str = "on", **more: object) -> str:
    return server.function(
        source,
        Tags={"forerun:monitoring": monitoring},
        **{"Timeout": 20, "MemorySize": 256, **more},
    )


def check_chain(server: Server, first: dict, depth: int) -> None:
    """That each call of a chain led to the next execution, and that the trace says so."""
    seen = [first]
    while "called" in seen[-1]:
        seen.append(seen[-1]["called"])
    chain = [traced(each["header"]) for each in seen]
    assert [read["depth"] for read in chain] == [str(number) for number in range(depth + 1)]
    assert len({read["root"] for read in chain}) == 1
    spans = spans_of(server, chain[0]["root"], depth + 1)
    check_linked(spans, chain)
    assert sum(span["kind"] == "client" for span in spans) == depth


@pytest.mark.parametrize("how", SOURCES)
def test_a_called_function_is_linked_to_its_caller(server, how):
    a, b = make(server, SOURCES[how]), make(server, SOURCES[how])
    before = counts(server)
    for _ in range(2):  # in a new sandbox, then in a used one, with its connection
        first = server.call(a, {"call": b, "with": {"call": a}})
        check_chain(server, first, 2)
    after = counts(server)
    assert after["linked"] - before["linked"] == 4
    assert after["credential"] == before["credential"], "the headers were enough"
    assert after["malformed"] == before["malformed"]
    trace = traced(first["header"])
    root = trace["root"].replace("-", "")
    assert first["w3c"]["traceparent"] == f"00-{root}-{trace['execution']}-01"


def test_a_copy_of_a_template_is_watched_as_any(server):
    b = make(server, SDK)
    a = make(server, SDK, SnapStart={"ApplyOn": "PublishedVersions"})
    version = server.lambda_.publish_version(FunctionName=a)["Version"]
    server.lambda_.get_waiter("published_version_active").wait(
        FunctionName=a, Qualifier=version, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
    )
    for _ in range(2):
        check_chain(server, server.call(a, {"call": b}, Qualifier=version), 1)


def test_a_call_of_an_execution_that_was_killed_is_in_its_trace(server):
    name = make(server, HANGING, Timeout=1)
    path = f"/2015-03-31/functions/{name}/invocations"
    root = "1-5759e988-bd862e3fe1be46a994272793"
    headers = {**server.signed("POST", path, b"{}"), "X-Amzn-Trace-Id": f"Root={root}"}
    answer = server.request("POST", path, b"{}", headers)
    assert answer.json()["errorType"] == "Sandbox.Timedout"
    (call,) = [span for span in spans_of(server, root[2:], 1) if span["kind"] == "client"]
    assert call["attributes"]["url.path"] == "/hangs/*"
    assert call["ended"] == 0
    assert "secret" not in str(call)


def test_what_is_not_monitored_carries_nothing(server):
    b = make(server, SDK)
    for source in SOURCES.values():
        seen = server.call(make(server, source, "off"), {"call": b})
        assert "Forerun=" not in seen["header"]
        assert traced(seen["called"]["header"])["depth"] == "0"
