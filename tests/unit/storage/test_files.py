"""Files in the database: whole or not at all, as they were written, with little memory."""

import asyncio
import hashlib
import os

import pytest
from tests.databases import open_database
from tests.fakes.clock import FakeClock

from forerun.errors import NotFound, StorageFailed
from forerun.storage import Statement
from forerun.storage.files import AT_ONCE, CHUNK, FileDamaged, FileStore

pytestmark = pytest.mark.databases


@pytest.fixture
async def db(tmp_path):
    db = await open_database(tmp_path / "state" / "forerun.db")
    yield db
    await db.close()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def files(db, clock):
    return FileStore(db, clock)


async def pieces(*contents):
    for content in contents:
        yield content


async def content(files, name):
    return b"".join([piece async for piece in files.read(name)])


async def left(db):
    """Chunks, and contents without a name."""
    [[chunks]] = await db.fetch("SELECT count(*) FROM file_chunks")
    [[loose]] = await db.fetch("SELECT count(*) FROM file_loose")
    return chunks, loose


@pytest.mark.parametrize(
    "size",
    [0, 1, CHUNK, CHUNK + 1, AT_ONCE * CHUNK, 5 * CHUNK + 7],
    ids=lambda size: f"{size}-bytes",
)
async def test_what_is_read_is_what_was_written(files, db, size):
    wanted = os.urandom(size)
    stored = await files.put("code/one.zip", pieces(wanted[:100], wanted[100:]))
    assert stored == ("code/one.zip", size, hashlib.sha256(wanted).hexdigest())
    assert await files.get("code/one.zip") == stored
    got = [piece async for piece in files.read("code/one.zip")]
    assert b"".join(got) == wanted
    assert all(len(piece) <= AT_ONCE * CHUNK for piece in got)
    assert await left(db) == (-(-size // CHUNK), 0)


async def test_a_file_goes_to_the_disk_and_back(files, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(2 * CHUNK + 3))
    await files.put_path("objects/ab/cd", source)
    await files.fetch("objects/ab/cd", target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "source",
        "target",
    ]


async def test_a_file_is_replaced_at_once_and_nothing_of_the_old_one_stays(files, db):
    await files.put("a", pieces(b"old" * CHUNK))
    await files.put("a", pieces(b"new"))
    assert await content(files, "a") == b"new"
    assert await left(db) == (1, 0)


async def test_of_many_who_write_one_name_at_once_one_is_whole(files, db):
    await asyncio.gather(*(files.put("a", pieces(bytes([n]) * (CHUNK + n))) for n in range(1, 5)))
    found = await content(files, "a")
    assert found == found[:1] * (CHUNK + found[0])
    assert await left(db) == (2, 0)


async def test_what_was_not_written_to_the_end_is_not_there(files, db):
    async def broken():
        yield b"x" * (2 * CHUNK)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        await files.put("a", broken())
    assert await files.get("a") is None
    with pytest.raises(NotFound):
        await content(files, "a")
    assert await left(db) == (0, 0)


async def test_what_a_killed_process_began_is_swept_hours_later(files, db, clock):
    await db.write(
        Statement("INSERT INTO file_loose VALUES ('half', $1, 0)", (clock.now(),)),
        Statement("INSERT INTO file_chunks VALUES ('half', 0, $1)", (b"x",)),
    )
    assert await files.sweep() == 0
    clock.jump(7 * 3600)
    assert await files.sweep() == 1
    assert await left(db) == (0, 0)


async def test_a_damaged_file_is_noticed_and_does_not_get_to_the_disk(files, db, tmp_path):
    await files.put("a", pieces(b"x" * (CHUNK + 1)))
    await db.write(Statement("UPDATE file_chunks SET body = $1 WHERE n = 1", (b"y",)))
    with pytest.raises(FileDamaged):
        await files.fetch("a", tmp_path / "a")
    await db.write(Statement("DELETE FROM file_chunks WHERE n = 1"))
    with pytest.raises(FileDamaged):
        await files.fetch("a", tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


async def test_a_file_that_somebody_needs_stays(files, db, clock):
    await files.put("a", pieces(b"x"))
    moment = clock.now()
    clock.jump(100)
    assert await files.touch("a")
    assert not await files.remove("a", untouched_since=moment + 50)
    assert await content(files, "a") == b"x"
    assert await files.remove("a", untouched_since=moment + 101)
    assert await files.remove("a")
    assert not await files.touch("a")
    assert await left(db) == (0, 0)


async def test_names_come_in_order_and_in_pages(files):
    for name in ("code/b", "code/a", "codex", "objects/a", "code/c"):
        await files.put(name, pieces(b"x"))
    assert await files.names("code/", limit=2) == ["code/a", "code/b"]
    assert await files.names("code/", "code/b") == ["code/c"]
    assert await files.names("nothing/") == []


@pytest.mark.parametrize("name", ["", "x" * 513], ids=["empty", "long"])
async def test_names_have_bounds(files, name):
    with pytest.raises(StorageFailed, match="characters"):
        await files.put(name, pieces(b"x"))
