"""Schedules and their groups: what users asked for, when each is due next, and what came of it last."""

from typing import Any

import msgspec

from forerun.storage.db import Db, Row, Statement


class ScheduleGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group of schedules; times are epoch seconds. ``deleting``: it goes as soon as its schedules are gone."""

    account: str
    name: str
    created: float
    modified: float
    tags: dict[str, str] = {}
    deleting: bool = False


class ScheduleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asked for. ``target`` is AWS's Target as it was given; times are epoch seconds.

    ``window_minutes`` is the flexible time window, 0 for none; ``anchor`` is where a rate counts from, its first firing.
    """

    expression: str
    target: dict[str, Any]
    zone: str = "UTC"
    since: float | None = None
    until: float | None = None
    window_minutes: int = 0
    description: str | None = None
    key_arn: str | None = None
    delete_after: bool = False
    anchor: float
    created: float
    modified: float


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a schedule stands. ``moment`` is the next scheduled time and ``due`` when it is fired, later within a window.

    ``last`` is the scheduled time of the last firing, ``last_at`` when that happened and ``outcome`` what came of it:
    ``sent``, or ``missed`` when the server was down for longer than the retry age. ``None`` where there is none.
    """

    moment: float | None = None
    due: float | None = None
    last: float | None = None
    last_at: float | None = None
    outcome: str | None = None


class StoredSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """One schedule; ``revision`` goes up with every change."""

    id: int = 0
    revision: int = 0
    account: str
    group: str
    name: str
    enabled: bool
    config: ScheduleConfig
    firing: Firing


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A request that may be repeated: the client's token, a digest of what was asked, and when."""

    token: str
    digest: str
    at: float


_COLUMNS = "SELECT id, revision, account, grp, name, state, config, firing FROM schedules"


