"""What a host knows of its paths comes together from calls, connections and probes, under the names that functions use."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.fakes.clock import FakeClock

from forerun.host import Paths
from forerun.model import OutgoingCall
from forerun.sandbox import Connection, TcpInfo

EVERY_S = 5.0


def connection(address: str, port: int, *, segments: int = 9, number: int = 1) -> Connection:
    return Connection((1, number), address, port, TcpInfo(1, 0, 7.0, 0, segments, 0.0))


@asynccontextmanager
async def measuring(
    clock: FakeClock,
    read: Callable[[], Sequence[Connection]],
    look: Callable[[str, int], Sequence[str]] = lambda _host, _port: ["127.0.0.1"],
) -> AsyncIterator[Paths]:
    async def connections() -> Sequence[Connection]:
        return read()

    paths = Paths(clock, every_s=EVERY_S, connections=connections, local=True, look=look)
    paths.start()
    try:
        yield paths
    finally:
        await paths.close()


async def until(clock: FakeClock, done: Callable[[], bool]) -> None:
    """Let the clock run, and what is really waited for, until it is so."""
    for _ in range(500):
        if done():
            return
        await clock.advance(0.5)
        await asyncio.sleep(0.005)
    raise AssertionError("it is not so")


async def test_all_ways_tell_of_paths_by_the_name_that_functions_use() -> None:
    clock = FakeClock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        name = f"db.example:{port}"
        found = [connection("127.0.0.1", port), connection("192.0.2.9", 443, number=2)]
        async with measuring(clock, lambda: found) as paths:
            paths.watch([name])
            await until(clock, lambda: name in paths.channels())
            await until(clock, lambda: "192.0.2.9:443" in paths.channels())
            assert paths.channels()[name].latency_ms > 0
            call = OutgoingCall(span_id="1" * 16, started=1.0, ended=2.0, host="a:1", rtt_ms=3.0)
            paths.heard([call])
            assert paths.channels()["a:1"].latency_ms == 3.0
            assert f"127.0.0.1:{port}" not in paths.channels()


async def test_what_fails_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    answers: list[Exception | Sequence[Connection]] = [
        RuntimeError("no such thing"),
        [connection("192.0.2.9", 443)],
    ]

    def read() -> Sequence[Connection]:
        answer = answers.pop(0) if answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer

    with caplog.at_level(logging.ERROR):
        async with measuring(clock, read) as paths:
            await until(clock, lambda: "192.0.2.9:443" in paths.channels())
    assert "measuring paths failed" in caplog.text


async def test_with_nothing_to_measure_only_what_is_heard_is_known() -> None:
    looked_up: list[str] = []

    def look(host: str, _port: int) -> Sequence[str]:
        looked_up.append(host)
        return []

    clock = FakeClock()
    paths = Paths(clock, every_s=0, look=look)
    paths.start()
    paths.watch(["db.example:5432"])
    for _ in range(20):
        await clock.advance(1)
    paths.heard([OutgoingCall(span_id="1" * 16, started=1.0, ended=2.0, host="a:1", status=200)])
    assert list(paths.channels()) == ["a:1"]
    assert looked_up == []
    await paths.close()
