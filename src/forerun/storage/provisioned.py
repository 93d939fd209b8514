"""Provisioned concurrency: how many initialised sandboxes somebody asked for, per version or alias."""

import msgspec

from forerun.storage.db import Db, Row, Statement


class ProvisionedConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``requested`` sandboxes for ``qualifier``, a version's number or an alias; ``modified`` in epoch seconds."""

    account: str
    name: str
    qualifier: str
    requested: int
    modified: float


class ProvisionedStore:
    """Configurations over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def save(self, config: ProvisionedConfig, *, most: int) -> bool:
        """Set it; false when reservations and what is provisioned without one would together exceed ``most``.

        Of a function with a reservation it is taken from that, and must not exceed it together with its other qualifiers.
        ``Conflict`` when the function is gone.
        """
        [rows] = await self._db.write(
            Statement(
                "INSERT INTO provisioned_concurrency SELECT $1, $2, $3, $4, $5 WHERE CASE"
                " WHEN EXISTS (SELECT 1 FROM functions WHERE account = $1 AND name = $2 AND reserved IS NOT NULL)"
                " THEN CAST($4 AS BIGINT) + (SELECT coalesce(sum(requested), 0) FROM provisioned_concurrency"
                " WHERE account = $1 AND name = $2 AND qualifier <> $3)"
                " <= (SELECT reserved FROM functions WHERE account = $1 AND name = $2)"
                # Else it is taken from what the account's reservations and other provisioned functions leave.
                " ELSE CAST($4 AS BIGINT) + (SELECT coalesce(sum(reserved), 0) FROM functions"
                " WHERE account = $1 AND reserved IS NOT NULL)"
                " + (SELECT coalesce(sum(p.requested), 0) FROM provisioned_concurrency p"
                " JOIN functions f ON f.account = p.account AND f.name = p.name"
                " WHERE p.account = $1 AND f.reserved IS NULL AND NOT (p.name = $2 AND p.qualifier = $3)) <= $6 END"
                " ON CONFLICT (account, name, qualifier)"
                " DO UPDATE SET requested = excluded.requested, modified = excluded.modified RETURNING 1",
                (
                    config.account,
                    config.name,
                    config.qualifier,
                    config.requested,
                    config.modified,
                    most,
                ),
            )
        )
        return bool(rows)

    async def find(self, account: str, name: str, qualifier: str) -> ProvisionedConfig | None:
        """The configuration of one qualifier."""
        rows = await self._db.fetch(
            "SELECT account, name, qualifier, requested, modified FROM provisioned_concurrency"
            " WHERE account = $1 AND name = $2 AND qualifier = $3",
            account,
            name,
            qualifier,
        )
        return _config(rows[0]) if rows else None

    async def remove(self, account: str, name: str, qualifier: str) -> bool:
        """Delete it; false when there was none."""
        [rows] = await self._db.write(
            Statement(
                "DELETE FROM provisioned_concurrency WHERE account = $1 AND name = $2 AND qualifier = $3 RETURNING 1",
                (account, name, qualifier),
            )
        )
        return bool(rows)

    async def page(
        self, account: str, name: str, after: str, limit: int
    ) -> list[ProvisionedConfig]:
        """Configurations of a function by qualifier."""
        rows = await self._db.fetch(
            "SELECT account, name, qualifier, requested, modified FROM provisioned_concurrency"
            " WHERE account = $1 AND name = $2 AND qualifier > $3 ORDER BY qualifier LIMIT $4",
            account,
            name,
            after,
            limit,
        )
        return [_config(row) for row in rows]

    async def functions(self) -> list[tuple[str, str]]:
        """Account and name of every function with a configuration."""
        rows = await self._db.fetch("SELECT DISTINCT account, name FROM provisioned_concurrency")
        return [(account, name) for account, name in rows]

    async def total(self, account: str, name: str) -> int:
        """What is provisioned of a function, all qualifiers together."""
        rows = await self._db.fetch(
            "SELECT coalesce(sum(requested), 0) FROM provisioned_concurrency WHERE account = $1 AND name = $2",
            account,
            name,
        )
        return int(rows[0][0])

    async def unreserved_total(self, account: str) -> int:
        """What is provisioned of the account's functions without reserved concurrency."""
        rows = await self._db.fetch(
            "SELECT coalesce(sum(p.requested), 0) FROM provisioned_concurrency p"
            " JOIN functions f ON f.account = p.account AND f.name = p.name"
            " WHERE p.account = $1 AND f.reserved IS NULL",
            account,
        )
        return int(rows[0][0])


def _config(row: Row) -> ProvisionedConfig:
    account, name, qualifier, requested, modified = row
    return ProvisionedConfig(
        account=account, name=name, qualifier=qualifier, requested=requested, modified=modified
    )
