"""Uploads in parts, until they become an object or are given up."""

from collections.abc import Sequence

import msgspec

from forerun.errors import Conflict
from forerun.storage.db import Db, Row, Statement
from forerun.storage.objects import (
    About,
    Guard,
    Notice,
    Piece,
    StoredObject,
    add_pieces,
    drop_pieces,
    replace_object,
)


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload under way; ``changes`` counts its parts as they came. ``started`` in epoch seconds."""

    id: str
    bucket: str
    key: str
    started: float
    about: About
    changes: int = 0


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part, from 1 to 10,000; ``id`` names its content, ``checksums`` as in ``About``."""

    number: int
    id: str
    size: int
    etag: str
    modified: float
    checksums: dict[str, str] = {}


_ABOUT = msgspec.json.Decoder(About)
_CHECKSUMS = msgspec.json.Decoder(dict[str, str])
_COLUMNS = "id, bucket, key, started, about, changes"
# The parts' bytes count for the bucket; those that make the object are counted again with it.
_FORGET_BYTES = """
UPDATE buckets SET bytes = bytes - COALESCE((SELECT SUM(size) FROM upload_parts WHERE upload = $2), 0) WHERE name = $1
"""
_LOOSEN = """
INSERT INTO loose_blobs (blob, since)
SELECT DISTINCT blob, CAST($2 AS DOUBLE PRECISION) FROM object_pieces WHERE holder IN (SELECT id FROM upload_parts WHERE upload = $1)
ON CONFLICT (blob) DO UPDATE SET since = excluded.since
"""
_DROP = "DELETE FROM object_pieces WHERE holder IN (SELECT id FROM upload_parts WHERE upload = $1)"
# Parts come in the order of their numbers; a part has one piece or, copied from an object, as many as that.
_JOIN = """
INSERT INTO object_pieces (holder, n, blob, size)
SELECT $2, p.number * 100000000 + c.n, c.blob, c.size
FROM upload_parts p JOIN object_pieces c ON c.holder = p.id WHERE p.upload = $1
"""


