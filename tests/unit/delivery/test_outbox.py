"""The outbox: every message that was accepted reaches its target, a dead-letter queue or the dead letters."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.databases import open_database
from tests.unit.delivery.outboxed import (
    ACCOUNT,
    ADDRESS,
    DEAD,
    FUNCTION,
    QUEUE,
    RULE,
    TOPIC,
    Rig,
    message,
)

from forerun.control.delivery.outbox import Workers
from forerun.control.delivery.undeliverable import message_key
from forerun.errors import (
    AccessDenied,
    ForerunError,
    InvalidInput,
    NotFound,
    StorageFailed,
    Throttled,
)
from forerun.model import RetryPolicy
from forerun.storage.sqlite import MESSAGES


@pytest.fixture
async def rig(tmp_path):
    db = await open_database(tmp_path / "messages.db", migrations=MESSAGES)
    rigs = []

    async def make(*, start=True, **given):
        made = Rig(db, **given)
        await made.outbox.recover()
        if start:
            made.outbox.start()
        rigs.append(made)
        return made

    yield make
    for made in rigs:
        await made.outbox.close()
    await db.close()


async def test_messages_to_functions_are_events_when_send_returns(rig):
    made = await rig()
    sent = [message(name, FUNCTION, attributes={"ClientContext": "{}"}) for name in "ab"]
    await made.outbox.send(sent)
    await made.outbox.send(sent[:1])
    a, b = made.events.queued.values()
    assert (a.id, b.id) == tuple(message_key(each) for each in sent)
    assert (a.account, a.name, a.payload) == (ACCOUNT, "work", b'{"n":1}')
    assert (a.source, a.client_context) == (RULE, "{}")
    assert a.origin.trace_id
    assert made.store.size()[0] == 0


async def test_equal_ids_of_different_senders_are_different_events(rig):
    made = await rig()
    others = {"account": "2" * 12}, {"source": f"{RULE}y"}, {"target": f"{FUNCTION}:1"}
    await made.outbox.send(
        [message(target=FUNCTION), *(message(**({"target": FUNCTION} | each)) for each in others)]
    )
    assert len(made.events.queued) == 4


async def test_an_event_of_a_function_that_may_wait_waits(rig):
    made = await rig()
    made.permission.deferrable_s = 600
    await made.outbox.send([message(target=FUNCTION)])
    [event] = made.events.queued.values()
    assert event.latest_start == pytest.approx(event.accepted_at + 600)
    assert event.accepted_at < event.due_at <= event.latest_start


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AccessDenied("no"), "AccessDenied"),
        (NotFound("gone"), "NotFound"),
        (InvalidInput("odd"), "InvalidInput"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, ForerunError) else each,
)
async def test_a_function_that_may_not_be_given_it_makes_a_dead_letter(rig, error, reason):
    made = await rig()
    made.permission.answers = [error]
    await made.outbox.send([message(target=FUNCTION), message("other", FUNCTION)])
    [letter] = await made.kept()
    assert (letter.reason, letter.detail, letter.attempts) == (reason, error.message, 0)
    assert letter.message == message(target=FUNCTION)
    assert len(made.events.queued) == 1
    [notice] = made.notices
    assert (notice.account, notice.function, notice.reason) == (ACCOUNT, "work", reason)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{", "InvalidInput"),
        (b"\xff", "InvalidInput"),
        (b"[" * 5000 + b"]" * 5000, "InvalidInput"),
        (b'"' + b"x" * 1024 * 1024 + b'"', "RequestTooLarge"),
    ],
    ids=["no-json", "no-text", "deep", "large"],
)
async def test_what_no_function_can_be_given_makes_a_dead_letter(rig, payload, reason):
    made = await rig()
    await made.outbox.send([message(target=FUNCTION, payload=payload)])
    [letter] = await made.kept()
    assert letter.reason == reason
    assert made.events.queued == {}


@pytest.mark.databases
async def test_what_is_no_target_makes_a_dead_letter_and_the_rest_flows_on(rig):
    made = await rig()
    odd = [
        "",
        "nothing",
        "arn:aws:ec2:us-home-1:1:x",
        "arn:aws:lambda:us-home-1:1:function:no name",
        "ftp://x",
    ]
    await made.outbox.send([*(message(target=each) for each in odd), message()])
    await made.emptied()
    assert {each.message.target for each in await made.kept()} >= {"", "nothing", "ftp://x"}
    assert [each.id for each in made.queues.taken] == ["m"]


async def test_a_function_that_cannot_be_read_now_is_asked_again(rig):
    made = await rig()
    made.permission.answers = [StorageFailed("busy"), StorageFailed("busy")]
    await made.outbox.send([message(target=FUNCTION)])
    await made.emptied()
    assert list(made.events.queued) == [message_key(message(target=FUNCTION))]


@pytest.mark.parametrize("error", [Throttled("full", reason="x"), StorageFailed("disk")])
async def test_who_sends_is_told_when_it_is_not_on_disk(rig, error):
    made = await rig()
    made.events.fails = error
    with pytest.raises(type(error)):
        await made.outbox.send([message(target=FUNCTION), message()])
    full = await rig(most=1)
    with pytest.raises(Throttled):
        await full.outbox.send([message("a"), message("b")])


async def test_what_was_refused_is_in_the_dead_letter_queue_with_its_reason(rig):
    made = await rig()
    made.permission.answers = [AccessDenied("may not")]
    await made.outbox.send([message(target=FUNCTION, dead_letter=DEAD)])
    await made.emptied()
    [put] = made.queues.taken
    assert (put.target, put.payload, put.source) == (DEAD, b'{"n":1}', RULE)
    shown = json.loads(put.attributes["MessageAttributes"])
    assert {name: each["StringValue"] for name, each in shown.items()} == {
        "RULE_ARN": RULE,
        "TARGET_ARN": FUNCTION,
        "ERROR_CODE": "AccessDenied",
        "ERROR_MESSAGE": "may not",
        "RETRY_ATTEMPTS": "0",
    }
    assert await made.kept() == []


async def test_when_the_dead_letter_queue_refuses_too_the_letter_is_about_the_first_target(rig):
    made = await rig()
    made.permission.answers = [AccessDenied("may not")]
    made.queues.script = [NotFound("no such queue")]
    sent = message(target=FUNCTION, dead_letter=DEAD, attributes={"Subject": "s"})
    await made.outbox.send([sent])
    await made.emptied()
    [letter] = await made.kept()
    assert (letter.message.target, letter.reason) == (FUNCTION, "AccessDenied")
    assert letter.message.attributes == {"Subject": "s"}
    assert "may not" in letter.detail
    assert "no such queue" in letter.detail


async def test_a_target_that_refuses_for_a_while_gets_it_in_the_end(rig):
    made = await rig()
    made.queues.script = [Throttled("busy", reason="x"), StorageFailed("disk"), OSError]
    made.queues.script.pop()
    await made.outbox.send([message()])
    await made.emptied()
    assert made.queues.tries == ["m", "m", "m"]
    assert len(made.queues.taken) == 1


async def test_retries_and_age_have_an_end(rig):
    made = await rig()
    made.queues.by_id = {
        "often": [Throttled("busy", reason="x") for _ in range(9)],
        "old": [Throttled("busy", reason="x") for _ in range(9)],
    }
    await made.outbox.send(
        [
            message("often", retry=RetryPolicy(retries=2)),
            message("old", retry=RetryPolicy(max_age_s=0.0)),
            message("fine"),
        ]
    )
    await made.emptied()
    letters = {each.message.id: each for each in await made.kept()}
    assert (letters["often"].reason, letters["often"].attempts) == ("RetriesExhausted", 3)
    assert (letters["old"].reason, letters["old"].attempts) == ("EventAgeExceeded", 1)
    assert letters["often"].detail == "busy"
    assert [each.id for each in made.queues.taken] == ["fine"]


@pytest.mark.databases
async def test_a_target_that_hangs_holds_up_nobody_else(rig):
    made = await rig()
    made.urls.hangs = asyncio.Event()
    await made.outbox.send([message(str(number), f"{ADDRESS}/{number}") for number in range(60)])
    await made.outbox.send([message("quick"), message("too", TOPIC)])
    async with asyncio.timeout(5):
        while not (
            made.queues.taken and made.topics.taken and len(made.urls.batches) >= Workers().urls
        ):
            await asyncio.sleep(0.005)
    assert len(made.urls.batches) == Workers().urls
    made.urls.hangs.set()
    await made.emptied()
    assert len(made.urls.taken) == 60


@pytest.mark.databases
async def test_many_messages_to_one_target_go_together_and_in_order(rig):
    made = await rig(start=False)
    await made.outbox.send([message(f"m{number:03}") for number in range(200)])
    made.outbox.start()
    await made.emptied()
    assert [each.id for each in made.queues.taken] == [f"m{number:03}" for number in range(200)]
    assert len(made.queues.batches) < 10


@pytest.mark.databases
async def test_messages_to_fifo_targets_keep_the_order_of_their_group_when_they_are_refused(rig):
    made = await rig(start=False)
    groups = ["a", "b", "a", "a", "c", "b", "a", "c"]
    await made.outbox.send(
        [
            message(f"{group}{number}", f"{QUEUE}.fifo", attributes={"MessageGroupId": group})
            for number, group in enumerate(groups)
        ]
    )
    busy = StorageFailed("disk")
    made.queues.script = [None, busy, None, busy, busy, busy, None, busy]
    made.outbox.start()
    await made.emptied()
    taken = [each.id for each in made.queues.taken]
    assert sorted(taken, key=lambda each: each[0]) == [
        *("a0", "a2", "a3", "a6"),
        *("b1", "b5"),
        *("c4", "c7"),
    ]


async def test_what_an_outbox_that_ended_had_taken_is_delivered_by_the_next(rig):
    first = await rig()
    first.queues.hangs = asyncio.Event()
    await first.outbox.send([message(name) for name in "abc"])
    async with asyncio.timeout(5):
        while not first.queues.batches:
            await asyncio.sleep(0.005)
    await first.outbox.close()
    second = await rig()
    await second.emptied()
    assert [each.id for each in second.queues.taken] == ["a", "b", "c"]


@pytest.mark.databases
async def test_a_fault_of_the_platform_is_tried_again(rig):
    made = await rig()
    deliver, faults = made.queues.deliver, [KeyError("bug")]

    async def faulty(target, messages):
        if faults:
            raise faults.pop()
        return await deliver(target, messages)

    made.queues.deliver = faulty
    await made.outbox.send([message()])
    await made.emptied()
    assert [each.id for each in made.queues.taken] == ["m"]


ANSWERS = st.sampled_from(
    [
        None,
        None,
        None,
        Throttled("busy", reason="x"),
        StorageFailed("disk"),
        NotFound("gone"),
        AccessDenied("no"),
    ]
)


@pytest.mark.databases
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    script=st.lists(ANSWERS, max_size=30),
    targets=st.lists(st.sampled_from([QUEUE, TOPIC, ADDRESS, DEAD]), min_size=1, max_size=20),
    dead=st.booleans(),
)
async def test_no_message_is_lost_whatever_targets_answer(tmp_path_factory, script, targets, dead):
    folder = tmp_path_factory.mktemp("outbox")
    db = await open_database(folder / "messages.db", migrations=MESSAGES)
    made = Rig(db)
    for target in (made.queues, made.topics, made.urls):
        target.script = list(script)
    made.outbox.start()
    sent = [
        message(f"m{index}", target, dead_letter=DEAD if dead else "", retry=RetryPolicy(retries=3))
        for index, target in enumerate(targets)
    ]
    await made.outbox.send(sent)
    await made.emptied()
    taken = [each for target in (made.queues, made.topics, made.urls) for each in target.taken]
    known = [each.id for each in taken] + [each.message.id for each in await made.kept()]
    await made.outbox.close()
    await db.close()
    assert sorted(known) == sorted(each.id for each in sent)
