"""Trace information through the real server: who is recognised as the cause of what, and who is not believed."""

import base64
import json
import re
import signal
import uuid

import pytest
from tests.chains import TRACED, counts, traced
from tests.servers import Server, eventually, running

pytestmark = pytest.mark.slow

# Tells what it was given, and calls the next function: through the SDK, or by bytes of its own on a socket, where no
# runtime adds a header.
CALLER = """
import json, os, socket

def handler(event, context):
    event = event or {}
    seen = {
        "header": os.environ["_X_AMZN_TRACE_ID"],
        "w3c": context.w3c(),
        "client_context": context.client_context is not None,
    }
    print("SEEN", json.dumps(seen))
    if event.get("fail"):
        raise ValueError("as asked")
    if name := event.get("call"):
        how = {"sdk": by_sdk, "socket": by_socket}[event.get("how", "sdk")]
        seen["called"] = how(name, event.get("kind", "RequestResponse"), event.get("with", {}))
    return seen

def by_sdk(name, kind, payload):
    import boto3
    reply = boto3.client("lambda").invoke(
        FunctionName=name, InvocationType=kind, Payload=json.dumps(payload)
    )
    return json.loads(reply["Payload"].read() or "null")

def by_socket(name, kind, payload):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.session import get_session
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    url = f"{endpoint}/2015-03-31/functions/{name}/invocations"
    body = json.dumps(payload).encode()
    request = AWSRequest("POST", url, data=body, headers={"X-Amz-Invocation-Type": kind})
    SigV4Auth(get_session().get_credentials(), "lambda", os.environ["AWS_REGION"]).add_auth(request)
    address = endpoint.removeprefix("http://")
    head = f"POST {url.removeprefix(endpoint)} HTTP/1.1\\r\\nHost: {address}\\r\\nConnection: close\\r\\n"
    head += f"Content-Length: {len(body)}\\r\\n"
    head += "".join(f"{name}: {value}\\r\\n" for name, value in request.headers.items())
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + b"\\r\\n" + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")), answer
    return json.loads(answer.partition(b"\\r\\n\\r\\n")[2] or b"null")
"""
UNTRACED = re.compile(r"Root=1-(?P<root>[0-9a-f]{8}-[0-9a-f]{24});Parent=[0-9a-f]{16};Sampled=[01]")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    settings = {"FORERUN_EVENTS_RETRY_S": "0.1"}
    with running(tmp_path_factory.mktemp("trace-information") / "data", settings=settings) as one:
        yield one


@pytest.fixture(scope="module")
def pair(server):
    return make_pair(server)


def make_pair(server: Server):
    """A caller and a callee, always monitored."""
    a, b = server.function(CALLER, Timeout=20), server.function(CALLER, Timeout=20)
    for name in (a, b):
        tag(server, name, "on")
    return a, b


def tag(server: Server, name: str, value: str) -> None:
    arn = server.lambda_.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    server.lambda_.tag_resource(Resource=arn, Tags={"forerun:monitoring": value})


def seen_by(server: Server, name: str):
    """What the executions of a function told in their logs."""
    group = f"/aws/lambda/{name}"
    try:
        events = server.client("logs").filter_log_events(logGroupName=group)["events"]
    except server.client("logs").exceptions.ResourceNotFoundException:
        return []
    texts = [each["message"] for each in events if each["message"].startswith("SEEN ")]
    return [json.loads(text.removeprefix("SEEN ")) for text in texts]


def invoke(server: Server, name: str, headers, payload=b"{}"):
    """A signed call with these further headers, which the signature need not cover."""
    path = f"/2015-03-31/functions/{name}/invocations"
    answer = server.request(
        "POST", path, payload, {**server.signed("POST", path, payload), **headers}
    )
    assert answer.status == 200, answer
    return answer


def follows(caller: str, callee: str) -> bool:
    """Whether the second header is of an execution that the first one's is known to have caused."""
    first, second = traced(caller), traced(callee)
    return first["root"] == second["root"] and int(second["depth"]) == int(first["depth"]) + 1


@pytest.mark.parametrize(("how", "counted"), [("sdk", "linked"), ("socket", "credential")])
def test_a_called_function_is_linked_to_its_caller(server, pair, how, counted):
    a, b = pair
    before = counts(server)
    seen = server.call(a, {"call": b, "how": how})
    assert follows(seen["header"], seen["called"]["header"])
    assert traced(seen["header"])["depth"] == "0"
    after = counts(server)
    assert after[counted] - before[counted] == 1
    assert (after["forged"], after["malformed"]) == (before["forged"], before["malformed"])


