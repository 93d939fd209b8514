"""Keeps provisioned concurrency: what is configured is what hosts are told to hold, after every change and every start."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from forerun.aio import Clock, TaskOwner
from forerun.control.capacity.provisioned import Allotment, Provisioned
from forerun.control.registry import Registry
from forerun.errors import ForerunError, InvalidInput, NotFound, StorageFailed
from forerun.host import Standing
from forerun.model import FunctionVersion
from forerun.storage.provisioned import ProvisionedConfig

log = logging.getLogger("forerun.provisioning")

RETRY_S = 1.0

Require = Callable[[FunctionVersion, int], None]
"""Hold so many initialised sandboxes of a version, without end; 0 takes it back."""

Stand = Callable[[str], Standing]
"""How it is with the sandboxes of a key."""

Grant = Callable[[str, str, int], None]
"""So much concurrency is a function's own, by account and name."""


class Status(StrEnum):
    """How far a configuration is met."""

    IN_PROGRESS = "IN_PROGRESS"
    READY = "READY"
    FAILED = "FAILED"


class Met(NamedTuple):
    """How far a configuration is met: sandboxes that are there and those being made besides; ``reason`` of a failure."""

    available: int
    allocated: int
    status: Status
    reason: str = ""


class _Held(NamedTuple):
    function: FunctionVersion
    total: int


class Provisioning:
    """A listener of changes; ``start`` then ``close``, once each. Until the start nothing is held."""

    def __init__(self, provisioned: Provisioned, registry: Registry, clock: Clock) -> None:
        self._provisioned = provisioned
        self._registry = registry
        self._clock = clock
        self._stand: Stand | None = None
        self._held: dict[tuple[str, str], dict[str, _Held]] = {}
        self._unmet: dict[tuple[str, str], dict[str, str]] = {}
        self._changed: set[tuple[str, str]] = set()
        self._wake = asyncio.Event()
        self._owner = TaskOwner("provisioning")

    async def start(self, require: Require, stand: Stand, grant: Grant) -> None:
        """Hold what is configured, and follow what changes."""
        self._require, self._stand, self._grant = require, stand, grant
        self._changed.update(await self._provisioned.functions())
        self._wake.set()
        self._owner.spawn(self._run(), name="follow")

    async def close(self) -> None:
        """Follow nothing any more; what is held stays."""
        await self._owner.close()

    def changed(self, account: str, name: str, _retired: Sequence[str] = ()) -> None:
        """Something about a function changed."""
        if self._stand is not None:
            self._changed.add((account, name))
            self._wake.set()

    async def met(self, config: ProvisionedConfig) -> Met:
        """How far a configuration is met now."""
        return self._met(await self._provisioned.allotment(config))

    async def keys(self, account: str, name: str, qualifier: str) -> tuple[str, ...]:
        """Of the sandboxes that serve a qualifier now; none when it is not there."""
        try:
            found = [
                await self._registry.resolve(account, name, version, 0.0)
                for version in await self._provisioned.versions(account, name, qualifier)
            ]
        except NotFound:
            return ()
        return tuple(dict.fromkeys(each.function.sandbox_key for each in found))

    def stand(self, key: str) -> Standing:
        """How it is with the sandboxes of a key."""
        return Standing() if self._stand is None else self._stand(key)

    def _met(self, allotment: Allotment) -> Met:
        config = allotment.config
        owner = (config.account, config.name)
        available = making = 0
        reason = allotment.reason
        for version, part in allotment.parts:
            held = self._held.get(owner, {}).get(version)
            if held is None:
                reason = reason or self._unmet.get(owner, {}).get(version, "")
                continue
            standing = self.stand(held.function.sandbox_key)
            # Two aliases of one version share what there is.
            there = min(part, standing.provisioned * part // max(part, held.total))
            available += there
            if there < part:
                making += min(part - there, standing.preparing)
                reason = reason or standing.failure
        if available >= config.requested:
            return Met(available, available, Status.READY)
        status = Status.FAILED if reason else Status.IN_PROGRESS
        return Met(available, available + making, status, reason)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, set()
            for owner in changed:
                try:
                    await self._follow(*owner)
                except ForerunError as error:
                    log.warning("provisioned concurrency of %s: %s", owner[1], error.message)
                    self._changed.add(owner)
            if self._changed:
                await self._clock.sleep(RETRY_S)
                self._wake.set()

    async def _follow(self, account: str, name: str) -> None:
        """Bring what is held of a function to what is configured."""
        owner = (account, name)
        wanted: dict[str, int] = {}
        for allotment in await self._provisioned.allotments(account, name):
            for version, part in allotment.parts:
                wanted[version] = wanted.get(version, 0) + part
        held, unmet = await self._resolved(account, name, wanted)
        before = self._held.pop(owner, {})
        self._unmet.pop(owner, None)
        unmet |= self._tell(before, held)
        if held:
            self._held[owner] = held
        if unmet:
            self._unmet[owner] = unmet
        if before or held:
            self._grant(account, name, sum(each.total for each in held.values()))

    def _tell(self, before: Mapping[str, _Held], held: dict[str, _Held]) -> dict[str, str]:
        """Require what differs; by version why it cannot be."""
        was = {each.function.sandbox_key: each for each in before.values()}
        refused: dict[str, str] = {}
        for key in was.keys() - {each.function.sandbox_key for each in held.values()}:
            self._require(was[key].function, 0)
        for version, each in list(held.items()):
            earlier = was.get(each.function.sandbox_key)
            if earlier is None or earlier.total != each.total:
                try:
                    self._require(each.function, each.total)
                except InvalidInput as error:
                    refused[version] = error.message
                    del held[version]
        return refused

    async def _resolved(
        self, account: str, name: str, wanted: dict[str, int]
    ) -> tuple[dict[str, _Held], dict[str, str]]:
        held: dict[str, _Held] = {}
        unmet: dict[str, str] = {}
        for version, total in wanted.items():
            try:
                resolved = await self._registry.resolve(account, name, version, 0.0)
            except (NotFound, StorageFailed) as error:
                unmet[version] = error.message
            else:
                held[version] = _Held(resolved.function, total)
        return held, unmet
