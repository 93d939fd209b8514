"""Provisioned concurrency: how many initialised sandboxes a version or an alias is to have at any time."""

from typing import NamedTuple

from forerun.aio import Clock
from forerun.control.changes import Changes
from forerun.control.lookup import NUMBER, Lookup
from forerun.control.paging import Page, from_marker, page_size, to_page
from forerun.control.rules import ProvisionedConcurrencyMissing, require_range
from forerun.errors import Conflict, InvalidInput
from forerun.scheduling import share_out
from forerun.storage.functions import LATEST
from forerun.storage.provisioned import ProvisionedConfig, ProvisionedStore

MOST = 2**31 - 1
UNPUBLISHED = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
_ALL = 10_000


class Allotment(NamedTuple):
    """A configuration, and which versions it goes to: numbers with their part; ``reason`` says why to none."""

    config: ProvisionedConfig
    parts: tuple[tuple[str, int], ...]
    reason: str = ""


class Provisioned:
    """Stores configurations and tells of them; who keeps the sandboxes hears of it through ``changes``."""

    def __init__(
        self,
        *,
        store: ProvisionedStore,
        lookup: Lookup,
        changes: Changes,
        clock: Clock,
        account_limit: int,
        unreserved_minimum: int,
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._changes = changes
        self._clock = clock
        self._limit = account_limit
        self._minimum = unreserved_minimum

    async def put(
        self, account: str, name: str, qualifier: str | None, requested: int
    ) -> ProvisionedConfig:
        """Ask for so many. Raises ``InvalidInput`` naming the limit, ``Conflict`` when version and alias both ask."""
        require_range("provisionedConcurrentExecutions", requested, 1, MOST)
        if qualifier is None or qualifier == LATEST:
            raise InvalidInput(UNPUBLISHED)
        record, found = await self._lookup.version(account, name, qualifier)
        if found.function.version == LATEST:
            raise InvalidInput(UNPUBLISHED)
        if found.function.snap_start:
            raise InvalidInput(
                "Provisioned Concurrency is not supported for SnapStart enabled functions."
            )
        await self._require_free(account, name, qualifier, found.function.version)
        config = ProvisionedConfig(
            account=account,
            name=name,
            qualifier=qualifier,
            requested=requested,
            modified=self._clock.now(),
        )
        if not await self._store.save(config, most=self._limit - self._minimum):
            if record.reserved is not None:
                raise InvalidInput(
                    "Requested Provisioned Concurrency should not be greater than the "
                    f"reservedConcurrentExecution for function [{record.reserved}]"
                )
            raise InvalidInput(
                "Specified ConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{self._minimum}]."
            )
        self._changes.tell(account, name)
        return config

    async def get(self, account: str, name: str, qualifier: str | None) -> ProvisionedConfig:
        """The configuration of a qualifier; ``ProvisionedConcurrencyMissing`` when it has none."""
        await self._lookup.version(account, name, qualifier)
        found = await self._store.find(account, name, qualifier or LATEST)
        if found is None:
            raise ProvisionedConcurrencyMissing
        return found

    async def find(self, account: str, name: str, qualifier: str) -> ProvisionedConfig | None:
        """The configuration of a qualifier, whether that is there or not."""
        return await self._store.find(account, name, qualifier)

    async def delete(self, account: str, name: str, qualifier: str | None) -> None:
        """Give it up, if there is one."""
        await self._lookup.version(account, name, qualifier)
        if await self._store.remove(account, name, qualifier or LATEST):
            self._changes.tell(account, name)

    async def page(
        self, account: str, name: str, marker: str | None, limit: int | None
    ) -> Page[ProvisionedConfig]:
        """The function's configurations by qualifier."""
        [after] = from_marker(marker, ("",))
        size = page_size(limit)
        found = await self._store.page(account, name, str(after), size + 1)
        if not found:
            await self._lookup.version(account, name)
        return to_page(found, [(config.qualifier,) for config in found], size)

    async def functions(self) -> list[tuple[str, str]]:
        """Account and name of every function that has a configuration."""
        return await self._store.functions()

    async def allotments(self, account: str, name: str) -> list[Allotment]:
        """Where each configuration of a function goes; none for a function that is gone."""
        configs = await self._store.page(account, name, "", _ALL)
        return [await self.allotment(config) for config in configs]

    async def allotment(self, config: ProvisionedConfig) -> Allotment:
        """Where a configuration goes: an alias that is being moved has two versions, by their weight."""
        if NUMBER.fullmatch(config.qualifier):
            return Allotment(config, ((config.qualifier, config.requested),))
        alias = await self._lookup.find_alias(config.account, config.name, config.qualifier)
        if alias is None:
            return Allotment(config, (), f"there is no alias {config.qualifier}")
        if alias.version == LATEST:
            return Allotment(config, (), "the alias points to $LATEST, which cannot be provisioned")
        parts = [(alias.version, config.requested)]
        for further, weight in alias.weights.items():
            own, rest = share_out(config.requested, weight)
            parts = [(alias.version, own), (further, rest)]
        return Allotment(config, tuple((version, part) for version, part in parts if part))

    async def versions(self, account: str, name: str, qualifier: str) -> tuple[str, ...]:
        """The versions that calls to a qualifier go to; none when there is no such alias."""
        if NUMBER.fullmatch(qualifier):
            return (qualifier,)
        alias = await self._lookup.find_alias(account, name, qualifier)
        return () if alias is None else (alias.version, *alias.weights)

    async def _require_free(self, account: str, name: str, qualifier: str, version: str) -> None:
        if NUMBER.fullmatch(qualifier):
            for config in await self._store.page(account, name, "", _ALL):
                alias = await self._lookup.find_alias(account, name, config.qualifier)
                if alias is not None and qualifier in (alias.version, *alias.weights):
                    raise Conflict("Version is pointed by a Provisioned Concurrency alias")
            return
        alias = await self._lookup.alias(account, name, qualifier)
        if alias.weights:
            raise InvalidInput("Alias with weights can not be used with Provisioned Concurrency")
        if await self._store.find(account, name, version) is not None:
            raise Conflict(
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
            )
