"""What is learned of imports becomes zygotes and pools: grown, tried again, left alone, retired. Zygotes are made up."""

from collections.abc import Callable, Container
from pathlib import Path
from typing import Any, Self

import pytest
from tests.fakes.clock import FakeClock
from tests.sandbox.makers import make_spec

from forerun.app.zygote_view import ZygoteView
from forerun.app.zygotes import Zygotes, own_modules
from forerun.errors import SetupFailed
from forerun.model import Import, InitReport, SandboxSpec
from forerun.sandbox import Nursery, Unfit
from forerun.sandbox.zygotes import Loaded
from forerun.settings import SandboxSettings

RUNTIME = "python3.11"
SLOW = [Import("asyncio", "standard", 60.0), Import("sqlite3", "standard", 20.0)]
STRANGE = [Import("numpy", "layer", 90.0), Import("app", "package", 100.0)]


class MadeUpZygote:
    """As ``sandbox.zygotes.Zygote``; ``trouble`` is what growing raises, by module."""

    trouble: dict[str, Exception]

    def __init__(self, trouble: dict[str, Exception]) -> None:
        self.trouble = trouble
        self.name, self.alive, self.living, self.pid = "", True, 0, 1
        self.loaded = Loaded({}, frozenset(), frozenset(), 8192)

    async def start(self) -> None:
        """It is there at once."""

    async def sprout(self, modules: list[str]) -> Self:
        for module in modules:
            if module in self.trouble:
                raise self.trouble[module]
        made = type(self)(self.trouble)
        made.loaded = Loaded(
            {module: (5.0, 2048.0) for module in modules}, frozenset(), frozenset(modules), 4096
        )
        return made

    async def close(self) -> None:
        self.alive = False


class Room:
    """Zygotes that learn, and what they have asked for."""

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.trouble: dict[str, Exception] = {}
        self.pools: dict[str, int] = {}
        self.prefer: Callable[[SandboxSpec], str] = lambda _: ""
        self.nursery = Nursery(self._make, self.clock)
        self.zygotes = Zygotes(self.clock, SandboxSettings(**settings), 2)
        self.view = ZygoteView(self.zygotes)

    def _make(self, _name: str, _unfit: Container[str]) -> Any:
        return MadeUpZygote(self.trouble)

    def begin(self) -> None:
        self.zygotes.start(self.nursery, self._hold, self._prefer)

    def _hold(self, pool: str, floor: int) -> None:
        self.pools[pool] = floor

    def _prefer(self, prefer: Callable[[SandboxSpec], str]) -> None:
        self.prefer = prefer

    def spec(self, name: str = "f", **changes: Any) -> SandboxSpec:
        return make_spec(Path("/code") / name, name=name, **{"runtime": RUNTIME, **changes})

    def started(
        self, imports: list[Import], times: int = 5, zygote: str = RUNTIME, **changes: Any
    ) -> SandboxSpec:
        spec = self.spec(**changes)
        for _ in range(times):
            self.zygotes.loaded(zygote, spec, InitReport(duration_ms=1.0, imports=imports))
        return spec

    def names(self) -> list[str]:
        return [info.name for info in self.nursery.infos()]


@pytest.fixture
async def room() -> Any:
    made = Room()
    made.begin()
    yield made
    await made.zygotes.close()


async def test_what_is_imported_often_gets_a_zygote_a_pool_and_its_functions(room: Room) -> None:
    spec = room.started([*SLOW, *STRANGE])
    other = room.started(STRANGE, name="g")
    await room.zygotes.look()
    (name,) = [each for each in room.names() if each != RUNTIME]
    assert room.pools == {name: 2}
    assert RUNTIME + room.prefer(spec) == name
    assert room.prefer(other) == ""
    (info,) = [each for each in room.nursery.infos() if each.name == name]
    assert set(info.modules) == {"asyncio", "sqlite3"}


async def test_another_configuration_of_the_code_is_known_and_other_code_is_not(room: Room) -> None:
    spec = room.started(SLOW)
    await room.zygotes.look()
    assert room.prefer(room.spec(memory_mb=512, key="another", environment={"A": "B"})) != ""
    assert room.prefer(room.spec(code_dir="/code/other")) == ""
    assert room.prefer(room.spec(name="g", code_dir=spec.code_dir)) != ""
    assert room.prefer(room.spec(account="000000000009")) == ""


