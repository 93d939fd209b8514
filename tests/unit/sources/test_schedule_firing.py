"""Schedules over a real database: firing, dying in between, what comes of changes meanwhile, and what targets get."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.databases import open_database
from tests.fakes.clock import FakeClock, settle
from tests.fakes.outbox import FakeOutbox

from forerun.errors import Conflict, InvalidInput, NotFound, StorageFailed, Unsupported
from forerun.sources.schedules import Firer, Schedules, Wish
from forerun.sources.schedules.targets import Place, check_target
from forerun.storage import Db, Statement
from forerun.storage.schedules import Firing, ScheduleStore
from forerun.storage.sqlite import MESSAGES

ACCOUNT, REGION = "000000000042", "us-home-1"
START = 1_780_000_000.0  # 2026-05-28T20:26:40Z
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"


class Server:
    """What fires schedules, over a database that outlives it."""

    def __init__(self, db: Db) -> None:
        self.clock = FakeClock(START)
        self.outbox = FakeOutbox()
        self.store = ScheduleStore(db)

    async def begin(self) -> None:
        self.firer = Firer(self.store, self.outbox, self.clock, region=REGION, chance=lambda: 0.25)
        self.schedules = Schedules(
            self.store, self.firer, self.clock, region=REGION, chance=lambda: 0.25
        )
        await self.schedules.start()
        await self.firer.start()

    async def end(self) -> None:
        await self.schedules.close()
        await self.firer.close()

    async def advance(self, seconds: float) -> None:
        """Go on in steps, and wait for the database's threads in between."""
        end = self.clock.now() + seconds
        while (left := end - self.clock.now()) > 0:
            await self.clock.advance(min(left, 30.0))
            await self.quiet()

    async def quiet(self) -> None:
        """Wait until nothing is fired any more."""
        await settle()
        async with asyncio.timeout(10):
            while self.firer.busy:
                await asyncio.sleep(0.001)
        await settle()

    async def put(self, expression: str, name: str = "s", **more: Any) -> None:
        target = more.pop("target", {"Arn": FUNCTION, "RoleArn": ROLE, "Input": "{}"})
        wish = Wish(group="default", name=name, expression=expression, target=target, **more)
        await self.schedules.create(ACCOUNT, wish, None)
        await self.quiet()

    async def firing(self, name: str = "s") -> Firing:
        return (await self.schedules.find(ACCOUNT, "default", name)).firing


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Db]:
    db = await open_database(tmp_path / "messages.db", migrations=MESSAGES)
    yield db
    await db.close()


@pytest.fixture
async def server(db: Db) -> AsyncIterator[Server]:
    server = Server(db)
    await server.begin()
    yield server
    await server.end()


async def test_each_moment_is_fired_once_with_its_own_id(server):
    await server.put("rate(1 minute)")
    await server.advance(150)
    ids = [message.id for message in server.outbox.sent]
    assert len(set(ids)) == len(ids) == 3
    assert [message.occurred_at - START for message in server.outbox.sent] == [0, 60, 120]
    [first, *_] = server.outbox.sent
    assert (first.source, first.principal, first.role, first.target) == (
        f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/s",
        "scheduler.amazonaws.com",
        ROLE,
        FUNCTION,
    )


async def test_a_window_delays_by_what_was_drawn_and_stored(server):
    await server.put("at(2026-05-28T20:27:00)", window_minutes=4)
    assert await server.firing() == Firing(moment=START + 20, due=START + 20 + 60)
    await server.advance(79)
    assert server.outbox.sent == []
    await server.end()
    await server.begin()
    await server.advance(2)
    assert len(server.outbox.sent) == 1


async def test_what_was_handed_over_and_not_written_down_is_handed_over_with_the_same_id(
    server, monkeypatch
):
    async def die(*_: object) -> bool:
        raise StorageFailed("the server dies here")

    with monkeypatch.context() as patch:
        patch.setattr(server.store, "fired", die)
        await server.put("at(2026-05-28T20:27:00)")
        await server.advance(22)
        assert len(server.outbox.sent) == 1
        await server.end()
    await server.begin()
    await server.advance(5)
    assert len(server.outbox.sent) == 2
    assert len({message.id for message in server.outbox.sent}) == 1
    await server.advance(600)
    assert len(server.outbox.sent) == 2


@pytest.mark.databases
async def test_an_outbox_that_is_full_delays_and_loses_nothing(server):
    server.outbox.fails = StorageFailed("full")
    await server.put("at(2026-05-28T20:27:00)", delete_after=True)
    await server.advance(60)
    server.outbox.fails = None
    await server.advance(10)
    assert len(server.outbox.sent) == 1
    with pytest.raises(NotFound):
        await server.firing()


