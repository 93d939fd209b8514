"""Foresight with a clock that stands still, a host that only listens, and forecasts as the test says."""

import asyncio

from tests.fakes.clock import FakeClock, settle
from tests.fakes.functions import ACCOUNT, make_function

from forerun.control.ahead.foresight import Foresight
from forerun.control.ahead.notebook import Notebook
from forerun.control.ahead.traffic import Arrivals
from forerun.control.registry import Resolved
from forerun.control.specs import Specs
from forerun.errors import NotFound
from forerun.host import Run
from forerun.model import (
    Expectation,
    Outcome,
    Qualified,
    Reason,
    StartType,
    Timings,
    TraceContext,
)
from forerun.prediction import Traversals
from forerun.traces import NOTHING

SPAN = "53995c3f42cd8ad8"


def qualified(name="f", qualifier=""):
    return Qualified(ACCOUNT, name, qualifier)


def resolved(name="f", number="$LATEST", qualifier=None, **more):
    arn = f"arn:aws:lambda:us-home-1:{ACCOUNT}:function:{name}" + (
        f":{qualifier}" if qualifier else ""
    )
    function = make_function(name, number)
    return Resolved(function=function, qualifier=qualifier, invoked_arn=arn, **more)


def context(span=SPAN, cause=""):
    origin = NOTHING.__class__(execution=cause) if cause else NOTHING
    return TraceContext(
        trace_id="1" * 32, span_id=span, origin=origin, header="", weight=1, depth=0
    )


class FakeHost:
    """Remembers what it was told to hold: by key, in order."""

    def __init__(self):
        self.told = []
        self.pools = {}
        self.failure = None

    def stand_by(self, spec, standby):
        if self.failure is not None:
            raise self.failure
        self.told.append((spec.key, standby))

    def hold_pool(self, pool, floor, *, borrow=True):
        self.pools[pool] = floor

    def holds(self, key="f.$LATEST"):
        told = [standby for each, standby in self.told if each == key]
        return told[-1] if told else None


class FakeNames:
    """A registry: ``means`` has for each name the versions with their shares; what is ``cold`` has to be read."""

    def __init__(self):
        self.means = {}
        self.cold = set()
        self.read = []

    def define(self, name="f", qualifier=None, *shares):
        self.means[name, qualifier] = list(shares) or [(1.0, resolved(name, qualifier=qualifier))]

    def shares(self, account, name, qualifier):
        if (name, qualifier) in self.cold:
            return None
        return self.means.get((name, qualifier))

    async def resolve(self, account, name, qualifier, pick):
        self.read.append(name)
        if (name, qualifier) not in self.means:
            raise NotFound(f"Function not found: {name}")
        self.cold.discard((name, qualifier))
        return self.means[name, qualifier][0][1]


class FakePolicy:
    """Forecasts as they are put into ``expected``; ``seen`` is what it was told."""

    def __init__(self):
        self.expected = {}
        self.rhythms = {}
        self.seen = []
        self.touched = set()
        self.times = []
        self.forgotten = []
        self.states = {}
        self.whole = b"all"

    def observe(self, function, at, count=1):
        self.seen.append((function, count))
        self.times.append(at)
        return (function,)

    def advance(self, now):
        self.times.append(now)
        touched, self.touched = self.touched, set()
        return touched

    def windows(self, function, now):
        return self.expected.get(function, ())

    def regularity(self, function, now):
        return self.rhythms.get(function, (0.0, 0.0))

    def explain(self, function, now):
        return None

    def forget(self, function):
        self.forgotten.append(function)

    def state(self, function):
        return f"state of {function.name}".encode()

    def restore(self, function, state):
        if state == b"broken":
            raise ValueError("no state")
        self.states[function] = state

    def population(self):
        return self.whole

    def restore_population(self, state):
        self.whole = state


