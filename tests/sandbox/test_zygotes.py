"""Zygotes that sprout from others: real interpreters, real jails."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.sandbox.makers import RUNTIME, make_call, make_spec, write_code

from forerun.model import WITH_SDK, InitReport
from forerun.sandbox import JailSandboxes, JailSettings, Sandbox, own_interpreter, rootfs
from forerun.sandbox.zygotes import Unfit

pytestmark = [pytest.mark.slow]

SLOW = ["xml.dom.minidom", "sqlite3", "asyncio"]
GROWN = f"{RUNTIME}+grown"
SOURCE = """
import sys
before = set(sys.modules)
import xml.dom.minidom, sqlite3, asyncio
def handler(event, context):
    return {"had": "sqlite3" in before, "db": sqlite3.connect(":memory:").execute("select 7").fetchone()[0]}
"""


async def assigned(
    jails: JailSandboxes, pool: str, code: Path, **changes: object
) -> tuple[Sandbox, InitReport]:
    sandbox = await jails.create(pool)
    report = await sandbox.assign(make_spec(code, **changes), deadline=time.monotonic() + 10)
    assert isinstance(report, InitReport), report
    return sandbox, report


async def until(probe: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not probe():
            await asyncio.sleep(0.01)


async def answer(sandbox: Sandbox) -> dict[str, object]:
    outcome = await sandbox.invoke(make_call())
    assert outcome.error is None, outcome.payload
    return json.loads(outcome.payload)


async def test_a_sprout_has_what_its_parent_has_not(jails: JailSandboxes, tmp_path: Path) -> None:
    loaded = await jails.nursery.grow(GROWN, RUNTIME, SLOW)
    assert set(loaded.modules) == set(SLOW)
    assert "xml.dom" in loaded.names
    assert not loaded.unfit
    assert 0 < loaded.kb < 64 * 1024
    code = write_code(tmp_path / "code", SOURCE)
    plain, seen = await assigned(jails, RUNTIME, code)
    assert {"xml.dom.minidom", "sqlite3", "asyncio"} <= {one.name for one in seen.imports}
    grown, unseen = await assigned(jails, GROWN, code)
    assert not {"xml.dom.minidom", "sqlite3", "asyncio"} & {one.name for one in unseen.imports}
    assert unseen.duration_ms < seen.duration_ms / 2
    assert await answer(plain) == {"had": False, "db": 7}
    assert await answer(grown) == {"had": True, "db": 7}
    assert [info.parent for info in jails.nursery.infos()] == ["", RUNTIME]


async def test_copies_draw_their_own_secrets(jails: JailSandboxes, tmp_path: Path) -> None:
    await jails.nursery.grow(GROWN, RUNTIME, ["multiprocessing", "zoneinfo"])
    code = write_code(
        tmp_path / "code",
        """
import multiprocessing, random, zoneinfo
def handler(event, context):
    key = bytes(multiprocessing.current_process().authkey).hex()
    return {"key": key, "number": random.random(), "zones": zoneinfo.TZPATH}
