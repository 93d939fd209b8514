"""What stands before invocations: when a success is told, what counts as one, and what happens to those who leave."""

import asyncio

import msgspec
import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock, settle
from tests.fakes.functions import make_function

from forerun.control.invoke import Invocation, Reply, record_of
from forerun.control.once import Dependencies, Line, Once
from forerun.control.registry import Resolved
from forerun.errors import SetupFailed, StorageFailed, Throttled
from forerun.model import Origin, TraceContext
from forerun.storage.once import DependencySpec, OnceConfig, OnceStore
from forerun.storage.sqlite import MESSAGES

CONTEXT = TraceContext(trace_id="", span_id="", origin=Origin(), header="")
THING = DependencySpec(kind="queue", where={"Queue": "q"})


class Gated(OnceStore):
    """A store whose writes of successes wait, and may fail."""

    def __init__(self, db):
        super().__init__(db)
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def succeeded(self, which, result, expires_at):
        await self.open.wait()
        if self.broken:
            raise StorageFailed("the disk is full")
        await super().succeeded(which, result, expires_at)


class Runner:
    """Answers from a script; without one, each run succeeds with its number."""

    def __init__(self):
        self.script = []
        self.ran = 0
        self.go = asyncio.Event()
        self.go.set()
        self.records = []
        self.size = 0

    async def execute(self, resolved, invocation, on_stored=None):
        self.ran += 1
        number = self.ran
        await self.go.wait()
        outcome = self.script.pop(0) if self.script else None
        if isinstance(outcome, Exception):
            raise outcome
        record = record_of(resolved, invocation)
        record.placement = "here"
        payload = outcome if isinstance(outcome, bytes) else b"%d" % number
        return Reply(
            payload=payload + b"0" * self.size,
            content_type="application/json",
            error="Unhandled" if outcome == "error" else None,
            error_type=None,
            record=record,
            context=CONTEXT,
            log=list,
        )

    def record(self, record, on_stored):
        self.records.append(record)
        if on_stored is not None:
            on_stored()


class Thing:
    """Something that executions depend on."""

    def __init__(self):
        self.now = "1"
        self.asked = 0

    async def state(self, account, where):
        self.asked += 1
        if isinstance(self.now, Exception):
            raise self.now
        return self.now


class Rig:
    def __init__(self, db):
        self.store, self.runner, self.thing = Gated(db), Runner(), Thing()
        self.clock = FakeClock()
        self.line = Line(self.store, self.clock)
        self.once = Once(
            runner=self.runner,
            store=self.store,
            line=self.line,
            dependencies=Dependencies({"queue": self.thing}, deadline_s=1),
            clock=self.clock,
            init_s=10,
        )
        self.calls = 0

    def call(self, named="", payload=b"{}", on_stored=None, timeout_s=3, **more):
        self.calls += 1
        once = OnceConfig(**more["once"]) if "once" in more else None
        function = make_function(timeout_s=timeout_s, sandbox_key=more.get("code", "c"))
        resolved = Resolved(function=function, qualifier=None, invoked_arn="arn", once=once)
        invocation = Invocation(
            request_id=f"r{self.calls}",
            payload=payload,
            received=1.0,
            execution_id=named,
            client_context=more.get("context"),
            accepted=more.get("accepted"),
        )
        return self.once.run(resolved, invocation, on_stored)


@pytest.fixture
async def rig(tmp_path):
    db = await open_database(tmp_path / "messages.db", migrations=MESSAGES)
    made = Rig(db)
    yield made
    await made.once.close()
    await db.close()


def start(work):
    return asyncio.get_running_loop().create_task(work)


async def until(seen):
    async with asyncio.timeout(10):
        while not seen():
            await asyncio.sleep(0.001)


async def test_a_success_is_told_only_when_it_is_on_disk(rig):
    rig.store.open.clear()
    first, second = start(rig.call("x")), start(rig.call("x"))
    await until(lambda: rig.runner.ran)
    await settle(100)
    assert not first.done()
    assert not second.done()
    rig.store.open.set()
    assert ((await first).payload, (await second).payload) == (b"1", b"1")
    assert (first.result().executed, second.result().executed) == (True, False)
    [record] = rig.runner.records
    assert (record.status, record.placement) == ("duplicate", "not run")
    assert record.cause == "the execution id x succeeded in r1"


