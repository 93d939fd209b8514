"""Objects: whole or not at all, their files collected when nothing refers to them, and who is told of what."""

import asyncio
import base64
import hashlib
import os
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.unit.sources.bucket_rig import ACCOUNT, ACTOR, Body, Rig, rig

from forerun.errors import PreconditionFailed, StorageFailed, Throttled
from forerun.sources.buckets import About, Chosen, Guard, Wanted, errors
from forerun.storage.objects import Piece

FREE = Guard()
FUNCTION = "arn:aws:lambda:us-home-1:111111111111:function:f"


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(tmp_path) as one:
        yield one


async def put(made: Rig, key: str, content: bytes, guard: Guard = FREE, **wanted: object):
    bucket = await made.buckets.find("bucket")
    body = Wanted(size=len(content), **wanted)  # type: ignore[arg-type]
    return await made.objects.put(
        bucket, key, Body(content), body, About(), guard=guard, actor=ACTOR
    )


async def content(made: Rig, key: str) -> bytes:
    return await made.objects.whole(await made.objects.find("bucket", key))


async def collect(made: Rig) -> None:
    made.clock.jump(100)
    while await made.collector.collect():
        """Until nothing is left to be looked at."""


async def test_what_is_put_is_read(made: Rig):
    big = os.urandom(1_500_000)
    stored = await made.objects.put(
        made.bucket,
        "big",
        Body(*(big[at : at + 100_000] for at in range(0, len(big), 100_000))),
        Wanted(),
        About(),
        guard=FREE,
        actor=ACTOR,
    )
    assert stored.etag == hashlib.md5(big).hexdigest()
    assert await content(made, "big") == big
    pieces, held = await made.objects.pieces(stored)
    part = b"".join([each async for each in made.objects.read(pieces, held, 200_000, 900_000)])
    assert part == big[200_000:1_100_000]
    assert made.files() == {hashlib.sha256(big).hexdigest()}
    assert not made.unfinished()


async def test_empty_objects_have_no_file(made: Rig):
    stored = await put(made, "empty", b"")
    assert stored.etag == hashlib.md5(b"").hexdigest()
    assert await content(made, "empty") == b""
    assert not made.files()
    assert not made.unfinished()


async def test_a_client_that_leaves_leaves_nothing(made: Rig):
    body = Body(os.urandom(600_000), fails=errors.BodyIncomplete())
    with pytest.raises(errors.BodyIncomplete):
        await made.objects.put(made.bucket, "k", body, Wanted(), About(), guard=FREE, actor=ACTOR)
    assert not made.files()
    assert not made.unfinished()
    with pytest.raises(errors.NoSuchKey):
        await made.objects.find("bucket", "k")


@pytest.mark.parametrize(
    "wanted",
    [
        {"md5": hashlib.md5(b"other").hexdigest()},
        {"sha256": hashlib.sha256(b"other").hexdigest()},
        {"checksums": {"CRC32": "AAAAAA=="}},
        {"checksums": {"CRC64NVME": "AAAAAAAAAAA="}},
    ],
    ids=["md5", "sha256", "crc32", "crc64nvme"],
)
async def test_a_body_that_is_not_what_was_said_is_not_stored(made: Rig, wanted: dict[str, object]):
    await put(made, "k", b"before")
    with pytest.raises((errors.BadDigest, errors.WrongHash)):
        await put(made, "k", b"content", **wanted)
    assert await content(made, "k") == b"before"


async def test_files_go_when_nothing_refers_to_them(made: Rig):
    await put(made, "a", b"same")
    await put(made, "b", b"same")
    await put(made, "c", b"other")
    assert len(made.files()) == 2
    await put(made, "c", b"new")
    await made.objects.remove(made.bucket, ["a"], actor=ACTOR)
    await collect(made)
    assert made.files() == {hashlib.sha256(each).hexdigest() for each in (b"same", b"new")}
    assert await content(made, "b") == b"same"
    await made.objects.remove(made.bucket, ["b", "c", "none"], actor=ACTOR)
    assert await made.collector.collect() == 0, "there is a grace"
    await collect(made)
    assert not made.files()
    assert await made.buckets.used(ACCOUNT) == 0


async def test_what_is_being_read_or_stored_is_not_collected(made: Rig):
    stored = await put(made, "a", b"content")
    pieces, held = await made.objects.pieces(stored)
    await made.objects.remove(made.bucket, ["a"], actor=ACTOR)
    await collect(made)
    reading = made.objects.read(pieces, held, 0, 7)
    assert b"".join([part async for part in reading]) == b"content"
    await collect(made)
    assert not made.files()

    received = await made.contents.receive(Body(b"content"), limit=100)
    await made.blobs.suspect([received.piece.blob], 0.0)
    await collect(made)
    assert received.piece.blob in made.files()
    made.objects.release(received)
    await collect(made)
    assert not made.files()


async def test_a_file_that_is_taken_up_while_it_is_looked_at_stays(made: Rig):
    piece = Piece(hashlib.sha256(b"x").hexdigest(), 1)
    received = await made.contents.receive(Body(b"x"), limit=100)
    made.objects.release(received)

    async def taken_up(_name: str) -> bool:
        made.contents.release(made.contents.hold([piece]))
        return False

    assert not await made.contents.discard(piece.blob, taken_up)
    assert piece.blob in made.files()


