"""Moments of a timetable: each comes once, in order of time, whatever is set, cancelled, slow or failing meanwhile."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from tests.fakes.clock import FakeClock, settle

from forerun.errors import StorageFailed
from forerun.sources import Timetable
from forerun.sources.timetable import AGAIN_S, SPARE

START = 1_700_000_000.0
Fire = Callable[[str, float], Awaitable[float | None]]


class Rig:
    """A timetable whose calls are noted as (key, due, when it was called), seconds after the start."""

    def __init__(self) -> None:
        self.clock = FakeClock(START)
        self.fired: list[tuple[str, float, float]] = []
        self.answer: Fire | None = None
        self.table: Timetable[str] = Timetable("test", self.fire, self.clock, at_once=4)

    async def fire(self, key: str, due: float) -> float | None:
        self.fired.append((key, due - START, self.clock.now() - START))
        return await self.answer(key, due) if self.answer else None

    def set(self, key: str, after: float) -> None:
        self.table.set(key, START + after)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    rig.table.start()
    await settle()
    yield rig
    await rig.table.close()


async def test_moments_come_in_order_and_once(rig):
    rig.set("late", 30)
    rig.set("early", 2.5)
    rig.set("past", -10)
    await rig.clock.advance(100)
    assert [(key, due) for key, due, _ in rig.fired] == [
        ("past", -10),
        ("early", 2.5),
        ("late", 30),
    ]
    assert [at for _, _, at in rig.fired] == pytest.approx([0, 2.5, 30])
    assert len(rig.table) == 0


async def test_what_is_set_anew_replaces_and_what_is_cancelled_is_gone(rig):
    rig.set("moved", 5)
    rig.set("moved", 50)
    rig.set("gone", 5)
    rig.table.cancel("gone")
    assert rig.table.due("moved") == START + 50
    assert rig.table.due("gone") is None
    await rig.clock.advance(49)
    assert rig.fired == []
    await rig.clock.advance(2)
    assert [key for key, _, _ in rig.fired] == ["moved"]


async def test_the_answer_is_the_next_moment(rig):
    async def every_minute(_key: str, due: float) -> float:
        return due + 60

    rig.answer = every_minute
    rig.set("a", 60)
    await rig.clock.advance(200)
    assert [due for _, due, _ in rig.fired] == [60, 120, 180]


async def test_a_call_that_fails_comes_again_with_the_same_moment(rig, caplog):
    failures = [StorageFailed("disk full"), ValueError("a mistake"), None]

    async def fail(_key: str, _due: float) -> None:
        if (failure := failures.pop(0)) is not None:
            raise failure

    rig.answer = fail
    rig.set("a", 10)
    with caplog.at_level(logging.CRITICAL, "forerun.timetable"):
        await rig.clock.advance(60)
    assert [due for _, due, _ in rig.fired] == [10, 10, 10]
    assert [at for _, _, at in rig.fired] == pytest.approx([10, 10 + AGAIN_S, 10 + 2 * AGAIN_S])


async def test_what_happens_while_a_call_runs_wins_over_its_answer(rig):
    gate = asyncio.Event()

    async def wait(_key: str, due: float) -> float | None:
        await gate.wait()
        return due + 5 if due < START + 5 else None

    rig.answer = wait
    rig.set("cancelled", 1)
    rig.set("set", 1)
    rig.set("both", 1)
    await rig.clock.advance(2)
    rig.table.cancel("cancelled")
    rig.table.cancel("both")
    rig.set("set", 100)
    rig.set("both", 101)
    gate.set()
    await settle()
    due = {key: rig.table.due(key) for key in ("cancelled", "set", "both")}
    assert due == {"cancelled": None, "set": START + 100, "both": START + 101}


async def test_calls_of_one_key_never_run_together(rig):
    gate = asyncio.Event()
    running = 0

    async def count(_key: str, _due: float) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await gate.wait()
        running -= 1

    rig.answer = count
    rig.set("a", 1)
    await rig.clock.advance(2)
    rig.set("a", 3)
    await rig.clock.advance(5)
    assert len(rig.fired) == 1
    gate.set()
    await rig.clock.advance(2)
    assert [due for _, due, _ in rig.fired] == [1, 3]


async def test_only_so_many_calls_run_at_once_and_none_is_left_out(rig):
    running = most = 0

    async def take(_key: str, _due: float) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await rig.clock.sleep(1)
        running -= 1

    rig.answer = take
    for number in range(20):
        rig.set(f"k{number}", 10)
    await rig.clock.advance(10 + 5 + 2)
    assert most == 4
    assert sorted(key for key, _, _ in rig.fired) == sorted(f"k{number}" for number in range(20))


async def test_a_clock_that_jumps_forward_makes_due_and_backward_makes_wait(rig):
    rig.set("a", 1000)
    rig.clock.jump(5000)
    await rig.clock.advance(2)
    assert [key for key, _, _ in rig.fired] == ["a"]
    rig.set("b", 6000)
    rig.clock.jump(-5000)
    await rig.clock.advance(100)
    assert len(rig.fired) == 1


async def test_moments_that_are_set_again_and_again_leave_nothing_behind(rig):
    for number in range(10 * SPARE):
        rig.set("a", 1000 + number)
    assert len(rig.table) == 1
    assert len(rig.table._heap) <= SPARE + 3
    await rig.clock.advance(1000 + 10 * SPARE)
    assert [due for _, due, _ in rig.fired] == [999 + 10 * SPARE]


async def test_a_hundred_thousand_moments_cost_little():
    """Setting and finding the first of them takes far less than a second: nothing looks through all."""
    clock = FakeClock(START)
    found = []

    async def fire(key: int, _due: float) -> None:
        found.append(key)

    table: Timetable[int] = Timetable("many", fire, clock)
    for number in range(100_000):
        table.set(number, START + 10 + number * 3600)
    table.start()
    await clock.advance(11)
    await table.close()
    assert found == [0]
