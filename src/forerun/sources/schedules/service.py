"""Schedules and their groups as users manage them: made, changed, listed, deleted; each request may be repeated."""

import hashlib
from typing import Any

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.errors import AlreadyExists, Conflict, ForerunError, InvalidInput, NotFound
from forerun.sources.schedules.firing import TOKEN_AGE_S, Firer
from forerun.sources.schedules.plan import Chance, begin, is_once, times_of
from forerun.sources.schedules.targets import Place, check_target
from forerun.storage.schedules import (
    ScheduleConfig,
    ScheduleGroup,
    ScheduleStore,
    StoredSchedule,
    Token,
)

DEFAULT = "default"
GROUPS = 500
SCHEDULES = 1_000_000
TAGS = 50
EARLIEST_START_S = 300.0
# The end of 2199, as far as schedules reach.
LAST_S = 7_258_118_399.0
CHUNK = 500


class QuotaExceeded(ForerunError):
    """The account has as many of these as it may have."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks a schedule to be; ``target`` is AWS's Target, times are epoch seconds."""

    group: str
    name: str
    expression: str
    target: dict[str, Any]
    zone: str = "UTC"
    since: float | None = None
    until: float | None = None
    window_minutes: int = 0
    enabled: bool = True
    description: str | None = None
    key_arn: str | None = None
    delete_after: bool = False