@pytest.mark.databases
async def test_changes_count_at_once(server):
    await server.put("rate(1 hour)", "deleted", since=START + 90)
    await server.put("rate(1 hour)", "disabled", since=START + 90)
    await server.put("rate(1 hour)", "moved", since=START + 90)
    await server.put("rate(1 hour)", "same", since=START + 90)

    def wish(name: str, expression: str = "rate(1 hour)", **more: Any) -> Wish:
        target = {"Arn": FUNCTION, "RoleArn": ROLE, "Input": json.dumps(name)}
        given = {"group": "default", "name": name, "since": START + 90, "target": target}
        return Wish(expression=expression, **(given | more))

    await server.schedules.delete(ACCOUNT, "default", "deleted", None)
    await server.schedules.update(ACCOUNT, wish("disabled", enabled=False), None)
    await server.schedules.update(ACCOUNT, wish("moved", "at(2026-05-28T20:30:00)"), None)
    await server.schedules.update(ACCOUNT, wish("same"), None)
    await server.advance(100)
    assert [json.loads(message.payload) for message in server.outbox.sent] == ["same"]
    await server.advance(110)
    assert [json.loads(message.payload) for message in server.outbox.sent] == ["same", "moved"]
    # Behind its time a change of the input alone does not fire it again.
    await server.schedules.update(ACCOUNT, wish("moved", "at(2026-05-28T20:30:00)"), None)
    await server.advance(60)
    assert len(server.outbox.sent) == 2
    # Enabled again it goes on in its rhythm.
    await server.schedules.update(ACCOUNT, wish("disabled"), None)
    assert (await server.firing("disabled")).moment == START + 90 + 3600


@pytest.mark.databases
async def test_schedules_of_a_group_that_is_deleted_fire_no_more(server, db):
    await server.schedules.create_group(ACCOUNT, "g", {}, None)
    for number in range(3):
        wish = Wish(
            group="g", name=f"s{number}", expression="rate(1 hour)", since=START + 60,
            target={"Arn": FUNCTION, "RoleArn": ROLE},
        )  # fmt: skip
        await server.schedules.create(ACCOUNT, wish, None)
    await server.schedules.delete_group(ACCOUNT, "g", None)
    with pytest.raises((Conflict, NotFound)):
        await server.schedules.create(ACCOUNT, wish, None)
    async with asyncio.timeout(10):
        while await server.store.group(ACCOUNT, "g"):
            await asyncio.sleep(0.001)
    await server.advance(120)
    assert server.outbox.sent == []


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["run", "down", "forward", "back"]), st.integers(1, 400)),
        min_size=1,
        max_size=5,
    )
)
def test_no_moment_is_fired_twice_whatever_clocks_and_servers_do(tmp_path_factory, steps):
    async def play() -> None:
        db = await open_database(
            tmp_path_factory.mktemp("firing") / "messages.db", migrations=MESSAGES
        )
        server = Server(db)
        await server.begin()
        await server.put("rate(1 minute)", "rate")
        await server.put("cron(*/2 * * * ? *)", "cron")
        await server.put("at(2026-05-28T20:29:00)", "at")
        latest = START
        for what, seconds in steps:
            if what == "run":
                await server.advance(seconds)
            elif what == "down":
                await server.end()
                server.clock.jump(seconds)
                await server.begin()
            else:
                server.clock.jump(seconds if what == "forward" else -seconds)
            await server.advance(2)
            latest = max(latest, server.clock.now())
        ids = [message.id for message in server.outbox.sent]
        assert len(set(ids)) == len(ids)
        once = [m for m in server.outbox.sent if m.source.endswith("/at")]
        assert len(once) == (latest >= START + 140)
        await server.end()
        await db.close()

    asyncio.run(play())


async def test_a_hundred_thousand_schedules_are_there_at_the_start(server, db):
    """Those that are not due cost the one that is nothing."""
    await server.put("rate(1 hour)", "model", since=START + 9000)
    await db.write(*(_many(100_000),))
    await server.end()
    await server.begin()
    await server.put("at(2026-05-28T20:27:00)", "due")
    await server.advance(25)
    assert [message.source.rpartition("/")[2] for message in server.outbox.sent] == ["due"]


def _many(count: int) -> Any:
    return Statement(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)"
        " INSERT INTO schedules (account, grp, name, state, due, config, firing, revision)"
        " SELECT account, grp, 'n' || i, state, due + i, config, firing, 0 FROM schedules, n",
        (count,),
    )


def target(arn: str, **more: Any) -> dict[str, Any]:
    return {"Arn": arn, "RoleArn": ROLE, **more}


