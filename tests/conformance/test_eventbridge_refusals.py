"""What EventBridge refuses, as boto3 hears it."""

import json
import uuid
from typing import Any

import pytest
from tests.policies import allow
from tests.servers import Server

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

PATTERN = {"source": ["shop"], "detail": {"state": ["paid"]}}
ECHO = "def handler(event, context):\n    return event\n"


@pytest.fixture
def name() -> str:
    return f"r-{uuid.uuid4().hex[:8]}"


def entry(detail: object, **more: Any) -> dict[str, Any]:
    return {"Source": "shop", "DetailType": "Order", "Detail": json.dumps(detail), **more}


@pytest.mark.parametrize(
    ("pattern", "event", "matches"),
    [
        pytest.param({"detail": {"n": [{"numeric": [">", 1]}]}}, {"n": 2}, True, id="numeric"),
        pytest.param({"detail": {"s": [{"wildcard": "a*c"}]}}, {"s": "abd"}, False, id="wildcard"),
        pytest.param({"$or": [{"source": ["x"]}, {"detail": {"n": [2]}}]}, {"n": 2}, True, id="or"),
    ],
)
def test_a_pattern_is_tried(events: Any, pattern: object, event: object, matches: bool) -> None:
    given = {
        "id": "1", "account": "1" * 12, "source": "shop", "time": "2026-01-01T00:00:00Z",
        "region": "us-home-1", "resources": [], "detail-type": "x", "detail": event,
    }  # fmt: skip
    reply = events.test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(given))
    assert reply["Result"] is matches


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        pytest.param("{", "not JSON", id="cut"),
        pytest.param("[]", "Filter is not an object", id="array"),
        pytest.param('{"source": "x"}', '"source" must be an object or an array', id="text"),
        pytest.param('{"a":' * 600 + "[1]" + "}" * 600, "deeper", id="deep"),
        pytest.param('{"a": [{"like": "x"}]}', "Unrecognized match type like", id="unknown"),
    ],
)
def test_a_pattern_that_is_none_is_refused(
    events: Any, name: str, refused: Any, pattern: str, says: str
) -> None:
    with refused("InvalidEventPatternException", 400) as error:
        events.put_rule(Name=name, EventPattern=pattern)
    assert error.message.startswith("Event pattern is not valid. Reason: ")
    assert says in error.message
    with refused("InvalidEventPatternException", 400):
        events.test_event_pattern(EventPattern=pattern, Event="{}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param({"ScheduleExpression": "cron(0 0 30 2 ? *)"}, "no time to come", id="never"),
        pytest.param({"ScheduleExpression": "rate(5 minute)"}, "not valid", id="rate"),
        pytest.param({"ScheduleExpression": "every day"}, "not valid", id="words"),
        pytest.param({}, "must be specified", id="nothing"),
        pytest.param({"EventPattern": "x" * 5000}, "less than or equal to 4096", id="long"),
        pytest.param({"EventPattern": '{"a":[1]}', "State": "OFF"}, "enum value set", id="state"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(
    events: Any, name: str, refused: Any, arguments: dict[str, str], says: str
) -> None:
    with refused("ValidationException", 400) as error:
        events.put_rule(Name=name, **arguments)
    assert says in error.message


def test_requests_that_cannot_be_are_refused(events: Any, refused: Any) -> None:
    with refused("ValidationException", 400) as error:
        events.put_events(Entries=[entry({})] * 11)
    assert "less than or equal to 10" in error.message
    with refused("ValidationException", 400) as error:
        events.put_events(Entries=[entry({"a": "x" * 600_000})] * 2)
    assert error.message == "Total size of the entries in the request is over the limit."
    with refused("ResourceNotFoundException", 400):
        events.put_targets(Rule="none", Targets=[{"Id": "1", "Arn": "arn:aws:sqs:a:b:c"}])


def test_what_is_not_served_is_refused_by_name(events: Any, bus: str, refused: Any) -> None:
    with refused("UnknownOperationException", 404) as error:
        events.list_archives()
    assert "ListArchives" in error.message
    with refused("ValidationException", 400) as error:
        events.create_event_bus(Name="x", LogConfig={"Level": "INFO"})
    assert "LogConfig" in error.message


def test_a_role_is_passed_by_who_may_only(server: Server, events: Any, refused: Any) -> None:
    with refused("AccessDeniedException", 400):
        events.put_rule(
            Name="r", EventPattern='{"a":[1]}', RoleArn="arn:aws:iam::999999999999:role/x"
        )


def test_who_may_put_onto_one_bus_may_not_onto_another(
    server: Server, events: Any, bus: str, refused: Any
) -> None:
    iam = server.client("iam")
    user = f"u-{uuid.uuid4().hex[:8]}"
    document = allow("events:PutEvents", f"arn:aws:events:*:*:event-bus/{bus}")
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    limited = server.client(
        "events",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    mine = entry({}, EventBusName=bus)
    assert limited.put_events(Entries=[mine])["FailedEntryCount"] == 0
    for entries in ([entry({})], [mine, entry({})]):
        with refused("AccessDeniedException", 400):
            limited.put_events(Entries=entries)
    with refused("AccessDeniedException", 400):
        limited.put_rule(Name="r", EventBusName=bus, EventPattern='{"a":[1]}')
