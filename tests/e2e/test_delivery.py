"""From messages to their ends with a real server: destinations, dead letters, loops that are stopped, and a server that is killed."""

import json
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.servers import FORERUN, Server, clean_environment, eventually, package, running

pytestmark = pytest.mark.slow

QUICK = {"FORERUN_EVENTS_RETRY_S": "0.05"}
FAILS = """
def handler(event, context):
    if event.get("poison"):
        raise ValueError("poisoned")
    return event
"""
FIXED = """
def handler(event, context):
    return {"memory": context.memory_limit_in_mb, "left_ms": context.get_remaining_time_in_millis()}
"""
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


def letters(server: Server, **query):
    found = server.platform(f"/forerun/dead-letters?{urlencode(query)}")
    return found["DeadLetters"]


def post(server: Server, name, **wish):
    path, body = f"/forerun/{name}", json.dumps(wish).encode()
    answer = server.request(
        "POST", path, body, server.signed("POST", path, body, service="forerun")
    )
    assert answer.status == 200, answer
    return answer.json()


def send(server, name, **event):
    server.lambda_.invoke(
        FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode()
    )


def make_queue(server, name, **attributes):
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, found["Attributes"]["QueueArn"]


def taken(server, url, *, most=10):
    """All that is in a queue, deleted on the way."""
    sqs, found = server.client("sqs"), []
    while True:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=most,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        if not messages:
            return found
        found += messages
        entries = [
            {"Id": str(index), "ReceiptHandle": each["ReceiptHandle"]}
            for index, each in enumerate(messages)
        ]
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)


def collected(server, url, count, *, within=20.0):
    found = []

    def enough():
        found.extend(taken(server, url))
        return len(found) >= count

    eventually(enough, within=within, what=f"{count} messages")
    return found


def test_a_poison_event_is_kept_and_succeeds_when_its_function_is_mended(server):
    name = server.function(FAILS, MemorySize=128)
    send(server, name, poison=True, n=1)
    for number in range(5):
        send(server, name, n=number)
    [letter] = eventually(lambda: letters(server, Target=name))
    assert (letter["Reason"], letter["Attempts"]) == ("RetriesExhausted", 3)
    assert json.loads(letter["Detail"])["errorMessage"] == "poisoned"
    eventually(lambda: [each["status"] for each in server.invocations(name)].count("success") == 5)
    server.lambda_.update_function_code(
        FunctionName=name, ZipFile=package({"lambda_function.py": FIXED})
    )
    redriven = post(server, "redrive-dead-letters", Ids=[letter["Id"]], MemorySize=512, Timeout=30)
    assert (redriven["Redriven"], redriven["Skipped"]) == (1, [])
    [again] = eventually(
        lambda: [each for each in server.invocations(name) if each["memory_mb"] == 512]
    )
    assert again["status"] == "success"
    assert "memory set to 512 MB and timeout set to 30 s for this run" in again["placement"]
    assert letters(server, Target=name) == []
    assert server.call(name, {})["memory"] == "128"


def test_the_command_line_lists_shows_redrives_and_deletes(server, tmp_path):
    name = server.function(FAILS)
    for number in range(3):
        send(server, name, poison=True, n=number)
    eventually(lambda: len(letters(server, Target=name)) == 3)

    def forerun(*arguments):
        done = subprocess.run(
            [str(FORERUN), "dead-letters", *arguments, "--data", str(server.data)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=clean_environment(tmp_path),
        )
        return done.returncode, done.stdout, done.stderr

    code, shown, _ = forerun("list", "--target", name)
    assert code == 0
    assert shown.count("ValueError: poisoned") == 3
    first, second, third = (each["Id"] for each in letters(server, Target=name))
    assert '"poison": true' in forerun("show", first)[1]
    assert "2 deleted" in "".join(forerun("delete", first, second)[1:])
    server.lambda_.update_function_code(
        FunctionName=name, ZipFile=package({"lambda_function.py": FIXED})
    )
    code, answer, _ = forerun("redrive", "--target", name, "--json")
    assert (code, json.loads(answer)["Redriven"]) == (0, 1)
    code, _, said = forerun("redrive")
    assert code == 2
    assert "--all" in said
    code, _, said = forerun("show", third)
    assert code != 0
    assert "There is no dead letter" in said


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


def test_a_function_whose_role_may_not_send_leaves_a_dead_letter_that_says_so(server):
    iam = server.client("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    role = iam.create_role(RoleName="quiet", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    name = server.function(FAILS)
    server.lambda_.update_function_configuration(FunctionName=name, Role=role["Arn"])
    server.lambda_.get_waiter("function_updated_v2").wait(FunctionName=name)
    url, arn = make_queue(server, f"{name}-told")
    server.lambda_.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn}}
    )
    send(server, name, n=1)
    [letter] = eventually(lambda: letters(server, Target=arn))
    assert letter["Reason"] == "AccessDenied"
    command = letter["Detail"].partition("Allow it with: ")[2]
    assert command.startswith("aws iam put-role-policy --role-name quiet")
    document = command.partition("--policy-document '")[2].partition("'")[0]
    iam.put_role_policy(RoleName="quiet", PolicyName="send", PolicyDocument=document)
    send(server, name, n=2)
    [told] = collected(server, url, 1)
    assert json.loads(told["Body"])["requestPayload"] == {"n": 2}
    assert post(server, "redrive-dead-letters", Target=arn)["Redriven"] == 1
    [told] = collected(server, url, 1)
    assert json.loads(told["Body"])["requestPayload"] == {"n": 1}


def rule_to(server, name, *targets):
    events = server.client("events")
    arn = events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))["RuleArn"]
    given = [{"Id": str(number), "Arn": target} for number, target in enumerate(targets)]
    assert events.put_targets(Rule=name, Targets=given)["FailedEntryCount"] == 0
    return arn


def let_in(server, name, rule):
    server.lambda_.add_permission(
        FunctionName=name,
        StatementId="events",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )


def open_queue(server, url, arn):
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    server.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


def test_a_rule_that_a_function_does_not_let_in_leaves_a_dead_letter_that_says_how(server):
    name = server.function(FAILS)
    rule = rule_to(server, name, f"arn:aws:lambda:{server.region}:{server.account}:function:{name}")
    server.client("events").put_events(
        Entries=[{"Source": name, "DetailType": "x", "Detail": "{}"}]
    )
    [letter] = eventually(lambda: letters(server, Target=name))
    assert (letter["Reason"], letter["Source"]) == ("AccessDenied", rule)
    assert f"aws lambda add-permission --function-name {name} " in letter["Detail"]
    assert server.invocations(name) == []
    let_in(server, name, rule)
    assert post(server, "redrive-dead-letters", Target=name)["Redriven"] == 1
    [run] = eventually(lambda: server.invocations(name))
    assert (run["status"], run["source"]) == ("success", rule)


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