class FakeStore:
    """Rows in memory."""

    def __init__(self):
        self.rows = {}
        self.failure = None

    async def put(self, rows):
        if self.failure is not None:
            raise self.failure
        self.rows |= {row[:3]: row for row in rows}

    async def score(self, account, name, qualifier):
        row = self.rows.get((account, name, qualifier))
        return row.score if row else b""

    async def whole(self):
        row = self.rows.get(("", "", ""))
        return row.state if row else b""

    async def of_account(self, account, limit):
        return [row for row in self.rows.values() if row.account == account][:limit]

    async def qualifiers(self, account, name):
        return [key[2] for key in self.rows if key[:2] == (account, name)]

    async def after(self, account, name, qualifier, limit):
        keys = sorted(key for key in self.rows if key > (account, name, qualifier))
        return [self.rows[key] for key in keys[:limit]]

    async def forget(self, account, name):
        for key in [key for key in self.rows if key[:2] == (account, name)]:
            del self.rows[key]


class Rig:
    def __init__(self, **given):
        self.clock = FakeClock()
        self.host = FakeHost()
        self.names = FakeNames()
        self.policy = FakePolicy()
        self.arrivals = Arrivals()
        self.store = FakeStore()
        self.notebook = Notebook(self.store, self.policy, self.arrivals)
        self.traversals = Traversals(likelihood=0.5, samples=20, margin_s=2.0, depth=4)
        self.learned = {}
        self.foresight = Foresight(
            **{
                "host": self.host,
                "specs": Specs(self),
                "names": self.names,
                "policy": self.policy,
                "traversals": self.traversals,
                "learned": self._learned,
                "arrivals": self.arrivals,
                "notebook": self.notebook,
                "clock": self.clock,
                "keep_s": 60.0,
                "pool_base": 4,
                "most": 1000,
            }
            | given
        )

    def path(self, digest):
        return f"/{digest}"

    async def _learned(self):
        found, self.learned = self.learned, {}
        return found

    def now(self):
        return self.clock.now()

    def call(self, what=None, *, start=StartType.WARM, run=None, of=None, request="r", **given):
        """A call that ends at once."""
        what = what or resolved()
        of = of or context()
        now = self.clock.now()
        timings = Timings(received=now, admitted=now, acquired=now, loaded=now + 0.02)
        traffic = self.foresight.began(what, of, request, timings)
        self.foresight.ended(traffic, what, of, run or ran(start, **given), timings)

    def began(self, name, span, request="request", cause=""):
        """A call that goes on until what this gives is called."""
        what, of = resolved(name), context(span, cause)
        now = self.now()
        timings = Timings(received=now, admitted=now, acquired=now, loaded=now)
        traffic = self.foresight.began(what, of, request, timings)
        return lambda: self.foresight.ended(traffic, what, of, ran(), timings)

    async def until(self, probe):
        """Wait for what is done without the clock, as soon as the loop gets to it."""
        async with asyncio.timeout(5.0):
            while not probe():
                await asyncio.sleep(0.001)

    def expect(self, since, until, function=None, **more):
        """The policy expects it so many seconds from now."""
        function = function or qualified()
        given = {"probability": 0.9, "reason": Reason.HABIT} | more
        window = Expectation(since=self.now() + since, until=self.now() + until, **given)
        self.policy.expected[function] = (window,)
        self.policy.touched.add(function)
        return window

    async def advance(self, seconds):
        await self.clock.advance(seconds)

    async def counted(self, function=None):
        """What came of a function's forecasts so far."""
        score = await self.notebook.score(function or qualified(), self.now())
        return score.total

    async def close(self):
        await self.foresight.close()
        await settle()


def ran(start=StartType.WARM, **given):
    values = {
        "outcome": Outcome(payload=b"1", max_memory_mb=30),
        "start_type": start,
        "sandbox_id": "s",
        "isolation": "jail",
        "placement": "",
        "log_stream": "",
        "foresight": "" if start is StartType.WARM else "miss",
    }
    return Run(**(values | given))
