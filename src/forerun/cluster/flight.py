"""A call that is on its way on a host: who waits for it, until when, and what has come of it so far."""

import asyncio
from typing import NamedTuple

from forerun.cluster.frames import Moments, WireBroken
from forerun.errors import ForerunError
from forerun.host import Run
from forerun.model import Call

# Of a streamed response a host sends no more than was taken and this.
WINDOW = 1024 * 1024
# It begins anew when its sandbox has died before it took the call.
BEGINS_MAX = 100


class Landed(NamedTuple):
    """A run, its times by the host's clock."""

    run: Run
    moments: Moments


class Flight:
    """One call. ``deadline`` is monotonic, in seconds; ``landed`` is what comes of it.

    ``pieces`` are there for a call with a sink: the content type, then bytes, then ``None``.
    """

    __slots__ = (
        "access_key_id",
        "begins",
        "call",
        "deadline",
        "landed",
        "pieces",
        "streams",
        "untaken",
    )

    def __init__(self, call: Call, deadline: float) -> None:
        self.call = call
        self.deadline = deadline
        self.landed: asyncio.Future[Landed] = asyncio.get_running_loop().create_future()
        self.pieces: asyncio.Queue[str | bytes | None] | None = None
        if call.sink is not None:
            self.pieces = asyncio.Queue()
        self.untaken = 0
        self.access_key_id = ""
        self.begins = 0
        self.streams = False

    def land(self, landed: Landed) -> None:
        """It came to its end."""
        if not self.landed.done():
            self.landed.set_result(landed)
        self._end()

    def fail(self, error: ForerunError) -> None:
        """It failed, or is lost."""
        if not self.landed.done():
            self.landed.set_exception(error)
            # Whoever waited may have left at the same moment.
            self.landed.exception()
        self._end()

    def begin_stream(self, content_type: str) -> None:
        """Its response is streamed. Raises ``WireBroken`` where that was not wanted, or is said again."""
        if self.streams:
            raise WireBroken("a streamed response that begins twice")
        self.streams = True
        self._pieces().put_nowait(content_type)

    def take_piece(self, piece: bytes) -> None:
        """The next of its streamed response. Raises ``WireBroken`` for more than was let through, and for nothing."""
        if not piece:
            raise WireBroken("a piece of nothing")
        self.untaken += len(piece)
        if self.untaken > 2 * WINDOW:
            raise WireBroken("more of a response than was let through")
        self._pieces().put_nowait(piece)

    def begin(self) -> None:
        """The handler is about to run. Raises ``WireBroken`` when it has been so far too often."""
        self.begins += 1
        if self.begins > BEGINS_MAX:
            raise WireBroken("a call that begins again and again")
        if self.call.began is not None:
            self.call.began()

    def _pieces(self) -> "asyncio.Queue[str | bytes | None]":
        if self.pieces is None:
            raise WireBroken("a streamed response that nobody takes")
        return self.pieces

    def _end(self) -> None:
        if self.pieces is not None:
            self.pieces.put_nowait(None)
