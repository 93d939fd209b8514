"""Whom the processes of a cluster believe: its authority, the engine's secret, and the tokens that let machines join."""

from typing import LiteralString, NamedTuple

from forerun.errors import NotFound
from forerun.storage.db import Db, Row, Statement
from forerun.storage.sealing import Sealer

_KEY = b"cluster/authority"
_ENGINE = b"cluster/engine"
# How long a token that can be used no more is kept, so that its refusal can say why.
_KEPT_S = 7 * 86400.0


class KeptTrust(NamedTuple):
    """The authority of a cluster: its certificate (PEM), its key (PKCS 8, DER), the secret of the engine, where that is."""

    authority_pem: str
    key: bytes
    engine_secret: str
    engine: str


class JoinToken(NamedTuple):
    """A token as it is kept. ``uses`` is how many machines it still lets join; moments are epoch seconds."""

    id: str
    role: str
    uses: int
    expires: float
    created: float
    hash: str = ""


_TOKENS: LiteralString = "SELECT id, role, uses, expires, created, hash FROM join_tokens"


class TrustStore:
    """What a cluster's trust rests on, over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def authority(self) -> str:
        """The authority's certificate (PEM); empty while nobody has founded the cluster. Needs no sealing key."""
        rows = await self._db.fetch("SELECT authority FROM cluster_trust WHERE id = 1")
        return str(rows[0][0]) if rows else ""

    async def found(self, trust: KeptTrust, sealer: Sealer, *, now: float) -> None:
        """Keep the authority of a new cluster; of two that try, one gets ``AlreadyExists``."""
        await self._db.write(
            Statement(
                "INSERT INTO cluster_trust (id, authority, key, engine_secret, engine, made)"
                " VALUES (1, $1, $2, $3, $4, $5)",
                (
                    trust.authority_pem,
                    sealer.seal(trust.key, _KEY),
                    sealer.seal(trust.engine_secret.encode(), _ENGINE),
                    trust.engine,
                    now,
                ),
            )
        )

    async def open(self, sealer: Sealer) -> KeptTrust:
        """All of it. Raises ``NotFound`` before anything is founded, ``StorageFailed`` when it is another sealing key's."""
        rows = await self._db.fetch(
            "SELECT authority, key, engine_secret, engine FROM cluster_trust WHERE id = 1"
        )
        if not rows:
            raise NotFound("This database has no cluster yet.")
        authority, key, secret, engine = rows[0]
        return KeptTrust(
            authority, sealer.open(key, _KEY), sealer.open(secret, _ENGINE).decode(), engine
        )

    async def engine(self) -> str:
        """``HOST:PORT`` of the engine's head; empty while there is none."""
        rows = await self._db.fetch("SELECT engine FROM cluster_trust WHERE id = 1")
        return str(rows[0][0]) if rows else ""

    async def move_engine(self, address: str) -> None:
        """The engine's head is there from now on."""
        await self._db.write(
            Statement("UPDATE cluster_trust SET engine = $1 WHERE id = 1", (address,))
        )

    async def add_token(self, token: JoinToken) -> None:
        """Keep a token, and forget those that have long been of no use."""
        await self._db.write(
            Statement("DELETE FROM join_tokens WHERE expires < $1", (token.created - _KEPT_S,)),
            Statement(
                "INSERT INTO join_tokens (hash, id, role, uses, expires, created)"
                " VALUES ($1, $2, $3, $4, $5, $6)",
                (token.hash, token.id, token.role, token.uses, token.expires, token.created),
            ),
        )

    async def tokens(self) -> list[JoinToken]:
        """All that are kept, the newest first."""
        rows = await self._db.fetch(_TOKENS + " ORDER BY created DESC, id")
        return [_token(row) for row in rows]

    async def token(self, hashed: str) -> JoinToken | None:
        """The one with this hash."""
        rows = await self._db.fetch(_TOKENS + " WHERE hash = $1", hashed)
        return _token(rows[0]) if rows else None

    async def use_token(self, hashed: str, *, now: float) -> bool:
        """Use it up by one, in one step; false when nothing is left of it."""
        sql: LiteralString = (
            "UPDATE join_tokens SET uses = uses - 1"
            " WHERE hash = $1 AND uses > 0 AND expires > $2 RETURNING uses"
        )
        [rows] = await self._db.write(Statement(sql, (hashed, now)))
        return bool(rows)

    async def revoke_token(self, token_id: str) -> None:
        """Nobody joins with it any more. Raises ``NotFound``."""
        sql: LiteralString = "DELETE FROM join_tokens WHERE id = $1 RETURNING id"
        [rows] = await self._db.write(Statement(sql, (token_id,)))
        if not rows:
            raise NotFound(f"There is no token {token_id}; see them with: forerun token list")


def _token(row: Row) -> JoinToken:
    return JoinToken(*row)
