"""Events on buses: whom they reach, and what becomes of those that cannot be taken."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.sources.bus_world import FUNCTION, OTHER, OWN, QUEUE, REGION, bus_arn, world

from forerun.errors import (
    InvalidInput,
    NotFound,
    StorageFailed,
    Throttled,
)
from forerun.model import Message, Origin, RetryPolicy
from forerun.sources.buses import (
    BusName,
    BusWish,
    Entry,
    RuleWish,
)

SHOP = {"source": ["shop"]}


@pytest.fixture
async def here(tmp_path: Path):
    async with world(tmp_path / "messages.db") as made:
        yield made


# Events


async def test_an_event_reaches_the_targets_of_the_rules_that_want_it(here):
    await here.rule("paid", {"source": ["shop"], "detail": {"state": ["paid"]}})
    await here.rule("big", {"detail": {"sum": [{"numeric": [">", 100]}]}}, QUEUE)
    origin = Origin(trace_id="ab" * 16, lineage="x:1")
    detail = {"state": "paid", "sum": 250, "exact": 0.1}
    answer = await here.put(detail, resources=("arn:x",), origin=origin)
    assert answer.event_id
    to_function, to_queue = sorted(here.sent(), key=lambda message: message.target)
    assert (to_function.target, to_queue.target) == (FUNCTION, QUEUE)
    assert to_function.source == f"arn:aws:events:{REGION}:{OWN}:rule/paid"
    assert to_function.principal == "events.amazonaws.com"
    assert (to_function.account, to_function.origin) == (OWN, origin)
    assert to_function.retry == RetryPolicy()
    assert json.loads(to_function.payload) == {
        "version": "0",
        "id": answer.event_id,
        "detail-type": "Order",
        "source": "shop",
        "account": OWN,
        "time": "2023-11-14T22:13:20Z",
        "region": REGION,
        "resources": ["arn:x"],
        "detail": detail,
    }
    assert to_queue.payload == to_function.payload


async def test_an_event_that_nobody_wants_leaves_nothing(here):
    await here.rule("r", {"source": ["other"]})
    assert (await here.put({})).event_id
    assert here.sent() == []


async def test_the_detail_is_passed_on_as_it_was_written(here):
    await here.rule("r", SHOP)
    text = '{"n": 1.0e2, "n2": 12345678901234567, "t":"\\u00e9"}'
    entry = Entry(
        bus=BusName(OWN, "default"), account=OWN, source="shop", detail_type="x", detail=text
    )
    await here.sender.put([entry])
    assert text.encode() in here.sent()[0].payload


async def test_a_change_of_a_rule_counts_at_once(here):
    await here.rule("r", SHOP)
    await here.put({})
    assert len(here.sent()) == 1
    await here.rules.set_state(OWN, "default", "r", "DISABLED")
    await here.put({})
    assert here.sent() == []
    await here.rules.set_state(OWN, "default", "r", "ENABLED")
    await here.rules.put(OWN, "default", "r", RuleWish(pattern='{"source": ["new"]}'))
    await here.put({})
    assert here.sent() == []
    await here.put({}, source="new")
    assert len(here.sent()) == 1
    await here.rules.remove_targets(OWN, "default", "r", ["t"])
    await here.put({}, source="new")
    assert here.sent() == []


async def test_a_change_while_rules_are_read_is_not_overlooked(here):
    await here.rule("r", SHOP)
    await here.rules.set_state(OWN, "default", "r", "DISABLED")
    reading = asyncio.ensure_future(here.put({}))
    await here.rules.set_state(OWN, "default", "r", "ENABLED")
    await reading
    here.sent()
    await here.put({})
    assert len(here.sent()) == 1


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        pytest.param({"source": None}, "InvalidArgument", "Source is a required", id="source"),
        pytest.param({"source": ""}, "InvalidArgument", "Source is a required", id="empty"),
        pytest.param({"detail_type": None}, "InvalidArgument", "DetailType is a req", id="type"),
        pytest.param({"detail": None}, "InvalidArgument", "Detail is a required", id="detail"),
        pytest.param({"detail": "[1]"}, "MalformedDetail", "malformed", id="array"),
        pytest.param({"detail": '"x"'}, "MalformedDetail", "malformed", id="text"),
        pytest.param({"detail": '{"a"'}, "MalformedDetail", "malformed", id="cut"),
        pytest.param({"detail": '{"a":' * 3000}, "MalformedDetail", "malformed", id="deep"),
        pytest.param({"source": "aws.s3"}, "NotAuthorizedForSource", "source", id="aws"),
        pytest.param({"source": "AWS.x"}, "NotAuthorizedForSource", "source", id="AWS"),
        pytest.param({"time": 1e18}, "InvalidArgument", "Time", id="time"),
        pytest.param({"bus": BusName(OWN, "none")}, "InvalidArgument", "none does not", id="bus"),
    ],
)
async def test_a_bad_entry_fails_alone(here, change: dict[str, Any], code: str, says: str):
    await here.rule("r", SHOP)
    values: dict[str, Any] = {
        "bus": BusName(OWN, "default"),
        "account": OWN,
        "source": "shop",
        "detail_type": "x",
        "detail": "{}",
    }
    bad, good = await here.sender.put([Entry(**(values | change)), Entry(**values)])
    assert bad.code == code
    assert says in bad.message
    assert not bad.event_id
    assert good.event_id
    assert len(here.sent()) == 1


async def test_entries_are_too_large_together(here):
    values = {"bus": BusName(OWN, "default"), "account": OWN, "source": "s", "detail_type": "x"}
    entry = Entry(**values, detail='{"a":"' + "x" * 524_288 + '"}')
    assert (await here.sender.put([entry]))[0].event_id
    with pytest.raises(InvalidInput, match="Total size of the entries"):
        await here.sender.put([entry, entry])


@pytest.mark.databases
async def test_an_event_is_not_accepted_when_its_messages_are_not_on_disk(here):
    await here.rule("r", SHOP)
    here.outbox.fails = StorageFailed("the disk is full")
    with pytest.raises(StorageFailed):
        await here.put({})


async def test_a_large_event_for_many_is_handed_over_in_parts(here):
    for number in range(40):
        await here.rule(f"r{number}", SHOP)
    await here.put({"x": "y" * 900_000})
    assert len(here.sent()) == 40


async def test_accounts_know_nothing_of_each_other(here):
    await here.rule("r", SHOP)
    await here.put({}, bus="default")
    entry = Entry(
        bus=BusName(OTHER, "default"), account=OTHER, source="shop", detail_type="x", detail="{}"
    )
    here.sent()
    assert (await here.sender.put([entry]))[0].event_id
    assert here.sent() == []
    with pytest.raises(NotFound):
        await here.rules.find(OTHER, "default", "r")


async def test_an_event_of_another_account_keeps_its_account(here):
    await here.rule("r", SHOP)
    await here.put({}, account=OTHER)
    [message] = here.sent()
    assert json.loads(message.payload)["account"] == OTHER
    assert message.account == OWN


# From others


def to_bus(name: str, **more: Any) -> Message:
    values: dict[str, Any] = {
        "id": "m1",
        "account": OWN,
        "source": "arn:aws:s3:::b",
        "principal": "s3.amazonaws.com",
        "target": bus_arn(name),
        "payload": b'{"n": 1}',
        "attributes": {"Source": "aws.s3", "DetailType": "Object Created", "Resources": '["r"]'},
    }
    return Message(**(values | more))


async def test_others_send_to_buses(here):
    await here.rule("r", {"source": ["aws.s3"]})
    assert await here.sink.take([to_bus("default"), to_bus("default")]) == [None, None]
    first, again = here.sent()
    event = json.loads(first.payload)
    assert (event["detail-type"], event["resources"], event["detail"]) == (
        "Object Created",
        ["r"],
        {"n": 1},
    )
    # The same message leads to the same messages.
    assert first.id == again.id


@pytest.mark.parametrize(
    ("message", "error"),
    [
        pytest.param(to_bus("none"), NotFound, id="no bus"),
        pytest.param(to_bus("default", payload=b"[]"), InvalidInput, id="no object"),
        pytest.param(to_bus("default", payload=b"{"), InvalidInput, id="no json"),
        pytest.param(to_bus("default", attributes={}), InvalidInput, id="no source"),
        pytest.param(to_bus("default", principal="scheduler.amazonaws.com"), InvalidInput, id="a schedule's"),
        pytest.param(to_bus("default", target=f"arn:aws:events:{REGION}:{OWN}:rule/r"), InvalidInput, id="a rule"),
        pytest.param(to_bus("default", attributes={"Source": "a", "DetailType": "b", "Resources": "x"}), InvalidInput, id="resources"),
    ],
)  # fmt: skip
async def test_what_is_no_event_is_refused_and_the_rest_taken(
    here, message: Message, error: type[Exception]
):
    await here.rule("r", {"source": ["aws.s3"]})
    bad, good = await here.sink.take([message, to_bus("default")])
    assert isinstance(bad, error)
    assert good is None
    assert len(here.sent()) == 1


async def test_messages_that_cannot_be_kept_are_tried_again(here):
    await here.rule("r", {"source": ["aws.s3"]})
    here.outbox.fails = Throttled("full", reason="QueueFull")
    first, second = await here.sink.take([to_bus("default"), to_bus("none")])
    assert isinstance(first, Throttled)
    assert isinstance(second, NotFound)


@pytest.mark.databases
async def test_an_event_goes_from_bus_to_bus_as_it_is(here):
    await here.buses.create(OWN, "b", BusWish(), {})
    await here.rule("there", SHOP, bus_arn("b"))
    await here.rule("end", SHOP, bus="b")
    answer = await here.put({"n": 1}, account=OTHER, time=1_600_000_000.0)
    [forwarded] = here.sent()
    here.clock.jump(100)
    assert await here.sink.take([forwarded]) == [None]
    [arrived] = here.sent()
    event = json.loads(arrived.payload)
    assert (event["id"], event["account"]) == (answer.event_id, OTHER)
    assert event["time"] == "2020-09-13T12:26:40Z"
    assert arrived.source.endswith("rule/b/end")


async def test_only_rules_may_say_whose_an_event_is(here):
    await here.rule("r", {"source": ["aws.s3"]})
    told = to_bus("default").attributes | {"EventAccount": OTHER, "EventId": "x", "Hops": "99"}
    assert await here.sink.take([to_bus("default", attributes=told)]) == [None]
    event = json.loads(here.sent()[0].payload)
    assert event["account"] == OWN
    assert event["id"] != "x"


async def test_a_circle_of_buses_ends(here):
    await here.buses.create(OWN, "b", BusWish(), {})
    await here.rule("there", SHOP, bus_arn("b"))
    await here.rule("back", SHOP, bus_arn("default"), bus="b")
    await here.put({})
    hops = 0
    while sent := here.sent():
        hops += 1
        assert hops <= 6
        [answer] = await here.sink.take(sent)
        if answer is not None:
            assert isinstance(answer, InvalidInput)
            assert "forwarded over" in answer.message
    assert hops == 6