class UploadStore:
    """Uploads over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def add(self, upload: Upload) -> None:
        """Begin one."""
        await self._db.write(
            Statement(
                "INSERT INTO uploads (" + _COLUMNS + ") VALUES ($1, $2, $3, $4, $5, 0)",  # noqa: S608 literals
                (
                    upload.id,
                    upload.bucket,
                    upload.key.encode(),
                    upload.started,
                    msgspec.json.encode(upload.about),
                ),
            )
        )

    async def find(self, upload_id: str) -> Upload | None:
        """One of them."""
        rows = await self._db.fetch(
            "SELECT " + _COLUMNS + " FROM uploads WHERE id = $1",  # noqa: S608 literals
            upload_id,
        )
        return _upload(rows[0]) if rows else None

    async def of_bucket(
        self, bucket: str, *, after: tuple[bytes, str], prefix: bytes, limit: int
    ) -> list[Upload]:
        """A bucket's uploads by key and id, later than ``after``, whose key begins with ``prefix``."""
        rows = await self._db.fetch(
            "SELECT "  # noqa: S608 literals
            + _COLUMNS
            + " FROM uploads WHERE bucket = $1 AND (key > $2 OR (key = $2 AND id > $3)) AND key >= $4 "
            "AND substr(key, 1, $5) = $4 ORDER BY key, id LIMIT $6",
            bucket,
            after[0],
            after[1],
            prefix,
            len(prefix),
            limit,
        )
        return [_upload(row) for row in rows]

    async def put_part(self, upload: Upload, part: Part, pieces: Sequence[Piece]) -> bool:
        """Add or replace a part; false when the upload or its bucket is gone."""
        old = "(SELECT id FROM upload_parts WHERE upload = $1 AND number = $2)"
        try:
            await self._db.write(
                Statement(
                    "UPDATE uploads SET changes = changes + 1 WHERE id = $1", (upload.id,), expect=1
                ),
                Statement(
                    "UPDATE buckets SET bytes = bytes + $2 - COALESCE((SELECT size FROM upload_parts "
                    "WHERE upload = $3 AND number = $4), 0) WHERE name = $1",
                    (upload.bucket, part.size, upload.id, part.number),
                    expect=1,
                ),
                Statement(
                    "INSERT INTO loose_blobs (blob, since) SELECT DISTINCT blob, CAST($3 AS DOUBLE PRECISION) FROM object_pieces WHERE holder = "  # noqa: S608 literals
                    + old
                    + " ON CONFLICT (blob) DO UPDATE SET since = excluded.since",
                    (upload.id, part.number, part.modified),
                ),
                Statement(
                    "DELETE FROM object_pieces WHERE holder = " + old,  # noqa: S608 literals
                    (upload.id, part.number),
                ),
                Statement(
                    "INSERT INTO upload_parts (upload, number, id, size, etag, modified, checksums) "
                    "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (upload, number) DO UPDATE SET "
                    "id = $3, size = $4, etag = $5, modified = $6, checksums = $7",
                    (
                        upload.id,
                        part.number,
                        part.id,
                        part.size,
                        part.etag,
                        part.modified,
                        msgspec.json.encode(part.checksums),
                    ),
                ),
                *add_pieces(part.id, pieces),
            )
        except Conflict:
            return False
        return True

    async def parts(self, upload_id: str, *, after: int = 0, limit: int = 10_000) -> list[Part]:
        """Parts by number."""
        rows = await self._db.fetch(
            "SELECT number, id, size, etag, modified, checksums FROM upload_parts "
            "WHERE upload = $1 AND number > $2 ORDER BY number LIMIT $3",
            upload_id,
            after,
            limit,
        )
        return [
            Part(
                number=row[0],
                id=row[1],
                size=row[2],
                etag=row[3],
                modified=row[4],
                checksums=_CHECKSUMS.decode(row[5]),
            )
            for row in rows
        ]

    async def complete(
        self,
        upload: Upload,
        new: StoredObject,
        unused: Sequence[Part],
        guard: Guard,
        notices: Sequence[tuple[str, bytes]],
    ) -> list[Notice]:
        """Make an object of all parts but the ``unused`` ones.

        ``Conflict`` when parts came meanwhile or the upload is gone; else as ``replace_object``.
        """
        answers = await self._db.write(
            Statement(
                "DELETE FROM uploads WHERE id = $1 AND changes = $2",
                (upload.id, upload.changes),
                expect=1,
            ),
            Statement(_FORGET_BYTES, (upload.bucket, upload.id)),
            *(statement for part in unused for statement in _drop_part(upload, part, new.modified)),
            Statement(_JOIN, (upload.id, new.id)),
            Statement(_DROP, (upload.id,)),
            Statement("DELETE FROM upload_parts WHERE upload = $1", (upload.id,)),
            *replace_object(new, guard, notices),
        )
        return (
            [Notice(*row) for rows in answers[-len(notices) :] for row in rows] if notices else []
        )

    async def abort(self, upload: Upload, now: float) -> bool:
        """Give an upload up; false when it is gone."""
        try:
            await self._db.write(
                Statement("DELETE FROM uploads WHERE id = $1", (upload.id,), expect=1),
                Statement(_FORGET_BYTES, (upload.bucket, upload.id)),
                Statement(_LOOSEN, (upload.id, now)),
                Statement(_DROP, (upload.id,)),
                Statement("DELETE FROM upload_parts WHERE upload = $1", (upload.id,)),
            )
        except Conflict:
            return False
        return True


def _drop_part(upload: Upload, part: Part, now: float) -> list[Statement]:
    return [
        *drop_pieces(part.id, now),
        Statement(
            "DELETE FROM upload_parts WHERE upload = $1 AND number = $2", (upload.id, part.number)
        ),
    ]


def _upload(row: Row) -> Upload:
    upload_id, bucket, key, started, about, changes = row
    return Upload(
        id=upload_id,
        bucket=bucket,
        key=bytes(key).decode(),
        started=started,
        about=_ABOUT.decode(about),
        changes=changes,
    )