async def test_a_module_that_starts_threads_is_left_out(room: Room) -> None:
    room.trouble["asyncio"] = Unfit(["asyncio"])
    room.started(SLOW)
    await room.zygotes.look()
    assert room.names() == [RUNTIME]
    await room.zygotes.look()
    (info,) = [each for each in room.nursery.infos() if each.name != RUNTIME]
    assert info.modules == ("sqlite3",)


async def test_what_cannot_be_grown_is_told_and_tried_after_a_while(room: Room) -> None:
    room.trouble["asyncio"] = SetupFailed("no memory")
    spec = room.started(SLOW)
    await room.zygotes.look()
    assert room.view.planned() == [{"runtime": RUNTIME, "trouble": "no memory"}]
    room.trouble.clear()
    for _ in range(11):
        room.started(SLOW, 1)
        await room.zygotes.look()
        assert room.prefer(spec) == ""
    await room.zygotes.look()
    assert room.prefer(spec) != ""
    assert room.view.planned() == []


async def test_what_is_used_no_more_is_retired(room: Room) -> None:
    spec = room.started(SLOW)
    await room.zygotes.look()
    (name,) = room.pools
    room.clock.jump(6 * 3600)
    for _ in range(12):
        await room.zygotes.look()
    assert room.pools == {name: 0}
    assert room.prefer(spec) == ""
    assert room.names() == [RUNTIME]


async def test_a_lost_zygote_is_grown_again(room: Room) -> None:
    spec = room.started(SLOW)
    await room.zygotes.look()
    name = RUNTIME + room.prefer(spec)
    await (await room.nursery.get(name)).close()
    assert name not in room.names()
    room.started([], 1, zygote=name)
    await room.zygotes.look()
    assert name in room.names()


async def test_functions_of_the_sdk_sprout_from_its_root(room: Room) -> None:
    sdk = [Import("boto3.dynamodb.conditions", "sdk", 40.0), *SLOW]
    spec = room.started(sdk, zygote=f"{RUNTIME}+sdk", uses_sdk=True)
    await room.zygotes.look()
    (info,) = [each for each in room.nursery.infos() if each.parent]
    assert info.parent == f"{RUNTIME}+sdk"
    assert set(info.modules) == {"asyncio", "sqlite3", "boto3.dynamodb.conditions"}
    assert RUNTIME + room.prefer(spec) == info.name


async def test_others_functions_are_counted_and_not_named(room: Room) -> None:
    room.started(SLOW, name="mine", account="000000000001")
    room.started(SLOW, name="theirs", account="000000000002")
    await room.zygotes.look()
    (shown,) = [each for each in room.view.zygotes("000000000001") if each["parent"]]
    functions: Any = shown["functions"]
    assert [each["names"] for each in functions] == [{"mine": "$LATEST"}]
    assert shown["other_functions"] == 1
    assert shown["own_mb"] == 4.0
    theirs = room.view.imports("000000000002", "")
    assert [each["names"] for each in theirs] == [{"theirs": "$LATEST"}]
    assert room.view.imports("000000000002", "mine") == []


async def test_nothing_is_chosen_where_none_is_wanted() -> None:
    room = Room(zygotes=0)
    room.begin()
    room.started(SLOW)
    await room.zygotes.look()
    assert room.pools == {}
    await room.zygotes.close()


def test_only_the_runtimes_own_is_learned_and_its_sdk_is_one() -> None:
    told = [
        Import("boto3", "sdk", 50.0),
        Import("botocore.session", "sdk", 30.0),
        Import("boto3.dynamodb.types", "sdk", 5.0),
        Import("requests", "sdk", 5.0),
        Import("numpy", "standard", 5.0),
        Import("_ctypes", "standard", 5.0),
        Import("sqlite3", "package", 5.0),
        *SLOW,
    ]
    assert own_modules(told) == {
        "boto3": 80.0,
        "boto3.dynamodb.types": 5.0,
        "asyncio": 60.0,
        "sqlite3": 20.0,
    }
