"""Messages on their way, on real SQLite: nothing that was accepted is lost, doubled or held for ever, whatever order things happen in."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.databases import open_database

from forerun.errors import Throttled
from forerun.model import DeadLetter, Message, Origin, RetryPolicy
from forerun.storage.dead_letters import DeadLetterStore
from forerun.storage.outbox import LaneDepth, OutboxStore, Settlement, Waiting
from forerun.storage.sqlite import MESSAGES

pytestmark = pytest.mark.databases

ACCOUNT = "1" * 12
LANES = ["arn:aws:sqs:r:1:a", "arn:aws:sns:r:1:b", "https://example.org/c"]


def message(name: str, lane: str = LANES[0], **changes) -> Message:
    values = {
        "id": name,
        "account": ACCOUNT,
        "source": "arn:aws:events:r:1:rule/x",
        "principal": "events.amazonaws.com",
        "target": lane,
        "payload": b"{}",
    }
    return Message(**(values | changes))


def waiting(name: str, lane: str = LANES[0], *, at: float = 100.0, **changes) -> Waiting:
    return Waiting(id=name, lane=lane, message=message(name, lane, **changes), accepted_at=at)


def letter(name: str, **changes) -> DeadLetter:
    values = {"id": name, "shelf": "platform", "message": message(name), "reason": "NotFound"}
    return DeadLetter(**(values | changes))


@pytest.fixture
async def db(tmp_path):
    db = await open_database(tmp_path / "messages.db", migrations=MESSAGES)
    yield db
    await db.close()


def store_of(db, **bounds):
    return OutboxStore(db, **({"max_messages": 1000, "max_bytes": 1 << 20} | bounds))


async def test_a_message_comes_back_as_it_was_put(db):
    store = store_of(db)
    put = waiting(
        "a",
        payload=b"\x00\xff",
        attributes={"header:x": "é"},
        origin=Origin(trace_id="ab" * 16, lineage="k:3"),
        retry=RetryPolicy(retries=2, max_age_s=60.0),
        dead_letter="arn:aws:sqs:r:1:dead",
        role="arn:aws:iam::1:role/r",
    )
    assert await store.put([put]) == {LANES[0]: 1}
    [claimed] = await store.claim(LANES[0], 10, now=100.0)
    assert claimed.message == put.message
    assert (claimed.id, claimed.accepted_at, claimed.attempt) == ("a", 100.0, 1)


async def test_messages_of_a_lane_are_claimed_in_the_order_they_came(db):
    store = store_of(db)
    await store.put([waiting(name) for name in "cab"])
    await store.put([waiting("d", LANES[1])])
    first = await store.claim(LANES[0], 2, now=100.0)
    second = await store.claim(LANES[0], 2, now=100.0)
    assert [each.id for each in (*first, *second)] == ["c", "a", "b"]
    assert await store.claim(LANES[0], 2, now=100.0) == []


async def test_what_takes_the_place_of_a_message_comes_with_its_removal(db):
    store, letters = store_of(db), DeadLetterStore(db)
    await store.put([waiting("a"), waiting("b")])
    a, b = await store.claim(LANES[0], 2, now=100.0)
    instead = waiting("a/dead", LANES[1])
    assert await store.settle(
        Settlement(done=[a, b], instead=[instead], letters=[letter("b")])
    ) == {LANES[1]: 1}
    assert store.size()[0] == 1
    assert [each.id for each in await letters.letters(ACCOUNT)] == ["b"]
    assert [each.id for each in await store.claim(LANES[1], 2, now=100.0)] == ["a/dead"]


async def test_a_full_outbox_refuses_and_has_room_again(db):
    store = store_of(db, max_messages=2)
    await store.put([waiting("a")])
    with pytest.raises(Throttled, match="full"):
        await store.put([waiting("b"), waiting("c")])
    assert store.size()[0] == 1
    await store.put([waiting("b")])
    await store.settle(Settlement(done=await store.claim(LANES[0], 1, now=100.0)))
    await store.put([waiting("c")])
    bytes_bound = store_of(db, max_bytes=2000)
    await bytes_bound.recover()
    with pytest.raises(Throttled):
        await bytes_bound.put([waiting("d", payload=b"x" * 2000)])


class Outbox(RuleBasedStateMachine):
    """Against a model: a dictionary of what waits, and a set of what is claimed."""

    def __init__(self):
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.db = self.run(
            open_database(Path(self.folder.name) / "messages.db", migrations=MESSAGES)
        )
        self.number = 0
        self.now = 100.0
        self.model: dict[str, tuple[str, int, float, int]] = {}
        self.claimed: dict[str, Waiting] = {}
        self.letters: set[str] = set()
        self.open()

    def run(self, work):
        return self.loop.run_until_complete(work)

    def open(self):
        self.store = store_of(self.db)
        lanes = self.run(self.store.recover())
        for lane in LANES:
            due = [row[2] for row in self.model.values() if row[0] == lane]
            assert lanes.get(lane) == (LaneDepth(len(due), min(due)) if due else None)

    @rule(lane=st.sampled_from(LANES), count=st.integers(1, 5), again=st.booleans())
    def put(self, lane, count, again):
        names = [f"m{self.number + index}" for index in range(count)]
        self.number += count
        if again and self.model:
            names.append(next(iter(self.model)))
        given = [waiting(name, lane, at=self.now) for name in names]
        new = [each for each in given if each.id not in self.model]
        counted = self.run(self.store.put(given))
        assert counted == ({lane: len(new)} if new else {})
        for each in new:
            self.model[each.id] = (lane, 1, self.now, len(self.model))

    @rule(lane=st.sampled_from(LANES), limit=st.integers(1, 4))
    def claim(self, lane, limit):
        due = [
            name
            for name, row in self.model.items()
            if row[0] == lane and row[2] <= self.now and name not in self.claimed
        ]
        found = self.run(self.store.claim(lane, limit, now=self.now))
        assert len(found) == min(limit, len(due))
        assert {each.id for each in found} <= set(due)
        earliest = sorted(self.model[name][2] for name in due)[: len(found)]
        assert [self.model[each.id][2] for each in found] == earliest
        for each in found:
            assert each.attempt == self.model[each.id][1]
            self.claimed[each.id] = each

    @rule(data=st.data(), delay=st.floats(0, 20))
    def settle(self, data, delay):
        names = sorted(self.claimed)
        settlement = Settlement()
        for name in names[:4]:
            each = self.claimed.pop(name)
            match data.draw(st.sampled_from(["done", "again", "instead", "letter"])):
                case "again":
                    each.attempt, each.due_at = each.attempt + 1, self.now + delay
                    settlement.again.append(each)
                    row = self.model[name]
                    self.model[name] = (row[0], each.attempt, each.due_at, row[3])
                    continue
                case "instead":
                    other = waiting(f"{name}'", LANES[1], at=self.now)
                    settlement.instead.append(other)
                    self.model[other.id] = (LANES[1], 1, self.now, len(self.model))
                case "letter":
                    settlement.letters.append(letter(name))
                    self.letters.add(name)
            settlement.done.append(each)
            del self.model[name]
        self.run(self.store.settle(settlement))

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def die(self):
        """Another server takes over; who held claims may still come and settle, and changes nothing by it."""
        late, held = self.store, list(self.claimed.values())
        self.claimed.clear()
        self.open()
        if held:
            self.run(late.settle(Settlement(done=held)))

    @invariant()
    def counted(self):
        assert self.store.size()[0] == len(self.model)

    @invariant()
    def kept(self):
        kept = self.run(DeadLetterStore(self.db).letters(ACCOUNT, limit=1000))
        assert {each.id for each in kept} == self.letters

    def teardown(self):
        self.run(self.db.close())
        self.loop.close()
        self.folder.cleanup()


TestOutbox = Outbox.TestCase
TestOutbox.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