class Schedules:
    """The schedules of all accounts. Who repeats a request with its token is answered as the first time."""

    def __init__(
        self, store: ScheduleStore, firer: Firer, clock: Clock, *, region: str, chance: Chance
    ) -> None:
        self._store = store
        self._firer = firer
        self._clock = clock
        self._region = region
        self._chance = chance
        self._counts: dict[str, int] = {}
        self._owner = TaskOwner("schedules")
        firer.listen(self._gone)

    async def start(self) -> None:
        """Go on with what was left undone."""
        self._counts = await self._store.counts()
        for account, name in await self._store.deleting():
            self._owner.spawn(self._empty(account, name), name=f"delete-{name}")

    async def close(self) -> None:
        """Stop; what is being deleted goes on at the next start."""
        await self._owner.close()

    # Schedules

    async def create(self, account: str, wish: Wish, token: str | None) -> None:
        """Make a schedule.

        Raises ``InvalidInput``, ``Conflict`` when there is one of that name, ``NotFound`` without its group,
        ``QuotaExceeded``.
        """
        kept, repeated = await self._claim(account, token, "create", wish)
        if repeated:
            return
        await self._require_group(account, wish.group)
        if self._counts.get(account, 0) >= SCHEDULES:
            raise QuotaExceeded(f"An account has at most {SCHEDULES} schedules")
        now = self._clock.now()
        config = self._config(account, wish, now)
        schedule = StoredSchedule(
            account=account,
            group=wish.group,
            name=wish.name,
            enabled=wish.enabled,
            config=config,
            firing=begin(config, now, self._chance),
        )
        try:
            schedule_id = await self._store.add(schedule, kept)
        except AlreadyExists:
            raise Conflict(f"Schedule {wish.name} already exists.") from None
        except Conflict:
            raise Conflict(f"Schedule group {wish.group} is being deleted.") from None
        self._counts[account] = self._counts.get(account, 0) + 1
        self._firer.set(schedule_id, schedule.firing.due if wish.enabled else None)

    async def update(self, account: str, wish: Wish, token: str | None) -> None:
        """Replace all of a schedule.

        When its times stay as they were, so does the next one of them. Raises ``InvalidInput``, ``NotFound``, ``Conflict``.
        """
        kept, repeated = await self._claim(account, token, "update", wish)
        if repeated:
            return
        old = await self.find(account, wish.group, wish.name)
        now = self._clock.now()
        config = self._config(account, wish, now, old.config)
        firing = old.firing
        resumed = wish.enabled and not old.enabled
        if resumed or not _same_times(config, old.config):
            firing = begin(config, now, self._chance)
            firing = msgspec.structs.replace(
                firing, last=old.firing.last, last_at=old.firing.last_at, outcome=old.firing.outcome
            )
        changed = msgspec.structs.replace(old, enabled=wish.enabled, config=config, firing=firing)
        try:
            await self._store.save(changed, kept)
        except Conflict:
            raise _no_schedule(wish.name) from None
        self._firer.set(old.id, firing.due if wish.enabled else None)

    async def find(self, account: str, group: str, name: str) -> StoredSchedule:
        """One schedule; ``NotFound``."""
        found = await self._store.find(account, group, name)
        if found is None:
            raise _no_schedule(name)
        return found

    async def delete(self, account: str, group: str, name: str, token: str | None) -> None:
        """Delete a schedule; ``NotFound``."""
        kept, repeated = await self._claim(account, token, "delete", (group, name))
        if repeated:
            return
        await self.find(account, group, name)
        schedule_id = await self._store.remove(account, group, name, kept)
        if schedule_id is None:
            raise _no_schedule(name)
        self._firer.forget([schedule_id])
        self._gone(account)

    async def page(
        self,
        account: str,
        after: tuple[str, str],
        limit: int,
        *,
        group: str = "",
        prefix: str = "",
        state: str = "",
    ) -> list[StoredSchedule]:
        """Schedules by group and name; ``NotFound`` when a group is named that there is not."""
        if group:
            await self.group(account, group)
        return await self._store.page(
            account, after, limit, group=group, prefix=prefix, state=state
        )

    # Groups

    async def create_group(
        self, account: str, name: str, tags: dict[str, str], token: str | None
    ) -> None:
        """Make a group; ``Conflict`` when there is one of that name, ``QuotaExceeded``."""
        kept, repeated = await self._claim(account, token, "create-group", (name, tags))
        if repeated:
            return
        _require_tags(tags)
        if await self._store.count_groups(account) >= GROUPS:
            raise QuotaExceeded(f"An account has at most {GROUPS} schedule groups")
        now = self._clock.now()
        group = ScheduleGroup(account=account, name=name, created=now, modified=now, tags=tags)
        if name == DEFAULT:
            raise Conflict(f"Schedule group {name} already exists.")
        try:
            await self._store.add_group(group, kept)
        except AlreadyExists:
            raise Conflict(f"Schedule group {name} already exists.") from None

    async def group(self, account: str, name: str) -> ScheduleGroup:
        """One group; ``NotFound``. Every account has the group ``default``."""
        found = await self._store.group(account, name)
        if found is None and name == DEFAULT:
            now = self._clock.now()
            found = ScheduleGroup(account=account, name=name, created=now, modified=now)
            try:
                await self._store.add_group(found)
            except AlreadyExists:
                return await self.group(account, name)
        if found is None:
            raise NotFound(f"Schedule group {name} does not exist.")
        return found

    async def groups(
        self, account: str, prefix: str, after: str, limit: int
    ) -> list[ScheduleGroup]:
        """Groups by name."""
        await self.group(account, DEFAULT)
        return await self._store.groups(account, prefix, after, limit)

    async def delete_group(self, account: str, name: str, token: str | None) -> None:
        """Delete a group and its schedules, behind the answer. ``NotFound``, ``InvalidInput`` for the default one."""
        kept, repeated = await self._claim(account, token, "delete-group", name)
        if repeated:
            return
        if name == DEFAULT:
            raise InvalidInput("Default schedule group cannot be deleted.")
        group = await self.group(account, name)
        if group.deleting:
            raise Conflict(f"Schedule group {name} is being deleted.")
        now = self._clock.now()
        gone = msgspec.structs.replace(group, deleting=True, modified=now)
        await self._store.save_group(gone, kept)
        self._owner.spawn(self._empty(account, name), name=f"delete-{name}")

    async def tag(
        self, account: str, name: str, add: dict[str, str], remove: tuple[str, ...] = ()
    ) -> None:
        """Set and remove tags of a group; ``NotFound``, ``Conflict`` while it is being deleted."""
        group = await self._require_group(account, name)
        tags = {key: value for key, value in group.tags.items() if key not in remove} | add
        _require_tags(tags)
        now = self._clock.now()
        await self._store.save_group(msgspec.structs.replace(group, tags=tags, modified=now))

    # Inside

    def _gone(self, account: str, count: int = 1) -> None:
        self._counts[account] = max(0, self._counts.get(account, 0) - count)

    async def _require_group(self, account: str, name: str) -> ScheduleGroup:
        group = await self.group(account, name)
        if group.deleting:
            raise Conflict(f"Schedule group {name} is being deleted.")
        return group

    async def _empty(self, account: str, name: str) -> None:
        while gone := await self._store.empty_group(account, name, CHUNK):
            self._firer.forget(gone)
            self._gone(account, len(gone))
        await self._store.remove_group(account, name)

    async def _claim(
        self, account: str, token: str | None, operation: str, asked: object
    ) -> tuple[Token | None, bool]:
        """What to remember of a request, and whether it was carried out before. ``Conflict`` for a token of another one."""
        if token is None:
            return None, False
        now = self._clock.now()
        digest = hashlib.sha256(msgspec.json.encode((operation, asked))).hexdigest()
        known = await self._store.token(account, token, now - TOKEN_AGE_S)
        if known is None:
            return Token(token=token, digest=digest, at=now), False
        if known.digest != digest:
            raise Conflict("The ClientToken was used for another request.")
        return None, True

    def _config(
        self, account: str, wish: Wish, now: float, old: ScheduleConfig | None = None
    ) -> ScheduleConfig:
        """The wish, checked."""
        check_target(wish.target, Place(self._region, account))
        config = ScheduleConfig(
            expression=wish.expression,
            target=wish.target,
            zone=wish.zone,
            since=wish.since,
            until=wish.until,
            window_minutes=wish.window_minutes,
            description=wish.description,
            key_arn=wish.key_arn,
            delete_after=wish.delete_after,
            anchor=now if wish.since is None else wish.since,
            created=now if old is None else old.created,
            modified=now,
        )
        try:
            times_of(config)
        except InvalidInput as error:
            raise InvalidInput(
                f"Invalid Schedule Expression {wish.expression}. {error.message}"
            ) from None
        if old is not None and _same_times(config, old):
            return msgspec.structs.replace(config, anchor=old.anchor)
        if not is_once(config):
            _check_bounds(wish, now)
        return config


def _same_times(one: ScheduleConfig, other: ScheduleConfig) -> bool:
    return all(
        getattr(one, name) == getattr(other, name)
        for name in ("expression", "zone", "since", "until", "window_minutes")
    )


def _check_bounds(wish: Wish, now: float) -> None:
    for name, value in (("StartDate", wish.since), ("EndDate", wish.until)):
        if value is not None and not 0 <= value <= LAST_S:
            raise InvalidInput(f"The {name} must be a time from 1970 to 2199.")
    if wish.since is not None and wish.since < now - EARLIEST_START_S:
        raise InvalidInput("The StartDate you specify cannot be earlier than 5 minutes ago.")
    if wish.until is not None and wish.until < now:
        raise InvalidInput("The EndDate you specify cannot be earlier than now.")
    if wish.since is not None and wish.until is not None and wish.since >= wish.until:
        raise InvalidInput("The EndDate you specify must come after the StartDate.")


def _require_tags(tags: dict[str, str]) -> None:
    if len(tags) > TAGS:
        raise InvalidInput(f"A schedule group has at most {TAGS} tags")


def _no_schedule(name: str) -> NotFound:
    return NotFound(f"Schedule {name} does not exist.")
