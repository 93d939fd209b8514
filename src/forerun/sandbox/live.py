"""A sandbox as the host room sees it: deadlines, deaths and logs around a body and a dialogue.

The body is what runs (a jail or a plain process): it can be prepared, killed, measured and disposed of. The dialogue
is how it is spoken with. This joins them and promises: every wait ends at its deadline or with the sandbox, whatever
the code inside does, and what it printed before it ended is in the result.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from forerun.aio import Clock, TaskOwner
from forerun.errors import SandboxDead, SetupFailed
from forerun.model import Call, InitFailure, InitReport, Outcome, SandboxSpec
from forerun.runtime.wire import EXITED, FAILED, READY, WireClosed, pack
from forerun.sandbox.contract import OnExit, Sandbox
from forerun.sandbox.dialogue import Dialogue
from forerun.sandbox.endings import (
    Exit,
    exited,
    init_exited,
    init_timed_out,
    read_exit,
    timed_out,
    timeout_line,
)
from forerun.sandbox.imports import believable
from forerun.sandbox.link import Link
from forerun.sandbox.output import Output

log = logging.getLogger("forerun.sandbox")

_UNKNOWN = Exit(9)
_DEATH_S = 2.0
_MB = 1024 * 1024


class Body(Protocol):
    """What runs."""

    isolation: str
    order: int
    exited: "asyncio.Future[Exit]"

    async def prepare(self, spec: SandboxSpec) -> tuple[bytes, list[int]]:
        """The ASSIGN body and the descriptors to go with it, which the caller closes. Raises ``SetupFailed``."""
        ...

    def limit(self, spec: SandboxSpec) -> None:
        """Set memory and CPU for ``spec``. Raises ``OSError``."""
        ...

    def kill(self) -> None:
        """End all its processes; ``exited`` follows."""
        ...

    def memory_bytes(self) -> int:
        """Bytes now held."""
        ...

    def peak_bytes(self) -> int:
        """Most bytes ever held."""
        ...

    async def dispose(self) -> None:
        """Remove what it leaves on the machine, after its end."""
        ...


def _unlearned(_: Sandbox, _spec: SandboxSpec, _report: InitReport) -> None:
    """Nobody asks to hear of what was loaded."""


@dataclass(frozen=True)
class Watch:
    """What a sandbox needs of its maker: the time, background, and who hears that it ended unasked, is destroyed, or has loaded its function."""

    clock: Clock
    owner: TaskOwner
    on_exit: OnExit
    on_destroyed: OnExit
    on_loaded: Callable[[Sandbox, SandboxSpec, InitReport], None] = _unlearned


class LiveSandbox:
    """Implements ``contract.Sandbox``."""

    def __init__(
        self,
        identity: str,
        runtime: str,
        link_ends: tuple[socket.socket, int],
        make_dialogue: Callable[[Link], Dialogue],
        watch: Watch,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.id = identity
        self.runtime = runtime
        self._loop = loop
        self._clock = clock = watch.clock
        self._watch = watch
        self._link = Link(
            *link_ends, Output(lambda: int(clock.now() * 1000)), self._take_frame, self._on_closed
        )
        self._dialogue = make_dialogue(self._link)
        self._body: Body | None = None
        self._ready: asyncio.Future[list[int]] = loop.create_future()
        self._alive = True
        self._ended = False
        self._assigning = False
        self._call: Call | None = None
        self._spec: SandboxSpec | None = None
        self._setup_error: str | None = None
        self._told_exit: Exit | None = None
        self._init_began = 0.0
        self._gone: asyncio.Task[None] | None = None

    @property
    def isolation(self) -> str:
        """``jail`` or ``process``."""
        return self._the_body.isolation

    @property
    def alive(self) -> bool:
        """False once it ended, timed out or broke the protocol."""
        return self._alive

    @property
    def _the_body(self) -> Body:
        if self._body is None:
            raise SandboxDead("The sandbox has not started.")
        return self._body

    def embody(self, body: Body) -> None:
        """Tell what runs at the other end; again when that is to be treated as another thing."""
        if self._body is not None:
            self._body.exited.remove_done_callback(self._on_body_exit)
        self._body = body
        body.exited.add_done_callback(self._on_body_exit)

    async def open_dialogue(self, sock: socket.socket) -> None:
        """Serve the program inside on its listening socket."""
        await self._dialogue.open(sock)

    async def wait_ready(self, timeout_s: float) -> list[int]:
        """Wait until it is confined and waits; returns its descriptors of listening sockets.

        Raises ``SetupFailed`` with the step that failed.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(self._ready)
        except TimeoutError:
            raise SetupFailed(f"The sandbox was not ready after {timeout_s:.0f} s.") from None
        except SandboxDead:
            raise SetupFailed(self._setup_error or "The sandbox ended while it was made.") from None

    async def assign(self, spec: SandboxSpec, *, deadline: float) -> InitReport | InitFailure:
        """See ``contract.Sandbox``; when init takes longer, the sandbox is ended."""
        if not self._alive:
            raise SandboxDead
        self._spec = spec
        self._init_began = self._clock.monotonic()
        limit_s = max(0.0, deadline - self._init_began)
        order, fds = await self._the_body.prepare(spec)
        try:
            self._link.send(pack(self._the_body.order, order), fds)
            # While the sandbox attaches its files and gives up its privileges; user code comes well after that.
            # Its groups are gone when it has ended already: the dialogue tells how.
            with contextlib.suppress(FileNotFoundError):
                self._the_body.limit(spec)
        except OSError as error:
            self._abandon()
            raise SetupFailed(f"Setting the limits of a sandbox: {error}") from error
        finally:
            for fd in fds:
                os.close(fd)
        timer = self._loop.call_later(limit_s, self._expire_init, limit_s)
        self._assigning = True
        try:
            result = await self._dialogue.init()
        except asyncio.CancelledError:
            self._abandon()
            raise
        finally:
            self._assigning = False
            timer.cancel()
        if self._setup_error is not None:
            raise SetupFailed(self._setup_error)
        result.logs = self._link.output.take()
        if isinstance(result, InitFailure):
            self._alive = False
        else:
            result.imports = believable(result.imports, self._since_init())
            self._watch.on_loaded(self, spec, result)
        return result

    async def invoke(self, call: Call) -> Outcome:
        """See ``contract.Sandbox``."""
        if not self._alive:
            raise SandboxDead
        self._call = call
        limit_s = max(0.0, call.deadline_ms / 1000 - self._clock.now())
        timer = self._loop.call_later(limit_s, self._expire)
        try:
            outcome = await self._dialogue.run(call)
        except asyncio.CancelledError:
            self._abandon()
            raise
        finally:
            timer.cancel()
            self._call = None
        outcome.logs = self._link.output.take()
        outcome.max_memory_mb = -(-self._peak_bytes() // _MB)
        if not outcome.alive:
            self._alive = False
        elif not self._alive:
            outcome.alive = False
        return outcome

    def memory_bytes(self) -> int:
        """What it holds now."""
        return self._the_body.memory_bytes()

    async def destroy(self) -> None:
        """See ``contract.Sandbox``."""
        self._alive = False
        if self._gone is None:
            # A task of its own: a caller that is cancelled must not leave half a sandbox behind.
            self._gone = self._watch.owner.spawn(self._destroy(), name=f"destroy {self.id}")
        await asyncio.shield(self._gone)

    async def _destroy(self) -> None:
        try:
            await self._end_all()
        finally:
            self._watch.on_destroyed(self)

    async def _end_all(self) -> None:
        body = self._body
        if body is not None:
            body.kill()
            try:
                async with asyncio.timeout(_DEATH_S):
                    await asyncio.shield(body.exited)
            except TimeoutError:
                log.warning("sandbox %s did not end within %.0f s", self.id, _DEATH_S)
        self._link.close()
        self._end()
        await self._dialogue.close()
        if body is not None:
            await body.dispose()

    def _peak_bytes(self) -> int:
        body = self._the_body
        if body.exited.done() and (peak := body.exited.result().peak):
            return peak
        return body.peak_bytes()

    def _take_frame(self, kind: int, body: bytes, fds: list[int]) -> None:
        try:
            if kind == READY and not self._ready.done():
                self._ready.set_result(list(fds))
                self._link.no_more_descriptors()
            elif kind == FAILED and self._call is None:
                self._setup_error = body.decode("utf-8", "replace")
            elif kind == EXITED:
                self._told_exit = read_exit(body)
            elif self._ready.done():
                self._dialogue.handle(kind, body)
        except (WireClosed, ValueError, RecursionError) as error:
            log.warning("sandbox %s broke the protocol: %s", self.id, error)
            self._abandon()

    def _abandon(self) -> None:
        self._alive = False
        if self._body is not None:
            self._body.kill()

    def _expire(self) -> None:
        call, spec = self._call, self._spec
        if call is None or spec is None:
            return
        self._abandon()
        self._link.drain()
        now = self._clock.now()
        line = timeout_line(call.request_id, spec.timeout_s, now)
        self._link.output.event(line.time_ms, line.text)
        outcome = timed_out(call.request_id, spec.timeout_s)
        outcome.ended = now
        self._dialogue.end(outcome, init_exited(_UNKNOWN, 0.0))

    def _expire_init(self, limit_s: float) -> None:
        self._abandon()
        self._link.drain()
        failure = init_timed_out(limit_s, self._since_init())
        self._dialogue.end(timed_out("", limit_s), failure)

    def _since_init(self) -> float:
        return round((self._clock.monotonic() - self._init_began) * 1000, 3)

    def _on_body_exit(self, _: "asyncio.Future[Exit]") -> None:
        self._link.finish()
        self._end()

    def _on_closed(self) -> None:
        """The wire ended. Its process ends, too, or is ended: the reason is known once it is gone."""
        if self._body is not None and not self._body.exited.done():
            self._body.kill()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        unasked = self._alive and self._call is None and not self._assigning
        self._alive = False
        exit_ = self._told_exit or _UNKNOWN
        if self._body is not None and self._body.exited.done():
            seen = self._body.exited.result()
            exit_ = self._told_exit.with_memory(seen) if self._told_exit else seen
        outcome = exited(self._call.request_id if self._call else "", exit_)
        outcome.ended = self._clock.now()
        self._dialogue.end(outcome, init_exited(exit_, self._since_init()))
        if not self._ready.done():
            self._ready.set_exception(SandboxDead())
            self._ready.exception()
        elif unasked:
            self._watch.on_exit(self)
