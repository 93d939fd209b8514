"""Buckets over real databases and real files, with an outbox that keeps what it is given."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.databases import open_database
from tests.fakes.clock import FakeClock
from tests.fakes.outbox import FakeOutbox

from forerun.sources.buckets import (
    Actor,
    Bucket,
    Buckets,
    BucketStore,
    Collector,
    Contents,
    Notices,
    Objects,
    Uploads,
)
from forerun.storage import Db
from forerun.storage.blobs import BlobStore
from forerun.storage.objects import ObjectStore
from forerun.storage.sqlite import MESSAGES
from forerun.storage.uploads import UploadStore

REGION = "us-home-1"
ACCOUNT = "111111111111"
ACTOR = Actor(account=ACCOUNT, principal="root", request_id="r", source_ip="127.0.0.1")


class Body:
    """A body that comes in these pieces; ``fails`` is raised instead of its end."""

    def __init__(self, *pieces: bytes, fails: Exception | None = None) -> None:
        self._pieces: Sequence[bytes] = pieces
        self._fails = fails

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._fails is not None:
            raise self._fails

    def decode(self, piece: bytes) -> Iterable[bytes]:
        return (piece,)

    def end(self) -> Mapping[str, str]:
        return {}


@dataclass
class Rig:
    """Everything that ``forerun.app`` puts together, the outbox and the clock being false."""

    db: Db
    clock: FakeClock
    outbox: FakeOutbox
    contents: Contents
    notices: Notices
    collector: Collector
    buckets: Buckets
    objects: Objects
    uploads: Uploads
    blobs: BlobStore
    bucket: Bucket
    directory: Path

    def files(self) -> set[str]:
        """The files there are, by the hash of what is in them."""
        return {
            path.parent.name + path.name for path in self.directory.glob("??/*") if path.is_file()
        }

    def unfinished(self) -> list[Path]:
        return list((self.directory / "incoming").iterdir())


@asynccontextmanager
async def rig(folder: Path, *, quota: int = 1 << 40) -> AsyncIterator[Rig]:
    db = await open_database(folder / "messages.db", migrations=MESSAGES)
    clock, outbox = FakeClock(), FakeOutbox()
    contents = Contents(folder / "objects")
    await contents.start()
    blobs = BlobStore(db)
    notices = Notices(blobs, outbox)
    buckets = Buckets(BucketStore(db), outbox, clock, region=REGION)
    objects = Objects(ObjectStore(db), contents, notices, clock, buckets=buckets, quota=quota)
    found = await BucketStore(db).find("bucket")
    bucket = found or await buckets.create(ACCOUNT, "bucket", {})
    made = Rig(
        db=db,
        clock=clock,
        outbox=outbox,
        contents=contents,
        notices=notices,
        collector=Collector(blobs, contents, clock, grace_s=60.0),
        buckets=buckets,
        objects=objects,
        uploads=Uploads(UploadStore(db), objects, notices, clock),
        blobs=blobs,
        bucket=bucket,
        directory=folder / "objects",
    )
    try:
        yield made
    finally:
        await notices.close()
        await contents.close()
        await db.close()