async def test_one_who_waits_runs_when_the_first_fails(rig):
    rig.runner.script = ["error", SetupFailed("no sandbox"), None]
    rig.runner.go.clear()
    calls = [start(rig.call("x")) for _ in range(4)]
    await until(lambda: rig.line._waiting == 3)
    rig.runner.go.set()
    replies = await asyncio.gather(*calls, return_exceptions=True)
    assert rig.runner.ran == 3
    assert (replies[0].error, replies[0].executed) == ("Unhandled", True)
    assert isinstance(replies[1], SetupFailed)
    assert [(each.payload, each.executed) for each in replies[2:]] == [(b"3", True), (b"3", False)]
    assert len(rig.line) == 0


async def test_whoever_asked_first_may_leave(rig):
    rig.runner.go.clear()
    first, second = start(rig.call("x")), start(rig.call("x"))
    await until(lambda: rig.runner.ran)
    first.cancel()
    await settle()
    assert first.cancelled()
    rig.runner.go.set()
    assert (await second).payload == b"1"
    assert rig.runner.ran == 1


async def test_nobody_waits_longer_than_a_run_can_take(rig, monkeypatch):
    rig.once._init_s = 0.05
    rig.runner.go.clear()
    first = start(rig.call("x", timeout_s=0))
    await until(lambda: rig.runner.ran)
    with pytest.raises(Throttled, match="with the id x still runs"):
        await rig.call("x", timeout_s=0)
    rig.runner.go.set()
    assert (await first).payload == b"1"
    monkeypatch.setattr("forerun.control.once.line.MOST_WAITING", 2)
    rig.runner.go.clear()
    running = [start(rig.call("y", timeout_s=9)) for _ in range(2)]
    await until(lambda: rig.runner.ran == 2)
    with pytest.raises(Throttled, match="Too many wait"):
        await rig.call("y")
    rig.runner.go.set()
    await asyncio.gather(*running)


async def test_a_success_that_could_not_be_stored_is_not_run_again(rig):
    rig.store.broken = True
    with pytest.raises(StorageFailed):
        await rig.call("x")
    with pytest.raises(StorageFailed):
        await rig.call("x")
    rig.store.broken = False
    again = await rig.call("x")
    assert (again.payload, again.executed, rig.runner.ran) == (b"1", False, 1)
    assert len(rig.line) == 0
    # One that never could be is forgotten when it has expired.
    rig.store.broken = True
    with pytest.raises(StorageFailed):
        await rig.call("y")
    assert len(rig.line) == 1
    rig.clock.jump(3601)
    rig.line.sweep()
    assert len(rig.line) == 0


async def test_an_id_expires(rig):
    once = {"expires_s": 60.0}
    await rig.call("x", once=once)
    rig.clock.jump(59)
    assert (await rig.call("x", once=once)).executed is False
    rig.clock.jump(1)
    assert (await rig.call("x", once=once)).executed is True
    assert rig.runner.ran == 2


async def test_as_many_successes_as_wanted(rig):
    once = {"successes": 3}
    payloads = [(await rig.call("x", once=once)).payload for _ in range(5)]
    assert payloads == [b"1", b"2", b"3", b"3", b"3"]


async def test_a_batch_that_reports_failures_is_no_success(rig):
    rig.runner.script = [b'{"batchItemFailures":[{"itemIdentifier":"m"}]}', b"{}"]

    def accepted(answer):
        return b"itemIdentifier" not in answer

    assert (await rig.call("x", accepted=accepted)).executed is True
    assert (await rig.call("x", accepted=accepted)).payload == b"{}"
    assert (await rig.call("x", accepted=accepted)).executed is False
    assert rig.runner.ran == 2


async def test_results_that_are_not_kept_are_answered_as_such(rig):
    rig.runner.size = 256 * 1024
    assert len((await rig.call("large")).payload) > 256 * 1024
    for reply in (await rig.call("large"), await _kept_none(rig)):
        assert (reply.payload, reply.result_kept, reply.executed) == (b"null", False, False)


async def _kept_none(rig):
    rig.runner.size = 0
    once = {"keep_results": False}
    assert (await rig.call("small", once=once)).result_kept is True
    return await rig.call("small", once=once)


async def test_a_key_that_is_null_runs_without_a_guarantee_and_says_so(rig):
    once = {"key": "id"}
    for _ in range(2):
        reply = await rig.call(once=once)
        assert reply.executed is None
        why = "here; run without an execution id: Key id is null in this event"
        assert reply.record.placement == why
    assert (await rig.call(once=once, payload=b'{"id":1}')).executed is True
    assert (await rig.call(once=once, payload=b'{"id":1}')).executed is False
    assert rig.runner.ran == 3


