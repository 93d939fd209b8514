"""The line of execution ids against a simple model of it: runs, successes, failures, expiry, lost disks, and crashes."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.databases import open_database
from tests.fakes.clock import FakeClock, settle

from forerun.control.once import Line
from forerun.errors import StorageFailed
from forerun.storage.once import IdName, OnceStore, Result
from forerun.storage.sqlite import MESSAGES

EXPIRES_S = 100.0
IDS = [IdName("1" * 12, "f", each) for each in ("a", "b")]
ids = st.sampled_from(IDS)


class Disk(OnceStore):
    """A store whose writes may fail."""

    broken = False

    async def succeeded(self, which, result, expires_at):
        if self.broken:
            raise StorageFailed("the disk is full")
        await super().succeeded(which, result, expires_at)


class LineMachine(RuleBasedStateMachine):
    """At most ``limit`` successes of an id within its time; callers of the rest wait, and none is forgotten."""

    limit = 1

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="once-")
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.count = 0
        # The model: successes of each id (when, result), who runs, and who waits.
        self.successes = {which: [] for which in IDS}
        self.unsaved = {which: [] for which in IDS}
        self.running = dict.fromkeys(IDS, 0)
        self.waiting = {which: [] for which in IDS}
        self.do(self.open())

    def do(self, work):
        return self.loop.run_until_complete(work)

    async def open(self):
        self.db = await open_database(Path(self.folder.name) / "messages.db", migrations=MESSAGES)
        self.store = Disk(self.db)
        self.line = Line(self.store, self.clock)

    def teardown(self):
        self.do(self.stop())
        self.loop.close()
        self.folder.cleanup()

    async def stop(self):
        tasks = [task for waiting in self.waiting.values() for task in waiting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.db.close()

    def valid(self, which):
        """Successes that count now: all since the last time when none did."""
        kept = []
        for at, result in self.successes[which]:
            if kept and at >= kept[-1][0] + EXPIRES_S:
                kept = []
            kept.append((at, result))
        return kept if kept and self.clock.now() < kept[-1][0] + EXPIRES_S else []

    @rule(which=ids)
    def ask(self, which):
        async def asked():
            task = self.loop.create_task(self.line.claim(which, limit=self.limit, wait_s=3600))
            await self.quiet(task)
            return task

        self.take(which, [self.do(asked())])

    async def quiet(self, *asked):
        """Until everybody who asked has an answer or waits for somebody else's, and nobody for the disk."""
        asked = [*asked, *(task for waiting in self.waiting.values() for task in waiting)]
        await settle()
        async with asyncio.timeout(10):
            while sum(not task.done() for task in asked) != self.line._waiting:
                await asyncio.sleep(0.0005)

    def take(self, which, tasks):
        """What became of those who asked, in the order in which they did."""
        for task in tasks:
            valid = self.valid(which)
            if len(valid) >= self.limit:
                assert task.done()
                if self.store.broken and self.unsaved[which]:
                    assert isinstance(task.exception(), StorageFailed)
                else:
                    self.unsaved[which] = []
                    assert task.result() == valid[-1][1]
            elif len(valid) + self.running[which] < self.limit:
                assert task.done()
                assert task.result() is None
                self.running[which] += 1
            else:
                assert not task.done()
                self.waiting[which].append(task)

    def moved(self, which):
        waiting, self.waiting[which] = self.waiting[which], []
        self.take(which, waiting)

    @precondition(lambda self: any(self.running.values()))
    @rule(data=st.data())
    def succeed(self, data):
        which = data.draw(st.sampled_from([each for each in IDS if self.running[each]]))
        self.count += 1
        now = self.clock.now()
        result = Result(
            request_id=f"r{self.count}",
            version="1",
            at=now,
            content_type="t",
            payload=b"%d" % self.count,
        )

        async def succeeded():
            try:
                await self.line.succeeded(which, result, kept=result, expires_s=EXPIRES_S)
            except StorageFailed:
                assert self.store.broken
                self.unsaved[which].append(result)
            else:
                assert not self.store.broken
                self.unsaved[which] = []
                found = await self.store.found(which)
                assert found.result == result
            await self.quiet()

        self.do(succeeded())
        self.running[which] -= 1
        self.successes[which].append((now, result))
        self.moved(which)

    @precondition(lambda self: any(self.running.values()))
    @rule(data=st.data())
    def fail(self, data):
        which = data.draw(st.sampled_from([each for each in IDS if self.running[each]]))
        self.line.ended(which)
        self.do(self.quiet())
        self.running[which] -= 1
        self.moved(which)

    @precondition(lambda self: any(self.waiting.values()))
    @rule(data=st.data())
    def leave(self, data):
        which = data.draw(st.sampled_from([each for each in IDS if self.waiting[each]]))
        index = data.draw(st.integers(0, len(self.waiting[which]) - 1))
        task = self.waiting[which].pop(index)
        task.cancel()
        self.do(self.quiet(task))

    @precondition(lambda self: not any(self.waiting.values()))
    @rule(seconds=st.sampled_from([1, 60, 99, 100, 200]))
    def pass_time(self, seconds):
        self.clock.jump(seconds)

    @rule()
    def sweep(self):
        async def swept():
            self.line.sweep()
            await self.store.expire(self.clock.now())

        self.do(swept())
        for which, unsaved in self.unsaved.items():
            # What could not be stored and has expired is not missed.
            self.unsaved[which] = [
                each for each in unsaved if each.at + EXPIRES_S > self.clock.now()
            ]

    @rule(broken=st.booleans())
    def disk(self, broken):
        self.store.broken = broken

    @rule()
    def crash(self):
        """What runs and who waits is lost; successes that were told are not."""

        async def crashed():
            await self.stop()
            await self.open()

        self.do(crashed())
        for which in IDS:
            lost = self.unsaved[which]
            self.successes[which] = [each for each in self.successes[which] if each[1] not in lost]
            self.running[which], self.waiting[which], self.unsaved[which] = 0, [], []

    @invariant()
    def nothing_is_kept_of_those_nobody_asks_for(self):
        busy = sum(
            bool(self.running[each] or self.waiting[each] or self.unsaved[each]) for each in IDS
        )
        assert len(self.line) == busy


class TwiceMachine(LineMachine):
    """The same with two successes wanted."""

    limit = 2


LINE = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestOnce = LineMachine.TestCase
TestOnce.settings = LINE
TestTwice = TwiceMachine.TestCase
TestTwice.settings = LINE
