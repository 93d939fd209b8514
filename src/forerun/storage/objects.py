"""Objects of buckets: what is known of each, which files it consists of, and what is still to be told of its changes.

Whatever changes an object is one transaction: the row, its pieces, the bucket's bytes, and the notices that are owed for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import LiteralString, NamedTuple

import msgspec

from forerun.storage.db import Db, Row, Statement


class About(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an object brings beside its content.

    ``headers`` by lower-case name (``content-type``, ``cache-control``, ...); ``metadata`` is the user's own; ``checksums``
    by algorithm (``CRC32``), in base64, of the kind ``checksum_type`` (``FULL_OBJECT`` or ``COMPOSITE``). ``parts`` are the
    sizes of those it was uploaded in. ``algorithm`` is what an upload in parts is to be checked with.
    """

    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    storage_class: str = "STANDARD"
    checksums: dict[str, str] = {}
    checksum_type: str = ""
    algorithm: str = ""
    parts: tuple[int, ...] = ()


class StoredObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object. ``id`` names this content of it; ``etag`` is without quotes; ``modified`` in epoch seconds."""

    bucket: str
    key: str
    id: str
    size: int
    etag: str
    modified: float
    about: About = About()


class Piece(NamedTuple):
    """A file that an object or part has the content of, ``blob`` being its SHA-256, and its bytes."""

    blob: str
    size: int


class Notice(NamedTuple):
    """What somebody is to be told of; ``sequence`` orders the changes of a bucket."""

    id: str
    sequence: int
    body: bytes


class Guard(NamedTuple):
    """What must hold for an object to be replaced: nothing, that there is none, or that it has this ETag."""

    absent: bool = False
    etag: str = ""


_ABOUT = msgspec.json.Decoder(About)
_COLUMNS = "bucket, key, id, size, etag, modified, about"
_HOLDER = "(SELECT id FROM objects WHERE bucket = $1 AND key = $2)"
_LOOSEN = (
    "INSERT INTO loose_blobs (blob, since) SELECT DISTINCT blob, CAST($3 AS DOUBLE PRECISION) FROM object_pieces WHERE holder = "  # noqa: S608 literals
    + _HOLDER
    + " ON CONFLICT (blob) DO UPDATE SET since = excluded.since"
)
_LOOSEN_ID = """
INSERT INTO loose_blobs (blob, since) SELECT DISTINCT blob, CAST($2 AS DOUBLE PRECISION) FROM object_pieces WHERE holder = $1
ON CONFLICT (blob) DO UPDATE SET since = excluded.since
"""
_INSERT = "INSERT INTO objects (" + _COLUMNS + ") VALUES ($1, $2, $3, $4, $5, $6, $7)"  # noqa: S608 literals
_UPSERT = (
    _INSERT
    + " ON CONFLICT (bucket, key) DO UPDATE SET id = $3, size = $4, etag = $5, modified = $6, about = $7"
)
_UPDATE = "UPDATE objects SET id = $3, size = $4, etag = $5, modified = $6, about = $7 WHERE bucket = $1 AND key = $2 AND etag = $8"


def add_pieces(holder: str, pieces: Sequence[Piece]) -> list[Statement]:
    """Say what a holder consists of."""
    return [
        Statement(
            "INSERT INTO object_pieces (holder, n, blob, size) VALUES ($1, $2, $3, $4)",
            (holder, n, piece.blob, piece.size),
        )
        for n, piece in enumerate(pieces)
    ]


def drop_pieces(holder: str, now: float) -> list[Statement]:
    """A holder is gone: so are its pieces."""
    return [
        Statement(_LOOSEN_ID, (holder, now)),
        Statement("DELETE FROM object_pieces WHERE holder = $1", (holder,)),
    ]


def replace_object(
    new: StoredObject, guard: Guard, notices: Iterable[tuple[str, bytes]]
) -> list[Statement]:
    """A new object in place of what there is, without its pieces; notices (id, body) come back by ``RETURNING`` from the last ones.

    ``Conflict`` when the bucket is gone or the ETag is another one, ``AlreadyExists`` when there is one and must not be.
    """
    key = new.key.encode()
    values = (
        new.bucket,
        key,
        new.id,
        new.size,
        new.etag,
        new.modified,
        msgspec.json.encode(new.about),
    )
    return [
        Statement(
            "UPDATE buckets SET events = events + 1, bytes = bytes + $3 - "
            "COALESCE((SELECT size FROM objects WHERE bucket = $1 AND key = $2), 0) WHERE name = $1",
            (new.bucket, key, new.size),
            expect=1,
        ),
        Statement(_LOOSEN, (new.bucket, key, new.modified)),
        Statement("DELETE FROM object_pieces WHERE holder = " + _HOLDER, (new.bucket, key)),  # noqa: S608 literals
        _put_row(values, guard),
        *(
            Statement(
                "INSERT INTO bucket_notices (id, sequence, body) SELECT $1, events, $2 FROM buckets WHERE name = $3 "
                "RETURNING id, sequence, body",
                (notice_id, body, new.bucket),
            )
            for notice_id, body in notices
        ),
    ]


def _put_row(values: Sequence[object], guard: Guard) -> Statement:
    if guard.absent:
        return Statement(_INSERT, values, expect=1)
    if guard.etag:
        return Statement(_UPDATE, (*values, guard.etag), expect=1)
    return Statement(_UPSERT, values)


class ObjectStore:
    """Objects over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def find(self, bucket: str, key: str) -> StoredObject | None:
        """One object."""
        rows = await self._db.fetch(
            "SELECT " + _COLUMNS + " FROM objects WHERE bucket = $1 AND key = $2",  # noqa: S608 literals
            bucket,
            key.encode(),
        )
        return read_object(rows[0]) if rows else None

    async def pieces(self, holder: str) -> list[Piece]:
        """What an object or part consists of, in order; none when it is gone, or empty."""
        rows = await self._db.fetch(
            "SELECT blob, size FROM object_pieces WHERE holder = $1 ORDER BY n", holder
        )
        return [Piece(*row) for row in rows]

    async def put(
        self,
        new: StoredObject,
        pieces: Sequence[Piece],
        guard: Guard = Guard(),  # noqa: B008 immutable
        notices: Sequence[tuple[str, bytes]] = (),
    ) -> list[Notice]:
        """Replace an object; answers the notices with their sequence. Raises as ``replace_object`` says."""
        answers = await self._db.write(
            *add_pieces(new.id, pieces), *replace_object(new, guard, notices)
        )
        return (
            [Notice(*row) for rows in answers[-len(notices) :] for row in rows] if notices else []
        )

    async def describe(self, known: StoredObject, about: About) -> bool:
        """Change what is known of an object and not its content; false when it was replaced meanwhile."""
        [rows] = await self._db.write(
            Statement(
                "UPDATE objects SET about = $4 WHERE bucket = $1 AND key = $2 AND id = $3 RETURNING id",
                (known.bucket, known.key.encode(), known.id, msgspec.json.encode(about)),
            )
        )
        return bool(rows)

    async def remove(
        self, gone: Sequence[StoredObject], now: float, notices: Mapping[str, tuple[str, bytes]]
    ) -> list[Notice]:
        """Remove these, all of one bucket, unless they were replaced meanwhile; ``notices`` (id, body) by the object's id."""
        statements: list[Statement] = []
        told: list[int] = []
        for each in gone:
            statements.append(
                Statement(
                    "UPDATE buckets SET events = events + 1, "
                    "bytes = bytes - COALESCE((SELECT size FROM objects WHERE id = $2), 0) WHERE name = $1",
                    (each.bucket, each.id),
                )
            )
            statements.extend(drop_pieces(each.id, now))
            if each.id in notices:
                told.append(len(statements))
                statements.append(
                    Statement(
                        "INSERT INTO bucket_notices (id, sequence, body) SELECT $1, events, $2 FROM buckets "
                        "WHERE name = $3 AND EXISTS (SELECT 1 FROM objects WHERE id = $4) "
                        "RETURNING id, sequence, body",
                        (*notices[each.id], each.bucket, each.id),
                    )
                )
            statements.append(Statement("DELETE FROM objects WHERE id = $1", (each.id,)))
        answers = await self._db.write(*statements)
        return [Notice(*row) for place in told for row in answers[place]]

    async def range(
        self, bucket: str, start: bytes, *, after: bool, before: bytes | None, limit: int
    ) -> list[StoredObject]:
        """Objects in the order of their keys from ``start`` on (beyond it with ``after``), below ``before``."""
        rows = await self._db.fetch(
            _RANGES[after, before is not None],
            bucket,
            start,
            limit,
            *([before] if before is not None else []),
        )
        return [read_object(row) for row in rows]


def _range_sql(*, after: bool, bounded: bool) -> LiteralString:
    bound: LiteralString = " AND key < $4" if bounded else ""
    compare: LiteralString = ">" if after else ">="
    return (
        "SELECT "  # noqa: S608 literals
        + _COLUMNS
        + " FROM objects WHERE bucket = $1 AND key "
        + compare
        + " $2"
        + bound
        + " ORDER BY key LIMIT $3"
    )


_RANGES = {
    (after, bounded): _range_sql(after=after, bounded=bounded)
    for after in (False, True)
    for bounded in (False, True)
}


def read_object(row: Row) -> StoredObject:
    """A row with the columns of ``objects``."""
    bucket, key, object_id, size, etag, modified, about = row
    return StoredObject(
        bucket=bucket,
        key=bytes(key).decode(),
        id=object_id,
        size=size,
        etag=etag,
        modified=modified,
        about=_ABOUT.decode(about),
    )