class ScheduleStore:
    """Schedules and groups over ``Db``. Listings are in the order of their keys, ``after`` excluded."""

    def __init__(self, db: Db) -> None:
        self._db = db

    # Groups

    async def add_group(self, group: ScheduleGroup, token: Token | None = None) -> None:
        """Raises ``AlreadyExists``."""
        await self._db.write(
            Statement(
                "INSERT INTO schedule_groups VALUES ($1, $2, $3, 0)",
                (group.account, group.name, msgspec.json.encode(group)),
            ),
            *_remember(group.account, token),
        )

    async def save_group(self, group: ScheduleGroup, token: Token | None = None) -> None:
        """Replace one; ``Conflict`` when it is gone."""
        await self._db.write(
            Statement(
                "UPDATE schedule_groups SET config = $3, deleting = $4 WHERE account = $1 AND name = $2",
                (group.account, group.name, msgspec.json.encode(group), int(group.deleting)),
                1,
            ),
            *_remember(group.account, token),
        )

    async def group(self, account: str, name: str) -> ScheduleGroup | None:
        """One group."""
        rows = await self._db.fetch(
            "SELECT config FROM schedule_groups WHERE account = $1 AND name = $2", account, name
        )
        return _GROUP.decode(rows[0][0]) if rows else None

    async def groups(
        self, account: str, prefix: str, after: str, limit: int
    ) -> list[ScheduleGroup]:
        """Groups of an account whose names begin with ``prefix``."""
        rows = await self._db.fetch(
            "SELECT config FROM schedule_groups WHERE account = $1 AND name > $2"
            " AND substr(name, 1, length($3)) = $3 ORDER BY name LIMIT $4",
            account,
            after,
            prefix,
            limit,
        )
        return [_GROUP.decode(row[0]) for row in rows]

    async def count_groups(self, account: str) -> int:
        """How many groups an account has."""
        rows = await self._db.fetch(
            "SELECT count(*) FROM schedule_groups WHERE account = $1", account
        )
        return int(rows[0][0])

    async def deleting(self) -> list[tuple[str, str]]:
        """Account and name of the groups that are to be deleted."""
        rows = await self._db.fetch("SELECT account, name FROM schedule_groups WHERE deleting = 1")
        return [(account, name) for account, name in rows]

    async def empty_group(self, account: str, name: str, limit: int) -> list[int]:
        """Delete some schedules of a group; their ids, none when it is empty."""
        [rows] = await self._db.write(
            Statement(
                "DELETE FROM schedules WHERE id IN"
                " (SELECT id FROM schedules WHERE account = $1 AND grp = $2 LIMIT $3) RETURNING id",
                (account, name, limit),
            )
        )
        return [row[0] for row in rows]

    async def remove_group(self, account: str, name: str) -> None:
        """Delete a group in which nothing is left."""
        await self._db.write(
            Statement(
                "DELETE FROM schedule_groups WHERE account = $1 AND name = $2", (account, name)
            )
        )

    # Schedules

    async def add(self, schedule: StoredSchedule, token: Token | None = None) -> int:
        """The id it got; the one it has is ignored. Raises ``AlreadyExists``, ``Conflict`` when its group is not there or going."""
        encoded = _encoded(schedule)
        rows = await self._db.write(
            Statement(
                "UPDATE schedule_groups SET deleting = 0 WHERE account = $1 AND name = $2 AND deleting = 0",
                (schedule.account, schedule.group),
                None if schedule.group == "default" else 1,
            ),
            Statement(
                "INSERT INTO schedules (account, grp, name, state, due, config, firing, revision)"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, 0) RETURNING id",
                encoded,
            ),
            *_remember(schedule.account, token),
        )
        return int(rows[1][0][0])

    async def save(self, schedule: StoredSchedule, token: Token | None = None) -> None:
        """Replace one; ``Conflict`` when it is gone."""
        await self._db.write(
            Statement(
                "UPDATE schedules SET state = $4, due = $5, config = $6, firing = $7, revision = revision + 1"
                " WHERE account = $1 AND grp = $2 AND name = $3 AND id = $8",
                (*_encoded(schedule), schedule.id),
                1,
            ),
            *_remember(schedule.account, token),
        )

    async def fired(self, before: StoredSchedule, firing: Firing) -> bool:
        """Keep where it stands now; false when it was changed or deleted since ``before`` was read."""
        [rows] = await self._db.write(
            Statement(
                "UPDATE schedules SET due = $3, firing = $4, revision = revision + 1"
                " WHERE id = $1 AND revision = $2 RETURNING 1",
                (before.id, before.revision, firing.due, msgspec.json.encode(firing)),
            )
        )
        return bool(rows)

    async def find(self, account: str, group: str, name: str) -> StoredSchedule | None:
        """One schedule by name."""
        rows = await self._db.fetch(
            _COLUMNS + " WHERE account = $1 AND grp = $2 AND name = $3", account, group, name
        )
        return _schedule(rows[0]) if rows else None

    async def by_id(self, schedule_id: int) -> StoredSchedule | None:
        """One schedule."""
        rows = await self._db.fetch(_COLUMNS + " WHERE id = $1", schedule_id)
        return _schedule(rows[0]) if rows else None

    async def remove(
        self, account: str, group: str, name: str, token: Token | None = None
    ) -> int | None:
        """Delete one; its id, ``None`` when there was none."""
        rows = await self._db.write(
            Statement(
                "DELETE FROM schedules WHERE account = $1 AND grp = $2 AND name = $3 RETURNING id",
                (account, group, name),
            ),
            *_remember(account, token),
        )
        return rows[0][0][0] if rows[0] else None

    async def complete(self, before: StoredSchedule) -> bool:
        """Delete one that has done all; false when it was changed since ``before`` was read."""
        [rows] = await self._db.write(
            Statement(
                "DELETE FROM schedules WHERE id = $1 AND revision = $2 RETURNING 1",
                (before.id, before.revision),
            )
        )
        return bool(rows)

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
        """Schedules of an account by group and name; of one group, of one state, of names with a prefix if given."""
        rows = await self._db.fetch(
            _COLUMNS + " WHERE account = $1 AND (grp, name) > ($2, $3) AND ($5 = '' OR grp = $5)"
            " AND substr(name, 1, length($6)) = $6 AND ($7 = '' OR state = $7) ORDER BY grp, name LIMIT $4",
            account,
            *after,
            limit,
            group,
            prefix,
            state,
        )
        return [_schedule(row) for row in rows]

    async def pending(self, after: int, limit: int) -> list[tuple[int, float]]:
        """Ids and moments of those that are due some time, by id."""
        rows = await self._db.fetch(
            "SELECT id, due FROM schedules WHERE id > $1 AND due IS NOT NULL ORDER BY id LIMIT $2",
            after,
            limit,
        )
        return [(schedule_id, due) for schedule_id, due in rows]

    async def counts(self) -> dict[str, int]:
        """How many schedules each account has."""
        rows = await self._db.fetch("SELECT account, count(*) FROM schedules GROUP BY account")
        return dict(rows)

    # Requests that may be repeated

    async def token(self, account: str, token: str, since: float) -> Token | None:
        """What was asked with this token not before ``since``."""
        rows = await self._db.fetch(
            "SELECT token, digest, at FROM schedule_tokens WHERE account = $1 AND token = $2 AND at >= $3",
            account,
            token,
            since,
        )
        return Token(token=rows[0][0], digest=rows[0][1], at=rows[0][2]) if rows else None

    async def forget_tokens(self, before: float) -> None:
        """Forget tokens that are older."""
        await self._db.write(
            Statement("DELETE FROM schedule_tokens WHERE at < $1", (before,)), durable=False
        )


_GROUP = msgspec.json.Decoder(ScheduleGroup)
_CONFIG = msgspec.json.Decoder(ScheduleConfig)
_FIRING = msgspec.json.Decoder(Firing)


def _encoded(schedule: StoredSchedule) -> tuple[Any, ...]:
    return (
        schedule.account,
        schedule.group,
        schedule.name,
        "ENABLED" if schedule.enabled else "DISABLED",
        schedule.firing.due if schedule.enabled else None,
        msgspec.json.encode(schedule.config),
        msgspec.json.encode(schedule.firing),
    )


def _schedule(row: Row) -> StoredSchedule:
    schedule_id, revision, account, group, name, state, config, firing = row
    return StoredSchedule(
        id=schedule_id,
        revision=revision,
        account=account,
        group=group,
        name=name,
        enabled=state == "ENABLED",
        config=_CONFIG.decode(config),
        firing=_FIRING.decode(firing),
    )


def _remember(account: str, token: Token | None) -> list[Statement]:
    if token is None:
        return []
    return [
        Statement(
            "INSERT INTO schedule_tokens VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (account, token) DO UPDATE SET digest = excluded.digest, at = excluded.at",
            (account, token.token, token.digest, token.at),
        )
    ]
