"""Webhooks, and what was delivered to them lately."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from forerun.storage.db import Db, Statement, in_batches

_SWEPT = 5000


class Scheme(StrEnum):
    """How who sends proves that it knows the secret."""

    STANDARD = "standard"
    GITHUB = "github"
    STRIPE = "stripe"
    SLACK = "slack"
    NONE = "none"


class TargetFormat(StrEnum):
    """What the target is given: a CloudEvent, the body itself, or the whole request."""

    CLOUDEVENT = "cloudevent"
    RAW = "raw"
    HTTP = "http"


class SealedSecret(msgspec.Struct, frozen=True):
    """A secret at rest; one that was replaced is good until ``until`` (epoch seconds)."""

    sealed: bytes
    until: float | None = None


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. ``id`` is the unguessable part of its URL; ``target`` an ARN or URL. Times are epoch seconds."""

    account: str
    name: str
    id: str
    target: str
    scheme: Scheme
    target_format: TargetFormat = TargetFormat.CLOUDEVENT
    max_age_s: float = 300.0
    content_types: tuple[str, ...] = ()
    rate_per_s: float = 100.0
    secrets: tuple[SealedSecret, ...] = ()
    created: float = 0.0
    changed: float = 0.0


_HOOK = msgspec.msgpack.Decoder(Hook)


class HookStore:
    """Webhooks over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def put(self, hook: Hook) -> None:
        """Store it, in place of one of that name."""
        await self._db.write(
            Statement(
                "INSERT INTO hooks VALUES ($1, $2, $3, $4)"
                " ON CONFLICT (account, name) DO UPDATE SET id = excluded.id, config = excluded.config",
                (hook.account, hook.name, hook.id, msgspec.msgpack.encode(hook)),
            )
        )

    async def find(self, account: str, name: str) -> Hook | None:
        """By its name."""
        rows = await self._db.fetch(
            "SELECT config FROM hooks WHERE account = $1 AND name = $2", account, name
        )
        return _HOOK.decode(rows[0][0]) if rows else None

    async def by_id(self, hook_id: str) -> Hook | None:
        """By the id in its URL."""
        rows = await self._db.fetch("SELECT config FROM hooks WHERE id = $1", hook_id)
        return _HOOK.decode(rows[0][0]) if rows else None

    async def list(self, account: str, limit: int) -> list[Hook]:
        """An account's, by name."""
        rows = await self._db.fetch(
            "SELECT config FROM hooks WHERE account = $1 ORDER BY name LIMIT $2", account, limit
        )
        return [_HOOK.decode(row[0]) for row in rows]

    async def remove(self, hook: Hook) -> None:
        """Delete it, and what is known of its deliveries."""
        await self._db.write(
            Statement("DELETE FROM hooks WHERE id = $1", (hook.id,)),
            Statement("DELETE FROM hook_deliveries WHERE hook = $1", (hook.id,)),
        )

    async def known(self, hook_id: str, delivery: bytes, now: float) -> bool:
        """Whether this was delivered, and it was not too long ago."""
        rows = await self._db.fetch(
            "SELECT 1 FROM hook_deliveries WHERE hook = $1 AND delivery = $2 AND until > $3",
            hook_id,
            delivery,
            now,
        )
        return bool(rows)

    async def remember(self, hook_id: str, deliveries: Sequence[bytes], until: float) -> None:
        """These were delivered."""
        rows = [(hook_id, each, until) for each in deliveries]
        await self._db.write(
            *in_batches(
                "INSERT INTO hook_deliveries VALUES {values}"
                " ON CONFLICT (hook, delivery) DO UPDATE SET until = excluded.until",
                rows,
            )
        )

    async def sweep(self, now: float) -> None:
        """Forget deliveries that need not be known any more, some at a time."""
        await self._db.write(
            Statement(
                "DELETE FROM hook_deliveries WHERE (hook, delivery) IN"
                " (SELECT hook, delivery FROM hook_deliveries WHERE until <= $1 LIMIT $2)",
                (now, _SWEPT),
            ),
            durable=False,
        )
