"""What belongs to a whole function: tags, reserved concurrency, recursion, runtime policy; and an account's usage."""

from typing import NamedTuple

import msgspec

from forerun.storage.db import Db, Statement
from forerun.storage.functions import RuntimePolicy, version_number


class Usage(NamedTuple):
    """Bytes of all packages of an account as uploaded, and the number of its functions."""

    code_bytes: int
    functions: int


class OwnershipStore:
    """Settings of functions beside their versions."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def set_tags(
        self, account: str, name: str, tags: dict[str, str], *, old: dict[str, str]
    ) -> None:
        """Replace the tags; ``Conflict`` when they are no longer ``old``."""
        await self._db.write(
            Statement(
                "UPDATE functions SET tags = $1 WHERE account = $2 AND name = $3 AND tags = $4",
                (msgspec.json.encode(tags), account, name, msgspec.json.encode(old)),
                1,
            )
        )

    async def reserve(self, account: str, name: str, amount: int, *, most: int) -> bool:
        """Reserve concurrency; false when reservations and what is provisioned without one would together exceed ``most``."""
        [rows] = await self._db.write(
            Statement(
                "UPDATE functions SET reserved = $3 WHERE account = $1 AND name = $2 AND $3 +"
                " (SELECT coalesce(sum(reserved), 0) FROM functions"
                " WHERE account = $1 AND reserved IS NOT NULL AND name <> $2)"
                " + (SELECT coalesce(sum(p.requested), 0) FROM provisioned_concurrency p"
                " JOIN functions f ON f.account = p.account AND f.name = p.name"
                " WHERE p.account = $1 AND p.name <> $2 AND f.reserved IS NULL) <= $4 RETURNING 1",
                (account, name, amount, most),
            )
        )
        return bool(rows)

    async def unreserve(self, account: str, name: str) -> None:
        """Drop the reservation."""
        await self._db.write(
            Statement(
                "UPDATE functions SET reserved = NULL WHERE account = $1 AND name = $2",
                (account, name),
            )
        )

    async def reserved_total(self, account: str) -> int:
        """Sum of the account's reservations."""
        rows = await self._db.fetch(
            "SELECT coalesce(sum(reserved), 0) FROM functions WHERE account = $1 AND reserved IS NOT NULL",
            account,
        )
        return int(rows[0][0])

    async def reservations(self) -> list[tuple[str, str, int]]:
        """Account, function and amount of every reservation."""
        rows = await self._db.fetch(
            "SELECT account, name, reserved FROM functions WHERE reserved IS NOT NULL"
        )
        return [(account, name, amount) for account, name, amount in rows]

    async def set_recursion(self, account: str, name: str, recursion: str) -> None:
        """``Allow`` or ``Terminate``."""
        await self._db.write(
            Statement(
                "UPDATE functions SET recursion = $1 WHERE account = $2 AND name = $3",
                (recursion, account, name),
            )
        )

    async def set_runtime_policy(
        self, account: str, name: str, version: str, policy: RuntimePolicy
    ) -> None:
        """Change when a version's runtime is updated; ``Conflict`` when the version is gone."""
        await self._db.write(
            Statement(
                "UPDATE function_versions SET runtime_policy = $1 WHERE account = $2 AND name = $3 AND number = $4",
                (msgspec.json.encode(policy), account, name, version_number(version)),
                1,
            )
        )

    async def usage(self, account: str) -> Usage:
        """What the account has stored."""
        rows = await self._db.fetch(
            "SELECT code_bytes, functions FROM account_usage WHERE account = $1", account
        )
        return Usage(*rows[0]) if rows else Usage(0, 0)
