"""From messages to their ends with a real server: destinations, loops that are stopped, and a server that is killed."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.deliveries import (
    FAILS,
    QUICK,
    collected,
    let_in,
    letters,
    make_queue,
    open_queue,
    rule_to,
    send,
    taken,
)
from tests.servers import eventually, running

pytestmark = pytest.mark.slow

AGAIN = """
import json, boto3
lambda_ = boto3.client("lambda")
def handler(event, context):
    n = event.get("n", 0) + 1
    if n < event.get("end", 40):
        reply = lambda_.invoke(
            FunctionName=event["names"][n % len(event["names"])],
            InvocationType=event["how"],
            Payload=json.dumps({**event, "n": n}),
        )
        return json.loads(reply["Payload"].read() or b"null")
    return n
"""
ROUND = """
import json, boto3
sqs = boto3.client("sqs")
def handler(event, context):
    for record in event["Records"]:
        n = json.loads(record["body"])["n"] + 1
        arn = record["eventSourceARN"].split(":")
        url = sqs.get_queue_url(QueueName=arn[5])["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"n": n}))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("delivery") / "data", settings=QUICK) as server:
        yield server


@pytest.mark.parametrize("functions", [1, 2], ids=["itself", "by-another"])
@pytest.mark.parametrize("monitored", ["on", "off"])
def test_a_loop_of_events_ends_after_sixteen_runs(server, functions, monitored):
    names = [
        server.function(AGAIN, Timeout=30, Tags={"forerun:monitoring": monitored})
        for _ in range(functions)
    ]
    send(server, names[0], names=names, how="Event")
    [letter] = eventually(
        lambda: [each for name in names for each in letters(server, Target=name)],
        within=40,
    )
    assert letter["Reason"] == "RecursionDetected"
    assert letter["Target"].endswith(names[0])
    assert "put-function-recursion-config" in letter["Detail"]

    def runs():
        records = [each for name in names for each in server.invocations(name)]
        ended = [each["status"] for each in records]
        stopped = [each for each in records if each["error_type"] == "RecursionDetected"]
        return (ended.count("success"), len(stopped)) == (16 * functions, 1)

    eventually(runs)


def test_a_loop_of_calls_is_refused_and_may_be_allowed(server):
    name = server.function(AGAIN, Timeout=60)
    event = {"names": [name], "how": "RequestResponse", "end": 20}
    reply = server.lambda_.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    assert b"RecursiveInvocationException" in reply["Payload"].read()
    server.lambda_.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    assert server.call(name, event) == 20


def test_a_loop_through_a_queue_ends_after_sixteen_runs(server):
    name = server.function(ROUND, Timeout=5)
    url, arn = make_queue(server, name, VisibilityTimeout="5")
    server.lambda_.create_event_source_mapping(FunctionName=name, EventSourceArn=arn, BatchSize=1)
    server.client("sqs").send_message(QueueUrl=url, MessageBody='{"n": 0}')
    [letter] = eventually(lambda: letters(server, Target=name), within=50)
    assert (letter["Reason"], letter["Source"]) == ("RecursionDetected", arn)
    shown = server.platform(f"/forerun/dead-letter?Id={letter['Id']}")
    [record] = json.loads(shown["Payload"])["Records"]
    assert json.loads(record["body"]) == {"n": 16}
    records = eventually(lambda: (found := server.invocations(name)) and len(found) == 17 and found)
    assert [each["status"] for each in records].count("success") == 16
    assert {each["source"] for each in records} == {arn}
    assert all(each["timings"]["dequeued"] > 0 for each in records)
    assert taken(server, url) == []


def test_what_became_of_events_is_told_to_queues(server):
    name = server.function(FAILS)
    url, arn = make_queue(server, f"{name}-told")
    dead, dead_arn = make_queue(server, f"{name}-dead")
    server.lambda_.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}},
    )
    server.lambda_.update_function_configuration(
        FunctionName=name, DeadLetterConfig={"TargetArn": dead_arn}
    )
    server.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
    send(server, name, n=1)
    [success] = collected(server, url, 1)
    told = json.loads(success["Body"])
    assert told["requestContext"]["condition"] == "Success"
    assert (told["requestPayload"], told["responsePayload"]) == ({"n": 1}, {"n": 1})
    send(server, name, poison=True)
    [failure] = collected(server, url, 1)
    told = json.loads(failure["Body"])
    assert told["requestContext"]["condition"] == "RetriesExhausted"
    assert told["responsePayload"]["errorMessage"] == "poisoned"
    [kept] = collected(server, dead, 1)
    assert json.loads(kept["Body"]) == {"poison": True}
    shown = {key: each["StringValue"] for key, each in kept["MessageAttributes"].items()}
    assert shown == {
        "RequestID": told["requestContext"]["requestId"],
        "ErrorCode": "200",
        "ErrorMessage": "poisoned",
    }
    assert letters(server, Target=name) == []


