"""Schedules of a real server: a moment runs a function once, also when the server dies before, at or after it."""

import json
import os
import signal
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.policies import allow
from tests.servers import Server, eventually, running

pytestmark = pytest.mark.slow

ROLE_NAME = "caller"
CODE = """
import json

def handler(event, context):
    print("FIRED " + json.dumps(event))
    return event
"""


def in_seconds(seconds: float) -> str:
    return f"at({datetime.fromtimestamp(time.time() + seconds, UTC):%Y-%m-%dT%H:%M:%S})"


def prepare(server: Server) -> str:
    """A function, and the role that may call it; the function's ARN."""
    name = server.function(CODE, name="called")
    prepare_role(server, ["lambda:InvokeFunction"])
    return f"arn:aws:lambda:{server.region}:{server.account}:function:{name}"


def prepare_role(server: Server, actions: list[str]) -> None:
    """A role that schedules may take on, and what it may do."""
    iam = server.client("iam")
    assume = {
        "Effect": "Allow",
        "Principal": {"Service": "scheduler.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    allow = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    trust, rights = (
        json.dumps({"Version": "2012-10-17", "Statement": [each]}) for each in (assume, allow)
    )
    iam.create_role(RoleName=ROLE_NAME, AssumeRolePolicyDocument=trust)
    iam.put_role_policy(RoleName=ROLE_NAME, PolicyName="call", PolicyDocument=rights)


def schedule(server: Server, name: str, expression: str, arn: str, **more: Any) -> None:
    target = {
        "Arn": arn,
        "RoleArn": f"arn:aws:iam::{server.account}:role/{ROLE_NAME}",
        "Input": json.dumps(
            {
                "name": name,
                "arn": "<aws.scheduler.schedule-arn>",
                "time": "<aws.scheduler.scheduled-time>",
                "id": "<aws.scheduler.execution-id>",
                "attempt": "<aws.scheduler.attempt-number>",
            }
        ),
    }
    server.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=expression,
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
        **more,
    )


def fired(server: Server, name: str) -> list[dict[str, Any]]:
    """The events that the function was given for a schedule, of its log."""
    try:
        found = server.client("logs").filter_log_events(
            logGroupName="/aws/lambda/called", filterPattern="FIRED"
        )["events"]
    except server.client("logs").exceptions.ResourceNotFoundException:
        return []
    events = [json.loads(each["message"].partition("FIRED ")[2]) for each in found]
    return [event for event in events if event["name"] == name]


def last(server: Server, name: str) -> dict[str, Any]:
    [shown] = server.platform(f"/forerun/schedules?NamePrefix={name}")["Schedules"]
    return dict(shown)


def test_a_schedule_runs_its_function_once_and_may_delete_itself(tmp_path: Path):
    with running(tmp_path / "data") as server:
        arn = prepare(server)
        expression = in_seconds(2)
        schedule(server, "once", expression, arn)
        schedule(server, "gone", expression, arn, ActionAfterCompletion="DELETE")
        schedule(server, "off", expression, arn, State="DISABLED")
        schedule(server, "recurring", "rate(1 hour)", arn)
        eventually(lambda: fired(server, "once") and fired(server, "gone"), what="firings")
        [event] = fired(server, "once")
        assert event["arn"].endswith(":schedule/default/once")
        assert f"at({event['time'].rstrip('Z')})" == expression
        assert (len(event["id"]), event["attempt"]) == (16, "1")
        shown = last(server, "once")
        assert shown["Last"]["Outcome"] == "sent"
        assert 0 <= shown["Last"]["At"] - shown["Last"]["Moment"] < 2
        assert shown["Next"] == []
        eventually(lambda: last(server, "once")["Last"]["Status"] == "success", what="its run")
        assert server.invocations("called")
        names = {each["Name"] for each in server.client("scheduler").list_schedules()["Schedules"]}
        assert names == {"once", "off", "recurring"}
        assert len(fired(server, "recurring")) == 1
        assert fired(server, "off") == []


