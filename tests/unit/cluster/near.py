"""Both ends of the wire in one loop: a host that does as it is told, and one that says what it is told to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from tests.agents import TERMS, Control, address_of, authority, control, identity, listener

from forerun.aio import SystemClock
from forerun.cluster import Door, Guest, Here, Knocker, RemoteAgent, Serving, Shares, Terms, frames
from forerun.cluster.frames import encode, pack
from forerun.host import HostStats, Run, Standing
from forerun.model import Call, HostInfo, Outcome, SandboxSpec, StartType, Timings
from forerun.settings import ClusterSettings

Doing = Callable[[SandboxSpec, Call, Timings], Awaitable[Outcome]]


def info(address: str) -> HostInfo:
    return HostInfo(
        name="host-1",
        address=address,
        incarnation="1",
        version="1",
        protocols=(1, 1),
        isolation="fake",
        memory_mb=1000,
        cpus=1,
        runtimes=("python3.11",),
    )


def stats(name: str = "host-1") -> HostStats:
    return HostStats(
        name=name,
        isolation="fake",
        memory_mb=1000,
        booked_mb=0,
        states={},
        pools={},
        waiting=0,
        starts={},
        destroyed=0,
        failed=0,
    )


class DoingHost:
    """A host whose calls are what a test says; ``ended`` are those that were cancelled."""

    name = "host-1"

    def __init__(self, clock: Any) -> None:
        self.do: Doing = self.echo
        self.clock = clock
        self.ended: list[str] = []
        self.calls: list[Call] = []
        self.shares: Callable[[], Shares]
        self.working: Callable[[], int]

    async def echo(self, _: SandboxSpec, call: Call, timings: Timings) -> Outcome:
        timings.acquired = timings.loaded = timings.started = timings.ended = self.clock.now()
        if call.taken is not None:
            call.taken("KEY" + call.request_id)
        return Outcome(payload=call.payload)

    async def run(self, spec: SandboxSpec, call: Call, timings: Timings) -> Run:
        self.calls.append(call)
        try:
            outcome = await self.do(spec, call, timings)
        except asyncio.CancelledError:
            self.ended.append(call.request_id)
            raise
        return Run(
            outcome=outcome,
            start_type=StartType.WARM,
            sandbox_id="s",
            isolation="fake",
            placement="here",
            log_stream="l",
        )

    def is_idle(self, _: str) -> bool:
        return True

    def idle(self) -> dict[str, int]:
        return {}

    def standings(self) -> dict[str, Standing]:
        return {}

    def stats(self) -> HostStats:
        return stats()


class ShiftedClock(SystemClock):
    """A machine whose clock is wrong."""

    def __init__(self, shift_s: float) -> None:
        self._shift_s = shift_s

    def now(self) -> float:  # type: ignore[override]
        return SystemClock.now() + self._shift_s


@asynccontextmanager
async def near(
    directory: Path, *, shift_s: float = 0.0, terms: Terms = TERMS
) -> AsyncIterator[tuple[Control, RemoteAgent, DoingHost]]:
    """A control plane, its host, and what the host does."""
    trust, clock = authority(), ShiftedClock(shift_s)
    mine = identity(trust, "host-1", "host")
    sock = listener()
    host = DoingHost(clock)
    here = Here(lambda digest: f"/trees/{digest}", Knocker(mine), clock)
    serving = Serving(
        host,  # type: ignore[arg-type]
        here,
        info=info(address_of(sock)),
        clock=clock,
        settings=ClusterSettings(beat_s=0.05, dead_s=1, lease_s=2),
        data_dir=directory,
        trees=dict,
    )
    door = Door(mine)
    door.serve("calls", serving.handle, roles=("control",))
    await door.listen(sock)
    serving.start()
    host.shares, host.working = (lambda: serving._place.shares), (lambda: serving.working)
    try:
        async with control(trust, directory / "control", terms=terms) as plane:
            (remote,) = await plane.connect(info(address_of(sock)))
            yield plane, remote, host
    finally:
        await serving.close()
        await here.close()
        await door.close()
        sock.close()


class Liar:
    """An agent that speaks frames as a test wants them; ``heard`` are the kinds of what came."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.answer: Callable[[int, int], bytes] = lambda _kind, _number: b""
        self.beats = 0

    async def handle(self, guest: Guest) -> None:
        guest.welcome({"info": msgspec.to_builtins(info("127.0.0.1:1")) | {"newer": 1}})
        reader, writer = guest.streams()
        splitter, self.beats = frames.Splitter(), 0
        beating = asyncio.ensure_future(self._beat(writer))
        try:
            while data := await reader.read(65536):
                for kind, number, _, _ in splitter.feed(data):
                    self.heard.append(kind)
                    if told := self.answer(kind, number):
                        writer.write(told)
        finally:
            beating.cancel()

    async def _beat(self, writer: asyncio.StreamWriter) -> None:
        while True:
            self.beats += 1
            writer.write(pack(frames.BEAT, 0, self.beat(self.beats)))
            await asyncio.sleep(0.05)

    def beat(self, sequence: int, **lies: object) -> bytes:
        told: dict[str, object] = {
            "sequence": sequence,
            "sent": float(sequence),
            "whole": sequence == 1,
            "stats": stats(),
            "weather": "of a newer host",
        }
        return encode(told | lies)


@asynccontextmanager
async def lying(
    directory: Path, terms: Terms = TERMS
) -> AsyncIterator[tuple[Control, RemoteAgent, Liar]]:
    trust, liar = authority(), Liar()
    door, sock = Door(identity(trust, "host-1", "host")), listener()
    door.serve("calls", liar.handle, roles=("control",))
    await door.listen(sock)
    try:
        async with control(trust, directory / "control", terms=terms) as plane:
            (remote,) = await plane.connect(info(address_of(sock)))
            yield plane, remote, liar
    finally:
        await door.close()
        sock.close()