def test_what_became_of_events_is_told_to_functions_and_buses(server):
    name, other = server.function(FAILS), server.function(FAILS)
    events = server.client("events")
    bus = events.create_event_bus(Name=f"{name}-bus")["EventBusArn"]
    url, arn = make_queue(server, f"{name}-seen")
    open_queue(server, url, arn)
    events.put_rule(
        Name=name, EventBusName=f"{name}-bus", EventPattern=json.dumps({"source": ["lambda"]})
    )
    events.put_targets(Rule=name, EventBusName=f"{name}-bus", Targets=[{"Id": "1", "Arn": arn}])
    function = f"arn:aws:lambda:{server.region}:{server.account}:function:{other}"
    server.lambda_.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={
            "OnSuccess": {"Destination": function},
            "OnFailure": {"Destination": bus},
        },
    )
    send(server, name, n=1)
    [run] = eventually(lambda: server.invocations(other))
    assert (run["status"], run["source"].rpartition(":")[2]) == ("success", name)
    send(server, name, poison=True)
    [seen] = collected(server, url, 1)
    event = json.loads(seen["Body"])
    assert event["detail-type"] == "Lambda Function Invocation Result - Failure"
    assert (event["source"], event["resources"][1]) == ("lambda", bus)
    assert event["detail"]["responsePayload"]["errorMessage"] == "poisoned"


@pytest.mark.timeout(180)
def test_nothing_that_was_accepted_is_lost_when_the_server_is_killed(tmp_path):
    data = tmp_path / "data"
    accepted = []

    def put(server, first):
        for number in range(first, first + 50):
            entry = {"Source": "work", "DetailType": "x", "Detail": json.dumps({"n": number})}
            answer = server.client("events").put_events(Entries=[entry])
            if answer["FailedEntryCount"] == 0:
                accepted.append(number)

    with running(data, settings=QUICK) as server:
        name = server.function(FAILS, name="work")
        told, told_arn = make_queue(server, "told")
        direct, direct_arn = make_queue(server, "direct")
        server.lambda_.put_function_event_invoke_config(
            FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": told_arn}}
        )
        function = f"arn:aws:lambda:{server.region}:{server.account}:function:{name}"
        let_in(server, name, rule_to(server, name, function, direct_arn))
        open_queue(server, direct, direct_arn)
        with ThreadPoolExecutor(4) as pool:
            sending = [pool.submit(put, server, 1000 * thread) for thread in range(4)]
            eventually(lambda: len(accepted) >= 60, what="60 accepted events")
            server.stop(signal.SIGKILL)
            for each in sending:
                assert isinstance(each.exception(), BotoCoreError | ClientError | None)
    with running(data, settings=QUICK) as server:
        direct, told = (
            server.client("sqs").get_queue_url(QueueName=each)["QueueUrl"]
            for each in ("direct", "told")
        )
        found = {"direct": set(), "told": set()}

        def complete():
            for message in taken(server, direct):
                found["direct"].add(json.loads(message["Body"])["detail"]["n"])
            for message in taken(server, told):
                payload = json.loads(message["Body"])["requestPayload"]
                found["told"].add(payload["detail"]["n"])
            return all(each >= set(accepted) for each in found.values())

        eventually(complete, within=60, what="every accepted event, twice")
        assert letters(server) == []