@pytest.mark.parametrize("died_s", [-1.0, 0.0, 0.1], ids=lambda at: f"{at:g} s after")
def test_a_server_that_is_killed_around_the_moment_fires_once(tmp_path: Path, died_s: float):
    """Before, at and behind the moment: afterwards there is one firing, with one id."""
    with running(tmp_path / "data") as server:
        arn = prepare(server)
        moment = float(int(time.time()) + 3)
        schedule(
            server, "once", f"at({datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S})", arn
        )
        schedule(server, "young", "rate(1 hour)", arn)
        eventually(lambda: time.time() >= moment + died_s, what="the moment")
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait(10)
        eventually(lambda: time.time() > moment, what="the moment to be past")
    with running(tmp_path / "data") as server:
        eventually(lambda: fired(server, "once"), within=20, what="the firing after the restart")
        eventually(lambda: last(server, "once")["Last"], what="what came of it")
        assert last(server, "once")["Next"] == []
        # A run that was cut may be run again: an execution is at least once, its event is one.
        assert len({event["id"] for event in fired(server, "once")}) == 1
        assert len({event["id"] for event in fired(server, "young")}) == 1


def test_what_was_due_for_longer_than_its_age_is_not_fired(tmp_path: Path):
    with running(tmp_path / "data") as server:
        arn = prepare(server)
        client = server.client("scheduler")
        client.create_schedule(
            Name="aged",
            ScheduleExpression=in_seconds(600),
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": arn,
                "RoleArn": f"arn:aws:iam::{server.account}:role/{ROLE_NAME}",
                "Input": '{"name": "aged"}',
                "RetryPolicy": {"MaximumEventAgeInSeconds": 60},
            },
        )
        server.stop()
    # The moment is moved into the past, as if the server had been down for two hours.
    with sqlite3.connect(tmp_path / "data" / "messages.db") as db:
        db.execute(
            "UPDATE schedules SET due = due - 7200,"
            " firing = json_set(CAST(firing AS TEXT), '$.due', due - 7200, '$.moment', due - 7200)"
        )
    db.close()
    with running(tmp_path / "data") as server:
        shown = eventually(lambda: last(server, "aged")["Last"], what="that it was missed")
        assert shown == {"Moment": None, "At": None, "Outcome": "missed"}
        assert fired(server, "aged") == []


def test_queues_topics_and_buses_are_called_too(tmp_path: Path):
    """Each ends up in one queue: directly, by the universal target, through a topic and through a bus."""
    with running(tmp_path / "data") as server:
        account, region = server.account, server.region
        sqs, sns, events = (server.client(name) for name in ("sqs", "sns", "events"))
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        queue = f"arn:aws:sqs:{region}:{account}:q"
        topic = sns.create_topic(Name="t")["TopicArn"]
        bus = events.create_event_bus(Name="b")["EventBusArn"]
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=queue,
            Attributes={"RawMessageDelivery": "true"},
        )
        pattern = json.dumps({"source": ["me"], "detail-type": ["tick"]})
        rule = events.put_rule(Name="r", EventBusName="b", EventPattern=pattern)["RuleArn"]
        events.put_targets(Rule="r", EventBusName="b", Targets=[{"Id": "q", "Arn": queue}])
        sent_by = {"ArnEquals": {"aws:SourceArn": [topic, rule]}}
        policy = allow("sqs:SendMessage", queue, ["sns", "events"], Condition=sent_by)
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        prepare_role(server, ["sqs:SendMessage", "sns:Publish", "events:PutEvents"])
        role = f"arn:aws:iam::{account}:role/{ROLE_NAME}"
        targets: dict[str, dict[str, Any]] = {
            "queue": {"Arn": queue, "Input": "to the queue"},
            "universal": {
                "Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage",
                "Input": json.dumps({"QueueUrl": url, "MessageBody": "universal"}),
            },
            "topic": {"Arn": topic, "Input": "to the topic"},
            "bus": {
                "Arn": bus,
                "Input": '{"a": 1}',
                "EventBridgeParameters": {"Source": "me", "DetailType": "tick"},
            },
        }
        for name, target in targets.items():
            server.client("scheduler").create_schedule(
                Name=name,
                ScheduleExpression="rate(1 hour)",
                FlexibleTimeWindow={"Mode": "OFF"},
                Target={**target, "RoleArn": role},
            )
        bodies: list[str] = []

        def received() -> bool:
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            bodies.extend(each["Body"] for each in answer.get("Messages", []))
            return len(bodies) >= len(targets)

        eventually(received, within=20, what=f"four messages, not {bodies}")
        texts = {body for body in bodies if not body.startswith("{")}
        assert texts == {"to the queue", "universal", "to the topic"}
        [event] = [json.loads(body) for body in bodies if body.startswith("{")]
        assert (event["source"], event["detail"]) == ("me", {"a": 1})
        assert event["resources"] == [f"arn:aws:scheduler:{region}:{account}:schedule/default/bus"]