""",
    )
    zones = {"PYTHONTZPATH": "/var/task/zones"}
    answers = []
    for _ in range(2):
        sandbox, _ = await assigned(jails, GROWN, code, environment=zones)
        answers.append(await answer(sandbox))
    assert len({each["key"] for each in answers}) == 2
    assert len({each["number"] for each in answers}) == 2
    assert answers[0]["zones"] == ["/var/task/zones"]


async def test_a_snapshot_can_be_taken_in_its_sandboxes(
    jails: JailSandboxes, tmp_path: Path
) -> None:
    await jails.nursery.grow(GROWN, RUNTIME, SLOW)
    spec = make_spec(write_code(tmp_path / "code", SOURCE), snap_start=True, version="1")
    template = await jails.create(GROWN)
    report = await jails.snapshot(template, spec, deadline=time.monotonic() + 10)
    assert isinstance(report, InitReport), report
    copied = await jails.restore(template)
    await copied.assign(spec, deadline=time.monotonic() + 10)
    assert await answer(copied) == {"had": True, "db": 7}


async def test_sprouts_sprout_and_share_memory(jails: JailSandboxes, tmp_path: Path) -> None:
    await jails.nursery.grow(GROWN, RUNTIME + WITH_SDK, ["sqlite3"])
    await jails.nursery.grow(f"{RUNTIME}+more", GROWN, ["asyncio"])
    infos = {info.name: info for info in jails.nursery.infos()}
    assert infos[f"{RUNTIME}+more"].loaded.kb < infos[RUNTIME + WITH_SDK].loaded.kb / 2
    code = write_code(
        tmp_path / "code", "import boto3, sqlite3, asyncio\ndef handler(e, c): return {}"
    )
    sandbox, report = await assigned(jails, f"{RUNTIME}+more", code)
    assert [one.name for one in report.imports if one.origin != "package"] == []
    assert await answer(sandbox) == {}


async def test_a_retired_one_stays_for_its_sandboxes(jails: JailSandboxes, tmp_path: Path) -> None:
    await jails.nursery.grow(GROWN, RUNTIME, SLOW)
    pid = jails.zygote_pids()[GROWN]
    code = write_code(tmp_path / "code", SOURCE)
    old, _ = await assigned(jails, GROWN, code)
    jails.nursery.retire(GROWN)
    await jails.nursery.sweep()
    assert await answer(old) == {"had": True, "db": 7}
    # Who asks for it still gets a sandbox all the same.
    new, _ = await assigned(jails, GROWN, code)
    assert await answer(new) == {"had": False, "db": 7}
    await old.destroy()
    await jails.nursery.sweep()
    await until(lambda: not Path(f"/proc/{pid}").exists())
    assert await answer(new) == {"had": False, "db": 7}


async def test_a_lost_one_grows_again_and_ends_nobody_else(
    jails: JailSandboxes, tmp_path: Path
) -> None:
    await jails.nursery.grow(GROWN, RUNTIME, SLOW)
    code = write_code(tmp_path / "code", SOURCE)
    neighbour, _ = await assigned(jails, RUNTIME, code)
    lost, _ = await assigned(jails, GROWN, code)
    os.kill(jails.zygote_pids()[GROWN], signal.SIGKILL)
    await until(lambda: not lost.alive)
    again, _ = await assigned(jails, GROWN, code)
    assert await answer(again) == {"had": True, "db": 7}
    assert await answer(neighbour) == {"had": False, "db": 7}


async def test_all_end_with_the_one_they_sprouted_from(
    jails: JailSandboxes, tmp_path: Path
) -> None:
    await jails.nursery.grow(GROWN, RUNTIME, SLOW)
    await jails.nursery.grow(f"{RUNTIME}+more", GROWN, ["fractions"])
    code = write_code(tmp_path / "code", SOURCE)
    lost, _ = await assigned(jails, f"{RUNTIME}+more", code)
    os.kill(jails.zygote_pids()[RUNTIME], signal.SIGKILL)
    await until(lambda: not lost.alive)
    again, _ = await assigned(jails, f"{RUNTIME}+more", code)
    assert await answer(again) == {"had": True, "db": 7}


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A module that the runtime brings, to be written before the first zygote is started."""
    folder = tmp_path / "brought"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(rootfs, "SDK_PACKAGES", (*rootfs.SDK_PACKAGES, "brought"))
    return folder / "brought.py"


STARTS_A_THREAD = (
    "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
)


async def test_what_starts_a_thread_is_in_no_zygote(
    brought: Path, jails: JailSandboxes, tmp_path: Path
) -> None:
    brought.write_text(STARTS_A_THREAD)
    with pytest.raises(Unfit) as refused:
        await jails.nursery.grow(GROWN, RUNTIME, ["sqlite3", "brought", "asyncio"])
    assert refused.value.modules == ["brought"]
    assert [info.name for info in jails.nursery.infos()] == [RUNTIME]
    code = write_code(tmp_path / "code", SOURCE)
    sandbox, _ = await assigned(jails, GROWN, code)
    assert await answer(sandbox) == {"had": False, "db": 7}


async def test_an_interpreter_starts_without_what_starts_a_thread(
    brought: Path, tmp_path: Path
) -> None:
    brought.write_text(STARTS_A_THREAD)
    own = own_interpreter()
    jails = JailSandboxes(
        JailSettings(
            data_dir=tmp_path / "data",
            interpreters={own.runtime: own},
            preload=("sqlite3", "brought", "asyncio"),
        )
    )
    await jails.start()
    try:
        sandbox, report = await assigned(jails, RUNTIME, write_code(tmp_path / "code", SOURCE))
        assert "sqlite3" not in {one.name for one in report.imports}
        assert await answer(sandbox) == {"had": True, "db": 7}
    finally:
        await jails.close()


async def test_what_fails_to_be_imported_is_left_out(jails: JailSandboxes) -> None:
    loaded = await jails.nursery.grow(GROWN, RUNTIME, ["nosuchmodule", "sqlite3"])
    assert loaded.unfit == {"nosuchmodule"}
    assert "sqlite3" in loaded.names