@pytest.mark.databases
async def test_files_that_nothing_ever_referred_to_are_found(made: Rig):
    await put(made, "a", b"kept")
    received = await made.contents.receive(Body(b"lost"), limit=100)
    made.objects.release(received)
    await made.collector.seek()
    await collect(made)
    assert made.files() == {hashlib.sha256(b"kept").hexdigest()}


async def test_a_start_removes_what_was_unfinished(tmp_path: Path):
    async with rig(tmp_path) as made:
        (made.directory / "incoming" / "left").write_bytes(b"half")
    async with rig(tmp_path) as made:
        assert not made.unfinished()


async def test_a_full_disk_is_said(made: Rig, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("forerun.sources.buckets.content.os.write", full)
        with pytest.raises(StorageFailed, match="the disk is full"):
            await put(made, "k", b"content")
    assert not made.unfinished()
    assert not made.files()


@pytest.mark.databases
async def test_guards(made: Rig):
    first = await put(made, "k", b"1", Guard(absent=True))
    with pytest.raises(PreconditionFailed):
        await put(made, "k", b"2", Guard(absent=True))
    with pytest.raises(PreconditionFailed):
        await put(made, "k", b"2", Guard(etag="0" * 32))
    second = await put(made, "k", b"2", Guard(etag=first.etag))
    with pytest.raises(errors.NoSuchKey):
        await put(made, "none", b"2", Guard(etag=first.etag))
    with pytest.raises(PreconditionFailed):
        await made.objects.remove(made.bucket, ["k"], etag=first.etag, actor=ACTOR)
    await made.objects.remove(made.bucket, ["k"], etag=second.etag, actor=ACTOR)


@pytest.mark.databases
async def test_of_many_who_want_it_absent_one_is_served(made: Rig):
    wishes = [put(made, "k", str(number).encode(), Guard(absent=True)) for number in range(20)]
    answers = await asyncio.gather(*wishes, return_exceptions=True)
    [kept] = [each for each in answers if not isinstance(each, PreconditionFailed)]
    assert not isinstance(kept, BaseException)
    assert hashlib.md5(await content(made, "k")).hexdigest() == kept.etag


@pytest.mark.databases
async def test_a_bucket_with_objects_is_not_removed(made: Rig):
    await put(made, "k", b"1")
    with pytest.raises(errors.BucketNotEmpty):
        await made.buckets.remove(made.bucket)
    await made.objects.remove(made.bucket, ["k"], actor=ACTOR)
    upload = await made.uploads.begin(made.bucket, "k", About())
    await made.uploads.put(made.bucket, upload, 1, Body(b"part"), Wanted(size=4))
    await made.buckets.remove(made.bucket)
    with pytest.raises(errors.NoSuchBucket):
        await put(made, "k", b"1")
    with pytest.raises(errors.NoSuchBucket):
        await made.objects.put(
            made.bucket, "k", Body(b"late"), Wanted(), About(), guard=FREE, actor=ACTOR
        )
    with pytest.raises(errors.NoSuchUpload):
        await made.uploads.put(made.bucket, upload, 2, Body(b"part"), Wanted(size=4))
    await made.collector.seek()
    await collect(made)
    assert not made.files()


# Uploads in parts

MEGA = 1024 * 1024


@pytest.mark.databases
async def test_parts_become_an_object(made: Rig):
    parts = [os.urandom(5 * MEGA), os.urandom(5 * MEGA + 1), b"end"]
    about = About(algorithm="CRC32", checksum_type="FULL_OBJECT")
    upload = await made.uploads.begin(made.bucket, "k", about)
    await made.uploads.put(made.bucket, upload, 2, Body(b"replaced"), Wanted(size=8))
    chosen = []
    for number, part in reversed(list(enumerate(parts, 1))):
        done = await made.uploads.put(
            made.bucket, upload, number, Body(part), Wanted(size=len(part))
        )
        chosen.insert(0, Chosen(number, done.etag))
    await made.uploads.put(made.bucket, upload, 9, Body(b"unused"), Wanted(size=6))
    upload = await made.uploads.find("bucket", "k", upload.id)
    stored = await made.uploads.complete(
        made.bucket, upload, chosen, claimed={}, guard=FREE, actor=ACTOR
    )
    whole = b"".join(parts)
    md5s = b"".join(hashlib.md5(part).digest() for part in parts)
    assert stored.etag == f"{hashlib.md5(md5s).hexdigest()}-3"
    crc = base64.b64encode(zlib.crc32(whole).to_bytes(4, "big")).decode()
    assert stored.about.checksums == {"CRC32": crc}
    assert await content(made, "k") == whole
    assert await made.buckets.used(ACCOUNT) == len(whole)
    await collect(made)
    assert made.files() == {hashlib.sha256(part).hexdigest() for part in parts}
    with pytest.raises(errors.NoSuchUpload):
        await made.uploads.find("bucket", "k", upload.id)


@pytest.mark.databases
@pytest.mark.parametrize(
    ("chosen", "refused"),
    [
        ([], errors.BadPart),
        ([(1, "x")], errors.BadPart),
        ([(3, "")], errors.BadPart),
        ([(2, ""), (1, "")], errors.BadPartOrder),
        ([(1, ""), (1, "")], errors.BadPartOrder),
        ([(1, ""), (2, "")], errors.PartTooSmall),
    ],
    ids=["none", "etag", "missing", "order", "twice", "small"],
)
async def test_what_cannot_be_completed_stays_an_upload(
    made: Rig, chosen: list[tuple[int, str]], refused: type[Exception]
):
    upload = await made.uploads.begin(made.bucket, "k", About())
    etags = {}
    for number in (1, 2):
        part = await made.uploads.put(made.bucket, upload, number, Body(b"1"), Wanted(size=1))
        etags[number] = part.etag
    wanted = [Chosen(number, etag or etags.get(number, "0" * 32)) for number, etag in chosen]
    with pytest.raises(refused):
        await made.uploads.complete(
            made.bucket, upload, wanted, claimed={}, guard=FREE, actor=ACTOR
        )
    parts, more = await made.uploads.parts(upload, 0, 1000)
    assert [part.number for part in parts] == [1, 2]
    assert not more


@pytest.mark.databases
async def test_an_upload_that_is_given_up_leaves_nothing(made: Rig):
    upload = await made.uploads.begin(made.bucket, "k", About())
    await made.uploads.put(made.bucket, upload, 1, Body(b"part"), Wanted(size=4))
    await made.uploads.abort(upload)
    with pytest.raises(errors.NoSuchUpload):
        await made.uploads.abort(upload)
    await collect(made)
    assert not made.files()
    assert await made.buckets.used(ACCOUNT) == 0


async def test_copies_share_their_files(made: Rig):
    source = await put(made, "a", b"content")
    await made.objects.copy(source, made.bucket, "b", About(), guard=FREE, actor=ACTOR)
    await made.objects.remove(made.bucket, ["a"], actor=ACTOR)
    await collect(made)
    assert await content(made, "b") == b"content"
    assert len(made.files()) == 1
    upload = await made.uploads.begin(made.bucket, "c", About())
    kept = await made.objects.find("bucket", "b")
    part = await made.uploads.copy(made.bucket, upload, 1, kept, (1, 3))
    assert part.etag == hashlib.md5(b"ont").hexdigest()


# Who is told


def told(made: Rig) -> list[str]:
    return [
        record["eventName"]
        for message in made.outbox.sent
        for record in msgspec.json.decode(message.payload)["Records"]
    ]


async def watch(made: Rig, **more: object) -> None:
    config = {
        "LambdaFunctionConfigurations": [
            {
                "Id": "all",
                "LambdaFunctionArn": FUNCTION,
                "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
                **more,
            }
        ]
    }
    await made.buckets.set_notifications(made.bucket, config, ACTOR, trial=False)
    made.bucket = await made.buckets.find("bucket")


@pytest.mark.databases
async def test_each_change_is_told_once_and_in_order(made: Rig):
    await watch(made)
    for number in range(3):
        await put(made, "k", str(number).encode())
    await made.objects.remove(made.bucket, ["k", "none"], actor=ACTOR)
    assert told(made) == ["ObjectCreated:Put"] * 3 + ["ObjectRemoved:Delete"]
    records = [
        msgspec.json.decode(each.payload)["Records"][0]["s3"]["object"] for each in made.outbox.sent
    ]
    sequence = [each["sequencer"] for each in records]
    assert sequence == sorted(set(sequence))
    assert records[2]["eTag"] == hashlib.md5(b"2").hexdigest()
    assert "size" not in records[3]
    assert len({each.id for each in made.outbox.sent}) == 4
    assert await made.blobs.owed(10) == []


@pytest.mark.databases
async def test_of_many_removed_those_are_told_that_somebody_wants(made: Rig):
    rules = [{"Name": "Prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".jpg"}]
    await watch(made, Filter={"Key": {"FilterRules": rules}})
    keys = ["in/a.jpg", "in/b.txt", "out/c.jpg", "in/d.jpg"]
    for key in keys:
        await put(made, key, b"1")
    await made.objects.remove(made.bucket, keys, actor=ACTOR)
    assert told(made) == ["ObjectCreated:Put"] * 2 + ["ObjectRemoved:Delete"] * 2


@pytest.mark.databases
async def test_what_could_not_be_told_is_told_at_the_next_start(tmp_path: Path):
    async with rig(tmp_path) as made:
        await watch(made)
        made.outbox.fails = Throttled("full", reason="full")
        await put(made, "k", b"1")
        assert not made.outbox.sent
        [owed] = await made.blobs.owed(10)
    async with rig(tmp_path) as made:
        made.notices.start()
        async with asyncio.timeout(10):
            while await made.blobs.owed(10):
                await asyncio.sleep(0)
        assert told(made) == ["ObjectCreated:Put"]
        assert made.outbox.sent[0].id.startswith(owed.id)
