"""Objects: put, found, read, copied, listed and removed."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.errors import AlreadyExists, Conflict, InvalidInput, PreconditionFailed
from forerun.sources.buckets.buckets import Buckets
from forerun.sources.buckets.checksums import FULL_OBJECT
from forerun.sources.buckets.content import Contents, Received, Source
from forerun.sources.buckets.errors import (
    BadDigest,
    BucketsFull,
    Contended,
    NoSuchBucket,
    NoSuchKey,
    ObjectTooLarge,
    WrongHash,
)
from forerun.sources.buckets.listing import Listed, list_page
from forerun.sources.buckets.naming import OBJECT_TAGS, check_key, check_metadata, check_tags
from forerun.sources.buckets.notices import Notices, new_id, owed
from forerun.sources.buckets.notifying import Actor, Happening, targets_of
from forerun.storage.buckets import Bucket
from forerun.storage.objects import About, Guard, ObjectStore, Piece, StoredObject

SINGLE_BYTES = 5 * 1024**3
TRIES = 4


class Wanted(NamedTuple):
    """What a body must come to: its SHA-256 and MD5 (hex, empty for any), and checksums by algorithm, empty ones being only taken.

    ``size`` is the announced one, ``None`` for none. A checksum that is empty here may come after the body.
    """

    size: int | None = None
    md5: str = ""
    sha256: str = ""
    checksums: Mapping[str, str] = {}


class ObjectState(NamedTuple):
    """By what a change of an object is seen; ``modified`` in epoch seconds."""

    etag: str
    size: int
    modified: float


class Objects:
    """The objects of all buckets; who may do what is asked elsewhere. ``quota`` is in bytes for each account."""

    def __init__(
        self,
        store: ObjectStore,
        contents: Contents,
        notices: Notices,
        clock: Clock,
        *,
        buckets: Buckets,
        quota: int,
    ) -> None:
        self._store = store
        self._buckets = buckets
        self._contents = contents
        self._notices = notices
        self._clock = clock
        self._region = buckets.region
        self._quota = quota
        # Bytes that are on their way here, by account.
        self._announced: Counter[str] = Counter()

    async def find(self, bucket: str, key: str) -> StoredObject:
        """One object; ``NoSuchKey``."""
        found = await self._store.find(bucket, key)
        if found is None:
            raise NoSuchKey(key)
        return found

    async def state(self, bucket: str, key: str) -> ObjectState | None:
        """What an object is like now; ``None`` when there is none. Rights are the asker's matter."""
        found = await self._store.find(bucket, key)
        return None if found is None else ObjectState(found.etag, found.size, found.modified)

    async def receive(self, bucket: Bucket, source: Source, wanted: Wanted) -> Received:
        """Take a body in; its file is held until ``release``.

        Raises ``BadDigest``, ``ObjectTooLarge``, ``BucketsFull``, and what the source raises.
        """
        room = await self._room(bucket)
        if wanted.size is not None and wanted.size > SINGLE_BYTES:
            raise ObjectTooLarge
        if wanted.size is not None and wanted.size > room:
            raise BucketsFull
        self._announced[bucket.account] += wanted.size or 0
        try:
            received = await self._contents.receive(
                source, limit=min(SINGLE_BYTES, room), algorithms=wanted.checksums
            )
        except ObjectTooLarge:
            if room < SINGLE_BYTES:
                raise BucketsFull from None
            raise
        finally:
            self._announced[bucket.account] -= wanted.size or 0
        try:
            _compare(received, wanted)
        except BaseException:
            self.release(received)
            raise
        return received

    def let_go(self, held: Iterable[str]) -> None:
        """What ``pieces`` held is not needed any more."""
        self._contents.release(held)

    def release(self, received: Received) -> None:
        """The file is referred to now, or not wanted."""
        self._contents.release([received.piece.blob])

    async def put(  # noqa: PLR0913 what an object is put with
        self,
        bucket: Bucket,
        key: str,
        source: Source,
        wanted: Wanted,
        about: About,
        *,
        guard: Guard,
        actor: Actor,
    ) -> StoredObject:
        """A new object, or a new content of it."""
        self.check(key, about)
        await self.require(bucket.name, key, guard)
        received = await self.receive(bucket, source, wanted)
        try:
            if received.checksums:
                about = msgspec.structs.replace(
                    about, checksums=dict(received.checksums), checksum_type=FULL_OBJECT
                )
            new = self.blank(bucket, key, received.piece.size, received.etag, about)
            pieces = [received.piece] if received.piece.size else []
            await self.store(bucket, new, pieces, guard, "ObjectCreated:Put", actor)
        finally:
            self.release(received)
        return new

    async def copy(
        self,
        source: StoredObject,
        bucket: Bucket,
        key: str,
        about: About,
        *,
        guard: Guard,
        actor: Actor,
    ) -> StoredObject:
        """An object with the content of another one, which is not read for it."""
        self.check(key, about)
        if source.size > SINGLE_BYTES:
            raise InvalidInput(
                "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120"
            )
        await self.require(bucket.name, key, guard)
        if source.size > await self._room(bucket):
            raise BucketsFull
        pieces, held = await self.pieces(source)
        try:
            new = self.blank(bucket, key, source.size, source.etag, about)
            await self.store(bucket, new, pieces, guard, "ObjectCreated:Copy", actor)
        finally:
            self._contents.release(held)
        return new

    async def pieces(self, known: StoredObject) -> tuple[list[Piece], list[str]]:
        """What an object consists of, held: what must be released in the end is the second. ``NoSuchKey`` when it was replaced."""
        if not known.size:
            return [], []
        pieces = await self._store.pieces(known.id)
        if not pieces:
            raise NoSuchKey(known.key)
        return pieces, self._contents.hold(pieces)

    async def read(
        self, pieces: Sequence[Piece], held: Iterable[str], start: int, length: int
    ) -> AsyncIterator[bytes]:
        """``length`` bytes from ``start`` on; in the end what was held is released."""
        try:
            async for part in self._contents.read(pieces, start, length):
                yield part
        finally:
            self._contents.release(held)

    async def whole(self, known: StoredObject) -> bytes:
        """All of a small object."""
        pieces, held = await self.pieces(known)
        return b"".join([part async for part in self.read(pieces, held, 0, known.size)])

    async def describe(self, known: StoredObject, tags: Mapping[str, str]) -> None:
        """Set an object's tags; ``BadTag``, ``Contended`` when it was replaced meanwhile."""
        check_tags(tags, OBJECT_TAGS)
        if not await self._store.describe(
            known, msgspec.structs.replace(known.about, tags=dict(tags))
        ):
            raise Contended

    async def remove(
        self, bucket: Bucket, keys: Sequence[str], *, etag: str = "", actor: Actor
    ) -> None:
        """Remove what there is of these; ``PreconditionFailed`` when there is another than ``etag``."""
        gone = [
            found for key in keys if (found := await self._store.find(bucket.name, key)) is not None
        ]
        if etag and any(not _same(etag, each.etag) for each in gone):
            raise PreconditionFailed(_PRECONDITION)
        if not gone:
            return
        happenings = [self.happening(bucket, "ObjectRemoved:Delete", each, actor) for each in gone]
        notices = {
            each.id: notice
            for each, happening in zip(gone, happenings, strict=True)
            for notice in owed([happening])
        }
        await self._notices.tell(await self._store.remove(gone, self._clock.now(), notices))

    async def page(
        self, bucket: str, *, prefix: str, delimiter: str, after: str, most: int
    ) -> Listed:
        """Keys of a bucket in order; see ``list_page``."""

        async def fetch(
            start: bytes, *, after: bool, before: bytes | None, limit: int
        ) -> list[StoredObject]:
            return await self._store.range(bucket, start, after=after, before=before, limit=limit)

        return await list_page(fetch, prefix=prefix, delimiter=delimiter, after=after, most=most)

    # For uploads in parts, too

    def check(self, key: str, about: About) -> None:
        """Whether an object may be called so and bring this."""
        check_key(key)
        check_metadata(about.metadata)
        check_tags(about.tags, OBJECT_TAGS)

    def blank(self, bucket: Bucket, key: str, size: int, etag: str, about: About) -> StoredObject:
        """A new content, not yet stored."""
        return StoredObject(
            bucket=bucket.name,
            key=key,
            id=new_id(),
            size=size,
            etag=etag,
            modified=self._clock.now(),
            about=about,
        )

    def happening(self, bucket: Bucket, event: str, what: StoredObject, actor: Actor) -> Happening:
        """What is told of a change."""
        bus = f"arn:aws:events:{self._region}:{bucket.account}:event-bus/default"
        return Happening(
            id=f"s3-{new_id()}",
            event=event,
            bucket=bucket.name,
            account=bucket.account,
            region=self._region,
            key=what.key,
            at=self._clock.now(),
            actor=actor,
            targets=targets_of(bucket.config.notifications, event, what.key, bus),
            etag=what.etag,
            size=what.size,
        )

    async def require(self, bucket: str, key: str, guard: Guard) -> None:
        """``PreconditionFailed`` or ``NoSuchKey`` unless the guard would let it be replaced now."""
        if not guard.absent and not guard.etag:
            return
        found = await self._store.find(bucket, key)
        if guard.absent and found is not None:
            raise PreconditionFailed(_PRECONDITION)
        if guard.etag:
            if found is None:
                raise NoSuchKey(key)
            if not _same(guard.etag, found.etag):
                raise PreconditionFailed(_PRECONDITION)

    async def store(
        self,
        bucket: Bucket,
        new: StoredObject,
        pieces: Sequence[Piece],
        guard: Guard,
        event: str,
        actor: Actor,
    ) -> None:
        """Put it in its place and tell of it; when it returns both are safe."""
        notices = owed([self.happening(bucket, event, new, actor)])
        try:
            told = await self._store.put(new, pieces, _exact(guard), notices)
        except AlreadyExists:
            raise PreconditionFailed(_PRECONDITION) from None
        except Conflict:
            raise await self.conflict(bucket, new.key, guard) from None
        await self._notices.tell(told)

    async def conflict(self, bucket: Bucket, key: str, guard: Guard) -> Exception:
        """Why a write did not find what it expected."""
        try:
            await self._buckets.reread(bucket.name)
            await self.require(bucket.name, key, guard)
        except (NoSuchBucket, PreconditionFailed, NoSuchKey) as error:
            return error
        return Contended()

    async def _room(self, bucket: Bucket) -> int:
        used = await self._buckets.used(bucket.account)
        return max(0, self._quota - used - self._announced[bucket.account])


_PRECONDITION = "At least one of the pre-conditions you specified did not hold"


def _same(wanted: str, etag: str) -> bool:
    return wanted in {"*", etag}


def _exact(guard: Guard) -> Guard:
    """``*`` was true when it was asked, and is not asked again."""
    return Guard() if guard.etag == "*" else guard


def _compare(received: Received, wanted: Wanted) -> None:
    if wanted.sha256 and wanted.sha256 != received.piece.blob:
        raise WrongHash
    if wanted.md5 and wanted.md5 != received.etag:
        raise BadDigest("The Content-MD5 you specified did not match what we received.")
    for algorithm, value in wanted.checksums.items():
        value = value or received.trailers.get(f"x-amz-checksum-{algorithm.lower()}", "")  # noqa: PLW2901
        if value and value != received.checksums[algorithm]:
            raise BadDigest(f"The {algorithm} you specified did not match the calculated checksum.")
