"""How much an account may keep in buckets, and that what is refused leaves nothing on the disk."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.sources.bucket_rig import ACTOR, Body, rig
from tests.unit.sources.test_bucket_objects import FREE, collect, put

from forerun.errors import InvalidInput
from forerun.sources.buckets import About, Wanted, errors


async def test_an_account_has_a_quota(tmp_path: Path):
    async with rig(tmp_path, quota=100) as made:
        await put(made, "a", b"x" * 60)
        with pytest.raises(errors.BucketsFull):
            await put(made, "b", b"x" * 41)
        with pytest.raises(errors.BucketsFull):
            await made.objects.put(
                made.bucket, "b", Body(b"x" * 41), Wanted(), About(), guard=FREE, actor=ACTOR
            )
        await made.objects.remove(made.bucket, ["a"], actor=ACTOR)
        await put(made, "b", b"x" * 41)


async def test_what_is_on_its_way_counts_against_the_quota(tmp_path: Path):
    async with rig(tmp_path, quota=100) as made:
        coming, rest = asyncio.Event(), asyncio.Event()

        class Slow(Body):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                coming.set()
                await rest.wait()
                yield b"x" * 60

        slow = asyncio.ensure_future(
            made.objects.put(
                made.bucket, "a", Slow(), Wanted(size=60), About(), guard=FREE, actor=ACTOR
            )
        )
        await coming.wait()
        with pytest.raises(errors.BucketsFull):
            await put(made, "b", b"x" * 41)
        await put(made, "b", b"x" * 40)
        rest.set()
        await slow
        await made.objects.remove(made.bucket, ["a"], actor=ACTOR)
        await put(made, "c", b"x" * 60)


@pytest.mark.databases
async def test_a_part_that_cannot_be_copied_holds_nothing(tmp_path: Path):
    async with rig(tmp_path) as made:
        source = await put(made, "source", b"content")
        upload = await made.uploads.begin(made.bucket, "k", About())
        with pytest.raises(InvalidInput):
            await made.uploads.copy(made.bucket, upload, 10_001, source, (0, 7))
        part = await made.uploads.copy(made.bucket, upload, 1, source, (1, 3))
        assert part.etag == hashlib.md5(b"ont").hexdigest()
        await made.uploads.abort(upload)
        await made.objects.remove(made.bucket, ["source"], actor=ACTOR)
        await collect(made)
        assert not made.files()
