"""Speaking with a program in a sandbox through the Lambda Runtime API, served on a socket inside its network."""

import socket

from forerun.aio import Clock, HttpServer
from forerun.model import Call, InitFailure, InitReport, Outcome
from forerun.runtime.wire import WireClosed
from forerun.sandbox.link import Link
from forerun.sandbox.outgoing import MAX_CALLS
from forerun.sandbox.runtime_api import RuntimeApi

_INIT_S = 900.0


class ApiDialogue:
    """Implements ``dialogue.Dialogue``."""

    def __init__(self, link: Link, clock: Clock, max_calls: int = MAX_CALLS) -> None:
        self._link = link
        self._api = RuntimeApi(clock=clock, max_calls=max_calls)
        self._running = False
        self._server = HttpServer(self._api, name="runtime-api")

    async def open(self, sock: socket.socket) -> None:
        """Serve on a listening socket, which this takes over."""
        sock.settimeout(0)
        await self._server.listen(sock)

    async def init(self) -> InitReport | InitFailure:
        """Wait for the first request for work; the caller ends the wait before the bound here does."""
        return await self._api.wait_init(_INIT_S)

    async def run(self, call: Call) -> Outcome:
        """Hand out one invocation and wait for its answer."""
        self._running = True
        try:
            return await self._api.submit(call)
        finally:
            self._running = False

    def handle(self, kind: int, body: bytes) -> None:
        """The launcher says nothing that is for here."""
        raise WireClosed(f"frame of kind {kind} ({len(body)} bytes) from a launcher")

    def end(self, outcome: Outcome, failure: InitFailure) -> None:
        """Whoever waits gets ``outcome``, or the ``failure`` of init."""
        if not self._running:
            outcome.payload, outcome.error_type = failure.payload, failure.error_type
        self._api.fail(outcome)

    async def close(self) -> None:
        """Close the socket and its connections."""
        await self._server.close(grace_s=0.0)
