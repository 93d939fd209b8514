"""Accounts, access keys (secrets sealed), and what IAM knows: users, roles, managed policies.

All of it is small and read on every request, so it is read as a whole; ``changes`` tells cheaply whether another
process wrote since.
"""

from typing import NamedTuple, Protocol

import msgspec

from forerun.storage.db import Db, Statement

_TOUCH = Statement("UPDATE identity_changes SET number = number + 1 WHERE id = 1")
_CHANGES = "SELECT number FROM identity_changes WHERE id = 1"
_ACCOUNTS = "SELECT id, name, created FROM accounts ORDER BY created, id"
_KEYS = "SELECT id, account, user_name, secret_sealed, active, created FROM access_keys ORDER BY created, id"
_ENTITIES = "SELECT revision, body FROM iam_entities ORDER BY account, kind, name"
_ADD_ACCOUNT = "INSERT INTO accounts (id, name, created) VALUES ($1, $2, $3)"
_ADD_KEY = """
INSERT INTO access_keys (id, account, user_name, secret_sealed, active, created) VALUES ($1, $2, $3, $4, $5, $6)
"""
_SET_KEY = "UPDATE access_keys SET active = $2 WHERE id = $1"
_DELETE_KEY = "DELETE FROM access_keys WHERE id = $1"
_ADD_ENTITY = (
    "INSERT INTO iam_entities (account, kind, name, revision, body) VALUES ($1, $2, $3, 1, $4)"
)
_SET_ENTITY = """
UPDATE iam_entities SET body = $4, revision = revision + 1
WHERE account = $1 AND kind = $2 AND name = $3 AND revision = $5
"""
_DELETE_ENTITY = (
    "DELETE FROM iam_entities WHERE account = $1 AND kind = $2 AND name = $3 AND revision = $4"
)


class Seals(Protocol):
    """Seals secrets under a context; ``forerun.storage.sealing.Sealer`` does."""

    def seal(self, data: bytes, context: bytes = b"") -> bytes: ...  # noqa: D102

    def open(self, sealed: bytes, context: bytes = b"") -> bytes: ...  # noqa: D102


class Account(NamedTuple):
    """An account: 12 digits and a name for people; ``created`` is epoch seconds."""

    id: str
    name: str
    created: float


class AccessKey(msgspec.Struct, frozen=True, kw_only=True):
    """A long-lived key of a user, or of the root (``user`` is empty). Its secret is never shown in logs."""

    id: str
    account: str
    user: str = ""
    secret: str
    active: bool = True
    created: float

    def __repr__(self) -> str:
        return f"AccessKey(id={self.id!r}, account={self.account!r}, user={self.user!r}, active={self.active})"


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """A ``role``, ``user`` or managed ``policy`` (its ``kind``).

    ``document`` is a role's trust policy or a policy's text. ``inline`` maps names to policy texts, ``attached``
    holds ARNs of managed policies. ``revision`` is the store's.
    """

    account: str
    kind: str
    name: str
    path: str = "/"
    id: str
    created: float
    document: str = ""
    description: str = ""
    max_session_s: int = 3600
    tags: dict[str, str] = {}
    inline: dict[str, str] = {}
    attached: tuple[str, ...] = ()
    revision: int = 1

    @property
    def arn(self) -> str:
        """``arn:aws:iam::ACCOUNT:role/PATH/NAME``."""
        return f"arn:aws:iam::{self.account}:{self.kind}{self.path}{self.name}"


class IdentitySnapshot(NamedTuple):
    """Everything that is stored; ``change`` numbers the state."""

    change: int
    accounts: tuple[Account, ...]
    keys: tuple[AccessKey, ...]
    entities: tuple[Entity, ...]


class IdentityStore:
    """Reads all, writes one thing at a time; every write is on disk before it is answered."""

    def __init__(self, db: Db, seals: Seals) -> None:
        self._db = db
        self._seals = seals
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Entity).decode

    async def changes(self) -> int:
        """How many changes were made so far, by whichever process."""
        ((number,),) = await self._db.fetch(_CHANGES)
        return int(number)

    async def load(self) -> IdentitySnapshot:
        """Everything. What is written meanwhile may be in it or not; then ``changes`` is ahead of ``change``."""
        change = await self.changes()
        keys = [
            AccessKey(
                id=row[0],
                account=row[1],
                user=row[2],
                secret=self._seals.open(row[3], row[0].encode()).decode(),
                active=bool(row[4]),
                created=row[5],
            )
            for row in await self._db.fetch(_KEYS)
        ]
        entities = [
            msgspec.structs.replace(self._decode(body), revision=revision)
            for revision, body in await self._db.fetch(_ENTITIES)
        ]
        accounts = tuple(Account(*row) for row in await self._db.fetch(_ACCOUNTS))
        return IdentitySnapshot(change, accounts, tuple(keys), tuple(entities))

    async def create_account(self, account: Account, key: AccessKey) -> None:
        """A new account with the first key of its root; ``AlreadyExists``."""
        await self._db.write(Statement(_ADD_ACCOUNT, account), self._key(key), _TOUCH)

    async def create_key(self, key: AccessKey) -> None:
        """A new key; ``AlreadyExists``."""
        await self._db.write(self._key(key), _TOUCH)

    async def activate_key(self, key_id: str, *, active: bool) -> None:
        """Enable or disable a key; ``Conflict`` when it is gone."""
        await self._db.write(Statement(_SET_KEY, (key_id, int(active)), expect=1), _TOUCH)

    async def delete_key(self, key_id: str) -> None:
        """Remove a key; ``Conflict`` when it is gone."""
        await self._db.write(Statement(_DELETE_KEY, (key_id,), expect=1), _TOUCH)

    async def put(self, entity: Entity, *, new: bool) -> Entity:
        """Add (``AlreadyExists``) or replace the revision that ``entity`` was made from (``Conflict``); as it is now."""
        body = self._encode(entity)
        where = (entity.account, entity.kind, entity.name, body)
        if new:
            await self._db.write(Statement(_ADD_ENTITY, where), _TOUCH)
            return msgspec.structs.replace(entity, revision=1)
        await self._db.write(Statement(_SET_ENTITY, (*where, entity.revision), expect=1), _TOUCH)
        return msgspec.structs.replace(entity, revision=entity.revision + 1)

    async def delete(self, entity: Entity) -> None:
        """Remove ``entity``; ``Conflict`` when it was changed meanwhile."""
        where = (entity.account, entity.kind, entity.name, entity.revision)
        await self._db.write(Statement(_DELETE_ENTITY, where, expect=1), _TOUCH)

    def _key(self, key: AccessKey) -> Statement:
        sealed = self._seals.seal(key.secret.encode(), key.id.encode())
        return Statement(
            _ADD_KEY, (key.id, key.account, key.user, sealed, int(key.active), key.created)
        )
