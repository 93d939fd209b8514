"""Resource policies of functions: one list of statements per qualifier."""

from typing import Any

import msgspec

from forerun.storage.db import Db, Statement

_STATEMENTS = msgspec.json.Decoder(list[dict[str, Any]])


class ResourcePolicy(msgspec.Struct, frozen=True):
    """Statements as they stand in the policy document, and the revision they have."""

    revision: str
    statements: list[dict[str, Any]]


class PolicyStore:
    """Policies over ``Db``; qualifier ``""`` is the unqualified function."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def find(self, account: str, name: str, qualifier: str) -> ResourcePolicy | None:
        """The policy of one qualifier."""
        rows = await self._db.fetch(
            "SELECT revision, statements FROM function_policies"
            " WHERE account = $1 AND name = $2 AND qualifier = $3",
            account,
            name,
            qualifier,
        )
        return ResourcePolicy(rows[0][0], _STATEMENTS.decode(rows[0][1])) if rows else None

    async def save(
        self,
        account: str,
        name: str,
        qualifier: str,
        policy: ResourcePolicy,
        *,
        old: str | None,
    ) -> None:
        """Store the policy; ``old`` is the revision it replaces, ``None`` for a first one.

        ``Conflict`` or ``AlreadyExists`` when it was changed meanwhile. A policy without statements is deleted.
        """
        statements = msgspec.json.encode(policy.statements)
        key = (account, name, qualifier)
        if old is None:
            statement = Statement(
                "INSERT INTO function_policies VALUES ($1, $2, $3, $4, $5)",
                (*key, policy.revision, statements),
            )
        elif policy.statements:
            statement = Statement(
                "UPDATE function_policies SET revision = $4, statements = $5"
                " WHERE account = $1 AND name = $2 AND qualifier = $3 AND revision = $6",
                (*key, policy.revision, statements, old),
                1,
            )
        else:
            statement = Statement(
                "DELETE FROM function_policies"
                " WHERE account = $1 AND name = $2 AND qualifier = $3 AND revision = $4",
                (*key, old),
                1,
            )
        await self._db.write(statement)
