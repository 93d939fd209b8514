"""State that control planes share: one database, one key, and files that each of them finds."""

import asyncio
import os

import pytest
from tests.servers import package

from forerun.aio import SystemClock
from forerun.app.state import open_state
from forerun.control.packaging.code import CodeStore
from forerun.errors import NotFound, StorageFailed
from forerun.settings import ClusterSettings, ServerSettings, Settings
from forerun.sources.buckets import Contents
from forerun.storage import Statement

LIMIT = 64 << 20

DISTRIBUTION = {f"big/{n}.py": os.urandom(200_000) for n in range(8)} | {
    "big-1.0.dist-info/RECORD": "".join(f"big/{n}.py,,\n" for n in range(8))
    + "big-1.0.dist-info/RECORD,,\n",
    "big-1.0.dist-info/METADATA": "Name: big\nVersion: 1.0\n",
}


def settings_of(directory, url):
    return Settings(
        server=ServerSettings(data_dir=directory), cluster=ClusterSettings(database=url)
    )


def give_key(source, target):
    """As joining the cluster does."""
    target.mkdir(mode=0o700)
    (target / "sealing.key").write_bytes((source / "sealing.key").read_bytes())
    (target / "sealing.key").chmod(0o600)


@pytest.fixture
async def states(tmp_path, postgres_url):
    """Two control planes."""
    one = await open_state(settings_of(tmp_path / "one", postgres_url), SystemClock())
    give_key(tmp_path / "one", tmp_path / "two")
    two = await open_state(settings_of(tmp_path / "two", postgres_url), SystemClock())
    yield one, two
    await one.close()
    await two.close()


async def code_of(state, directory):
    store = CodeStore(
        directory,
        clock=SystemClock(),
        zipped_limit=LIMIT,
        unzipped_limit=LIMIT,
        vault=state.vault,
    )
    await store.start()
    return store


async def test_both_see_the_same_and_open_what_the_other_sealed(states):
    one, two = states
    sealed = one.sealer.seal(b"secret", b"place")
    assert two.sealer.open(sealed, b"place") == b"secret"
    for theirs, ours in (
        (one.db, two.db),
        (one.messages, two.messages),
        (one.traces_db, two.traces_db),
    ):
        await theirs.write(Statement("CREATE TABLE probe (n BIGINT)"))
        assert await ours.fetch("SELECT n FROM probe") == []


async def test_a_key_that_is_not_the_clusters_is_refused(states, tmp_path, postgres_url):
    with pytest.raises(StorageFailed, match="join with a token"):
        await open_state(settings_of(tmp_path / "three", postgres_url), SystemClock())
    assert not (tmp_path / "three" / "sealing.key").exists()
    (tmp_path / "four").mkdir(mode=0o700)
    (tmp_path / "four" / "sealing.key").write_bytes(os.urandom(32))
    (tmp_path / "four" / "sealing.key").chmod(0o600)
    with pytest.raises(StorageFailed, match="is not the one"):
        await open_state(settings_of(tmp_path / "four", postgres_url), SystemClock())


async def test_of_two_first_ones_one_makes_the_key(tmp_path, postgres_url):
    found = await asyncio.gather(
        *(
            open_state(settings_of(tmp_path / name, postgres_url), SystemClock())
            for name in ("one", "two")
        ),
        return_exceptions=True,
    )
    opened = [each for each in found if not isinstance(each, StorageFailed)]
    assert len(opened) >= 1
    keys = {(path.read_bytes()) for path in tmp_path.glob("*/sealing.key")}
    assert len(keys) == 1
    for state in opened:
        await state.close()


async def test_a_package_is_had_from_every_control_plane(states, tmp_path):
    one = await code_of(states[0], tmp_path / "one")
    two = await code_of(states[1], tmp_path / "two")
    uploaded = package({"index.py": "x = 1", "data": os.urandom(3 << 20)})
    stored = await one.put(uploaded, "1" * 12)
    await two.bring(two.path(stored.digest))
    assert (tmp_path / "two" / "trees" / stored.digest / "index.py").read_text() == "x = 1"
    assert await two.read(stored.digest) == uploaded
    assert await two.digests() == {stored.digest}


