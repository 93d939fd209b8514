"""What functions call, as remembered for placement: read behind the calls, bounded, and fair to all accounts."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock
from tests.sandbox.makers import make_spec

from forerun.control.fleet import services as module
from forerun.control.fleet.services import (
    FORGET_S,
    MOST_WATCHED,
    REFRESH_S,
    TELL_S,
    LikelyServices,
    Version,
)
from forerun.errors import StorageFailed
from forerun.model import START_MS, Egress, Habits, Likely, SandboxSpec

DB = Likely("db:5432", 0.9, 1.0, 100)


def spec(account: str = "a", name: str = "f", **changes: object) -> SandboxSpec:
    given = {"account": account, "name": name, "version": "1", "egress": Egress.OPEN}
    return make_spec(Path("/code"), **(given | changes))


class Rig:
    """Profiles that the test writes, and what was read and told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.profiles: dict[Version, list[Likely]] = {}
        self.reads: list[Version] = []
        self.told: list[Sequence[str]] = []
        self.start_ms = START_MS
        self.failing = False
        self.known = LikelyServices(
            self._read, self.clock, likelihood=0.5, min_executions=20, tell=self.told.append
        )

    async def _read(self, *version: str) -> Habits:
        if self.failing:
            raise StorageFailed
        self.reads.append(version)  # type: ignore[arg-type]
        services = self.profiles.get(version, [])  # type: ignore[call-overload]
        return Habits(services=tuple(services), start_ms=self.start_ms)


async def test_the_first_call_has_none_and_later_ones_what_was_read_behind_it():
    rig = Rig()
    rig.profiles["a", "f", "1"] = [DB]
    assert rig.known.habits(spec()).services == ()
    await rig.known.turn()
    assert rig.known.habits(spec()).services == (DB,)
    for _ in range(100):
        rig.known.habits(spec())
    await rig.known.turn()
    assert rig.reads == [("a", "f", "1")]


async def test_what_its_start_takes_is_read_with_them_and_assumed_until_then():
    rig = Rig()
    rig.start_ms = 2000.0
    assert rig.known.habits(spec()).start_ms == START_MS
    await rig.known.turn()
    assert rig.known.habits(spec()).start_ms == 2000.0


async def test_it_is_read_again_while_it_is_asked_for_and_forgotten_after():
    rig = Rig()
    rig.known.habits(spec())
    await rig.known.turn()
    rig.profiles["a", "f", "1"] = [DB]
    rig.known.habits(spec())
    rig.clock.jump(REFRESH_S)
    await rig.known.turn()
    assert rig.known.habits(spec()).services == (DB,)
    await rig.known.turn()
    rig.clock.jump(REFRESH_S)
    await rig.known.turn()
    reads = len(rig.reads)
    for _ in range(5):
        rig.clock.jump(REFRESH_S)
        await rig.known.turn()
    assert len(rig.reads) == reads
    rig.clock.jump(FORGET_S)
    await rig.known.turn()
    assert rig.known.habits(spec()).services == ()


async def test_what_cannot_be_read_stays_as_it_was():
    rig = Rig()
    rig.profiles["a", "f", "1"] = [DB]
    rig.known.habits(spec())
    await rig.known.turn()
    rig.failing = True
    rig.known.habits(spec())
    rig.clock.jump(REFRESH_S)
    with pytest.raises(StorageFailed):
        await rig.known.turn()
    assert rig.known.habits(spec()).services == (DB,)
    rig.failing = False
    await rig.known.turn()
    assert len(rig.reads) == 2


async def test_it_remembers_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_REMEMBERED", 10)
    rig = Rig()
    for number in range(50):
        rig.known.habits(spec(name=f"f{number}"))
    await rig.known.turn()
    assert rig.reads == [("a", f"f{number}", "1") for number in range(40, 50)]


async def test_paths_are_watched_that_count_and_that_functions_may_use_themselves():
    rig = Rig()
    rig.profiles = {
        ("a", "f", "1"): [DB, Likely("rare:1", 0.1, 1.0, 100), Likely("new:1", 1.0, 1.0, 5)],
        ("a", "closed", "1"): [Likely("inner:22", 1.0, 1.0, 100)],
    }
    rig.known.habits(spec())
    rig.known.habits(spec(name="closed", egress=Egress.PLATFORM))
    await rig.known.turn()
    assert rig.told == [["db:5432"]]
    await rig.known.turn()
    assert len(rig.told) == 1
    rig.profiles["a", "g", "1"] = [Likely("log:1", 0.8, 1.0, 100)]
    rig.known.habits(spec(name="g"))
    await rig.known.turn()
    assert rig.told[1:] == [["db:5432", "log:1"]]
    rig.clock.jump(TELL_S)
    await rig.known.turn()
    assert rig.told[2:] == [["db:5432", "log:1"]]


async def test_no_account_takes_the_place_of_others():
    rig = Rig()
    rig.profiles = {
        ("greedy", f"f{number}", "1"): [
            Likely(f"s{number}-{each}:1", 1.0, 9.0, 100) for each in range(8)
        ]
        for number in range(30)
    }
    rig.profiles["z", "f", "1"] = [DB, Likely("log:1", 0.8, 1.0, 100)]
    for account, name, _ in rig.profiles:
        rig.known.habits(spec(account, name))
    await rig.known.turn()
    [told] = rig.told
    assert len(told) == MOST_WATCHED
    assert {"db:5432", "log:1"} <= set(told)