def test_the_chain_goes_on_and_w3c_tells_the_same(server, pair):
    a, b = pair
    first = server.call(a, {"call": b, "with": {"call": a, "how": "socket"}})
    second = first["called"]
    third = second["called"]
    assert follows(first["header"], second["header"])
    assert follows(second["header"], third["header"])
    for seen in (first, second, third):
        read = traced(seen["header"])
        trace = read["root"].replace("-", "")
        assert seen["w3c"]["traceparent"] == f"00-{trace}-{read['execution']}-01"
        assert seen["w3c"]["tracestate"].startswith(f"forerun={read['execution']}-{read['depth']}-")
        assert seen["client_context"] is False


def test_a_client_context_stays_what_the_caller_gave(server, pair):
    given = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    seen = server.call(pair[0], {}, ClientContext=given)
    assert seen["client_context"] is True
    assert seen["w3c"]["traceparent"]


def test_a_stranger_who_copies_the_header_links_what_he_calls(server, pair):
    """A gives its trace information to somebody outside, who calls B: in the API, and at a URL that is open to all."""
    a, b = pair
    header = server.call(a)["header"]
    answer = invoke(server, b, {"X-Amzn-Trace-Id": header})
    assert follows(header, answer.json()["header"])
    public = answer.headers["x-amzn-trace-id"]
    assert UNTRACED.fullmatch(public), (
        "a caller from outside is not given the execution's signature"
    )

    url = server.lambda_.create_function_url_config(FunctionName=b, AuthType="NONE")["FunctionUrl"]
    for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"):
        server.lambda_.add_permission(
            FunctionName=b,
            StatementId=uuid.uuid4().hex,
            Action=action,
            Principal="*",
            **({"FunctionUrlAuthType": "NONE"} if action.endswith("Url") else {}),
        )
    path = url.removeprefix(server.endpoint)
    by_url = server.request("GET", path, headers={"X-Amzn-Trace-Id": header})
    assert follows(header, by_url.json()["header"])
    read = traced(header)
    state = {
        "traceparent": f"00-{read['root'].replace('-', '')}-{read['parent']}-01",
        "tracestate": f"x=1,forerun={header.partition('Forerun=')[2]}",
    }
    by_state = server.request("GET", path, headers=state).json()
    assert follows(header, by_state["header"])
    assert by_state["w3c"]["tracestate"].endswith(",x=1")
    unsigned = server.request("GET", path, headers={"X-Amzn-Trace-Id": header.partition(";F")[0]})
    assert traced(unsigned.json()["header"])["root"] != read["root"]


def test_a_streamed_call_is_linked(server, pair):
    a, b = pair
    header = server.call(a)["header"]
    path = f"/2021-11-15/functions/{b}/response-streaming-invocations"
    headers = {**server.signed("POST", path, b"{}"), "X-Amzn-Trace-Id": header}
    answer = server.request("POST", path, b"{}", headers)
    assert answer.status == 200
    seen = re.search(rb'"header": ?"([^"]+)"', answer.body)
    assert seen, answer.body
    assert follows(header, seen[1].decode())


@pytest.mark.parametrize("piece", [0, 1, 2, 3], ids=["execution", "depth", "weight", "mac"])
def test_a_forged_header_changes_nothing(server, pair, piece):
    a, b = pair
    start, signed, part = server.call(a)["header"].partition("Forerun=")
    pieces = part.split("-")
    pieces[piece] = pieces[piece][:-1] + ("1" if pieces[piece][-1] != "1" else "2")
    before = counts(server)
    forged = start + signed + "-".join(pieces)
    seen = invoke(server, b, {"X-Amzn-Trace-Id": forged}).json()
    assert traced(seen["header"])["depth"] == "0"
    assert counts(server)["forged"] - before["forged"] == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Amzn-Trace-Id": "Root=;;;=;Forerun=--;"},
        {"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=\t"},
        {"X-Amzn-Trace-Id": "é" * 100},
        {"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;" * 100},
        {"X-Amzn-Trace-Id": ""},
        {"traceparent": "00-0-0-0", "tracestate": "=,=,=", "baggage": "\t"},
        {"traceparent": "ff-" + "1" * 32 + "-" + "1" * 16 + "-01"},
        {"tracestate": "forerun=" + "f" * 4000},
        {"traceparent": "00-" + "1" * 32 + "-" + "1" * 16 + "-01", "tracestate": "a=b," * 900},
        {"traceparent": "00-" + "1" * 32 + "-" + "1" * 16 + "-01", "baggage": "a=" + "b" * 9000},
    ],
    ids=lambda headers: "+".join(f"{name}-{len(value)}" for name, value in headers.items()),
)
def test_a_malformed_header_fails_no_call(server, pair, headers):
    seen = invoke(server, pair[1], headers).json()
    read = traced(seen["header"])
    assert (read["depth"], read["weight"]) == ("0", "1")


