"""A forwarding TCP proxy whose path can be made slow, lossy or dead: it needs no privileges.

What it delays is what is carried, not the handshake: a connection to it is open at once. Where that matters, or the whole
machine is to be far away, take ``tests.hosts``.
"""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

Address = tuple[str, int]
_CHUNK = 65536
_QUEUED = 256
_START_S = 10.0


class Proxy:
    """Forwards connections at ``address`` to ``target``. All verbs may be called from any thread, and count at once.

    ``connections`` counts those that were taken, ``refused`` those that were reset instead.
    """

    def __init__(self, target: Address, *, seed: int = 0) -> None:
        self.target = target
        self.address: Address = ("", 0)
        self.connections = self.refused = 0
        self._delays = [0.0, 0.0]
        self._loss = 0.0
        self._chance = random.Random(seed)
        self._open: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()

    def delay(self, there_s: float, back_s: float | None = None) -> None:
        """Let what is sent arrive so much later in each direction; the same back unless given."""
        self._delays = [there_s, there_s if back_s is None else back_s]

    def lose(self, share: float) -> None:
        """Reset this share of new connections."""
        self._loss = share

    def cut(self) -> None:
        """Let nothing through, and say nothing, until ``heal``; connections stay open."""
        self._call(self._flowing.clear)

    def heal(self) -> None:
        """Let everything through again that was held back, without loss."""
        self._loss = 0.0
        self._call(self._flowing.set)

    def reset(self) -> None:
        """Break all connections that are open."""
        self._call(self._abort)

    def _call(self, function: Callable[[], Any]) -> None:
        assert self._loop is not None
        done = threading.Event()

        def act() -> None:
            function()
            done.set()

        self._loop.call_soon_threadsafe(act)
        assert done.wait(_START_S)

    def _abort(self) -> None:
        for writer in list(self._open):
            _break(writer)

    async def run(self, listen: Address, ready: Callable[[], None]) -> None:
        """Serve until ``stop``."""
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, *listen)
        self.address = server.sockets[0].getsockname()[:2]
        ready()
        await self._over.wait()
        server.close()
        self._abort()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving)

    def stop(self) -> None:
        """End it and its connections."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._over.set)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._chance.random() < self._loss:
            self.refused += 1
            _break(writer)
            return
        self.connections += 1
        self._open.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            await self._flowing.wait()
            far_reader, far = await asyncio.open_connection(*self.target)
            self._open.add(far)
            await asyncio.gather(self._pump(reader, far, 0), self._pump(far_reader, writer, 1))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._serving.discard(task)
            for end in (writer, far):
                if end is not None:
                    self._open.discard(end)
                    end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: int
    ) -> None:
        loop = asyncio.get_running_loop()
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED)

        async def take() -> None:
            data = b"."
            while data:
                try:
                    data = await reader.read(_CHUNK)
                except OSError:
                    data = b""
                await held.put((loop.time() + self._delays[way], data))

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(take())
            while True:
                due, data = await held.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._flowing.wait()
                if not data:
                    break
                with suppress(OSError):
                    writer.write(data)
                    await writer.drain()
            with suppress(OSError):
                writer.write_eof()


def _break(writer: asyncio.StreamWriter) -> None:
    """End a connection so that the other end sees it reset."""
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def forwarding(
    target: Address,
    *,
    listen: Address = ("127.0.0.1", 0),
    enter: Callable[[], None] | None = None,
    seed: int = 0,
) -> Iterator[Proxy]:
    """A proxy to ``target`` in a thread of its own; ``enter`` is called there first, such as ``Host.enter`` of a host."""
    proxy = Proxy(target, seed=seed)
    ready = threading.Event()

    def work() -> None:
        try:
            if enter is not None:
                enter()
            asyncio.run(proxy.run(listen, ready.set))
        finally:
            ready.set()

    thread = threading.Thread(target=work, name="proxy", daemon=True)
    thread.start()
    assert ready.wait(_START_S)
    assert proxy.address[1], "the proxy did not start"
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join(_START_S)
