"""boto3: Invoke in all its kinds, what the handler sees, and the limits at their edges."""

import base64
import json
import re

import pytest
from tests.servers import Server, eventually

pytestmark = pytest.mark.conformance

ECHO = "def handler(event, context):\n    return event\n"
SIX_MB = 6 * 1024 * 1024
ONE_MB = 1024 * 1024


@pytest.fixture(scope="module")
def echo(server: Server) -> str:
    return server.function(ECHO)


@pytest.mark.parametrize(
    "value",
    [None, 0, "ä€😀", [1, [2]], {"deep": {"er": [None, True, 1.5]}}, ""],
    ids=["null", "zero", "text", "list", "object", "empty"],
)
def test_values_come_back(server: Server, echo: str, value: object):
    assert server.call(echo, value) == value


def test_answer_of_a_synchronous_call(server: Server, echo: str):
    reply = server.lambda_.invoke(FunctionName=echo, Payload=b'{"a": 1}')
    assert reply["StatusCode"] == 200
    assert reply["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in reply
    assert "LogResult" not in reply
    headers = reply["ResponseMetadata"]["HTTPHeaders"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", headers["x-amzn-requestid"])
    assert headers["x-forerun-start-type"] in ("warm", "prewarmed", "pool", "zygote", "cold")
    assert float(headers["x-forerun-duration-ms"]) >= 0


def test_no_payload_is_an_empty_object(server: Server, echo: str):
    assert json.loads(server.lambda_.invoke(FunctionName=echo)["Payload"].read()) == {}


def test_tail_of_the_log(server: Server):
    name = server.function(
        "def handler(event, context):\n    print('hello', event)\n    return 1\n"
    )
    reply = server.lambda_.invoke(FunctionName=name, Payload=b"7", LogType="Tail")
    request = reply["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    lines = base64.b64decode(reply["LogResult"]).decode().splitlines()
    wanted = [
        rf"START RequestId: {request} Version: \$LATEST",
        r"hello 7",
        rf"END RequestId: {request}",
        rf"REPORT RequestId: {request}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\t"
        r"Memory Size: 128 MB\tMax Memory Used: \d+ MB(\tInit Duration: [\d.]+ ms)?\s*",
        r"XRAY TraceId: 1-[0-9a-f]{8}-[0-9a-f]{24}\t",
    ]
    found = [line for line in lines if not line.startswith("INIT_START")]
    assert len(found) == len(wanted), lines
    for pattern, line in zip(wanted, found, strict=True):
        assert re.fullmatch(pattern, line), line


def test_tail_is_the_last_4_kb(server: Server):
    name = server.function("def handler(event, context):\n    print('x' * 9000)\n")
    reply = server.lambda_.invoke(FunctionName=name, LogType="Tail")
    text = base64.b64decode(reply["LogResult"])
    assert len(text) == 4096
    assert b"REPORT" in text


def test_context_and_environment(server: Server):
    name = server.function(
        "import os\n"
        "def handler(event, context):\n"
        "    return {'left': context.get_remaining_time_in_millis(), 'name': context.function_name,\n"
        "      'version': context.function_version, 'arn': context.invoked_function_arn,\n"
        "      'memory': context.memory_limit_in_mb, 'request': context.aws_request_id,\n"
        "      'group': context.log_group_name, 'stream': context.log_stream_name,\n"
        "      'custom': context.client_context.custom if context.client_context else None,\n"
        "      'env': {k: v for k, v in os.environ.items() if not k.startswith('AWS_SE')}}\n",
        Timeout=5,
        MemorySize=256,
    )
    context = base64.b64encode(json.dumps({"custom": {"who": "me"}}).encode()).decode()
    reply = server.lambda_.invoke(FunctionName=name, ClientContext=context)
    seen = json.loads(reply["Payload"].read())
    assert 0 < seen["left"] <= 5000
    assert seen["name"] == name
    assert seen["version"] == "$LATEST"
    assert seen["arn"] == f"arn:aws:lambda:{server.region}:{server.account}:function:{name}"
    assert seen["memory"] == "256"
    assert seen["request"] == reply["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    assert seen["group"] == f"/aws/lambda/{name}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/.*\[\$LATEST\][0-9a-f]{32}", seen["stream"])
    assert seen["custom"] == {"who": "me"}
    env = seen["env"]
    assert env["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert env["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert env["AWS_REGION"] == server.region
    assert env["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.11"
    assert env["LAMBDA_TASK_ROOT"]
    assert env["_HANDLER"] == "lambda_function.handler"
    assert "Root=1-" in env["_X_AMZN_TRACE_ID"]
    assert not [key for key in env if key.startswith("FORERUN")]


def test_error_of_a_handler(server: Server):
    name = server.function(
        "class OutOfStock(Exception):\n    pass\n"
        "def pick(event):\n    raise OutOfStock('none left')\n"
        "def handler(event, context):\n    return pick(event)\n"
    )
    error = server.failure(name)
    assert (error["errorType"], error["errorMessage"]) == ("OutOfStock", "none left")
    trace = "".join(error["stackTrace"])
    assert "in pick" in trace
    assert "in handler" in trace
    assert "forerun" not in trace


def test_event_is_accepted_then_run(server: Server):
    name = server.function("def handler(event, context):\n    print('saw', event['n'])\n")
    reply = server.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 42}')
    assert (reply["StatusCode"], reply["Payload"].read()) == (202, b"")
    request = reply["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]

    def ran() -> bool:
        return any(
            record["request_id"] == request
            and record["status"] == "success"
            and record["invocation_type"] == "Event"
            for record in server.invocations(name)
        )

    eventually(ran, what="record of the event")


def test_dry_run_runs_nothing(server: Server, refused):
    name = server.function("def handler(event, context):\n    raise SystemExit\n")
    reply = server.lambda_.invoke(FunctionName=name, InvocationType="DryRun")
    assert reply["StatusCode"] == 204
    assert server.invocations(name) == []
    with refused("ResourceNotFoundException", 404):
        server.lambda_.invoke(FunctionName=name + "-no", InvocationType="DryRun")


def test_payload_that_is_no_json(server: Server, echo: str, refused):
    with refused("InvalidRequestContentException", 400) as error:
        server.lambda_.invoke(FunctionName=echo, Payload=b"{not json")
    assert "Could not parse request body into json" in error.message


def test_unknown_invocation_type(server: Server, echo: str):
    path = f"/2015-03-31/functions/{echo}/invocations"
    headers = server.signed("POST", path, b"{}", headers={"X-Amz-Invocation-Type": "Later"})
    answer = server.request("POST", path, b"{}", headers)
    assert answer.status == 400
    assert "invocationType" in answer.body.decode()


def test_request_of_6_mb_and_one_byte_more(server: Server, refused):
    name = server.function("def handler(event, context):\n    return len(event)\n", MemorySize=512)
    assert server.call(name, "x" * (SIX_MB - 2)) == SIX_MB - 2
    with refused("RequestTooLargeException", 413):
        server.lambda_.invoke(FunctionName=name, Payload=json.dumps("x" * (SIX_MB - 1)))
    assert server.call(name, "x") == 1


def test_event_of_1_mb_and_one_byte_more(server: Server, echo: str, refused):
    lam = server.lambda_
    inside = json.dumps("x" * (ONE_MB - 2))
    reply = lam.invoke(FunctionName=echo, InvocationType="Event", Payload=inside)
    assert reply["StatusCode"] == 202
    with refused("RequestTooLargeException", 413):
        lam.invoke(FunctionName=echo, InvocationType="Event", Payload=inside[:-1] + 'x"')


def test_response_over_6_mb_is_a_function_error(server: Server):
    name = server.function("def handler(event, context):\n    return 'x' * event\n", MemorySize=512)
    assert len(server.call(name, SIX_MB - 2)) == SIX_MB - 2
    error = server.failure(name, SIX_MB + 101)
    assert error["errorType"] == "Function.ResponseSizeTooLarge"
    assert server.call(name, 1) == "x"


def test_response_stream_of_a_plain_function(server: Server, echo: str):
    reply = server.lambda_.invoke_with_response_stream(FunctionName=echo, Payload=b'{"a": 1}')
    events = list(reply["EventStream"])
    body = b"".join(e["PayloadChunk"]["Payload"] for e in events if "PayloadChunk" in e)
    assert json.loads(body) == {"a": 1}
    assert "ErrorCode" not in events[-1]["InvokeComplete"]


def test_response_stream_of_node(server: Server):
    name = server.function(
        {
            "index.mjs": "export const handler = awslambda.streamifyResponse("
            "async (event, out) => { out.write('one,'); out.write('two,'); out.end('three'); });"
        },
        runtime="nodejs20.x",
        handler="index.handler",
    )
    reply = server.lambda_.invoke_with_response_stream(FunctionName=name, Payload=b"{}")
    events = list(reply["EventStream"])
    body = b"".join(e["PayloadChunk"]["Payload"] for e in events if "PayloadChunk" in e)
    assert body == b"one,two,three"
    assert "InvokeComplete" in events[-1]


def test_node(server: Server):
    name = server.function(
        {
            "index.js": "exports.handler = async (event, context) => ({ n: event.n + 1, name: context.functionName });"
        },
        runtime="nodejs20.x",
        handler="index.handler",
    )
    assert server.call(name, {"n": 1}) == {"n": 2, "name": name}
    failing = server.function(
        {"index.mjs": "export const handler = async () => { throw new TypeError('no') };"},
        runtime="nodejs20.x",
        handler="index.handler",
    )
    error = server.failure(failing)
    assert (error["errorType"], error["errorMessage"]) == ("TypeError", "no")


def test_a_function_calls_another_with_its_own_credentials(server: Server, echo: str):
    name = server.function(
        "import boto3, json\n"
        "def handler(event, context):\n"
        "    reply = boto3.client('lambda').invoke(FunctionName=event, Payload=json.dumps({'from': 'inside'}))\n"
        "    who = boto3.client('sts').get_caller_identity()['Arn']\n"
        "    return [json.load(reply['Payload']), who]\n",
        Timeout=20,
        MemorySize=256,
    )
    result, arn = server.call(name, echo)
    assert result == {"from": "inside"}
    assert arn.startswith(f"arn:aws:sts::{server.account}:assumed-role/test/")
