"""The loop stays awake for one short answer, for a bounded time, and for no more than one."""

import asyncio

from forerun.aio import Awake
from forerun.aio.awake import TURNS


async def turns_of(loop: asyncio.AbstractEventLoop, monkeypatch, body) -> int:
    counted = 0
    real = Awake._turn

    def turn(self: Awake) -> None:
        nonlocal counted
        counted += 1
        real(self)

    monkeypatch.setattr(Awake, "_turn", turn)
    await body()
    return counted


async def test_one_answer_keeps_it_awake_for_a_while_only(monkeypatch):
    awake = Awake()

    async def body():
        with awake:
            await asyncio.sleep(0.05)

    assert await turns_of(asyncio.get_running_loop(), monkeypatch, body) == TURNS


async def test_it_stops_with_the_answer(monkeypatch):
    awake = Awake()

    async def body():
        with awake:
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)

    assert await turns_of(asyncio.get_running_loop(), monkeypatch, body) < TURNS


async def test_several_answers_need_no_help(monkeypatch):
    awake = Awake()

    async def body():
        with awake, awake:
            await asyncio.sleep(0.02)

    assert await turns_of(asyncio.get_running_loop(), monkeypatch, body) <= 1
