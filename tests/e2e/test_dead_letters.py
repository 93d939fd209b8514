"""Dead letters with a real server: why something is there, how it is mended, and that it works then."""

import json
import subprocess

import pytest
from tests.deliveries import (
    FAILS,
    FIXED,
    QUICK,
    collected,
    let_in,
    letters,
    make_queue,
    post,
    rule_to,
    send,
    taken,
)
from tests.servers import FORERUN, clean_environment, eventually, package, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("delivery") / "data", settings=QUICK) as server:
        yield server


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


def test_what_a_queue_gave_up_is_among_the_dead_letters_and_goes_back(server):
    dead, dead_arn = make_queue(server, "given-up")
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 1})
    url, arn = make_queue(server, "giving-up", VisibilityTimeout="0", RedrivePolicy=policy)
    sqs = server.client("sqs")
    for body in ("one", "two"):
        sqs.send_message(QueueUrl=url, MessageBody=body)

    def gave_up():
        sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        return len(letters(server, Shelf=dead_arn)) == 2

    eventually(gave_up)
    first, second = letters(server, Shelf=dead_arn)
    assert (first["Target"], first["Reason"]) == (arn, "MaxReceiveCount")
    patient = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 10})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": patient})
    assert post(server, "redrive-dead-letters", Ids=[first["Id"]])["Redriven"] == 1
    [back] = collected(server, url, 1)
    assert back["Body"] == "one"
    assert post(server, "delete-dead-letters", Shelf=dead_arn)["Deleted"] == 1
    assert letters(server, Shelf=dead_arn) == []
    assert taken(server, dead) == []
    assert second["Shelf"] == dead_arn


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
