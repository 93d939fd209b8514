"""Queues as the rest of the platform meets them: a sink, something to take from, a shelf of dead letters."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.sources.queue_rig import ACCOUNT, QueueRig

from forerun.errors import InvalidInput, NotFound, StorageFailed
from forerun.model import Message, Origin
from forerun.sources.queues import Attribute, attributes_md5

SOURCE = f"arn:aws:events:us-home-1:{ACCOUNT}:rule/r"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[QueueRig]:
    rig = await QueueRig.open(tmp_path)
    yield rig
    await rig.close()


def message(target: str, number: int = 1, payload: bytes = b"body", **attributes: str) -> Message:
    return Message(
        id=f"m{number}",
        account=ACCOUNT,
        source=SOURCE,
        principal="events.amazonaws.com",
        target=target,
        payload=payload,
        attributes=attributes,
        origin=Origin(trace_id="a" * 32),
    )


async def test_each_message_is_answered_by_itself(rig):
    queue, ordered = await rig.make("q"), await rig.make("o.fifo")
    answers = await rig.sink.take(
        [
            message(queue.arn, 1),
            message(rig.arn("none"), 2),
            message("nonsense", 3),
            message(queue.arn.replace("us-home-1", "us-east-1"), 4),
            message(queue.arn, 5, payload=b"\xff"),
            message(queue.arn, 6, payload=b"nul \x00"),
            message(queue.arn, 7, payload=b""),
            message(ordered.arn, 8),
            message(ordered.arn, 9, MessageGroupId="g"),
            message(queue.arn, 10, MessageAttributes="{"),
            message(queue.arn, 11, payload=b"x" * 1_048_577),
        ]
    )
    kinds = [type(answer).__mro__[-4].__name__ if answer else None for answer in answers]
    assert [answer is None for answer in answers] == [n in (0, 8) for n in range(11)], kinds
    assert all(isinstance(answers[at], NotFound) for at in (1, 2, 3))
    assert all(isinstance(answers[at], InvalidInput) for at in (4, 5, 6, 7, 9, 10))
    assert queue.total == ordered.total == 1


async def test_the_same_message_is_put_once(rig):
    queue, ordered = await rig.make("q"), await rig.make("o.fifo")
    for target in (queue.arn, ordered.arn):
        assert await rig.sink.take([message(target, 1, MessageGroupId="g")] * 2) == [None, None]
        assert await rig.sink.take([message(target, 1, MessageGroupId="g")]) == [None]
    assert (queue.total, ordered.total) == (1, 1)
    await rig.begin()
    await rig.sink.take([message(queue.arn, 1), message(queue.arn, 2)])
    assert rig.queues.by_arn(queue.arn).total == 2
    rig.clock.jump(61)
    await rig.sink.take([message(queue.arn, 1)])
    assert rig.queues.by_arn(queue.arn).total == 3


async def test_a_disk_that_refuses_is_told_for_each_message(rig, monkeypatch):
    queue = await rig.make("q")

    async def refuse(_messages):
        raise StorageFailed("full")

    monkeypatch.setattr(rig.messages, "put", refuse)
    answers = await rig.sink.take([message(queue.arn, 1), message("nonsense", 2)])
    assert [type(answer).__name__ for answer in answers] == ["StorageFailed", "NoSuchQueue"]


async def test_a_record_is_what_lambda_gives(rig):
    queue = await rig.make("q")
    given = {
        "n": {"DataType": "Number", "StringValue": "1"},
        "b": {"DataType": "Binary", "BinaryValue": "AAE="},
    }
    sent = message(queue.arn, payload=b'{"a": [1]}', MessageAttributes=json.dumps(given))
    await rig.sink.take([sent])
    [pulled] = await rig.pollable.receive(queue.arn, most=10, wait_s=0)
    record = json.loads(pulled.record)
    known = {
        "n": Attribute(DataType="Number", StringValue="1"),
        "b": Attribute(DataType="Binary", BinaryValue=b"\x00\x01"),
    }
    assert record == {
        "messageId": pulled.id,
        "receiptHandle": pulled.receipt,
        "body": '{"a": [1]}',
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1700000000000",
            "SenderId": ACCOUNT,
            "ApproximateFirstReceiveTimestamp": "1700000000000",
        },
        "messageAttributes": {
            "n": {
                "stringValue": "1",
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": "Number",
            },
            "b": {
                "binaryValue": "AAE=",
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": "Binary",
            },
        },
        "md5OfMessageAttributes": attributes_md5(known),
        "md5OfBody": "09a50d6957ae2eda108044ff390e92b8",
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn,
        "awsRegion": "us-home-1",
    }
    assert json.loads(pulled.body) == {**record, "body": {"a": [1]}}
    assert pulled.origin.trace_id == "a" * 32
    assert (pulled.received, pulled.sent_at) == (1, rig.clock.now())


@pytest.mark.parametrize("text", ["plain", "{broken", "[1]", '{"a": 1}{', "12"])
async def test_a_filter_sees_other_bodies_as_text(rig, text):
    queue = await rig.make("q")
    await rig.send(queue, text)
    [pulled] = await rig.pollable.receive(queue.arn, most=10, wait_s=0)
    assert json.loads(pulled.body)["body"] == text


@pytest.mark.databases
async def test_given_back_unbegun_it_does_not_count(rig):
    queue = await rig.make("q", VisibilityTimeout="7")
    assert await rig.pollable.hide_s(queue.arn) == 7
    await rig.send(queue, "x")
    for begun, received in ((False, 1), (True, 1), (True, 2), (False, 3)):
        [pulled] = await rig.pollable.receive(queue.arn, most=1, wait_s=0)
        assert pulled.received == received
        await rig.pollable.release(queue.arn, [pulled.receipt], delay_s=0, begun=begun)
    [pulled] = await rig.pollable.receive(queue.arn, most=1, wait_s=0)
    backlog = await rig.pollable.backlog(queue.arn)
    assert (backlog.visible, backlog.hidden) == (0, 1)
    await rig.pollable.finish(queue.arn, [pulled.receipt])
    assert queue.total == 0


@pytest.mark.databases
async def test_dead_letters_stand_on_the_shelf(rig):
    dead = await rig.make("dead")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": "2"})
    queue = await rig.make("q", RedrivePolicy=policy)
    attributes = {"a": Attribute(DataType="String", StringValue="x")}
    for number in range(3):
        await rig.send(queue, f"poison {number}", attributes=attributes)
        rig.clock.jump(1)
    await rig.send(dead, "sent there by somebody")
    for _ in range(3):
        rig.clock.jump(31)
        got = await rig.receive(queue)
    assert got == []
    letters = await rig.shelf.letters(ACCOUNT)
    assert [letter.message.payload for letter in letters] == [b"poison 0", b"poison 1", b"poison 2"]
    letter = letters[1]
    assert (letter.shelf, letter.reason, letter.attempts) == (dead.arn, "MaxReceiveCount", 2)
    assert (letter.message.target, letter.message.source) == (queue.arn, dead.arn)
    assert json.loads(letter.message.attributes["MessageAttributes"]) == {
        "a": {"DataType": "String", "StringValue": "x"}
    }
    assert letter.failed_at == rig.clock.now()
    assert await rig.shelf.letters(ACCOUNT, after=letters[0].id, limit=1) == [letter]
    assert await rig.shelf.letter(ACCOUNT, letter.id) == letter
    assert await rig.shelf.letters("2" * 12) == []
    assert await rig.shelf.letter("2" * 12, letter.id) is None
    assert await rig.shelf.letter(ACCOUNT, "nonsense") is None
    # What is redriven goes back by the sink, and is put once even when it is redriven twice.
    assert await rig.sink.take([letter.message, letter.message]) == [None, None]
    assert await rig.shelf.remove(ACCOUNT, letter.id)
    assert not await rig.shelf.remove(ACCOUNT, letter.id)
    assert (queue.total, dead.total) == (1, 3)
    [again] = await rig.receive(queue)
    assert (again.body, again.received) == ("poison 1", 1)
    [old, *_] = [m for m in await rig.receive(dead) if m.body == "poison 0"]
    assert (old.source, old.sent_at) == (queue.arn, 1_700_000_000.0)


@pytest.mark.databases
async def test_what_comes_after_a_given_up_message_of_its_group_can_be_had_at_once(rig):
    dead = await rig.make("dead.fifo")
    policy = json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1})
    queue = await rig.make("q.fifo", RedrivePolicy=policy)
    for number in range(3):
        await rig.send(queue, f"{number}", group="g", name=f"{number}")
    assert [message.body for message in await rig.receive(queue, 1)] == ["0"]
    rig.clock.jump(31)
    assert [message.body for message in await rig.receive(queue, 1)] == ["1"]
    assert dead.total == 1
    [letter] = await rig.receive(dead)
    assert (letter.body, letter.sent_at) == ("0", rig.clock.now())


@pytest.mark.databases
async def test_numbers_are_not_given_again_after_a_restart(rig):
    queue = await rig.make("q.fifo")
    first = await rig.send(queue, "x", group="g", name="n")
    [taken] = await rig.receive(queue)
    await rig.traffic.finish(queue, [taken.mark])
    await rig.begin()
    queue = rig.queues.by_arn(queue.arn)
    assert (await rig.send(queue, "x", group="g", name="n")).id == first.id
    assert await rig.receive(queue) == []


@pytest.mark.databases
async def test_what_is_too_old_is_given_to_nobody_and_counted(rig):
    queue = await rig.make("q", MessageRetentionPeriod="60")
    await rig.send(queue, "never taken")
    await rig.send(queue, "taken", delay_s=3)
    rig.clock.jump(50)
    await rig.receive(queue, hide_s=5)
    rig.clock.jump(30)
    assert await rig.receive(queue) == []
    assert (queue.tally.expired, queue.total) == (2, 0)


@pytest.mark.databases
async def test_deleted_and_purged_queues_leave_nothing(rig):
    queue, other = await rig.make("q"), await rig.make("other.fifo")
    large = "x" * 5000
    for number in range(5):
        await rig.send(queue, f"{large}{number}")
        await rig.send(other, "x", group="g", name=f"{number}")
    [held, *_] = await rig.receive(queue, 1)
    await rig.queues.purge(queue)
    await rig.queues.delete(other)
    assert (queue.total, await rig.receive(queue)) == (0, [])
    assert not await rig.traffic.finish(queue, [held.mark])
    await rig.send(queue, "after")
    while await rig.messages.sweep(rig.clock.now() + 600):
        pass
    for table in ("queue_bodies", "queue_groups", "queue_sent", "queue_trash"):
        assert await rig.db.fetch(f"SELECT count(*) FROM {table}") == [(0,)], table
    assert [message.body for message in await rig.receive(queue)] == ["after"]


@pytest.mark.databases
async def test_large_bodies_come_back_whole(rig):
    queue = await rig.make("q")
    bodies = {"ä" * 500_000, "x" * 2048, "y" * 2049, '{"a": "' + "z" * 100_000 + '"}'}
    for body in bodies:
        await rig.send(queue, body)
    assert {message.body for message in await rig.receive(queue)} == bodies


@pytest.mark.databases
@pytest.mark.parametrize("amount", [1, 64, 1000])
async def test_many_at_once(rig, amount):
    queue = await rig.make("q")
    await rig.sink.take([message(queue.arn, number) for number in range(amount)])
    pulled = await rig.pollable.receive(queue.arn, most=amount + 5, wait_s=0)
    assert len({each.id for each in pulled}) == amount
    await rig.pollable.finish(queue.arn, [each.receipt for each in pulled])
    assert queue.total == 0
    assert await rig.db.fetch("SELECT count(*) FROM queue_messages") == [(0,)]


@pytest.mark.databases
@pytest.mark.parametrize("name", ["q", "q.fifo"])
async def test_a_clock_that_is_set_back_hides_nothing_longer(rig, name):
    """What waits can be had, in its order where it has one; what is in flight or delayed is so for what is left of its time."""
    queue = await rig.make(name)
    for number in range(3):
        more = {"group": "g", "name": f"m{number}"} if name == "q.fifo" else {}
        await rig.send(queue, f"m{number}", **more)
    [flying] = await rig.receive(queue, 1, hide_s=30.0)
    rig.clock._epoch -= 3600
    assert await rig.receive(queue) == []
    await rig.traffic.set_back(3600.0)
    found = [each.body for each in await rig.receive(queue)]
    assert found == ([] if name == "q.fifo" else ["m1", "m2"])
    rig.clock.jump(29)
    assert await rig.receive(queue) == []
    rig.clock.jump(2)
    again = [each.body for each in await rig.receive(queue)]
    assert again[:1] == [flying.body]
    assert sorted(again) == ["m0", "m1", "m2"]
