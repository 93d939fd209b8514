"""How functions run once: set, told and removed by their owners; what has expired goes."""

import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.control.changes import Changes
from forerun.control.lookup import Lookup
from forerun.control.once.dependencies import Dependencies
from forerun.control.once.key import check_key
from forerun.control.once.line import Line
from forerun.errors import ForerunError, NotFound
from forerun.storage.once import DependencySpec, OnceConfig, OnceStore

MOST_RECORDS: Final = 100_000
MOST_RESULT_BYTES: Final = 1 << 30
EXPIRE_S: Final = 60.0
_TRIM_TURNS: Final = 10

log = logging.getLogger("forerun.once")


class OnceWish(msgspec.Struct, frozen=True, kw_only=True):
    """What an owner asks for; see ``OnceConfig``."""

    key: str = ""
    successes: int = 1
    expires_s: float = 3600.0
    depends_on: tuple[DependencySpec, ...] = ()
    keep_results: bool = True


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A function's configuration, how many identifiers are known of it, how many records, and the states of what it
    depends on now (``None`` where that cannot be told).
    """

    name: str
    config: OnceConfig
    ids: int
    records: int
    states: Sequence[str | None]


class OnceConfigs:
    """Configurations of all functions; ``start`` and ``close`` the sweeping."""

    def __init__(
        self,
        *,
        store: OnceStore,
        line: Line,
        dependencies: Dependencies,
        lookup: Lookup,
        changes: Changes,
        clock: Clock,
    ) -> None:
        self._store = store
        self._line = line
        self._dependencies = dependencies
        self._lookup = lookup
        self._changes = changes
        self._clock = clock
        self._owner = TaskOwner("once-configs")

    async def start(self) -> None:
        """Remove what is left of functions that are gone, and begin to remove what expires."""
        for account, name in await self._store.configured():
            await self._look(account, name)
        self._changes.listen(self._changed)
        self._owner.spawn(self._sweep(), name="sweep")

    async def close(self) -> None:
        """Remove nothing any more."""
        await self._owner.close()

    async def put(self, account: str, name: str, wish: OnceWish) -> Shown:
        """Set it, at once for all versions and aliases. ``NotFound`` without such a function, ``InvalidInput``, ``AccessDenied``."""
        await self._lookup.version(account, name)
        if wish.key:
            check_key(wish.key)
        states = await self._dependencies.check(account, wish.depends_on)
        now, before = self._clock.now(), await self._store.config(account, name)
        config = OnceConfig(
            **msgspec.structs.asdict(wish), created=before.created if before else now, modified=now
        )
        await self._store.put(account, name, config)
        self._changes.tell(account, name)
        return await self._shown(account, name, config, states)

    async def get(self, account: str, name: str) -> Shown:
        """How a function runs once; ``NotFound`` when it does not."""
        config = await self._store.config(account, name)
        if config is None:
            raise _missing(name)
        return await self._shown(account, name, config, await self._states(account, config))

    async def page(self, account: str, *, after: str, limit: int) -> list[Shown]:
        """Those of an account by function, ``after`` excluded; states are not asked for."""
        found = await self._store.configs(account, after=after, limit=limit)
        return [await self._shown(account, name, config, ()) for name, config in found]

    async def delete(self, account: str, name: str) -> None:
        """Let it run for every call again; identifiers that requests give stay. ``NotFound``."""
        if not await self._store.remove(account, name):
            raise _missing(name)
        self._changes.tell(account, name)

    async def _states(self, account: str, config: OnceConfig) -> Sequence[str | None]:
        try:
            return await self._dependencies.check(account, config.depends_on)
        except ForerunError:
            return [None] * len(config.depends_on)

    async def _shown(
        self, account: str, name: str, config: OnceConfig, states: Sequence[str | None]
    ) -> Shown:
        ids, records = await self._store.counts(account, name, self._clock.now())
        return Shown(name=name, config=config, ids=ids, records=records, states=states)

    def _changed(self, account: str, name: str, retired: Sequence[str]) -> None:
        # Nothing retires where a function is only configured; where one is deleted something does.
        if retired:
            self._owner.spawn(self._look(account, name), name=f"look-{name}")

    async def _look(self, account: str, name: str) -> None:
        """A function that is gone leaves nothing to one of the same name."""
        try:
            await self._lookup.version(account, name)
        except NotFound:
            await self._store.forget_function(account, name)
            self._changes.tell(account, name)

    async def _sweep(self) -> None:
        turn = 0
        while True:
            await self._clock.sleep(EXPIRE_S)
            turn += 1
            try:
                self._line.sweep()
                await self._store.expire(self._clock.now())
                if turn % _TRIM_TURNS == 0:
                    await self._store.trim(records=MOST_RECORDS, result_bytes=MOST_RESULT_BYTES)
            except ForerunError as error:
                log.warning("What expired could not be removed: %s", error.message)


def _missing(name: str) -> NotFound:
    return NotFound(
        f"Nothing says that {name} runs once; POST /forerun/put-once, or forerun once put {name}"
    )