async def test_nothing_changed_declines_and_each_change_runs(rig):
    once = {"depends_on": (THING,)}
    stored = []

    async def call(payload=b'{"a":1,"b":2}', **more):
        reply = await rig.call(
            payload=payload, once=once, on_stored=lambda: stored.append(1), **more
        )
        return reply.executed

    assert await call() is True
    assert await call(b'{ "b": 2, "a": 1 }') is False
    [record] = rig.runner.records
    assert (record.status, record.placement, stored) == ("declined", "not run", [1])
    assert record.cause == "nothing that it depends on changed since r1"
    assert await call(b'{"a":1,"b":3}') is True
    assert await call(context="{}") is True
    assert await call(code="d") is True
    rig.thing.now = "2"
    assert await call(code="d") is True
    assert await call(code="d") is False


async def test_what_cannot_be_told_runs_and_leaves_no_record(rig):
    once = {"depends_on": (THING,)}
    for unknown in (None, OSError("gone"), StorageFailed("no disk"), TimeoutError()):
        rig.thing.now = unknown
        assert (await rig.call(once=once)).executed is True
    rig.thing.now = "1"
    assert (await rig.call(once=once)).executed is True
    assert (await rig.call(once=once)).executed is False


async def test_a_failed_run_is_no_record_even_when_the_old_state_returns(rig):
    once = {"depends_on": (THING,)}
    await rig.call(once=once)
    rig.thing.now, rig.runner.script = "2", ["error"]
    reply = await rig.call(once=once)
    assert reply.error
    assert reply.record.placement == "here; run because queue q changed"
    rig.thing.now = "1"
    assert (await rig.call(once=once)).executed is True


@pytest.mark.databases
async def test_a_success_beside_which_another_run_fails_is_no_record(rig):
    once = {"depends_on": (THING,)}
    rig.runner.script = [None, "error"]
    rig.runner.go.clear()
    first = start(rig.call(once=once))
    await until(lambda: rig.runner.ran == 1)
    second = start(rig.call(once=once))
    await until(lambda: rig.runner.ran == 2)
    rig.runner.go.set()
    assert (await first).error is None
    assert (await second).error
    assert (await rig.call(once=once)).executed is True


async def test_a_change_during_the_run_is_a_change(rig):
    once = {"depends_on": (THING,)}
    rig.runner.go.clear()
    running = start(rig.call(once=once))
    await until(lambda: rig.runner.ran)
    rig.thing.now = "2"
    rig.runner.go.set()
    await running
    assert (await rig.call(once=once)).executed is True
    assert (await rig.call(once=once)).executed is False


@pytest.mark.databases
async def test_a_declined_call_does_not_use_up_its_id(rig):
    once = {"depends_on": (THING,), "key": "id"}
    payload = b'{"id":1}'
    plain = {"depends_on": (THING,)}
    assert (await rig.call(once=plain, payload=payload)).executed is True
    assert (await rig.call(once=once, payload=payload)).executed is False
    assert rig.runner.records[-1].status == "declined"
    rig.thing.now = "2"
    assert (await rig.call(once=once, payload=payload)).executed is True
    rig.thing.now = "3"
    assert (await rig.call(once=once, payload=payload)).executed is False
    assert rig.runner.records[-1].status == "duplicate"


@pytest.mark.databases
async def test_old_results_go_when_there_are_too_many(rig):
    for number in range(4):
        await rig.call(f"x{number}")
        await rig.call(payload=b"%d" % number, once={"depends_on": (THING,)})
        rig.clock.jump(1)
    await rig.store.trim(records=2, result_bytes=2)
    kept = [(await rig.call(f"x{number}")).result_kept for number in range(4)]
    assert kept == [False, False, True, True]
    counts = await rig.store.counts("1" * 12, "f", rig.clock.now())
    assert counts == (4, 2)
    assert await rig.store.expire(rig.clock.now() + 3601) == 4


async def test_stopping_ends_what_runs_and_takes_nothing_new(rig):
    rig.runner.go.clear()
    running = start(rig.call("x"))
    await until(lambda: rig.runner.ran)
    await rig.once.close()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(StorageFailed, match="about to stop"):
        await rig.call("x")
    assert len(rig.line) == 0


def test_the_configuration_reads_back():
    config = OnceConfig(key="a", depends_on=(THING,))
    assert msgspec.json.decode(msgspec.json.encode(config), type=OnceConfig) == config
