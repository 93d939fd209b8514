"""An outbox over real SQLite with targets that answer from a script."""

import asyncio

from tests.fakes.functions import ACCOUNT, make_function

from forerun.aio import SystemClock
from forerun.control.delivery.functions import FunctionTargets
from forerun.control.delivery.lanes import Lanes, Pauses
from forerun.control.delivery.outbox import DurableOutbox
from forerun.control.delivery.targets import URL, Targets
from forerun.control.monitoring import Monitor
from forerun.control.registry import Resolved
from forerun.events import Bus
from forerun.model import Message
from forerun.scheduling import Backoff
from forerun.settings import MonitoringSettings
from forerun.storage.dead_letters import DeadLetterStore
from forerun.storage.outbox import OutboxStore

RULE = f"arn:aws:events:us-home-1:{ACCOUNT}:rule/x"
FUNCTION = f"arn:aws:lambda:us-home-1:{ACCOUNT}:function:work"
QUEUE = f"arn:aws:sqs:us-home-1:{ACCOUNT}:queue"
DEAD = f"arn:aws:sqs:us-home-1:{ACCOUNT}:dead"
TOPIC = f"arn:aws:sns:us-home-1:{ACCOUNT}:topic"
ADDRESS = "https://example.org/hook"


def message(name="m", target=QUEUE, **changes):
    values = {
        "id": name,
        "account": ACCOUNT,
        "source": RULE,
        "principal": "events.amazonaws.com",
        "target": target,
        "payload": b'{"n":1}',
    }
    return Message(**(values | changes))


class FakePermission:
    def __init__(self):
        self.answers = []
        self.deferrable_s = 0

    async def function(self, sender, target):
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return Resolved(
            function=make_function("work"),
            qualifier=None,
            invoked_arn=target,
            deferrable_s=self.deferrable_s,
        )


class FakeEvents:
    def __init__(self):
        self.queued = {}
        self.fails = None

    async def enqueue(self, events):
        if self.fails is not None:
            raise self.fails
        for event in events:
            self.queued.setdefault(event.id, event)


class FakeTarget:
    """Takes messages; ``script`` are errors for those that come next, by message id or for whoever comes."""

    def __init__(self):
        self.taken = []
        self.tries = []
        self.batches = []
        self.script = []
        self.by_id = {}
        self.hangs = None

    async def deliver(self, target, messages):
        self.batches.append(len(messages))
        if self.hangs is not None:
            await self.hangs.wait()
        answers = []
        for each in messages:
            self.tries.append(each.id)
            errors = self.by_id.get(each.id, self.script)
            answer = errors.pop(0) if errors else None
            if answer is None:
                self.taken.append(each)
            answers.append(answer)
        return answers


class Rig:
    def __init__(self, db, *, most=1000, workers=None):
        self.clock = SystemClock()
        self.permission, self.events = FakePermission(), FakeEvents()
        self.queues, self.topics, self.urls = FakeTarget(), FakeTarget(), FakeTarget()
        self.letters = DeadLetterStore(db)
        self.bus, self.notices = Bus(), []
        self.bus.note = self.notices.append
        functions = FunctionTargets(
            permission=self.permission,
            events=self.events,
            monitor=Monitor(MonitoringSettings(), key=b"k" * 32, running=lambda _: None),
            clock=self.clock,
        )
        self.store = OutboxStore(db, max_messages=most, max_bytes=1 << 24)
        self.outbox = DurableOutbox(
            store=self.store,
            functions=functions,
            targets=Targets(
                {"lambda": functions, "sqs": self.queues, "sns": self.topics, URL: self.urls}
            ),
            backoff=Backoff(system_min_s=0.01, system_max_s=0.02, jitter=0.0),
            clock=self.clock,
            bus=self.bus,
            workers=workers,
        )
        self.outbox._lanes = Lanes(Pauses(first_s=0.01, most_s=0.02))

    async def emptied(self):
        async with asyncio.timeout(20):
            while self.store.size()[0]:
                await asyncio.sleep(0.005)

    async def kept(self):
        return await self.letters.letters(ACCOUNT, limit=1000)
