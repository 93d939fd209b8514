"""Buses, rules and targets as users manage them."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.sources.bus_world import FUNCTION, OTHER, OWN, QUEUE, REGION, bus_arn, world

from forerun.errors import (
    AlreadyExists,
    InvalidInput,
    NotFound,
    PolicyTooLong,
)
from forerun.model import RetryPolicy
from forerun.patterns import InvalidPattern
from forerun.sources.buses import (
    RULES,
    BusName,
    BusWish,
    LimitExceeded,
    ManagedRule,
    Place,
    RuleName,
    RuleWish,
)
from forerun.storage.buses import RuleConfig, StoredRule

SHOP = {"source": ["shop"]}


@pytest.fixture
async def here(tmp_path: Path):
    async with world(tmp_path / "messages.db") as made:
        yield made


# Targets


@pytest.mark.parametrize(
    ("more", "payload"),
    [
        pytest.param({"Input": '{"a": 1}'}, b'{"a": 1}', id="constant"),
        pytest.param({"InputPath": "$.detail.n"}, b"5", id="path"),
        pytest.param(
            {
                "InputTransformer": {
                    "InputPathsMap": {"n": "$.detail.n"},
                    "InputTemplate": '"<n> by <aws.events.rule-name>"',
                }
            },
            b'"5 by r"',
            id="template",
        ),
    ],
)
async def test_a_target_gets_what_it_asked_for(here, more: dict[str, Any], payload: bytes):
    await here.rule("r", SHOP, **more)
    await here.put({"n": 5})
    assert [message.payload for message in here.sent()] == [payload]


async def test_how_a_target_is_tried_and_where_its_failures_go(here):
    await here.rule(
        "r",
        SHOP,
        RetryPolicy={"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60},
        DeadLetterConfig={"Arn": QUEUE},
        RoleArn=f"arn:aws:iam::{OWN}:role/r",
    )
    await here.put({})
    [message] = here.sent()
    assert message.retry == RetryPolicy(retries=0, max_age_s=60.0)
    assert (message.dead_letter, message.role) == (QUEUE, f"arn:aws:iam::{OWN}:role/r")


async def test_queues_that_keep_order_get_a_group_and_a_name_for_each_event(here):
    fifo = f"{QUEUE}.fifo"
    await here.rule("r", SHOP, fifo, SqsParameters={"MessageGroupId": "g"})
    await here.rule("s", SHOP, fifo, SqsParameters={"MessageGroupId": "g"})
    await here.put({})
    first, second = (message.attributes for message in here.sent())
    assert first["MessageGroupId"] == second["MessageGroupId"] == "g"
    assert first["MessageDeduplicationId"] != second["MessageDeduplicationId"]


ARN = f"arn:aws:{{}}:{REGION}:{OWN}:{{}}"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param({"Arn": "nonsense"}, "not in correct format", id="no arn"),
        pytest.param({"Arn": ARN.format("lambda", "layer:x")}, "not in correct", id="layer"),
        pytest.param({"Arn": "arn:aws:sqs:us-home-1:1:q"}, "not in correct", id="account"),
        pytest.param({"Arn": ARN.format("kinesis", "stream/x")}, "kinesis.* not served", id="kind"),
        pytest.param({"Arn": ARN.format("logs", "log-group:x")}, "not served", id="log group"),
        pytest.param({"Arn": f"arn:aws:sqs:eu-west-1:{OWN}:q"}, "not in the region", id="region"),
        pytest.param({"Arn": QUEUE + ".fifo"}, "SqsParameters must be specified", id="no group"),
        pytest.param({"Arn": FUNCTION, "EcsParameters": {"a": 1}}, "EcsParameters", id="ecs"),
        pytest.param({"Arn": bus_arn("b"), "InputPath": "$.detail"}, "event bus", id="bus input"),
    ],
)
async def test_a_target_that_cannot_be_is_told_and_the_others_are_set(
    here, given: dict[str, Any], says: str
):
    await here.rules.put(OWN, "default", "r", RuleWish(pattern=json.dumps(SHOP)))
    targets = [{"Id": "bad", **given}, {"Id": "good", "Arn": FUNCTION}]
    [refused] = await here.rules.put_targets(OWN, "default", "r", targets)
    assert (refused.target, refused.code) == ("bad", "ValidationException")
    assert re.search(says, refused.message)
    stored = await here.rules.targets(OWN, "default", "r", "", 10)
    assert [target.id for target in stored] == ["good"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        pytest.param({"Input": "{a}"}, "not JSON", id="constant"),
        pytest.param({"InputPath": "detail"}, "begin with", id="path"),
        pytest.param({"Input": "1", "InputPath": "$.a"}, "Only one of Input", id="two"),
        pytest.param(
            {"InputTransformer": {"InputTemplate": '"<x>"'}}, "invalid placeholder x", id="unknown"
        ),
        pytest.param({"InputTransformer": {"InputTemplate": "hello"}}, "neither JSON", id="bare"),
        pytest.param({"DeadLetterConfig": {"Arn": FUNCTION}}, "standard queue", id="letters"),
        pytest.param({"DeadLetterConfig": {"Arn": QUEUE + ".fifo"}}, "standard queue", id="fifo"),
        pytest.param({"DeadLetterConfig": {"Arn": "x"}}, "not a valid ARN", id="letters arn"),
    ],
)
async def test_inputs_that_cannot_be_refuse_the_request(here, given: dict[str, Any], says: str):
    await here.rules.put(OWN, "default", "r", RuleWish(pattern=json.dumps(SHOP)))
    targets = [{"Id": "good", "Arn": FUNCTION}, {"Id": "bad", "Arn": FUNCTION, **given}]
    with pytest.raises(InvalidInput, match=says):
        await here.rules.put_targets(OWN, "default", "r", targets)
    assert await here.rules.targets(OWN, "default", "r", "", 10) == []


async def test_a_rule_has_five_targets(here):
    await here.rules.put(OWN, "default", "r", RuleWish(pattern=json.dumps(SHOP)))

    def targets(*ids: str) -> list[dict[str, str]]:
        return [{"Id": each, "Arn": FUNCTION} for each in ids]

    await here.rules.put_targets(OWN, "default", "r", targets("a", "b", "c", "d"))
    with pytest.raises(LimitExceeded):
        await here.rules.put_targets(OWN, "default", "r", targets("d", "e", "f"))
    assert len(await here.rules.targets(OWN, "default", "r", "", 10)) == 4
    await here.rules.put_targets(OWN, "default", "r", targets("a", "b", "c", "d", "e"))
    [gone] = await here.rules.remove_targets(OWN, "default", "r", ["a", "x"])
    assert gone.message == "Rule 'r' does not have a target with the Id 'x'."
    assert len(await here.rules.targets(OWN, "default", "r", "", 10)) == 4


# Rules


@pytest.mark.parametrize(
    ("wish", "bus", "error", "says"),
    [
        pytest.param(RuleWish(), "default", InvalidInput, "must be specified", id="nothing"),
        pytest.param(RuleWish(pattern="{}"), "default", InvalidPattern, "Empty objects", id="empty"),
        pytest.param(RuleWish(pattern="x"), "default", InvalidPattern, "not JSON", id="no json"),
        pytest.param(RuleWish(schedule="rate(1 minute)"), "b", InvalidInput, "default event bus", id="other bus"),
        pytest.param(RuleWish(schedule="rate(0 minutes)"), "default", InvalidInput, "ScheduleExpression is not valid", id="rate"),
        pytest.param(RuleWish(schedule="at(2030-01-01T00:00:00)"), "default", InvalidInput, "must be rate", id="once"),
        pytest.param(RuleWish(schedule="cron(0 0 30 2 ? *)"), "default", InvalidInput, "no time to come", id="never"),
        pytest.param(RuleWish(schedule="cron(0 0 1 1 ? 2020)"), "default", InvalidInput, "no time to come", id="past"),
        pytest.param(RuleWish(schedule="cron(0 0 1 1 ? 2020)", state="DISABLED"), "default", InvalidInput, "no time to come", id="past, disabled"),
        pytest.param(RuleWish(pattern='{"a":[1]}', tags={"aws:x": ""}), "default", InvalidInput, "reserved", id="tag"),
        pytest.param(RuleWish(pattern='{"a":[1]}'), "none", NotFound, "Event bus none does not exist", id="bus"),
    ],
)  # fmt: skip
async def test_a_rule_that_cannot_be_is_refused(
    here, wish: RuleWish, bus: str, error: type[Exception], says: str
):
    await here.buses.create(OWN, "b", BusWish(), {})
    with pytest.raises(error, match=says):
        await here.rules.put(OWN, bus, "r", wish)
    if bus != "none":
        assert await here.rules.page(OWN, bus, "", "", 10) == []


async def test_a_rule_is_replaced_but_for_its_tags(here):
    wish = RuleWish(pattern='{"a":[1]}', description="one", tags={"k": "v"})
    first = await here.rules.put(OWN, "default", "r", wish)
    second = await here.rules.put(
        OWN, "default", "r", RuleWish(schedule="rate(1 hour)", tags={"x": "y"})
    )
    assert second.id == first.id
    found = await here.rules.find(OWN, "default", "r")
    assert (found.config.pattern, found.config.description) == ("", "")
    assert found.config.tags == {"k": "v"}


@pytest.mark.databases
async def test_a_rule_with_targets_is_not_deleted(here):
    await here.rule("r", SHOP)
    with pytest.raises(InvalidInput, match="Rule can't be deleted since it has targets"):
        await here.rules.delete(OWN, "default", "r")
    await here.rules.remove_targets(OWN, "default", "r", ["t"])
    await here.rules.delete(OWN, "default", "r")
    await here.rules.delete(OWN, "default", "r")
    with pytest.raises(NotFound, match="Rule r does not exist on EventBus default"):
        await here.rules.find(OWN, "default", "r")


async def test_what_the_platform_made_is_changed_by_force_only(here):
    config = RuleConfig(pattern='{"a":[1]}', managed_by="states.amazonaws.com")
    rule = StoredRule(account=OWN, bus="default", name="r", config=config)
    await here.store.add_rule(rule, most=RULES)
    with pytest.raises(ManagedRule):
        await here.rules.put(OWN, "default", "r", RuleWish(pattern='{"a":[1]}'))
    with pytest.raises(ManagedRule):
        await here.rules.set_state(OWN, "default", "r", "DISABLED")
    with pytest.raises(ManagedRule):
        await here.rules.delete(OWN, "default", "r")
    await here.rules.delete(OWN, "default", "r", force=True)


async def test_a_full_bus_takes_no_more_rules(here):
    rule = StoredRule(account=OWN, bus="default", name="x", config=RuleConfig(pattern='{"a":[1]}'))
    for number in range(RULES):
        await here.store.add_rule(msgspec.structs.replace(rule, name=f"r{number}"), most=RULES)
    with pytest.raises(LimitExceeded):
        await here.rules.put(OWN, "default", "one-more", RuleWish(pattern='{"a":[1]}'))
    await here.rules.put(OWN, "default", "r0", RuleWish(pattern='{"a":[2]}'))


# Buses


@pytest.mark.databases
async def test_buses_are_made_and_deleted(here):
    bus = await here.buses.create(OWN, "shop", BusWish(description="d"), {"k": "v"})
    assert (bus.description, bus.tags) == ("d", {"k": "v"})
    with pytest.raises(AlreadyExists, match="Event bus shop already exists"):
        await here.buses.create(OWN, "shop", BusWish(), {})
    with pytest.raises(AlreadyExists):
        await here.buses.create(OWN, "default", BusWish(), {})
    with pytest.raises(InvalidInput, match="must not contain"):
        await here.buses.create(OWN, "a/b", BusWish(), {})
    assert [each.name for each in await here.buses.page(OWN, "", "", 10)] == ["default", "shop"]
    assert [each.name for each in await here.buses.page(OWN, "s", "", 10)] == ["shop"]
    assert [each.name for each in await here.buses.page(OWN, "", "default", 10)] == ["shop"]
    await here.rule("r", SHOP, bus="shop")
    with pytest.raises(InvalidInput, match="since it has rules"):
        await here.buses.delete(OWN, "shop")
    await here.put({}, bus="shop")
    assert here.sent()[0].source == f"arn:aws:events:{REGION}:{OWN}:rule/shop/r"
    await here.rules.remove_targets(OWN, "shop", "r", ["t"])
    await here.rules.delete(OWN, "shop", "r")
    await here.buses.delete(OWN, "shop")
    assert (await here.put({}, bus="shop")).code == "InvalidArgument"
    with pytest.raises(InvalidInput, match="Cannot delete event bus default"):
        await here.buses.delete(OWN, "default")


@pytest.mark.databases
async def test_who_may_put_events_onto_a_bus_is_kept(here):
    arn = bus_arn("default")
    assert await here.sink.policy(arn) is None
    statement = {"Sid": "a", "Effect": "Allow", "Principal": "*", "Action": "events:PutEvents"}
    await here.buses.allow(OWN, "default", statement)
    await here.buses.allow(OWN, "default", statement | {"Sid": "b"})
    await here.buses.allow(OWN, "default", statement | {"Principal": {"AWS": OTHER}})
    policy = json.loads(await here.sink.policy(arn))
    assert {each["Sid"]: each["Principal"] for each in policy["Statement"]} == {
        "a": {"AWS": OTHER},
        "b": "*",
    }
    with pytest.raises(NotFound, match="Statement with the provided id"):
        await here.buses.disallow(OWN, "default", "c")
    await here.buses.disallow(OWN, "default", "a")
    await here.buses.disallow(OWN, "default", "b")
    assert await here.sink.policy(arn) is None
    with pytest.raises(NotFound, match="does not have a policy"):
        await here.buses.disallow(OWN, "default", "a")
    with pytest.raises(PolicyTooLong):
        await here.buses.set_policy(OWN, "default", "x" * 10_241)
    with pytest.raises(NotFound):
        await here.sink.policy(bus_arn("none"))


# Names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(None, BusName(OWN, "default"), id="none"),
        pytest.param("b", BusName(OWN, "b"), id="name"),
        pytest.param(bus_arn("b"), BusName(OWN, "b"), id="arn"),
        pytest.param(bus_arn("b", OTHER), BusName(OTHER, "b"), id="other's"),
    ],
)
def test_a_bus_is_named_by_name_or_arn(text: str | None, expected: BusName):
    assert Place(REGION, OWN).bus(text) == expected


def test_what_has_tags_is_named_by_arn():
    place = Place(REGION, OWN)
    assert place.tagged(place.rule_arn("default", "r")) == RuleName("default", "r")
    assert place.tagged(place.rule_arn("b", "r")) == RuleName("b", "r")
    assert place.tagged(place.bus_arn("b")) == BusName(OWN, "b")
    with pytest.raises(NotFound):
        place.tagged(Place(REGION, OTHER).bus_arn("b"))
    with pytest.raises(InvalidInput):
        place.tagged(FUNCTION)
    with pytest.raises(NotFound):
        place.own_bus(bus_arn("b", OTHER))
