"""What runs events from a queue, over an invoker that answers from a script."""

import asyncio
import json

from tests.fakes.functions import ACCOUNT, make_function
from tests.fakes.outbox import FakeOutbox

from forerun.aio import SystemClock
from forerun.control.asynchronous import EventInvoker
from forerun.control.deferring import Deferring, Surroundings
from forerun.control.invoke import Invocation, Reply
from forerun.control.monitoring import Monitor
from forerun.control.registry import Resolved
from forerun.errors import NotFound, RecursionDetected
from forerun.model import InvocationRecord, Timings
from forerun.scheduling import Admission, Backoff, Deferral
from forerun.settings import MonitoringSettings

QUEUE = f"arn:aws:sqs:us-home-1:{ACCOUNT}:dead"
TARGET = f"arn:aws:lambda:us-home-1:{ACCOUNT}:function:told"


def make_monitor():
    return Monitor(MonitoringSettings(), key=b"k" * 32, running=lambda _: None)


async def no_loads():
    return []


class FakeRegistry:
    def __init__(self, config):
        self.config = config
        self.missing = False
        self.dead_letter_arn = None

    async def resolve(self, account, name, qualifier, pick):
        if self.missing:
            raise NotFound("Function not found")
        return Resolved(
            function=make_function(name, dead_letter_arn=self.dead_letter_arn),
            qualifier=qualifier,
            invoked_arn="arn",
            event_config=self.config if name == "work" else None,
        )


class FakeInvoker:
    """Answers from a script: ``None`` for success, an error's type, or an exception to raise; success at its end."""

    def __init__(self, monitor, *script):
        self.monitor = monitor
        self.contexts = []
        self.script = list(script)
        self.calls = []
        self.told = []
        self.functions = []
        self.replies = []
        self.records = []
        self.called = asyncio.Event()
        self.store_records = True
        self.payload = b'{"v":1}'

    async def run(self, resolved, invocation, on_stored=None):
        self.calls.append((resolved.function.name, invocation))
        self.functions.append(resolved.function)
        self.called.set()
        context = self.monitor.begin(resolved.function, invocation.origin, 1e9)
        self.contexts.append(context)
        step = self.script.pop(0) if self.script and resolved.function.name == "work" else None
        if isinstance(step, Exception):
            if isinstance(step, RecursionDetected):
                on_stored()
            raise step
        if self.store_records and on_stored is not None:
            on_stored()
        reply = Reply(
            payload=self.payload,
            content_type="application/json",
            error="Unhandled" if step else None,
            error_type=step,
            record=InvocationRecord(
                request_id=invocation.request_id,
                account=ACCOUNT,
                name="work",
                version="$LATEST",
                timings=Timings(),
            ),
            context=context,
            log=list,
        )
        self.replies.append(reply)
        return reply

    def record(self, record, on_stored):
        self.records.append(record)
        on_stored()

    def queued(self, events):
        self.told += [event.id for event in events]


class FakeOutlet(FakeOutbox):
    def __init__(self):
        super().__init__()
        self.letters = []

    async def keep(self, letters):
        if self.fails is not None:
            raise self.fails
        self.letters.extend(letters)

    @property
    def documents(self):
        return [(message.target, json.loads(message.payload)) for message in self.sent]


class Rig:
    """``booked_mb`` of 1,024 are in use; half of them must be free for deferrable events."""

    def __init__(self, queue, invoker, config):
        self.queue = queue
        self.booked_mb = 0
        self.invoker = invoker
        self.registry = FakeRegistry(config)
        self.events = EventInvoker(
            queue=queue,
            registry=self.registry,
            invoker=invoker,
            monitor=invoker.monitor,
            backoff=Backoff(retry_s=0.01, system_min_s=0.01, system_max_s=0.02, jitter=0.0),
            deferring=Deferring(
                queue=queue,
                admission=Admission(),
                deferral=Deferral(idle_percent=50, at_once=2),
                around=Surroundings(
                    memory=lambda: (1024, self.booked_mb), load=lambda: 0.0, loads=no_loads
                ),
                clock=SystemClock(),
                lease_s=60,
            ),
            clock=SystemClock(),
            in_flight=4,
            region="us-home-1",
        )
        self.outlet = FakeOutlet()
        self.events.connect(self.outlet)

    async def accept(self, request_id="r1", patience_s=0.0, **changes):
        values = {"payload": b'{"a":1}', "received": SystemClock().now(), "request_id": request_id}
        resolved = Resolved(function=make_function("work"), qualifier=None, invoked_arn="arn")
        await self.events.accept(resolved, Invocation(**(values | changes)), patience_s=patience_s)

    async def emptied(self):
        async with asyncio.timeout(10):
            while self.queue.depth().events:
                await asyncio.sleep(0.005)
