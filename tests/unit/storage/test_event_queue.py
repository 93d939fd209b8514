import asyncio
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from tests.databases import open_database

from forerun.errors import Throttled
from forerun.model import Origin
from forerun.storage.queue import EventQueue, QueuedEvent

pytestmark = pytest.mark.databases


def event(name: str, **changes) -> QueuedEvent:
    values = {"id": name, "account": "1" * 12, "name": "f", "payload": b"{}", "accepted_at": 100.0}
    return QueuedEvent(**(values | changes))


@pytest.fixture
async def db(tmp_path):
    db = await open_database(tmp_path / "state.db")
    yield db
    await db.close()


@pytest.fixture
async def queue(db):
    queue = EventQueue(db)
    await queue.recover(0.0)
    return queue


async def test_an_event_comes_back_as_it_was_put(queue):
    put = event(
        "a",
        qualifier="live",
        payload=b"\x00\xff",
        client_context="e30=",
        origin=Origin(trace_id="ab" * 16, sampled=True),
        headers={"k": "é"},
        accepted_at=12.25,
        attempt=2,
    )
    await queue.put(put)
    (claimed,) = await queue.claim(10, now=12.25, lease_s=5)
    assert (claimed.id, claimed.qualifier, claimed.payload) == ("a", "live", b"\x00\xff")
    assert (claimed.client_context, claimed.origin, claimed.headers) == (
        "e30=",
        Origin(trace_id="ab" * 16, sampled=True),
        {"k": "é"},
    )
    assert (claimed.accepted_at, claimed.attempt, claimed.refusals) == (12.25, 2, 0)


async def test_nothing_is_claimed_before_it_is_due_or_while_leased(queue):
    await queue.put(event("a", due_at=200.0))
    assert await queue.claim(10, now=199.9, lease_s=5) == []
    assert await queue.due_at() == 200.0
    assert [each.id for each in await queue.claim(10, now=200.0, lease_s=5)] == ["a"]
    assert await queue.due_at() == 205.0
    assert await queue.claim(10, now=204.9, lease_s=5) == []
    assert [each.id for each in await queue.claim(10, now=205.0, lease_s=5)] == ["a"]


async def test_claims_take_the_earliest_and_no_more_than_asked(queue):
    for index in (3, 1, 2):
        await queue.put(event(f"e{index}", accepted_at=float(index)))
    assert [each.id for each in await queue.claim(2, now=10, lease_s=5)] == ["e1", "e2"]
    assert [each.id for each in await queue.claim(2, now=10, lease_s=5)] == ["e3"]


async def test_refusals_count_tries_that_did_not_run(queue):
    await queue.put(event("a"))
    for expected in (0, 1, 2):
        (claimed,) = await queue.claim(1, now=1000, lease_s=5)
        assert (claimed.attempt, claimed.refusals) == (1, expected)
        assert await queue.retry("a", at=1000, attempt=1)
    await queue.claim(1, now=1000, lease_s=5)
    assert await queue.retry("a", at=1000, attempt=2)
    (claimed,) = await queue.claim(1, now=1000, lease_s=5)
    assert (claimed.attempt, claimed.refusals) == (2, 0)


async def test_a_lease_taken_over_cannot_be_finished_retried_or_extended_by_its_former_owner(
    db, queue
):
    await queue.put(event("a"))
    await queue.claim(1, now=100, lease_s=5)
    other = EventQueue(db)
    assert await other.recover(100.0) == 1
    assert len(await other.claim(1, now=100, lease_s=5)) == 1
    assert await queue.finish(["a"]) == []
    assert not await queue.retry("a", at=0, attempt=1)
    assert await queue.extend(["a"], until=1e9) == []
    assert await other.extend(["a"], until=500.0) == ["a"]
    assert await other.due_at() == 500.0
    assert await other.finish(["a", "unknown"]) == ["a"]
    assert await other.due_at() is None


async def test_the_same_id_is_queued_once(queue):
    await queue.put(event("a", payload=b"1"))
    await queue.put(event("a", payload=b"2"))
    assert queue.depth().events == 1
    assert [each.payload for each in await queue.claim(9, now=1000, lease_s=1)] == [b"1"]


