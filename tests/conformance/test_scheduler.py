"""EventBridge Scheduler as AWS's own clients ask for it."""

import datetime
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from tests.servers import Server, eventually

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

OFF = {"Mode": "OFF"}
FAR = "at(2199-01-01T00:00:00)"


@pytest.fixture
def scheduler(server: Server) -> Any:
    return server.client("scheduler")


@pytest.fixture
def group(scheduler: Any) -> Iterator[str]:
    name = f"g-{uuid.uuid4().hex[:8]}"
    scheduler.create_schedule_group(Name=name, Tags=[{"Key": "team", "Value": "a"}])
    yield name
    if name in groups(scheduler, name):
        scheduler.delete_schedule_group(Name=name)


def groups(scheduler: Any, prefix: str) -> dict[str, str]:
    found = scheduler.list_schedule_groups(NamePrefix=prefix)["ScheduleGroups"]
    return {each["Name"]: each["State"] for each in found}


def target(server: Server, **more: Any) -> dict[str, Any]:
    account = server.account
    return {
        "Arn": f"arn:aws:lambda:{server.region}:{account}:function:nobody",
        "RoleArn": f"arn:aws:iam::{account}:role/scheduler",
        **more,
    }


def test_a_schedule_is_made_shown_changed_and_deleted(server, scheduler, group, refused):
    begin = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days=1)
    end = begin + datetime.timedelta(days=30)
    given = {
        "Name": "nightly",
        "GroupName": group,
        "ScheduleExpression": "cron(0 3 * * ? *)",
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "StartDate": begin,
        "EndDate": end,
        "Description": "at night",
        "State": "DISABLED",
        "ActionAfterCompletion": "DELETE",
        "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 15},
        "Target": target(
            server,
            Input='{"a": 1}',
            RetryPolicy={"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 600},
            DeadLetterConfig={"Arn": f"arn:aws:sqs:{server.region}:{server.account}:dead"},
        ),
    }
    arn = scheduler.create_schedule(**given)["ScheduleArn"]
    assert arn == f"arn:aws:scheduler:{server.region}:{server.account}:schedule/{group}/nightly"
    shown = scheduler.get_schedule(Name="nightly", GroupName=group)
    assert {name: shown[name] for name in given} == given
    assert shown["Arn"] == arn
    assert shown["CreationDate"] == shown["LastModificationDate"]

    with refused("ConflictException", 409):
        scheduler.create_schedule(**given)
    with refused("ResourceNotFoundException", 404):
        scheduler.get_schedule(Name="nightly")
    # What an update leaves out gets its default, as AWS documents it.
    scheduler.update_schedule(
        Name="nightly", GroupName=group, ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow=OFF, Target=target(server),
    )  # fmt: skip
    shown = scheduler.get_schedule(Name="nightly", GroupName=group)
    assert (shown["State"], shown["ActionAfterCompletion"]) == ("ENABLED", "NONE")
    assert shown["ScheduleExpressionTimezone"] == "UTC"
    assert not {"StartDate", "EndDate", "Description"} & shown.keys()
    assert shown["Target"]["RetryPolicy"] == {
        "MaximumEventAgeInSeconds": 86_400,
        "MaximumRetryAttempts": 185,
    }
    scheduler.delete_schedule(Name="nightly", GroupName=group)
    with refused("ResourceNotFoundException", 404) as error:
        scheduler.delete_schedule(Name="nightly", GroupName=group)
    assert error.message == "Schedule nightly does not exist."


def test_a_request_may_be_repeated_with_its_token(server, scheduler, group, refused):
    given = {
        "Name": "once", "GroupName": group, "ScheduleExpression": FAR, "FlexibleTimeWindow": OFF,
        "Target": target(server), "ClientToken": uuid.uuid4().hex,
    }  # fmt: skip
    first = scheduler.create_schedule(**given)
    assert scheduler.create_schedule(**given)["ScheduleArn"] == first["ScheduleArn"]
    with refused("ConflictException", 409) as error:
        scheduler.create_schedule(**given | {"Description": "another"})
    assert "ClientToken" in error.message
    gone = {"Name": "once", "GroupName": group, "ClientToken": uuid.uuid4().hex}
    scheduler.delete_schedule(**gone)
    scheduler.delete_schedule(**gone)


def test_listings_come_in_pages_and_can_be_narrowed(server, scheduler, group):
    for number in range(7):
        scheduler.create_schedule(
            Name=f"{'ab'[number % 2]}{number}", GroupName=group, ScheduleExpression=FAR,
            FlexibleTimeWindow=OFF, Target=target(server),
            State="DISABLED" if number == 6 else "ENABLED",
        )  # fmt: skip

    def names(**given: Any) -> list[str]:
        pages = scheduler.get_paginator("list_schedules").paginate(
            GroupName=group, PaginationConfig={"PageSize": 2}, **given
        )
        return [each["Name"] for page in pages for each in page["Schedules"]]

    assert names() == ["a0", "a2", "a4", "a6", "b1", "b3", "b5"]
    assert names(NamePrefix="b") == ["b1", "b3", "b5"]
    assert names(State="DISABLED") == ["a6"]
    [shown] = scheduler.list_schedules(GroupName=group, NamePrefix="a0")["Schedules"]
    assert shown["Target"] == {"Arn": target(server)["Arn"]}
    assert shown["GroupName"] == group


def test_groups_have_tags_and_take_their_schedules_with_them(server, scheduler, group, refused):
    arn = scheduler.get_schedule_group(Name=group)["Arn"]
    scheduler.tag_resource(ResourceArn=arn, Tags=[{"Key": "cost", "Value": "7"}])
    scheduler.untag_resource(ResourceArn=arn, TagKeys=["team"])
    assert scheduler.list_tags_for_resource(ResourceArn=arn)["Tags"] == [
        {"Key": "cost", "Value": "7"}
    ]
    assert groups(scheduler, "default") == {"default": "ACTIVE"}
    with refused("ValidationException", 400):
        scheduler.delete_schedule_group(Name="default")
    with refused("ConflictException", 409):
        scheduler.create_schedule_group(Name=group)
    with refused("ResourceNotFoundException", 404):
        scheduler.list_tags_for_resource(ResourceArn=arn + "x")
    for number in range(3):
        scheduler.create_schedule(
            Name=f"s{number}", GroupName=group, ScheduleExpression=FAR, FlexibleTimeWindow=OFF,
            Target=target(server),
        )  # fmt: skip
    scheduler.delete_schedule_group(Name=group)
    eventually(lambda: not groups(scheduler, group), what="the group is gone")
    with refused("ResourceNotFoundException", 404):
        scheduler.get_schedule(Name="s0", GroupName=group)
    with refused("ResourceNotFoundException", 404):
        scheduler.create_schedule(
            Name="s", GroupName=group, ScheduleExpression=FAR, FlexibleTimeWindow=OFF,
            Target=target(server),
        )  # fmt: skip


BAD = {
    "no expression": ({"ScheduleExpression": "every day"}, "Invalid Schedule Expression every day."),
    "never": ({"ScheduleExpression": "cron(0 0 31 2 ? *)"}, "no time to come"),
    "passed": ({"ScheduleExpression": "at(2020-01-01T00:00:00)"}, "no time to come"),
    "zone": ({"ScheduleExpressionTimezone": "Mars/Olympus"}, "time zone"),
    "start": ({"StartDate": "2020-01-01"}, "cannot be earlier than 5 minutes ago"),
    "end": ({"EndDate": "2020-01-01"}, "EndDate"),
    "window": ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "MaximumWindowInMinutes"),
    "no window": (
        {"FlexibleTimeWindow": {"Mode": "OFF", "MaximumWindowInMinutes": 5}},
        "MaximumWindowInMinutes",
    ),
    "state": ({"State": "PAUSED"}, "Member must satisfy enum value set: [ENABLED, DISABLED]"),
    "long": ({"Description": "x" * 513}, "length less than or equal to 512"),
}  # fmt: skip
BAD_TARGETS = {
    "no arn": ({"Arn": "nobody"}, "Provided Arn is not in correct format."),
    "no function": ({"Arn": "arn:aws:lambda:us-home-1:000000000000:nobody"}, "correct format"),
    "service": ({"Arn": "arn:aws:states:us-home-1:000000000000:stateMachine:a"}, "is not served"),
    "operation": ({"Arn": "arn:aws:scheduler:::aws-sdk:ec2:stopInstances"}, "ec2:stopInstances"),
    "input": ({"Input": "{"}, "well-formed JSON"),
    "bus": ({"Arn": "arn:aws:events:us-home-1:000000000000:event-bus/a"}, "EventBridgeParameters"),
    "parameters": ({"SqsParameters": {"MessageGroupId": "a"}}, "Target.SqsParameters"),
    "fifo": ({"Arn": "arn:aws:sqs:us-home-1:000000000000:a.fifo"}, "MessageGroupId is required"),
    "age": ({"RetryPolicy": {"MaximumEventAgeInSeconds": 90000}}, "less than or equal to 86400"),
    "universal": (
        {"Arn": "arn:aws:scheduler:::aws-sdk:lambda:invoke", "Input": '{"Payload": "{}"}'},
        "Target.Input.FunctionName",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", [*BAD, *(f"target: {name}" for name in BAD_TARGETS)])
def test_what_cannot_be_is_refused_and_says_why(server, scheduler, refused, kind):
    given = {
        "Name": "bad", "ScheduleExpression": "rate(1 hour)", "FlexibleTimeWindow": OFF,
        "Target": target(server),
    }  # fmt: skip
    if kind.startswith("target: "):
        wrong, words = BAD_TARGETS[kind.removeprefix("target: ")]
        given["Target"] = given["Target"] | wrong
    else:
        wrong, words = BAD[kind]
        given |= wrong
    with refused("ValidationException", 400) as error:
        scheduler.create_schedule(**given)
    assert words in error.message
    with refused("ResourceNotFoundException", 404):
        scheduler.get_schedule(Name="bad")


def test_a_role_of_another_account_is_not_passed_on(server, scheduler, refused):
    other = target(server, RoleArn="arn:aws:iam::999999999999:role/other")
    with refused("AccessDeniedException", 403):
        scheduler.create_schedule(
            Name="bad", ScheduleExpression=FAR, FlexibleTimeWindow=OFF, Target=other
        )


def test_the_aws_cli_manages_schedules(server, clients, scheduler):
    def aws(command: str, *more: str) -> Any:
        text = clients.run("aws", "scheduler", command, *more)
        return json.loads(text) if text.strip() else None

    name = f"cli-{uuid.uuid4().hex[:8]}"
    aws(
        "create-schedule", "--name", name, "--schedule-expression", "rate(5 minutes)",
        "--flexible-time-window", '{"Mode": "OFF"}', "--target", json.dumps(target(server)),
        "--start-date", "2190-01-01T00:00:00Z",
    )  # fmt: skip
    shown = aws("get-schedule", "--name", name)
    assert shown["ScheduleExpression"] == "rate(5 minutes)"
    assert shown["StartDate"] == 6_942_585_600
    listed = aws("list-schedules", "--name-prefix", name)["Schedules"]
    assert [each["Name"] for each in listed] == [name]
    aws("delete-schedule", "--name", name)
    assert aws("list-schedules", "--name-prefix", name)["Schedules"] == []


def test_what_comes_next_is_told(server, scheduler):
    name = f"n-{uuid.uuid4().hex[:8]}"
    scheduler.create_schedule(
        Name=name, ScheduleExpression="cron(0 12 * * ? *)", FlexibleTimeWindow=OFF,
        ScheduleExpressionTimezone="America/New_York", Target=target(server),
    )  # fmt: skip
    try:
        answer = server.platform(f"/forerun/schedules?NamePrefix={name}")
    finally:
        scheduler.delete_schedule(Name=name)
    [shown] = answer["Schedules"]
    assert (shown["Kind"], shown["State"], shown["Last"]) == ("schedule", "ENABLED", None)
    assert len(shown["Next"]) == 5
    assert shown["Next"] == sorted(shown["Next"])
    assert {(at - shown["Next"][0]) % 3600 for at in shown["Next"]} == {0}
