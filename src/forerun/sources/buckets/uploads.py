"""Uploads in parts: begun, filled, completed to one object or given up."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.errors import AlreadyExists, Conflict, InvalidInput, PreconditionFailed
from forerun.sources.buckets.checksums import etag_of_parts, whole
from forerun.sources.buckets.content import Source
from forerun.sources.buckets.errors import (
    BadDigest,
    BadPart,
    BadPartOrder,
    Contended,
    NoSuchBucket,
    NoSuchUpload,
    ObjectTooLarge,
    PartTooSmall,
)
from forerun.sources.buckets.notices import Notices, new_id, owed
from forerun.sources.buckets.notifying import Actor
from forerun.sources.buckets.objects import Objects, Wanted
from forerun.storage.buckets import Bucket
from forerun.storage.objects import About, Guard, StoredObject
from forerun.storage.uploads import Part, Upload, UploadStore

PARTS = 10_000
LEAST_BYTES = 5 * 1024**2
MOST_BYTES = 5 * 1024**4


class Chosen(NamedTuple):
    """A part that a client wants in the object: its number, the ETag it was told, and checksums if it says them."""

    number: int
    etag: str
    checksums: Mapping[str, str] = {}


class Uploads:
    """Uploads of all buckets."""

    def __init__(
        self, store: UploadStore, objects: Objects, notices: Notices, clock: Clock
    ) -> None:
        self._store = store
        self._objects = objects
        self._notices = notices
        self._clock = clock

    async def begin(self, bucket: Bucket, key: str, about: About) -> Upload:
        """A new one."""
        self._objects.check(key, about)
        upload = Upload(
            id=new_id(), bucket=bucket.name, key=key, started=self._clock.now(), about=about
        )
        await self._store.add(upload)
        return upload

    async def find(self, bucket: str, key: str, upload_id: str) -> Upload:
        """One under way; ``NoSuchUpload``."""
        upload = await self._store.find(upload_id)
        if upload is None or (upload.bucket, upload.key) != (bucket, key):
            raise NoSuchUpload
        return upload

    async def put(
        self, bucket: Bucket, upload: Upload, number: int, source: Source, wanted: Wanted
    ) -> Part:
        """Add a part, or replace it."""
        if not 1 <= number <= PARTS:
            raise InvalidInput(f"Part number must be an integer between 1 and {PARTS}, inclusive")
        algorithm = upload.about.algorithm
        if algorithm and algorithm not in wanted.checksums:
            wanted = wanted._replace(checksums={**wanted.checksums, algorithm: ""})
        received = await self._objects.receive(bucket, source, wanted)
        try:
            part = Part(
                number=number,
                id=new_id(),
                size=received.piece.size,
                etag=received.etag,
                modified=self._clock.now(),
                checksums=dict(received.checksums),
            )
            pieces = [received.piece] if received.piece.size else []
            if not await self._store.put_part(upload, part, pieces):
                raise NoSuchUpload
        finally:
            self._objects.release(received)
        return part

    async def copy(
        self,
        bucket: Bucket,
        upload: Upload,
        number: int,
        source: StoredObject,
        span: tuple[int, int],
    ) -> Part:
        """Add a part with the bytes of an object from ``span[0]`` on, ``span[1]`` of them."""
        pieces, held = await self._objects.pieces(source)
        try:
            # What it reads is held here: it may be refused before anything is read.
            content = _Content(self._objects.read(pieces, (), *span))
            return await self.put(bucket, upload, number, content, Wanted(size=span[1]))
        finally:
            self._objects.let_go(held)

    async def parts(self, upload: Upload, after: int, most: int) -> tuple[list[Part], bool]:
        """Parts by number, later than ``after``; and whether there are more."""
        found = await self._store.parts(upload.id, after=after, limit=most + 1)
        return found[:most], len(found) > most

    async def page(
        self, bucket: str, *, after: tuple[str, str], prefix: str, most: int
    ) -> tuple[list[Upload], bool]:
        """Uploads under way by key, later than ``after`` (key, id); and whether there are more."""
        found = await self._store.of_bucket(
            bucket, after=(after[0].encode(), after[1]), prefix=prefix.encode(), limit=most + 1
        )
        return found[:most], len(found) > most

    async def abort(self, upload: Upload) -> None:
        """Give it up; ``NoSuchUpload``."""
        if not await self._store.abort(upload, self._clock.now()):
            raise NoSuchUpload

    async def complete(
        self,
        bucket: Bucket,
        upload: Upload,
        chosen: Sequence[Chosen],
        *,
        claimed: Mapping[str, str],
        guard: Guard,
        actor: Actor,
    ) -> StoredObject:
        """Make the object of these parts; ``claimed`` are its checksums as the client knows them."""
        await self._objects.require(bucket.name, upload.key, guard)
        # What is read of the parts counts only if none comes until it is written.
        upload = await self.find(bucket.name, upload.key, upload.id)
        there = {part.number: part for part in await self._store.parts(upload.id)}
        parts = choose(chosen, there)
        about = _checked(upload.about, parts, claimed)
        size = sum(part.size for part in parts)
        new = self._objects.blank(
            bucket, upload.key, size, etag_of_parts(part.etag for part in parts), about
        )
        used = {part.number for part in parts}
        unused = [part for number, part in there.items() if number not in used]
        event = "ObjectCreated:CompleteMultipartUpload"
        notices = owed([self._objects.happening(bucket, event, new, actor)])
        try:
            told = await self._store.complete(upload, new, unused, guard, notices)
        except AlreadyExists:
            raise PreconditionFailed from None
        except Conflict:
            raise await self._conflict(bucket, upload, guard) from None
        await self._notices.tell(told)
        return new

    async def _conflict(self, bucket: Bucket, upload: Upload, guard: Guard) -> Exception:
        if await self._store.find(upload.id) is None:
            return NoSuchUpload()
        found = await self._objects.conflict(bucket, upload.key, guard)
        return found if isinstance(found, NoSuchBucket | PreconditionFailed) else Contended()


def choose(chosen: Sequence[Chosen], there: Mapping[int, Part]) -> list[Part]:
    """The parts that are meant. ``BadPartOrder``, ``BadPart``, ``PartTooSmall``, ``ObjectTooLarge``."""
    if not chosen:
        raise BadPart("You must specify at least one part")
    parts: list[Part] = []
    for each in chosen:
        if parts and each.number <= parts[-1].number:
            raise BadPartOrder
        part = there.get(each.number)
        if part is None or part.etag != each.etag:
            raise BadPart
        if any(part.checksums.get(name, value) != value for name, value in each.checksums.items()):
            raise BadPart
        parts.append(part)
    if any(part.size < LEAST_BYTES for part in parts[:-1]):
        raise PartTooSmall
    if sum(part.size for part in parts) > MOST_BYTES:
        raise ObjectTooLarge
    return parts


def _checked(about: About, parts: Sequence[Part], claimed: Mapping[str, str]) -> About:
    """What the object brings, its checksum put together of the parts'."""
    checksums = {}
    if about.algorithm:
        known = [(part.checksums[about.algorithm], part.size) for part in parts]
        found = whole(about.algorithm, about.checksum_type, known)
        if claimed.get(about.algorithm, found) != found:
            raise BadDigest(
                f"The {about.algorithm} you specified did not match the calculated checksum."
            )
        checksums = {about.algorithm: found}
    return msgspec.structs.replace(
        about, algorithm="", checksums=checksums, parts=tuple(part.size for part in parts)
    )


class _Content:
    """What an object holds, as a body."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    def decode(self, piece: bytes) -> Iterable[bytes]:
        return (piece,)

    def end(self) -> Mapping[str, str]:
        return {}