async def test_a_full_queue_refuses_and_takes_again_when_emptied(db):
    queue = EventQueue(db, max_events=2)
    await queue.put(event("a"))
    await queue.put(event("b"))
    with pytest.raises(Throttled, match="full"):
        await queue.put(event("c"))
    await queue.claim(1, now=1000, lease_s=5)
    await queue.finish(["a"])
    await queue.put(event("c"))
    reopened = EventQueue(db, max_events=2)
    await reopened.recover(0.0)
    with pytest.raises(Throttled):
        await reopened.put(event("d"))


async def test_bytes_are_bounded_too(db):
    queue = EventQueue(db, max_bytes=5_000)
    await queue.put(event("a", payload=b"x" * 4_000))
    with pytest.raises(Throttled):
        await queue.put(event("b", payload=b"x" * 600))
    assert queue.depth().bytes == event("a", payload=b"x" * 4_000).size


async def test_concurrent_callers_share_commits(queue):
    started = time.perf_counter()
    await asyncio.gather(*(queue.put(event(f"e{index}")) for index in range(2_000)))
    taken = time.perf_counter() - started
    assert queue.depth().events == 2_000
    assert taken < 5.0  # a commit each would take far longer; the target is 1 s on a quiet machine


def deferrable(name: str, latest_start: float, **changes) -> QueuedEvent:
    return event(name, latest_start=latest_start, due_at=latest_start - 5, **changes)


async def take(queue, now, *, limit=10, accounts=("1" * 12,), before=1e9, refusals=3):
    claimed = await queue.claim_deferred(
        limit, accounts, before=before, refusals=refusals, now=now, lease_s=900
    )
    return [each.id for each in claimed]


async def test_deferrable_events_are_taken_by_their_latest_start_and_nothing_else_is(queue):
    for name, latest in (("late", 900.0), ("soon", 300.0), ("middle", 600.0)):
        await queue.put(deferrable(name, latest))
    await queue.put(event("plain", due_at=500.0))
    assert await take(queue, 200.0, limit=2) == ["soon", "middle"]
    assert await take(queue, 200.0) == ["late"]
    assert await take(queue, 200.0) == []


async def test_deferrable_events_are_due_by_themselves(queue):
    await queue.put(deferrable("a", 300.0))
    assert await queue.claim(10, now=294.9, lease_s=5) == []
    assert await queue.due_at() == 295.0
    (claimed,) = await queue.claim(10, now=295.0, lease_s=5)
    assert claimed.latest_start == 300.0
    assert await take(queue, 296.0) == []


async def test_what_may_wait_longer_than_asked_or_belongs_to_others_is_left(queue):
    await queue.put(deferrable("a", 300.0))
    await queue.put(deferrable("b", 800.0))
    await queue.put(deferrable("c", 200.0, account="2" * 12))
    assert await take(queue, 100.0, before=700.0) == ["a"]
    assert await take(queue, 100.0, accounts=()) == []
    assert await take(queue, 100.0, accounts=("2" * 12, "3" * 12)) == ["c"]
    assert queue.deferred() == {"1" * 12: 1}


async def test_a_refused_one_waits_again_and_one_that_failed_does_not(queue):
    await queue.put(deferrable("a", 300.0))
    for _ in range(2):
        assert await take(queue, 100.0) == ["a"]
        assert queue.deferred() == {}
        assert await queue.retry("a", at=295.0, attempt=1)
        assert queue.deferred() == {"1" * 12: 1}
    assert await take(queue, 100.0, refusals=2) == []
    assert await take(queue, 100.0) == ["a"]
    assert await queue.retry("a", at=150.0, attempt=2)
    assert await take(queue, 100.0) == []
    assert queue.deferred() == {}
    (claimed,) = await queue.claim(1, now=150.0, lease_s=5)
    assert (claimed.attempt, claimed.latest_start) == (2, 0.0)


async def test_a_new_server_knows_what_waits_and_runs_what_was_held(db, queue):
    for name in ("a", "b", "c"):
        await queue.put(deferrable(name, 300.0))
    assert len(await take(queue, 100.0, limit=1)) == 1
    other = EventQueue(db)
    assert await other.recover(110.0) == 1
    assert other.deferred() == {"1" * 12: 3}
    assert len(await other.claim(10, now=110.0, lease_s=5)) == 1
    assert len(await take(other, 110.0)) == 2


