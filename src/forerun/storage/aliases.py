"""Aliases: names for versions, with the share of calls that goes to a second one."""

import msgspec

from forerun.storage.db import Db, Row, Statement


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """``weights``: further versions and their share of the calls, from 0 to 1."""

    account: str
    name: str
    alias: str
    version: str
    description: str = ""
    weights: dict[str, float] = {}
    revision: str


class AliasStore:
    """Aliases over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def add(self, alias: Alias) -> None:
        """Store a new alias; ``AlreadyExists`` when the name is taken, ``Conflict`` when the function is gone."""
        await self._db.write(
            Statement(
                "INSERT INTO aliases VALUES ($1, $2, $3, $4, $5, $6, $7)",
                (
                    alias.account,
                    alias.name,
                    alias.alias,
                    alias.version,
                    alias.description,
                    msgspec.json.encode(alias.weights).decode(),
                    alias.revision,
                ),
            )
        )

    async def find(self, account: str, name: str, alias: str) -> Alias | None:
        """One alias of a function."""
        rows = await self._db.fetch(
            "SELECT alias, version, description, weights, revision FROM aliases"
            " WHERE account = $1 AND name = $2 AND alias = $3",
            account,
            name,
            alias,
        )
        return _alias(account, name, rows[0]) if rows else None

    async def replace(self, alias: Alias, *, revision: str) -> None:
        """Change an alias that still has that revision; ``Conflict`` when it has not."""
        await self._db.write(
            Statement(
                "UPDATE aliases SET version = $1, description = $2, weights = $3, revision = $4"
                " WHERE account = $5 AND name = $6 AND alias = $7 AND revision = $8",
                (
                    alias.version,
                    alias.description,
                    msgspec.json.encode(alias.weights).decode(),
                    alias.revision,
                    alias.account,
                    alias.name,
                    alias.alias,
                    revision,
                ),
                1,
            )
        )

    async def remove(self, account: str, name: str, alias: str) -> None:
        """Delete an alias with what was configured for it."""
        where = (account, name, alias)
        await self._db.write(
            Statement("DELETE FROM aliases WHERE account = $1 AND name = $2 AND alias = $3", where),
            Statement(
                "DELETE FROM function_policies WHERE account = $1 AND name = $2 AND qualifier = $3",
                where,
            ),
            Statement(
                "DELETE FROM event_invoke_configs WHERE account = $1 AND name = $2 AND qualifier = $3",
                where,
            ),
            Statement(
                "DELETE FROM provisioned_concurrency WHERE account = $1 AND name = $2 AND qualifier = $3",
                where,
            ),
            Statement(
                "DELETE FROM function_urls WHERE account = $1 AND name = $2 AND qualifier = $3",
                where,
            ),
        )

    async def page(
        self, account: str, name: str, after: str, limit: int, *, version: str | None = None
    ) -> list[Alias]:
        """Aliases of a function by name; with ``version`` only those that send calls to it."""
        if version is None:
            rows = await self._db.fetch(
                "SELECT alias, version, description, weights, revision FROM aliases"
                " WHERE account = $1 AND name = $2 AND alias > $3 ORDER BY alias LIMIT $4",
                account,
                name,
                after,
                limit,
            )
        else:
            rows = await self._db.fetch(
                "SELECT alias, version, description, weights, revision FROM aliases"
                " WHERE account = $1 AND name = $2 AND alias > $3"
                " AND (version = $5 OR weights LIKE '%\"' || $5 || '\"%') ORDER BY alias LIMIT $4",
                account,
                name,
                after,
                limit,
                version,
            )
        return [_alias(account, name, row) for row in rows]


def _alias(account: str, name: str, row: Row) -> Alias:
    return Alias(
        account=account,
        name=name,
        alias=row[0],
        version=row[1],
        description=row[2],
        weights=msgspec.json.decode(row[3], type=dict[str, float]),
        revision=row[4],
    )
