"""Connections of sandboxes to the platform: how many one account may have, so that others have some, too."""

import asyncio

import pytest
from tests.agents import listener

from forerun.cluster import Pipes, pipes
from forerun.model import Credentials


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(pipes, "OF_ACCOUNT", 3)
    monkeypatch.setattr(pipes, "CONNECTIONS", 6)


async def test_no_account_takes_the_connections_of_others(few) -> None:
    waiting = asyncio.Event()

    async def reach(account: str, credentials: Credentials | None) -> None:
        await waiting.wait()

    made, socks = Pipes(reach), [listener() for _ in range(3)]
    for sock, account in zip(socks, ["loud", "loud", "quiet"], strict=True):
        await made.listen(sock, account, None)

    async def connect(number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*socks[number].getsockname())

    async def refused(reader: asyncio.StreamReader) -> bool:
        try:
            async with asyncio.timeout(0.2):
                return b"503" in await reader.readline()
        except TimeoutError:
            return False

    loud = [await connect(number) for number in (0, 1, 0, 1)]
    assert [await refused(reader) for reader, _ in loud] == [False, False, False, True]
    quiet = await connect(2)
    assert not await refused(quiet[0])
    # Who leaves makes room.
    loud[0][1].close()
    async with asyncio.timeout(10):
        while await refused((again := await connect(1))[0]):
            again[1].close()
    for _, writer in (*loud, quiet, again):
        writer.close()
    await made.close()
    for sock in socks:
        sock.close()
