"""When bytecode is made: once, one after the other, while nobody waits, and never at a function's cost."""

import asyncio
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock, settle
from tests.fakes.sandboxes import FakeSandboxes
from tests.sandbox.makers import make_spec

from forerun.errors import SetupFailed
from forerun.host import Compiler, compiler
from forerun.sandbox import Pack


class Packing(FakeSandboxes):
    def packs(self, spec):
        return [Pack("/var/task", spec.code_dir, f"{spec.code_dir}.pack", "/pack")]


class Rig:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FakeClock()
        self.folder = folder
        self.begun: list[str] = []
        self.failures: list[BaseException] = []
        self.gate: asyncio.Event | None = None
        self.left_mb: int | None = None
        self.compiler = Compiler(
            Packing(self.clock), clock=self.clock, available_mb=lambda: self.left_mb
        )
        monkeypatch.setattr(compiler, "make_pack", self.make)

    async def make(self, sandboxes, pack, spec, clock):
        self.begun.append(Path(pack.tree).name)
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop()
        Path(pack.file).touch()
        return 1

    def load(self, name: str, size: int = 10_000) -> None:
        tree = self.folder / name
        tree.mkdir(exist_ok=True)
        (tree / "app.py").write_text("#" * size)
        self.compiler.loaded(make_spec(tree))

    async def go_on(self, *, until: int) -> None:
        """Let it work until so many were begun."""
        async with asyncio.timeout(40):
            while len(self.begun) < until:
                await self.clock.advance(compiler.QUIET_S)
                await asyncio.sleep(0.001)


@pytest.fixture
async def rig(tmp_path, monkeypatch):
    rig = Rig(tmp_path, monkeypatch)
    yield rig
    await rig.compiler.close()


async def test_each_code_is_compiled_once_after_a_while(rig):
    for name in ("a", "a", "b", "a"):
        rig.load(name)
    await settle()
    assert rig.begun == []
    await rig.go_on(until=2)
    rig.load("b")
    rig.load("c")
    await rig.go_on(until=3)
    assert rig.begun == ["a", "b", "c"]


async def test_what_was_made_before_or_is_small_is_not_made(rig):
    (rig.folder / "old.pack").touch()
    rig.load("old")
    rig.load("small", size=100)
    rig.load("large")
    await rig.go_on(until=1)
    assert rig.begun == ["large"]


async def test_one_at_a_time_and_a_failure_stops_nothing(rig, caplog):
    rig.gate = asyncio.Event()
    rig.failures = [OSError("disk full"), SetupFailed("no sandbox")]
    for name in "abc":
        rig.load(name)
    await rig.go_on(until=1)
    await rig.clock.advance(10)
    assert rig.begun == ["a"]
    rig.gate.set()
    await rig.go_on(until=3)
    assert "a was not compiled: no sandbox" in caplog.text
    assert "b was not compiled: disk full" in caplog.text


async def test_without_memory_it_is_left_for_the_next_time(rig):
    rig.left_mb = compiler.SPARE_MB - 1
    rig.load("a")
    await rig.clock.advance(1)
    rig.left_mb = None
    rig.load("a")
    await rig.go_on(until=1)
    assert rig.begun == ["a"]


async def test_what_waits_is_bounded(rig, monkeypatch):
    monkeypatch.setattr(compiler, "WAITING_MAX", 2)
    rig.gate = asyncio.Event()
    for name in "abcde":
        rig.load(name)
    rig.gate.set()
    await rig.go_on(until=2)
    rig.load("e")
    await rig.go_on(until=3)
    assert rig.begun == ["a", "b", "e"]


async def test_a_tree_that_came_back_is_compiled_again(rig):
    rig.load("a")
    await rig.go_on(until=1)
    (rig.folder / "a.pack").unlink()
    rig.clock.jump(compiler.KNOWN_S)
    rig.load("a")
    await rig.go_on(until=2)


async def test_closing_gives_up_what_is_under_way(rig):
    rig.gate = asyncio.Event()
    rig.load("a")
    rig.load("b")
    await rig.go_on(until=1)
    await rig.compiler.close()
    assert rig.begun == ["a"]
    assert not (rig.folder / "a.pack").exists()