QUEUE, FIFO = (f"arn:aws:sqs:{REGION}:{ACCOUNT}:q{end}" for end in ("", ".fifo"))
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:t"
BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/b"
UNIVERSAL = "arn:aws:scheduler:::aws-sdk:"
ARN = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/s"
URL = f"http://localhost:9700/{ACCOUNT}/q"
TARGETS = {
    "function": (target(FUNCTION, Input='{"a": 1}'), FUNCTION, b'{"a": 1}', {}),
    "queue": (target(QUEUE, Input="no JSON"), QUEUE, b"no JSON", {}),
    "fifo": (
        target(FIFO, Input="x", SqsParameters={"MessageGroupId": "g"}), FIFO, b"x",
        {"MessageGroupId": "g", "MessageDeduplicationId": "ID"},
    ),
    "topic": (target(TOPIC, Input="x"), TOPIC, b"x", {}),
    "bus": (
        target(BUS, Input='{"a": 1}', EventBridgeParameters={"Source": "me", "DetailType": "d"}),
        BUS, b'{"a": 1}', {"Source": "me", "DetailType": "d", "Resources": f'["{ARN}"]'},
    ),
    "invoke": (
        target(UNIVERSAL + "lambda:invoke", Input='{"FunctionName": "f:7", "Payload": "[1]"}'),
        FUNCTION + ":7", b"[1]", {},
    ),
    "send": (
        target(
            UNIVERSAL + "sqs:sendMessage",
            Input=f'{{"QueueUrl": "{URL}", "MessageBody": "at <aws.scheduler.scheduled-time>"}}',
        ),
        QUEUE, b"at 2026-05-28T20:27:00Z", {},
    ),
    "publish": (
        target(
            UNIVERSAL + "sns:publish",
            Input=f'{{"TopicArn": "{TOPIC}", "Message": "m", "Subject": "s"}}',
        ),
        TOPIC, b"m", {"Subject": "s"},
    ),
    "attributes": (
        target(FUNCTION, Input='["<aws.scheduler.schedule-arn>", <aws.scheduler.attempt-number>]'),
        FUNCTION, f'["{ARN}", 1]'.encode(), {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TARGETS)
async def test_each_kind_of_target_gets_what_it_expects(server, kind):
    given, arn, payload, attributes = TARGETS[kind]
    await server.put("at(2026-05-28T20:27:00)", target=given)
    await server.advance(25)
    [message] = server.outbox.sent
    named = {name: value.replace("ID", message.id) for name, value in attributes.items()}
    assert (message.target, message.payload, message.attributes) == (arn, payload, named)


@pytest.mark.databases
async def test_without_an_input_a_target_gets_the_usual_notification(server):
    await server.put("at(2026-05-28T20:27:00)", target=target(FUNCTION))
    await server.advance(25)
    [message] = server.outbox.sent
    assert json.loads(message.payload) == {
        "version": "0", "id": message.id, "detail-type": "Scheduled Event",
        "source": "aws.scheduler", "account": ACCOUNT, "time": "2026-05-28T20:27:00Z",
        "region": REGION, "resources": [ARN], "detail": "{}",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (target(UNIVERSAL + "sqs:sendMessage", Input='{"QueueUrl": "x", "MessageBody": "m"}'), "QueueUrl"),
        (target(UNIVERSAL + "sqs:sendMessage", Input=f'{{"QueueUrl": "{URL}"}}'), "MessageBody"),
        (target(UNIVERSAL + "sns:publish", Input=f'{{"TopicArn": "{QUEUE}", "Message": "m"}}'), "TopicArn"),
        (target(UNIVERSAL + "lambda:invoke"), "well-formed JSON"),
        (target(UNIVERSAL + "lambda:invoke", Input="[]"), "JSON object"),
        (target(UNIVERSAL + "lambda:invoke", Input='{"FunctionName": "f", "Payload": "{"}'), "Payload"),
        (target(BUS, Input="[]", EventBridgeParameters={"Source": "a", "DetailType": "b"}), "JSON object"),
        (target(FUNCTION, Input="x" * 300_000), "262144 bytes"),
        (target(FUNCTION, Input="[" * 100_000), "well-formed JSON"),
        (target(FUNCTION, DeadLetterConfig={"Arn": FIFO}), "standard queue"),
        (target(FUNCTION, EcsParameters={"TaskDefinitionArn": "x"}), "EcsParameters"),
    ],
    ids=["url", "body", "topic", "nothing", "list", "payload", "bus", "long", "deep", "dead", "ecs"],
)  # fmt: skip
def test_what_no_target_can_be_is_refused(given, error):
    with pytest.raises((InvalidInput, Unsupported), match=error):
        check_target(given, Place(REGION, ACCOUNT))
