"""A poller over a source in memory and an invoker that is made up; time stands still until it is told to go on."""

import asyncio
import json

from tests.fakes.clock import FakeClock, settle
from tests.fakes.functions import ACCOUNT, make_function
from tests.fakes.pollable import FakePollable

from forerun.control.delivery.batch_runs import Around, Wish
from forerun.control.delivery.batching import BatchLimits
from forerun.control.delivery.poller import Poller
from forerun.control.invoke import Reply
from forerun.control.registry import Resolved
from forerun.errors import NotFound
from forerun.model import InvocationRecord, Timings, TraceContext
from forerun.scheduling import Admission
from forerun.traces import NOTHING

QUEUE = f"arn:aws:sqs:us-home-1:{ACCOUNT}:jobs"
FUNCTION = make_function("work")
CONTEXT = TraceContext(trace_id="", span_id="", origin=NOTHING, header="")


class FakeRegistry:
    missing = False
    reserved = None

    def peek(self, account, name, qualifier, pick):
        return None

    async def resolve(self, account, name, qualifier, pick):
        if self.missing:
            raise NotFound(f"Function not found: {name}")
        return Resolved(
            function=FUNCTION, qualifier=qualifier, invoked_arn="arn", reserved=self.reserved
        )


class FakeInvoker:
    """Runs a batch as long as ``takes_s`` says; ``answers`` has what comes of a batch's bodies."""

    def __init__(self, clock, admission):
        self.clock = clock
        self.admission = admission
        self.takes_s = 0.0
        self.batches = []
        self.invocations = []
        self.at_once = self.most_at_once = 0
        self.answers = lambda bodies: None

    async def run(self, resolved, invocation):
        with self.admission.admit(ACCOUNT, "work", resolved.reserved):
            bodies = [each["body"] for each in json.loads(invocation.payload)["Records"]]
            answer = self.answers(bodies)
            if isinstance(answer, Exception):
                raise answer
            self.batches.append(bodies)
            self.invocations.append(invocation)
            began = self.clock.now()
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                if self.takes_s:
                    await self.clock.sleep(self.takes_s)
            finally:
                self.at_once -= 1
        timings = Timings(started=began, ended=self.clock.now())
        failed = answer == "fail"
        return Reply(
            payload=json.dumps(answer).encode(),
            content_type="application/json",
            error="Unhandled" if failed else None,
            error_type="Error" if failed else None,
            record=InvocationRecord(
                request_id=invocation.request_id,
                account=ACCOUNT,
                name="work",
                version="$LATEST",
                timings=timings,
            ),
            context=CONTEXT,
            log=list,
        )


class Bench:
    """A poller and what it stands on."""

    def __init__(self):
        self.clock = FakeClock()
        self.source = FakePollable(self.clock, QUEUE)
        self.registry = FakeRegistry()
        self.admission = Admission(100)
        self.invoker = FakeInvoker(self.clock, self.admission)
        self.pollers = []
        self.orphaned = self.drained = 0
        self.refused = None
        self.letters = []

    async def put_away(self, letters):
        self.letters.extend(letters)

    async def require(self, function, source):
        if self.refused is not None:
            raise self.refused

    def _orphan(self):
        self.orphaned += 1

    def _drain(self):
        self.drained += 1

    def begin(self, *, batch=1, window_s=0.0, at_once=10, **more):
        wish = Wish(
            account=ACCOUNT,
            name="work",
            qualifier=None,
            source=QUEUE,
            limits=BatchLimits(messages=batch, window_s=window_s),
            at_once=at_once,
            **more,
        )
        around = Around(
            registry=self.registry,
            invoker=self.invoker,
            admission=self.admission,
            require=self.require,
            put_away=self.put_away,
            clock=self.clock,
        )
        poller = Poller(wish, self.source, around, orphaned=self._orphan, drained=self._drain)
        self.pollers.append(poller)
        poller.start()
        return poller

    async def pass_time(self, seconds, step=0.05):
        """Let time go by; those who wait at the source look again, as time shows hidden messages."""
        left = seconds
        while left > 1e-9:
            await self.clock.advance(min(step, left))
            self.source.wake()
            await settle()
            left -= step

    async def until(self, probe):
        """Wait for what also needs the real time of the loop."""
        async with asyncio.timeout(10):
            while not probe():
                await self.pass_time(0.05)
                await asyncio.sleep(0.001)
