"""Layers: numbered packages that functions mount at ``/opt``; a version never changes but in who may use it."""

from typing import Any

import msgspec

from forerun.storage.db import Db, Row, Statement


class LayerVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a layer. ``unpacked_size`` in bytes; ``created`` epoch seconds; digests as in ``FunctionVersion``."""

    account: str
    region: str
    layer: str
    version: int = 0
    description: str = ""
    license: str = ""
    runtimes: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    code_sha256: str
    code_digest: str
    code_size: int
    unpacked_size: int
    created: float

    @property
    def layer_arn(self) -> str:
        """The ARN without version."""
        return f"arn:aws:lambda:{self.region}:{self.account}:layer:{self.layer}"

    @property
    def arn(self) -> str:
        """The ARN of this version."""
        return f"{self.layer_arn}:{self.version}"


class LayerPolicy(msgspec.Struct, frozen=True):
    """Who else may use a layer version; no statements: nobody."""

    revision: str
    statements: list[dict[str, Any]]


_CONFIG = msgspec.json.Decoder(LayerVersion)
_STATEMENTS = msgspec.json.Decoder(list[dict[str, Any]])


class LayerStore:
    """Layer versions over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def publish(self, layer: LayerVersion) -> LayerVersion:
        """Store the next version of a layer and return it with its number; numbers are never used twice."""
        [rows] = await self._db.write(
            Statement(
                "INSERT INTO layers VALUES ($1, $2, 2)"
                " ON CONFLICT (account, layer) DO UPDATE SET next_version = layers.next_version + 1"
                " RETURNING next_version - 1",
                (layer.account, layer.layer),
            )
        )
        numbered = msgspec.structs.replace(layer, version=rows[0][0])
        await self._db.write(
            Statement(
                "INSERT INTO layer_versions VALUES ($1, $2, $3, $4, $5, $6, '', $7)",
                (
                    numbered.account,
                    numbered.layer,
                    numbered.version,
                    msgspec.json.encode(numbered),
                    numbered.code_digest,
                    numbered.code_size,
                    b"[]",
                ),
            )
        )
        return numbered

    async def find(self, account: str, layer: str, version: int) -> LayerVersion | None:
        """One version of a layer."""
        return _one(
            await self._db.fetch(
                "SELECT config FROM layer_versions WHERE account = $1 AND layer = $2 AND version = $3",
                account,
                layer,
                version,
            )
        )

    async def versions(
        self, account: str, layer: str, below: int, limit: int
    ) -> list[LayerVersion]:
        """Versions of a layer, newest first, with numbers smaller than ``below``."""
        rows = await self._db.fetch(
            "SELECT config FROM layer_versions WHERE account = $1 AND layer = $2 AND version < $3"
            " ORDER BY version DESC LIMIT $4",
            account,
            layer,
            below,
            limit,
        )
        return [_CONFIG.decode(row[0]) for row in rows]

    async def names(self, account: str, after: str, limit: int) -> list[str]:
        """Layers of an account that have versions, by name."""
        rows = await self._db.fetch(
            "SELECT layer FROM layers WHERE account = $1 AND layer > $2 AND EXISTS (SELECT 1 FROM layer_versions v"
            " WHERE v.account = layers.account AND v.layer = layers.layer) ORDER BY layer LIMIT $3",
            account,
            after,
            limit,
        )
        return [row[0] for row in rows]

    async def remove(self, account: str, layer: str, version: int) -> None:
        """Delete one version; functions that have it keep it."""
        await self._db.write(
            Statement(
                "DELETE FROM layer_versions WHERE account = $1 AND layer = $2 AND version = $3",
                (account, layer, version),
            )
        )

    async def policy(self, account: str, layer: str, version: int) -> LayerPolicy | None:
        """The policy of a layer version; ``None`` when there is no such version."""
        rows = await self._db.fetch(
            "SELECT policy_revision, policy FROM layer_versions"
            " WHERE account = $1 AND layer = $2 AND version = $3",
            account,
            layer,
            version,
        )
        return LayerPolicy(rows[0][0], _STATEMENTS.decode(rows[0][1])) if rows else None

    async def set_policy(self, layer: LayerVersion, policy: LayerPolicy, *, old: str) -> None:
        """Replace the policy that has revision ``old`` (``""``: none yet); ``Conflict`` when it has another."""
        await self._db.write(
            Statement(
                "UPDATE layer_versions SET policy_revision = $1, policy = $2"
                " WHERE account = $3 AND layer = $4 AND version = $5 AND policy_revision = $6",
                (
                    policy.revision,
                    msgspec.json.encode(policy.statements),
                    layer.account,
                    layer.layer,
                    layer.version,
                    old,
                ),
                1,
            )
        )


def _one(rows: list[Row]) -> LayerVersion | None:
    return _CONFIG.decode(rows[0][0]) if rows else None
