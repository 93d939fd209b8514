"""Looks at what nobody tells by itself: the host's numbers, new findings, and which deployment a change was.

Only for accounts with a rule that asks for it; without one, a look at an empty index once a second.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.control.metaevents.index import HOST, Index
from forerun.errors import ForerunError, NotFound
from forerun.events import Bus, FindingRaised, FunctionChanged, HostChanged
from forerun.host import HostStats
from forerun.model import FunctionVersion
from forerun.profiles import Profile, latest
from forerun.profiles.findings import all_findings

log = logging.getLogger("forerun.metaevents")

LOOK_S = 1.0
FINDINGS_S = 30.0
CHANGED, FINDING = "function.changed", "finding.raised"
MOST_CHANGES = 1_000

Resolve = Callable[[str, str], Awaitable[FunctionVersion]]
"""The ``$LATEST`` of an account's function; ``NotFound``."""


class Surroundings:
    """``start`` then ``close``, once each; ``changed`` is a listener of ``control.changes``."""

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        index: Index,
        bus: Bus,
        clock: Clock,
        stats: Callable[[], HostStats],
        profiles: Callable[[str], Awaitable[Sequence[Profile]]],
        functions: Callable[[str], Awaitable[Sequence[FunctionVersion]]],
        resolve: Resolve,
    ) -> None:
        self._index = index
        self._bus = bus
        self._clock = clock
        self._stats = stats
        self._profiles = profiles
        self._functions = functions
        self._resolve = resolve
        self._host: HostChanged | None = None
        self._counted = (0, 0, 0)
        self._findings: dict[str, set[tuple[str, ...]]] = {}
        self._revisions: dict[str, dict[str, str]] = {}
        self._owner = TaskOwner("metaevent-surroundings")

    def start(self) -> None:
        """Begin to look."""
        self._owner.spawn(self._run(), name="look")

    async def close(self) -> None:
        """Look no more."""
        await self._owner.close()

    def changed(self, account: str, name: str, _retired: Sequence[str]) -> None:
        """Something about a function was changed; whether it was a deployment is found out behind this."""
        if account in self._revisions and len(self._owner) < MOST_CHANGES:
            self._owner.spawn(self._tell_change(account, name), name=f"changed-{name}")

    async def look(self, *, findings: bool = True) -> None:
        """Look once; what fails is looked at again next time."""
        try:
            self._look_at_host()
            await self._learn_functions()
            if findings:
                await self._look_for_findings()
        except ForerunError as error:
            log.warning("metaevents cannot look around: %s", error.message)

    async def _run(self) -> None:
        looked_at = -FINDINGS_S
        while True:
            now = self._clock.monotonic()
            due = now - looked_at >= FINDINGS_S
            looked_at = now if due else looked_at
            await self.look(findings=due)
            await self._clock.sleep(LOOK_S)

    def _look_at_host(self) -> None:
        if not self._index.wants(HOST):
            self._host = None
            return
        stats = self._stats()
        counted = sum(stats.starts.values()), stats.destroyed, stats.failed
        if self._host is None:
            self._counted = counted
        started, destroyed, failed = (
            now - before for now, before in zip(counted, self._counted, strict=True)
        )
        self._counted = counted
        states = stats.states
        found = HostChanged(
            host=stats.name,
            memory_mb=stats.memory_mb,
            booked_mb=stats.booked_mb,
            sandboxes=sum(states.values()),
            idle=states.get("idle", 0),
            busy=states.get("busy", 0),
            pooled=states.get("pooled", 0),
            waiting=stats.waiting,
            started=started,
            destroyed=destroyed,
            failed=failed,
            at=0.0,
        )
        levels = msgspec.structs.replace(found, started=0, destroyed=0, failed=0)
        if levels != self._host or any((started, destroyed, failed)):
            self._host = levels
            self._bus.note(msgspec.structs.replace(found, at=self._clock.now()))

    async def _look_for_findings(self) -> None:
        wanted = self._index.wants(FINDING)
        for account in self._findings.keys() - wanted:
            del self._findings[account]
        for account in wanted:
            known = latest(await self._profiles(account))
            found = await asyncio.to_thread(all_findings, list(known.values()), known)
            now = self._clock.now()
            keys = {_key(each.function, each.kind, each.callees): each for each in found}
            before = self._findings.get(account)
            self._findings[account] = set(keys)
            # What was found before anybody asked is not news.
            for key in keys.keys() - before if before is not None else ():
                each = keys[key]
                self._bus.note(
                    FindingRaised(
                        account=account,
                        name=each.function,
                        version=each.version,
                        finding=each.kind,
                        title=each.title,
                        confidence=each.confidence,
                        at=now,
                    )
                )

    async def _learn_functions(self) -> None:
        """What is deployed when a rule first asks for deployments: all later ones differ from it."""
        wanted = self._index.wants(CHANGED)
        for account in self._revisions.keys() - wanted:
            del self._revisions[account]
        for account in wanted - self._revisions.keys():
            functions = await self._functions(account)
            self._revisions[account] = {each.name: _revision(each) for each in functions}

    async def _tell_change(self, account: str, name: str) -> None:
        known = self._revisions.get(account, {})
        try:
            revision = _revision(await self._resolve(account, name))
        except NotFound:
            if known.pop(name, None) is not None:
                self._note_change(account, name, "deleted")
            return
        before = known.get(name)
        known[name] = revision
        if before != revision:
            self._note_change(account, name, "updated" if before else "created")

    def _note_change(self, account: str, name: str, change: str) -> None:
        now = self._clock.now()
        self._bus.note(FunctionChanged(account=account, name=name, change=change, at=now))


def _revision(function: FunctionVersion) -> str:
    return f"{function.sandbox_key} {function.code_sha256}"


def _key(function: str, kind: str, callees: Sequence[str]) -> tuple[str, ...]:
    return (function, kind, *sorted(callees))
