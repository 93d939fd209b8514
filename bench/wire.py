"""What a remote host adds to a warm call: the same agent called in its own process, and over the wire.

    .venv/bin/python -m bench.wire [--calls N] [--sandbox jail|process]

Prints milliseconds of both ways (median, 90th, 99th of a hundred) and what the median adds; and both ends' processor time per call.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from tests import agents

from forerun.aio import SystemClock
from forerun.app.closing import Closing
from forerun.app.local_host import LocalHost, Upward
from forerun.cluster import Terms
from forerun.host import Run
from forerun.model import SandboxSpec
from forerun.settings import Settings

SOURCE = "def handler(event, context):\n    return event\n"
EVENT = b'{"a": 1}'
Ask = Callable[[], Awaitable[Run]]


class NoSegments:
    def take_datagram(self, data: bytes, spec: SandboxSpec) -> None:
        pass

    def open_daemon(self) -> str:
        return "127.0.0.1:1"


async def measured(ask: Ask, calls: int) -> list[float]:
    for _ in range(min(calls, 100)):
        await ask()
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        await ask()
        taken.append((time.perf_counter() - began) * 1000)
    return sorted(taken)


def shown(name: str, taken: list[float]) -> float:
    median = statistics.median(taken)
    high, highest = (taken[int(len(taken) * part)] for part in (0.9, 0.99))
    print(f"{name:7} {median:.3f} ms, {high:.3f}, {highest:.3f}")
    return median


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def local(directory: Path, spec: SandboxSpec, mode: str, calls: int) -> list[float]:
    async def nothing(*_: object) -> Callable[[], None]:
        return lambda: None

    async def bring(_: SandboxSpec) -> None:
        return

    settings = Settings.load(server_data_dir=str(directory), sandbox_mode=mode)
    clock = SystemClock()
    closing = Closing(clock, 5.0)
    host = LocalHost(settings, clock, "http://x", Upward(nothing, NoSegments(), None, bring))
    await host.start(closing, lambda _: None)
    try:
        return await measured(
            lambda: host.agent.run(spec, agents.call(EVENT), agents.timings()), calls
        )
    finally:
        await closing.close()


async def hop(calls: int, mode: str) -> tuple[list[float], list[float], float, float]:
    """Milliseconds of calls in this process and over the wire, sorted, and both ends' processor time for each of the latter, in
    microseconds: the agent's and this one's. There is no database, no HTTP and no control plane but its side of the wire.
    """
    trust = agents.authority()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "host").mkdir()
        process = agents.AgentProcess(trust, "host-1", root / "host", "--sandbox", mode)
        try:
            async with agents.control(
                trust, root / "control", terms=Terms(dead_s=3, lease_s=6)
            ) as plane:
                (host,) = await plane.connect(process.info)
                spec = plane.deploy(SOURCE)
                near = await local(root / "local", spec, mode, calls)
                began, here = cpu_s(process.process.pid), time.process_time()
                far = await measured(
                    lambda: host.run(spec, agents.call(EVENT), agents.timings()), calls
                )
                there = (cpu_s(process.process.pid) - began) / calls * 1e6
                here = (time.process_time() - here) / calls * 1e6
        finally:
            process.stop()
    return near, far, there, here


def main(calls: int, mode: str) -> None:
    near, far, there, here = uvloop.run(hop(calls, mode))
    added = shown("remote", far) - shown("local", near)
    print(f"adds    {added:.3f} ms")
    print(f"processor time per call: agent {there:.0f} us, control plane {here:.0f} us")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--calls", type=int, default=5000)
    arguments.add_argument("--sandbox", default="jail")
    given = arguments.parse_args()
    main(given.calls, given.sandbox)