async def test_merged_layers_and_collections_are_had_from_every_control_plane(states, tmp_path):
    account = "1" * 12
    one = await code_of(states[0], tmp_path / "one")
    two = await code_of(states[1], tmp_path / "two")
    first = package({"index.py": "x = 1"} | DISTRIBUTION)
    layer = await one.put(package({"other.py": "y = 2"}), account)
    stored = await one.put(first, account)
    merged = await one.merge([stored.digest, layer.digest])
    contents = await one.contents(stored.digest, account)
    objects = {part.object for part in contents.parts}
    assert objects
    await one.split(stored.digest, account, objects)
    assert await one.tidy(stored.digest, SystemClock.now() + 10)

    await two.bring(two.path(merged))
    tree = tmp_path / "two" / "trees" / merged
    assert (tree / "other.py").read_text() == "y = 2"
    assert (tree / "big/3.py").read_bytes() == DISTRIBUTION["big/3.py"]
    assert await two.read(stored.digest) == first
    assert not two.blob_path(stored.digest).exists()
    assert await two.collections() == [(stored.digest, objects)]

    await one.join(stored.digest)
    assert await two.collections() == []
    assert await two.read(stored.digest) == first


async def test_what_is_thrown_away_is_gone_unless_another_just_took_it_up(states, tmp_path):
    one = await code_of(states[0], tmp_path / "one")
    two = await code_of(states[1], tmp_path / "two")
    uploaded = package({"index.py": "x = 1"})
    digest = (await one.put(uploaded)).digest
    for entry in (one.blob_path(digest), tmp_path / "one" / "trees" / digest):
        os.utime(entry, (1, 1))
    await two.put(uploaded)
    assert not await one.discard(digest)
    vault_row = "UPDATE files SET touched = 1 RETURNING name"
    await states[0].db.fetch(vault_row)
    assert await one.discard(digest)
    three = await code_of(states[1], tmp_path / "two")
    three.blob_path(digest).unlink()
    with pytest.raises(NotFound):
        await three.read(digest)


async def test_a_damaged_object_comes_back_from_the_database(states, tmp_path):
    one = await code_of(states[0], tmp_path / "one")
    stored = await one.put(package(DISTRIBUTION), "1" * 12)
    [part] = (await one.contents(stored.digest, "1" * 12)).parts
    await one.split(stored.digest, "1" * 12, {part.object})
    path = one.objects.path(part.object)
    sound = path.read_bytes()
    path.write_bytes(sound[:-9] + b"damaged!!")
    one.objects.forget(part.object)
    assert await asyncio.to_thread(one.objects.repair, part.object)
    assert path.read_bytes() == sound


async def test_what_was_being_fetched_when_it_was_killed_is_gone(tmp_path, postgres_url):
    left = tmp_path / "one" / "fetching" / ".fetching-half"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    state = await open_state(settings_of(tmp_path / "one", postgres_url), SystemClock())
    assert not left.exists()
    await state.close()


class Body:
    """An object as it is uploaded."""

    def __init__(self, *pieces):
        self._pieces = pieces

    async def __aiter__(self):
        for piece in self._pieces:
            yield piece

    def decode(self, piece):
        return (piece,)

    def end(self):
        return {}


async def test_an_object_is_read_where_it_was_not_written(states, tmp_path):
    one = Contents(tmp_path / "one" / "objects", states[0].vault)
    two = Contents(tmp_path / "two" / "objects", states[1].vault)
    await one.start()
    await two.start()
    content = os.urandom((5 << 20) + 3)
    received = await one.receive(Body(content[:1000], content[1000:]), limit=LIMIT)
    piece = received.piece
    two.hold([piece])
    read = [part async for part in two.read([piece], 1 << 20, 3 << 20)]
    assert b"".join(read) == content[1 << 20 : 4 << 20]
    assert await two.names(piece.blob[:2]) == [piece.blob]

    async def nobody(_):
        return False

    two.release([piece.blob])
    one.release([piece.blob])
    assert await one.discard(piece.blob, nobody)
    assert await states[0].db.fetch("SELECT name FROM files") == []
    await one.close()
    await two.close()


async def test_what_is_written_again_while_it_is_thrown_away_stays(states, tmp_path):
    state, loop = states[0], asyncio.get_running_loop()
    contents = Contents(tmp_path / "one" / "objects", state.vault)
    await contents.start()
    piece = (await contents.receive(Body(b"again"), limit=LIMIT)).piece
    contents.release([piece.blob])
    drop = state.vault.drop

    def late(path, **given):
        writing = contents.receive(Body(b"again"), limit=LIMIT)
        asyncio.run_coroutine_threadsafe(writing, loop).result(20)
        return drop(path, **given)

    async def nobody(_):
        return False

    state.vault.drop = late
    await contents.discard(piece.blob, nobody)
    assert await state.files.get(f"objects/{piece.blob[:2]}/{piece.blob[2:]}")
    read = [part async for part in contents.read([piece], 0, piece.size)]
    assert b"".join(read) == b"again"
    await contents.close()
