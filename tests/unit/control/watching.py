"""Metaevents over a real database, with a clock that stands still and an outbox that keeps what it is given."""

import asyncio
from types import SimpleNamespace

from tests.databases import open_database
from tests.fakes.clock import FakeClock, settle
from tests.fakes.outbox import FakeOutbox

from forerun.control.metaevents import Metaevents, Notebook, Watcher
from forerun.control.monitoring import Monitor
from forerun.errors import NotFound
from forerun.events import Bus, ExecutionEnded, ExecutionSeen, ExecutionStarted
from forerun.metaevents import Limits
from forerun.model import InvocationRecord, Origin, Timings, TraceContext
from forerun.settings import MetaeventSettings, MonitoringSettings
from forerun.storage import InvocationStore
from forerun.storage.db import Statement
from forerun.storage.metaevents import MetaeventStore
from forerun.storage.sqlite import MESSAGES

MINE, OTHERS = "1" * 12, "2" * 12
REGION = "us-home-1"
STARTED = {"event": "execution.started", "function": "f"}
ENDED = {"event": "execution.ended", "function": "f"}
ABSENT = {"absent": STARTED, "within": 5}
ERRORS = {"count": {**ENDED, "where": "event.status == 'error'"}, "over": "1m", "at_least": 3}


class Registry:
    """Knows every function but ``missing``."""

    async def resolve(self, account, name, qualifier, pick):
        if name == "missing":
            raise NotFound("Function not found: missing")
        return SimpleNamespace(function=None)


class Place:
    """A data directory and a clock; ``begin`` starts a server's metaevents over it, ``kill`` leaves them as they are."""

    def __init__(self, directory):
        self.directory = directory
        self.clock = FakeClock(1_700_000_000.0)
        self.outbox = FakeOutbox()
        self.settings = MetaeventSettings()
        self.numbers = iter(range(10**9))
        self.running = False
        # False while the outbox refuses: then nobody waits for what was to be sent.
        self.sends = True

    async def open(self):
        self.db = await open_database(self.directory / "messages.db", migrations=MESSAGES)
        self.main = await open_database(self.directory / "forerun.db")
        self.invocations = InvocationStore(self.main, self.clock)

    async def begin(self, **settings):
        self.settings = MetaeventSettings(**settings) if settings else self.settings
        self.bus = Bus()
        self.store = MetaeventStore(self.db)
        self.notebook = Notebook(self.store, self.clock)
        self.watcher = Watcher(
            outbox=self.outbox,
            bus=self.bus,
            monitor=Monitor(MonitoringSettings(), key=b"k" * 32, running={}.get),
            notebook=self.notebook,
            clock=self.clock,
            limits=Limits(
                depth=self.settings.max_depth,
                rule_per_minute=self.settings.rule_per_minute,
                account_per_minute=self.settings.account_per_minute,
            ),
            region=REGION,
        )
        self.metaevents = Metaevents(
            store=self.store,
            watcher=self.watcher,
            notebook=self.notebook,
            registry=Registry(),
            invocations=self.invocations,
            clock=self.clock,
            settings=self.settings,
            region=REGION,
        )
        await self.metaevents.start()
        self.running = True
        await self.quiet()

    async def kill(self):
        """End its tasks; what was not written is lost."""
        for owner in (self.watcher._owner, self.notebook._owner, self.watcher._jobs._owner):
            await owner.close()
        await self.watcher._timetable.close()
        await self.bus.close()
        self.running = False

    async def stop(self):
        await self.metaevents.close()
        await self.bus.close()
        self.running = False

    async def close(self):
        if self.running:
            await self.stop()
        await self.db.close()
        await self.main.close()

    # What happens

    async def quiet(self):
        """What was told is judged, the jobs are sent, and what was to be written is."""
        await settle()
        await self.metaevents.settle()
        if self.sends:
            async with asyncio.timeout(10):
                await self.watcher._jobs._waiting.join()
        # Writes are done in their order by a thread: after this one all are.
        await self.db.write(Statement("DELETE FROM metaevents WHERE 1 = 0"), durable=False)
        await settle()

    async def advance(self, seconds, step=0.25):
        left = seconds
        while left > 1e-9:
            part = min(step, left)
            left -= part
            await self.clock.advance(part)
            await self.quiet()

    async def put(self, name, when, *, account=MINE, job="job", **more):
        rule = await self.metaevents.put(account, {"Name": name, "When": when, "Job": job, **more})
        await self.quiet()
        return rule

    def record(self, name="f", *, account=MINE, status="success", request_id="", **more):
        now = self.clock.now()
        timings = Timings(received=now, started=0.0 if status == "throttled" else now, answered=now)
        return InvocationRecord(
            request_id=request_id or f"request-{next(self.numbers)}",
            account=account,
            name=name,
            version="1",
            status=status,
            timings=timings,
            **more,
        )

    async def starts(self, name="f", *, account=MINE, request_id="", cause=""):
        record = self.record(name, account=account, request_id=request_id)
        notice = ExecutionStarted(
            account=account,
            name=name,
            version="1",
            request_id=record.request_id,
            attempt=1,
            context=self.context(cause),
            at=self.clock.now(),
        )
        self.bus.note(notice)
        await self.quiet()
        return notice.context.span_id

    async def ends(self, name="f", *, output=b"", cause="", **more):
        context = self.context(cause)
        ended = ExecutionEnded(record=self.record(name, **more), context=context, region=REGION)
        self.bus.note(ExecutionSeen(ended=ended, output=output))
        await self.quiet()
        return context.span_id

    def context(self, cause=""):
        number = next(self.numbers)
        return TraceContext(
            trace_id=f"{number:032x}",
            span_id=f"{number:016x}",
            origin=Origin(execution=cause, account=MINE if cause else ""),
            header="",
        )

    # What came of it

    def jobs(self, name=None):
        """Names of the rules whose jobs were sent, in order; or the messages of one rule."""
        if name is None:
            return [each.source.rpartition("/")[2] for each in self.outbox.sent]
        return [each for each in self.outbox.sent if each.source.endswith(f"/{name}")]

    def memory(self, name, account=MINE):
        return self.metaevents.get(account, name).memory


async def again(place, **settings):
    """A server after it was killed."""
    await place.kill()
    await place.begin(**settings)
