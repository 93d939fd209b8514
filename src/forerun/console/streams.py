"""Event streams (``text/event-stream``): the pulse of functions, and the live tail. They end with their session, and with the right to see them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

import msgspec

from forerun.aio import Clock, Receive, Send, TaskOwner
from forerun.console.answers import GUARD
from forerun.console.live import Tails
from forerun.console.pulse import PulseBoard
from forerun.console.sign_in import Session, SignIn, Visitor
from forerun.errors import AccessDenied, Throttled

EVERY_S = 1.0
# The pulse of so many functions is told at half the pace: it is work for both sides.
MANY_FUNCTIONS = 300
SILENCE_S = 15.0
MOST = 100
MOST_OF_SESSION = 10
_KEEP_OPEN = b":\n\n"

Require = Callable[[Visitor, str], None]


class Streams:
    """Serves streams, at most ``MOST`` at once; a browser asks again by itself when one ends."""

    names = ("pulse", "tail")

    def __init__(
        self, sign_in: SignIn, pulse: PulseBoard, tails: Tails, clock: Clock, require: Require
    ) -> None:
        """``require`` raises ``AccessDenied`` when a visitor may not, or may no longer, see a stream."""
        self._sign_in = sign_in
        self._require = require
        self._pulse = pulse
        self._tails = tails
        self._clock = clock
        self._open = 0
        self._end = asyncio.Event()

    def close(self) -> None:
        """End those that are open, and open no more."""
        self._end.set()

    async def serve(
        self,
        session: Session,
        name: str,
        query: Mapping[str, str],
        receive: Receive,
        send: Send,
    ) -> None:
        """Send events until the client leaves or the session ends. Raises ``AccessDenied``, and ``Throttled`` for one too many."""
        self._require(session.visitor, name)
        if self._end.is_set() or self._open >= MOST or session.streams >= MOST_OF_SESSION:
            raise Throttled("Too many pages are open at once", reason="CallerRateLimitExceeded")
        self._open += 1
        session.streams += 1
        owner = TaskOwner("console-stream")
        try:
            headers = [
                (b"content-type", b"text/event-stream"),
                (b"cache-control", b"no-store"),
                *GUARD,
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            events = (
                self._tail(session)
                if name == "tail"
                else self._pulses(session, query.get("name", ""))
            )
            left = owner.spawn(_left(receive), name="client")
            sending = owner.spawn(_send_all(events, send), name=name)
            ended = owner.spawn(self._end.wait(), name="end")
            await asyncio.wait((left, sending, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open -= 1
            session.streams -= 1
            await owner.close()
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": b""})

    async def _pulses(self, session: Session, name: str) -> AsyncIterator[bytes]:
        before: object = None
        silent = 0.0
        while self._goes_on(session, "pulse"):
            pulse = self._pulse.snapshot(session.visitor.account, name)
            if pulse.functions != before or silent >= SILENCE_S:
                before, silent = pulse.functions, 0.0
                yield _event(pulse)
            wait = EVERY_S * (2 if len(pulse.functions) > MANY_FUNCTIONS else 1)
            silent += wait
            await self._clock.sleep(wait)

    def _goes_on(self, session: Session, name: str) -> bool:
        """Whether the session does, and its principal still may."""
        try:
            self._require(session.visitor, name)
        except AccessDenied:
            return False
        return self._sign_in.goes_on(session)

    async def _tail(self, session: Session) -> AsyncIterator[bytes]:
        with self._tails.watch(session.visitor.account) as tail:
            yield _KEEP_OPEN
            while self._goes_on(session, "tail"):
                events = await tail.take(SILENCE_S)
                yield _event(events) if events else _KEEP_OPEN
                # Lets a batch gather: a browser draws sixty times a second at most, and needs to do so far less.
                await self._clock.sleep(0.1)


async def _send_all(events: AsyncIterator[bytes], send: Send) -> None:
    async for each in events:
        await send({"type": "http.response.body", "body": each, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _event(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
