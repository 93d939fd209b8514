"""What the host is told to hold, version by version: merges what is expected of the names that lead to one."""

import heapq
import itertools
import logging
import math
from collections.abc import Callable, Sequence
from typing import Protocol

from forerun.aio import TaskOwner
from forerun.control.ahead.traffic import Arrivals
from forerun.control.registry import Resolved
from forerun.control.specs import Specs
from forerun.errors import ForerunError, NotFound
from forerun.model import Expectation, FunctionVersion, Qualified, Reason, SandboxSpec, Standby
from forerun.scheduling import OVERLAP_S, Decision, Demand, Preparer

log = logging.getLogger("forerun.foresight")

RESOLVING = 64
WAITING = 10_000
USUAL_START_S = 0.25
NOTHING = Standby()


class Holder(Protocol):
    """What of a host is needed here."""

    def stand_by(self, spec: SandboxSpec, standby: Standby) -> None:
        """See ``Host.stand_by``."""
        ...


class Names(Protocol):
    """What names mean; see ``Registry``."""

    def shares(
        self, account: str, name: str, qualifier: str | None
    ) -> list[tuple[float, Resolved]] | None:
        """As remembered."""
        ...

    async def resolve(
        self, account: str, name: str, qualifier: str | None, pick: float
    ) -> Resolved:
        """Read."""
        ...


class Aim:
    """One version: who leads to it with which share, what is provisioned of it, and what the host was told last."""

    __slots__ = ("due", "function", "reserved", "sources", "told", "total", "until")

    def __init__(self, function: FunctionVersion) -> None:
        self.function = function
        self.reserved: int | None = None
        self.sources: dict[Qualified, float] = {}
        self.total = 0
        self.told: Standby | None = None
        self.until = 0.0
        self.due = math.inf


