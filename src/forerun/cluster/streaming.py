"""A streamed response on its way to the control plane: no more of it is sent than the client there has room for."""

import asyncio

from forerun.cluster import frames
from forerun.cluster.flight import WINDOW
from forerun.cluster.frames import StreamHead, encode
from forerun.cluster.link import Link


class WireSink:
    """Implements ``ResponseSink``; what it raises says that the client has left."""

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number
        self._untaken = 0
        self._left = False
        self._room = asyncio.Event()
        self._room.set()

    async def start(self, content_type: str) -> None:
        """See ``ResponseSink.start``."""
        self._send(frames.STREAM, encode(StreamHead(content_type)), b"")

    async def write(self, chunk: bytes) -> None:
        """See ``ResponseSink.write``."""
        view = memoryview(chunk)
        for start in range(0, len(view), frames.PIECE):
            await self._room.wait()
            piece = bytes(view[start : start + frames.PIECE])
            self._untaken += len(piece)
            self._send(frames.CHUNK, b"", piece)
            if self._untaken >= WINDOW:
                self._room.clear()
        await self._room.wait()

    def taken(self, size: int, *, left: bool) -> None:
        """The client took so many bytes, or takes no more."""
        self._untaken -= size
        self._left = self._left or left
        if self._left or self._untaken < WINDOW:
            self._room.set()

    def _send(self, kind: int, head: bytes, piece: bytes) -> None:
        if self._left or not self._link.send(kind, self._number, head, piece):
            raise ConnectionError("the client has left")
