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
from forerun.model import Egress, Likely, SandboxSpec

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
        self.failing = False
        self.known = LikelyServices(
            self._read, self.clock, likelihood=0.5, min_executions=20, tell=self.told.append
        )

    async def _read(self, *version: str) -> Sequence[Likely]:
        if self.failing:
            raise StorageFailed
        self.reads.append(version)  # type: ignore[arg-type]
        return self.profiles.get(version, [])  # type: ignore[call-overload]


async def test_the_first_call_has_none_and_later_ones_what_was_read_behind_it():
    rig = Rig()
    rig.profiles["a", "f", "1"] = [DB]
    assert rig.known.services(spec()) == ()
    await rig.known.turn()
    assert rig.known.services(spec()) == (DB,)
    for _ in range(100):
        rig.known.services(spec())
    await rig.known.turn()
    assert rig.reads == [("a", "f", "1")]


async def test_it_is_read_again_while_it_is_asked_for_and_forgotten_after():
    rig = Rig()
    rig.known.services(spec())
    await rig.known.turn()
    rig.profiles["a", "f", "1"] = [DB]
    rig.known.services(spec())
    rig.clock.jump(REFRESH_S)
    await rig.known.turn()
    assert rig.known.services(spec()) == (DB,)
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
    assert rig.known.services(spec()) == ()


async def test_what_cannot_be_read_stays_as_it_was():
    rig = Rig()
    rig.profiles["a", "f", "1"] = [DB]
    rig.known.services(spec())
    await rig.known.turn()
    rig.failing = True
    rig.known.services(spec())
    rig.clock.jump(REFRESH_S)
    with pytest.raises(StorageFailed):
        await rig.known.turn()
    assert rig.known.services(spec()) == (DB,)
    rig.failing = False
    await rig.known.turn()
    assert len(rig.reads) == 2


async def test_it_remembers_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_REMEMBERED", 10)
    rig = Rig()
    for number in range(50):
        rig.known.services(spec(name=f"f{number}"))
    await rig.known.turn()
    assert rig.reads == [("a", f"f{number}", "1") for number in range(40, 50)]


async def test_paths_are_watched_that_count_and_that_functions_may_use_themselves():
    rig = Rig()
    rig.profiles = {
        ("a", "f", "1"): [DB, Likely("rare:1", 0.1, 1.0, 100), Likely("new:1", 1.0, 1.0, 5)],
        ("a", "closed", "1"): [Likely("inner:22", 1.0, 1.0, 100)],
    }
    rig.known.services(spec())
    rig.known.services(spec(name="closed", egress=Egress.PLATFORM))
    await rig.known.turn()
    assert rig.told == [["db:5432"]]
    await rig.known.turn()
    assert len(rig.told) == 1
    rig.profiles["a", "g", "1"] = [Likely("log:1", 0.8, 1.0, 100)]
    rig.known.services(spec(name="g"))
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
        rig.known.services(spec(account, name))
    await rig.known.turn()
    [told] = rig.told
    assert len(told) == MOST_WATCHED
    assert {"db:5432", "log:1"} <= set(told)