class Crashes(RuleBasedStateMachine):
    """No accepted event is lost, and none is finished twice, whatever dies when."""

    ids = Bundle("ids")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.now = 1_000.0
        self.accepted: set[str] = set()
        self.done: list[str] = []
        self.held: set[str] = set()
        self.db = self.queue = None
        self.open()

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def open(self):
        self.db = self.run(open_database(Path(self.folder.name) / "state.db"))
        self.queue = EventQueue(self.db)
        self.run(self.queue.recover(self.now))
        self.held = set()

    @rule(target=ids, number=st.integers(0, 30), delay=st.integers(0, 3))
    def put(self, number, delay):
        name = f"e{number}-{len(self.done)}"
        self.run(self.queue.put(event(name, accepted_at=self.now, due_at=self.now + delay)))
        self.accepted.add(name)
        return name

    @rule(target=ids, number=st.integers(31, 40), patience=st.integers(1, 9))
    def put_deferrable(self, number, patience):
        name = f"e{number}-{len(self.done)}"
        latest = self.now + patience
        self.run(
            self.queue.put(
                event(name, accepted_at=self.now, due_at=latest - 1, latest_start=latest)
            )
        )
        self.accepted.add(name)
        return name

    @rule(limit=st.integers(1, 4), lease=st.integers(1, 5))
    def claim_deferred(self, limit, lease):
        claimed = self.run(
            self.queue.claim_deferred(
                limit, ["1" * 12], before=1e9, refusals=3, now=self.now, lease_s=lease
            )
        )
        latest = [each.latest_start for each in claimed]
        assert latest == sorted(latest)
        assert len(claimed) <= limit
        taken = {each.id for each in claimed}
        assert taken <= self.accepted - set(self.done) - self.held
        self.held |= taken

    @rule(limit=st.integers(1, 4), lease=st.integers(1, 5))
    def claim(self, limit, lease):
        claimed = {
            each.id for each in self.run(self.queue.claim(limit, now=self.now, lease_s=lease))
        }
        assert claimed <= self.accepted - set(self.done)
        assert len(claimed) <= limit
        self.held |= claimed

    @rule(name=consumes(ids))
    def finish(self, name):
        finished = self.run(self.queue.finish([name, name]))
        assert finished == ([name] if name in self.held else [])
        self.done += finished
        self.held -= set(finished)

    @rule(name=ids, delay=st.integers(0, 4))
    def retry(self, name, delay):
        assert self.run(self.queue.retry(name, at=self.now + delay, attempt=2)) == (
            name in self.held
        )
        self.held.discard(name)

    @rule(seconds=st.integers(1, 6))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def crash(self):
        self.run(self.db.close())
        self.open()

    @invariant()
    def depth_is_exact(self):
        assert self.queue.depth().events == len(self.accepted) - len(self.done)

    def teardown(self):
        remaining = set()
        self.now += 1_000
        while claimed := self.run(self.queue.claim(50, now=self.now, lease_s=5_000)):
            remaining |= {each.id for each in claimed}
        assert remaining == self.accepted - set(self.done)
        assert len(self.done) == len(set(self.done))
        self.run(self.db.close())
        self.runner.close()
        self.folder.cleanup()


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


async def test_many_are_put_at_once_and_those_that_are_queued_already_are_not_counted_again(queue):
    await queue.put(event("a"), event("d", latest_start=500.0, due_at=490.0))
    await queue.put(*(event(name) for name in "abc"), event("d", latest_start=500.0))
    assert queue.depth().events == 4
    assert queue.deferred() == {"1" * 12: 1}
    claimed = await queue.claim(10, now=1000.0, lease_s=5)
    await queue.finish(each.id for each in claimed)
    assert queue.depth() == (0, 0)


async def test_who_sent_an_event_and_what_is_other_than_usual_come_back(queue):
    await queue.put(event("a", source="arn:aws:sqs:r:1:q", memory_mb=512, timeout_s=9))
    [claimed] = await queue.claim(1, now=1000.0, lease_s=5)
    assert (claimed.source, claimed.memory_mb, claimed.timeout_s) == ("arn:aws:sqs:r:1:q", 512, 9)
