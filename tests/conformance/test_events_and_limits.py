"""boto3: reserved concurrency, and what becomes of events: retries, age, destinations."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from tests.servers import Server, eventually

pytestmark = pytest.mark.conformance

ECHO = "def handler(event, context):\n    print('GOT ' + __import__('json').dumps(event))\n    return event\n"
FAIL = "def handler(event, context):\n    raise ValueError('never')\n"


def test_no_concurrency_left_is_429(server: Server, refused):
    lam = server.lambda_
    name = server.function(ECHO)
    assert "ReservedConcurrentExecutions" not in lam.get_function_concurrency(FunctionName=name)
    lam.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with refused("TooManyRequestsException", 429) as error:
        lam.invoke(FunctionName=name)
    assert error.body["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert float(error.headers["retry-after"]) >= 0
    assert lam.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 0}
    lam.delete_function_concurrency(FunctionName=name)
    lam.delete_function_concurrency(FunctionName=name)
    assert server.call(name, 1) == 1


def test_reservation_bounds_what_runs_at_once(server: Server):
    name = server.function(
        "import time\ndef handler(event, context):\n    time.sleep(1)\n    return 1\n", Timeout=10
    )
    server.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)

    def call(_: int) -> int:
        try:
            return int(server.lambda_.invoke(FunctionName=name)["StatusCode"])
        except ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"])

    with ThreadPoolExecutor(5) as pool:
        codes = sorted(pool.map(call, range(5)))
    assert codes == [200, 200, 429, 429, 429]
    assert server.call(name) == 1


def test_reservations_leave_100_for_others(server: Server):
    name = server.function(ECHO)
    with pytest.raises(ClientError) as caught:
        server.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=901)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "100" in caught.value.response["Error"]["Message"]


def logged(server: Server, name: str) -> list[dict[str, object]]:
    """The events that an echo function has printed."""
    try:
        found = server.client("logs").filter_log_events(
            logGroupName=f"/aws/lambda/{name}", filterPattern="GOT"
        )["events"]
    except ClientError:
        return []
    return [json.loads(event["message"].partition("GOT ")[2]) for event in found]


def test_event_config_life(server: Server, refused):
    lam = server.lambda_
    name = server.function(ECHO)
    with refused("ResourceNotFoundException", 404):
        lam.get_function_event_invoke_config(FunctionName=name)
    lam.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    updated = lam.update_function_event_invoke_config(
        FunctionName=name, MaximumEventAgeInSeconds=60
    )
    assert (updated["MaximumRetryAttempts"], updated["MaximumEventAgeInSeconds"]) == (1, 60)
    shown = lam.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]
    assert len(shown) == 1
    lam.delete_function_event_invoke_config(FunctionName=name)
    with refused("ResourceNotFoundException", 404):
        lam.get_function_event_invoke_config(FunctionName=name)


@pytest.mark.parametrize("outcome", ["OnSuccess", "OnFailure"])
def test_destinations_hear_of_the_outcome(server: Server, outcome: str):
    lam = server.lambda_
    source = server.function(ECHO if outcome == "OnSuccess" else FAIL)
    target = server.function(ECHO)
    arn = lam.get_function_configuration(FunctionName=target)["FunctionArn"]
    lam.put_function_event_invoke_config(
        FunctionName=source,
        MaximumRetryAttempts=0,
        DestinationConfig={outcome: {"Destination": arn}},
    )
    reply = lam.invoke(FunctionName=source, InvocationType="Event", Payload=b'{"order": 7}')
    request = reply["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    (record,) = eventually(lambda: logged(server, target), what="record at the destination")
    context = record["requestContext"]
    assert isinstance(context, dict)
    assert context["requestId"] == request
    assert context["functionArn"].endswith(f":function:{source}:$LATEST")
    assert context["approximateInvokeCount"] == 1
    assert record["requestPayload"] == {"order": 7}
    assert record["version"] == "1.0"
    if outcome == "OnSuccess":
        assert context["condition"] == "Success"
        assert record["responsePayload"] == {"order": 7}
    else:
        assert context["condition"] == "RetriesExhausted"
        assert record["responseContext"]["functionError"] == "Unhandled"  # type: ignore[index]
        assert record["responsePayload"]["errorType"] == "ValueError"  # type: ignore[index]