class Aims:
    """The versions that something is expected of or provisioned for. Moments are epoch seconds.

    ``opened``, to be set before the first of them, is told of each expectation that holds now; ``gone`` of a name that means
    nothing any more.
    """

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        host: Holder,
        specs: Specs,
        names: Names,
        preparer: Preparer,
        owner: TaskOwner,
        most: int,
        arrivals: Arrivals,
        gone: Callable[[Qualified], None],
        now: Callable[[], float],
    ) -> None:
        self._host = host
        self._specs = specs
        self._names = names
        self._preparer = preparer
        self._owner = owner
        self._most = most
        self._arrivals = arrivals
        self.opened: Callable[[Qualified, Expectation, float], None] = lambda *_: None
        self._gone = gone
        self._now = now
        self._aims: dict[str, Aim] = {}
        self._demands: dict[Qualified, Demand] = {}
        self._keys: dict[Qualified, tuple[str, ...]] = {}
        self._due: list[tuple[float, int, str]] = []
        self._numbers = itertools.count()
        self._waiting: dict[Qualified, None] = {}
        self._resolving = 0

    def __len__(self) -> int:
        return len(self._aims)

    def demand(self, function: Qualified) -> Demand | None:
        """What is known of the calls to it now, if anything is expected."""
        return self._demands.get(function)

    def of(self, function: Qualified) -> list[Aim]:
        """The versions that it leads to now."""
        return [self._aims[key] for key in self._keys.get(function, ()) if key in self._aims]

    def functions(self, account: str, limit: int) -> list[Qualified]:
        """Of whose calls something is known; at most so many of an account."""
        whose = (each for each in self._demands if each.account == account)
        return list(itertools.islice(whose, limit))

    def set(self, function: Qualified, demand: Demand | None, now: float) -> None:
        """This is known of calls to it from now on; ``None`` for nothing."""
        if demand is None:
            self._leave(function, now)
            return
        self._demands[function] = demand
        shares = self._names.shares(function.account, function.name, function.qualifier or None)
        if shares is None:
            self._wait(function)
        else:
            self._aim(function, shares, now)

    def require(self, function: FunctionVersion, total: int, now: float) -> None:
        """So many sandboxes are provisioned of the version, as ``Foresight.require`` says."""
        aim = self._aims.get(function.sandbox_key)
        if aim is None:
            if not total:
                return
            aim = self._aims[function.sandbox_key] = Aim(function)
        aim.function, aim.total = function, total
        self._decide(aim, now)

    def changed(self, account: str, name: str, now: float) -> None:
        """Something about the function changed: its names may mean others from now on."""
        whose = (account, name)
        for key in [key for key, aim in self._aims.items() if _of(aim.function) == whose]:
            # The host may have given up what it held, or not: it is told anew, also of nothing.
            self._aims[key].told, self._aims[key].until = NOTHING, 0.0
        for function in [each for each in self._demands if each[:2] == whose]:
            self.set(function, self._demands[function], now)

    def tick(self, now: float, limit: int) -> int:
        """Decide again about those that are due, at most so many; how many were."""
        count = 0
        while self._due and self._due[0][0] <= now and count < limit:
            at, _, key = heapq.heappop(self._due)
            aim = self._aims.get(key)
            if aim is not None and aim.due == at:
                aim.due = math.inf
                self._decide(aim, now)
                count += 1
        return count

    def next_at(self) -> float:
        """When something is due next."""
        return self._due[0][0] if self._due else math.inf

    # -- the steps -----------------------------------------------------------------------------------------------

    def _aim(
        self, function: Qualified, shares: Sequence[tuple[float, Resolved]], now: float
    ) -> None:
        keys = tuple(resolved.function.sandbox_key for _, resolved in shares)
        before = self._keys.get(function, ())
        self._keys[function] = keys
        for key in before:
            if key not in keys and key in self._aims:
                self._aims[key].sources.pop(function, None)
                self._decide(self._aims[key], now)
        for share, resolved in shares:
            key = resolved.function.sandbox_key
            aim = self._aims.get(key)
            if aim is None:
                aim = self._aims[key] = Aim(resolved.function)
            aim.function, aim.reserved = resolved.function, resolved.reserved
            aim.sources[function] = share
            self._decide(aim, now)

    def _leave(self, function: Qualified, now: float) -> None:
        self._demands.pop(function, None)
        self._waiting.pop(function, None)
        for key in self._keys.pop(function, ()):
            aim = self._aims.get(key)
            if aim is not None and aim.sources.pop(function, None) is not None:
                self._decide(aim, now)

    def _decide(self, aim: Aim, now: float) -> None:
        sources = list(aim.sources)
        demands = [self._demands[each]._replace(share=aim.sources[each]) for each in sources]
        decision = self._preparer.decide(
            demands,
            now=now,
            start_s=max((self._start_s(each) for each in sources), default=0.0),
            total=aim.total,
            most=self._most if aim.reserved is None else aim.reserved,
            timeout_s=aim.function.timeout_s,
        )
        self._tell(aim, decision.standby, now)
        for function, window in zip(sources, decision.opened, strict=False):
            if window is not None:
                self.opened(function, window, now)
        self._remind(aim, decision)

    def _start_s(self, function: Qualified) -> float:
        """What nearly all starts of it stay below."""
        traffic = self._arrivals.get(function)
        return (traffic.slow_start_s if traffic is not None else 0.0) or USUAL_START_S

    def _tell(self, aim: Aim, standby: Standby | None, now: float) -> None:
        told = aim.told
        if standby is None:
            if told is None:
                return
            aim.told, standby = None, NOTHING
        elif told is not None and aim.until >= now + _needed_s(standby) and alike(told, standby):
            return
        else:
            aim.told = standby
        aim.until = now + standby.lease_s
        try:
            self._host.stand_by(self._specs.of(aim.function), standby)
        except ForerunError as error:
            log.warning("%s cannot be prepared: %s", aim.function.qualified_arn, error.message)

    def _remind(self, aim: Aim, decision: Decision) -> None:
        """What nothing is due of any more is left to the host, by what it was told last."""
        key = aim.function.sandbox_key
        if decision.again_at == math.inf:
            for function in aim.sources:
                if self._keys.get(function) == (key,):
                    del self._keys[function]
                    self._demands.pop(function, None)
            self._aims.pop(key, None)
        elif decision.again_at != aim.due:
            aim.due = decision.again_at
            heapq.heappush(self._due, (aim.due, next(self._numbers), key))
            if len(self._due) > 4 * len(self._aims) + 1_000:
                self._due = [
                    each
                    for each in self._due
                    if each[2] in self._aims and self._aims[each[2]].due == each[0]
                ]
                heapq.heapify(self._due)

    # -- names that have to be read ------------------------------------------------------------------------------

    def _wait(self, function: Qualified) -> None:
        if len(self._waiting) < WAITING:
            self._waiting[function] = None
        else:
            self._demands.pop(function, None)
        if self._resolving < RESOLVING:
            self._resolving += 1
            self._owner.spawn(self._resolve(), name="resolve")

    async def _resolve(self) -> None:
        try:
            while self._waiting:
                function = next(iter(self._waiting))
                del self._waiting[function]
                await self._resolve_one(function)
        finally:
            self._resolving -= 1

    async def _resolve_one(self, function: Qualified) -> None:
        account, name, qualifier = function
        try:
            await self._names.resolve(account, name, qualifier or None, 0.0)
        except NotFound:
            self._leave(function, self._now())
            self._gone(function)
        except ForerunError as error:
            self._leave(function, self._now())
            log.warning("%s cannot be prepared: %s", name, error.message)
        else:
            shares = self._names.shares(account, name, qualifier or None)
            if shares is not None and function in self._demands:
                self._aim(function, shares, self._now())


def alike(told: Standby, standby: Standby) -> bool:
    """Whether the one need not be told in place of the other, if its lease is long enough.

    What is made for another execution says so; a little more or less of what waits for calls that come all the time is no news.
    """
    if told.total != standby.total or told.start is not standby.start:
        return False
    if Reason.CALLER in (told.reason, standby.reason) and told.cause != standby.cause:
        return False
    if told.reason is standby.reason is Reason.RECENT:
        near = abs(told.idle - standby.idle) <= max(1, told.idle // 4)
        return near and _lingers_as(told, standby)
    return told.idle == standby.idle and told.linger_s == standby.linger_s


def _lingers_as(told: Standby, standby: Standby) -> bool:
    """What lingers until a window closes is told a shorter time as that comes nearer."""
    if told.linger_s is None or standby.linger_s is None:
        return told.linger_s is standby.linger_s
    return standby.linger_s <= told.linger_s <= standby.linger_s + OVERLAP_S


def _needed_s(standby: Standby) -> float:
    """How long what was told must still hold for it to do: what comes after is told in time."""
    return max(
        0.0, min(standby.lease_s - OVERLAP_S, standby.lease_s / 2 if standby.total else math.inf)
    )


def _of(function: FunctionVersion) -> tuple[str, str]:
    return function.account, function.name
