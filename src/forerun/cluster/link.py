"""A connection that carries frames both ways, many things at once: short ones at once, long payloads piece by piece between them."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from forerun.aio import cut
from forerun.cluster.frames import (
    PART,
    PAYLOAD_MAX,
    PIECE,
    Splitter,
    WireBroken,
    pack,
)

log = logging.getLogger("forerun.cluster")

HIGH_WATER = 512 * 1024
# A side that does not read for so long that this waits for it is as good as gone.
UNSENT_MAX = 64 * 1024 * 1024
# Payloads that are not all there, of one connection.
INCOMPLETE_MAX = 1024 * 1024 * 1024

Taker = Callable[[int, bytes, bytes], None]
"""Takes the number, head and whole payload of a frame; never waits. What it raises ends the connection."""


class _Incomplete:
    """A payload of which parts are missing."""

    __slots__ = ("head", "kind", "parts", "size")

    def __init__(self, kind: int, head: bytes, size: int, first: bytes) -> None:
        self.kind, self.head, self.size = kind, head, size - len(first)
        self.parts = [first]


class Link(asyncio.Protocol):
    """``takers`` by kind get what comes; ``on_lost`` hears of the end, with the reason in words.

    ``sizes`` says of each kind that has a payload which may be long how long it is, by its head; ``awaits`` of each number whether
    anybody waits for what comes of it: of others nothing is kept.
    """

    def __init__(
        self,
        takers: dict[int, Taker],
        on_lost: Callable[[str], None],
        sizes: dict[int, Callable[[bytes], int]],
        awaits: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self._takers = takers
        self._on_lost = on_lost
        self._sizes = sizes
        self._awaits = awaits
        self._splitter = Splitter()
        self._incomplete: dict[int, _Incomplete] = {}
        self._awaited = 0
        self._long: deque[tuple[int, memoryview]] = deque()
        self._paused = False
        self._transport: Any = None
        self._reason = ""
        self.closed = False

    # -- what goes -----------------------------------------------------------------------------------------------

    def send(self, kind: int, number: int, head: bytes = b"", payload: bytes = b"") -> bool:
        """Send a frame, and what of its payload does not fit into it behind others. False when the connection is over."""
        transport = self._transport
        if self.closed or transport is None:
            return False
        if len(payload) <= PIECE:
            transport.write(pack(kind, number, head, payload))
        else:
            whole = memoryview(payload)
            transport.write(pack(kind, number, head, whole[:PIECE]))
            self._long.append((number, whole[PIECE:]))
            if not self._paused:
                self._pump()
        if self._paused and transport.get_write_buffer_size() > UNSENT_MAX:
            self.end("the other side does not read")
            return False
        return True

    def withdraw(self, number: int) -> None:
        """What waits of a payload needs not be sent any more: the other side is told by another frame that it is void."""
        self._long = deque(item for item in self._long if item[0] != number)

    @property
    def congested(self) -> bool:
        """Whether what was sent has to wait."""
        return self._paused

    def end(self, reason: str) -> None:
        """Give the connection up now."""
        if not self.closed:
            self._reason = self._reason or reason
            if self._transport is not None:
                cut(self._transport)
            self._lost()

    def pause_writing(self) -> None:
        """What was sent has to wait."""
        self._paused = True

    def resume_writing(self) -> None:
        """There is room for more."""
        self._paused = False
        self._pump()

    def _pump(self) -> None:
        """Send pieces in turns, until the connection is full."""
        while self._long and not self._paused and not self.closed:
            number, rest = self._long.popleft()
            self._transport.write(pack(PART, number, b"", rest[:PIECE]))
            if len(rest) > PIECE:
                self._long.append((number, rest[PIECE:]))

    # -- what comes ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """It begins."""
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.closed:
            return
        try:
            for kind, number, head, payload in self._splitter.feed(data):
                if kind == PART:
                    self._take_part(number, payload)
                else:
                    self._take(kind, number, head, payload)
                if self.closed:
                    return
        except (WireBroken, msgspec.DecodeError, UnicodeError, RecursionError) as error:
            log.warning("a connection is dropped: %s", error)
            self.end(f"the other side broke the protocol: {error}")
        except Exception:
            log.exception("a connection is dropped")
            self.end("what came could not be handled")

    def _take(self, kind: int, number: int, head: bytes, payload: bytes) -> None:
        taker = self._takers.get(kind)
        if taker is None:
            return
        sizer = self._sizes.get(kind)
        if sizer is not None and len(payload) >= PIECE:
            size = sizer(head)
            if size > len(payload):
                if self._awaits(number):
                    self._begin(kind, number, head, size, payload)
                return
        taker(number, head, payload)

    def _begin(self, kind: int, number: int, head: bytes, size: int, payload: bytes) -> None:
        self._awaited += size
        if size > PAYLOAD_MAX or self._awaited > INCOMPLETE_MAX:
            raise WireBroken(f"a payload of {size} bytes")
        if number in self._incomplete:
            raise WireBroken(f"two payloads of number {number}")
        self._incomplete[number] = _Incomplete(kind, head, size, payload)

    def _take_part(self, number: int, payload: bytes) -> None:
        begun = self._incomplete.get(number)
        if begun is None:
            # Of what was withdrawn meanwhile.
            return
        if not payload:
            raise WireBroken(f"a part of nothing of number {number}")
        begun.parts.append(payload)
        begun.size -= len(payload)
        if begun.size < 0:
            raise WireBroken(f"a payload of number {number} is longer than was said")
        if not begun.size:
            self.drop(number)
            self._takers[begun.kind](number, begun.head, b"".join(begun.parts))

    def drop(self, number: int) -> bool:
        """Forget what has come of a payload; whether there was something."""
        begun = self._incomplete.pop(number, None)
        if begun is None:
            return False
        self._awaited -= begun.size + sum(map(len, begun.parts))
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """It is over."""
        self._reason = self._reason or (str(error) if error else "the connection was closed")
        self._lost()

    def _lost(self) -> None:
        if not self.closed:
            self.closed = True
            self._long.clear()
            self._incomplete.clear()
            self._on_lost(self._reason)
