"""Folders over a real database and a real directory: floods, targets that do not keep up, directories that vanish."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.databases import open_database
from tests.fakes.outbox import FakeOutbox

from forerun.aio import SystemClock
from forerun.errors import Throttled
from forerun.sources.folders import Folders, FolderWish
from forerun.sources.folders import keeper as keeping
from forerun.storage import Db
from forerun.storage.folders import FolderStore
from forerun.storage.sqlite import MESSAGES

ACCOUNT, REGION = "000000000042", "us-home-1"


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Db]:
    db = await open_database(tmp_path / "messages.db", migrations=MESSAGES)
    yield db
    await db.close()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    path = tmp_path / "inbox"
    path.mkdir()
    return path


class Rig:
    """Folders that can be ended and begun anew over the same database."""

    def __init__(self, db: Db, inbox: Path) -> None:
        self.outbox = FakeOutbox()
        self.inbox = inbox
        self._db = db

    async def begin(self) -> None:
        self.folders = Folders(
            FolderStore(self._db),
            self.outbox,
            SystemClock(),
            region=REGION,
            roots=[str(self.inbox)],
        )
        await self.folders.start()

    async def put(self, **more: object) -> None:
        given = {"name": "inbox", "path": str(self.inbox), "target": "f", "settle_s": 0.05}
        await self.folders.put(ACCOUNT, FolderWish(**(given | more)))  # type: ignore[arg-type]

    def subjects(self) -> Counter[str]:
        return Counter(
            f"{(event := json.loads(each.payload))['type'].rpartition('.')[2]} {event['subject']}"
            for each in self.outbox.sent
        )

    async def standing(self) -> keeping.Standing:
        return (await self.folders.find(ACCOUNT, "inbox"))[1]


@pytest.fixture
async def rig(db: Db, inbox: Path) -> AsyncIterator[Rig]:
    rig = Rig(db, inbox)
    await rig.begin()
    yield rig
    await rig.folders.close()


async def until(probe: Callable[[], object], what: str, within: float = 15.0) -> None:
    async with asyncio.timeout(within):
        while not probe():
            await asyncio.sleep(0.02)
    assert probe(), what


@pytest.mark.databases
async def test_a_flood_is_told_within_bounds_though_targets_do_not_keep_up(rig, monkeypatch):
    """Many more files than are waited for or hinted at; the outbox refuses for a while."""
    monkeypatch.setattr(keeping, "MOST_HINTS", 100)
    monkeypatch.setattr(keeping, "AGAIN_S", 0.1)
    await rig.put()
    rig.outbox.fails = Throttled("full", reason="QueueFull", retry_after_s=0.1)

    def write() -> None:
        for number in range(3000):
            (rig.inbox / f"f{number}").write_text("x")

    await asyncio.to_thread(write)
    async with asyncio.timeout(10):
        while not (await rig.standing()).trouble.startswith("Targets do not keep up"):
            await asyncio.sleep(0.02)
    assert rig.outbox.sent == []
    rig.outbox.fails = None
    await until(lambda: len(rig.subjects()) == 3000, "all files")
    assert set(rig.subjects()) == {f"created f{number}" for number in range(3000)}
    assert (await rig.standing()).trouble == ""


@pytest.mark.databases
async def test_what_was_handed_over_and_not_written_down_is_told_again_with_its_id(
    rig, monkeypatch
):
    put, fail = FolderStore.put, True

    async def break_down(self: FolderStore, *given: object) -> None:
        if fail and given[1]:
            raise OSError("the server dies here")
        await put(self, *given)

    monkeypatch.setattr(FolderStore, "put", break_down)
    await rig.put()
    (rig.inbox / "a").write_text("x")
    await until(lambda: rig.outbox.sent, "the first time")
    await rig.folders.close()
    fail = False
    await rig.begin()
    told = len(rig.outbox.sent)
    await until(lambda: len(rig.outbox.sent) > told, "the second time")
    assert len({each.id for each in rig.outbox.sent}) == 1


@pytest.mark.databases
async def test_what_was_there_before_is_told_only_when_wanted(rig):
    (rig.inbox / "old").write_text("x")
    await asyncio.sleep(keeping.COARSE_S + 0.1)
    await rig.put()
    (rig.inbox / "new").write_text("x")
    await until(rig.subjects, "the new file")
    await until_looked(rig)
    assert rig.subjects() == {"created new": 1}
    await rig.folders.delete(ACCOUNT, "inbox")
    await rig.put(existing=True)
    await until(lambda: rig.subjects()["created old"], "the old file")


async def until_looked(rig: Rig) -> None:
    async with asyncio.timeout(10):
        while (await rig.standing()).looked is None:
            await asyncio.sleep(0.02)


async def test_a_directory_that_vanishes_is_no_news_of_its_files_and_is_watched_when_it_is_back(
    rig, monkeypatch
):
    monkeypatch.setattr(keeping, "AGAIN_S", 0.1)
    await rig.put(events=("created", "modified", "deleted"))
    (rig.inbox / "a").write_text("x")
    await until(lambda: rig.subjects()["created a"], "a file")
    away = rig.inbox.with_name("away")
    rig.inbox.rename(away)
    async with asyncio.timeout(10):
        while not (await rig.standing()).trouble:
            rig.folders._keepers[1][0].look_soon()
            await asyncio.sleep(0.02)
    assert rig.subjects() == {"created a": 1}
    away.rename(rig.inbox)
    async with asyncio.timeout(10):
        while (await rig.standing()).trouble:
            await asyncio.sleep(0.02)
    (rig.inbox / "b").write_text("x")
    await until(lambda: rig.subjects()["created b"], "a file after that")
    assert rig.subjects() == {"created a": 1, "created b": 1}


@pytest.mark.databases
async def test_marks_of_folders_that_are_gone_are_removed(rig, db):
    for number in range(200):
        (rig.inbox / f"f{number}").write_text("x")
    await rig.put(existing=True)
    await until(lambda: len(rig.subjects()) == 200, "all files")
    await rig.folders.delete(ACCOUNT, "inbox")
    async with asyncio.timeout(10):
        while (await db.fetch("SELECT count(*) FROM folder_files"))[0][0]:
            await asyncio.sleep(0.02)


async def test_a_pattern_and_the_level_bound_what_is_told(rig):
    await rig.put(pattern="*.csv", recursive=False)
    await until_looked(rig)
    (rig.inbox / "sub").mkdir()
    for name in ("a.csv", "b.txt", "sub/c.csv"):
        (rig.inbox / name).write_text("x")
    await until(rig.subjects, "the file")
    await rig.put(pattern="sub/*.csv")
    (rig.inbox / "sub" / "d.csv").write_text("x")
    (rig.inbox / "e.csv").write_text("x")
    await until(lambda: rig.subjects()["created sub/d.csv"], "the file below")
    assert set(rig.subjects()) <= {"created a.csv", "created sub/c.csv", "created sub/d.csv"}