def test_retries_and_the_destination_stay_linked(server):
    a, b = make_pair(server)
    told, _ = make_pair(server)
    arn = server.lambda_.get_function(FunctionName=told)["Configuration"]["FunctionArn"]
    server.lambda_.put_function_event_invoke_config(
        FunctionName=b, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    header = server.call(a, {"call": b, "kind": "Event", "with": {"fail": True}})["header"]
    eventually(lambda: seen_by(server, told), within=20, what="the destination's call")
    attempts = [each["header"] for each in seen_by(server, b)]
    assert len(attempts) == 3
    assert all(follows(header, each) for each in attempts)
    assert len({traced(each)["execution"] for each in attempts}) == 3
    [destination] = seen_by(server, told)
    assert all(follows(each, destination["header"]) for each in attempts)


def test_an_event_without_trace_has_one_for_all_its_attempts(server):
    _, b = make_pair(server)
    server.lambda_.invoke(FunctionName=b, InvocationType="Event", Payload=b'{"fail": true}')
    attempts = eventually(lambda: (got := seen_by(server, b))[2:] and got, within=20)
    assert len({traced(each["header"])["root"] for each in attempts}) == 1
    assert {traced(each["header"])["depth"] for each in attempts} == {"0"}


def test_a_tag_switches_one_function_off_and_its_value_is_checked(server):
    a, b = make_pair(server)
    tag(server, b, "off")
    seen = server.call(a, {"call": b})
    assert UNTRACED.fullmatch(seen["called"]["header"])
    assert UNTRACED.fullmatch(seen["called"]["header"])["root"] == traced(seen["header"])["root"]
    tag(server, b, "7")
    weights = [
        read["weight"] for _ in range(60) if (read := TRACED.fullmatch(server.call(b)["header"]))
    ]
    assert set(weights) == {"7"}
    shown = server.platform(f"/forerun/monitoring?FunctionName={b}")
    assert (shown["Tag"], shown["OneIn"], shown["Reason"]) == ("7", 7, "the tag says 7")
    assert shown["Executions"] == 61
    assert shown["Monitored"] == len(weights)
    for wrong in ("0", "yes", "1000001", "07", "-1", "1.5", ""):
        with pytest.raises(server.lambda_.exceptions.ClientError) as refused:
            tag(server, b, wrong)
        assert refused.value.response["Error"]["Code"] == "InvalidParameterValueException"
        assert "forerun:monitoring must be on, off, auto" in str(refused.value)


def test_kill_9_keeps_where_queued_events_came_from(tmp_path):
    data = tmp_path / "data"
    with running(data) as first:
        a, b = make_pair(first)
        first.lambda_.put_function_concurrency(FunctionName=b, ReservedConcurrentExecutions=0)
        header = first.call(a, {"call": b, "kind": "Event"})["header"]
        first.stop(signal.SIGKILL)
    with running(data) as second:
        second.lambda_.delete_function_concurrency(FunctionName=b)
        [seen] = eventually(lambda: seen_by(second, b), within=30, what="the event's run")
        assert follows(header, seen["header"])


def test_monitoring_off_leaves_no_signed_part_anywhere(tmp_path):
    settings = {"FORERUN_MONITORING_ENABLED": "false"}
    with running(tmp_path / "data", settings=settings) as server:
        a, b = make_pair(server)
        seen = server.call(a, {"call": b, "with": {"call": a, "how": "socket"}})
        given = (seen, seen["called"], seen["called"]["called"])
        assert all(UNTRACED.fullmatch(each["header"]) for each in given)
        assert "forerun" not in json.dumps(seen).lower()
        assert not any(each["w3c"] for each in given)
        assert {each["header"][-9:] for each in given} == {"Sampled=0"}
        foreign = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        answer = invoke(
            server, b, {"X-Amzn-Trace-Id": f"{foreign};Forerun={'a' * 16}-0-1-{'b' * 16}"}
        )
        assert answer.json()["header"] == answer.headers["x-amzn-trace-id"] == foreign
        shown = server.platform(f"/forerun/monitoring?FunctionName={a}")
        assert (shown["Enabled"], shown["OneIn"]) == (False, 0)
        assert shown["Reason"] == "monitoring.enabled is false"
        assert shown["Counts"]["monitored"] == 0


def test_below_the_threshold_nothing_is_added_to_a_functions_calls(tmp_path):
    settings = {"FORERUN_MONITORING_MIN_CALLS_PER_HOUR": "4"}
    with running(tmp_path / "data", settings=settings) as server:
        a, b = server.function(CALLER, Timeout=20), server.function(CALLER, Timeout=20)
        tag(server, b, "off")
        headers = [server.call(a, {"call": b})["header"] for _ in range(6)]
        assert all(UNTRACED.fullmatch(each) for each in headers[:3])
        assert all(TRACED.fullmatch(each) for each in headers[3:])
        shown = server.platform(f"/forerun/monitoring?FunctionName={a}")
        assert (shown["Tag"], shown["OneIn"], shown["Monitored"]) == ("auto", 1, 3)
