"""A process of a test machine that keeps the engine's fleet: ``python -m tests.engine_fleet``, an order as JSON in a line on its input.

Prints what the fleet says as lines of JSON; takes ``{"dismiss": NAME}`` and ``{"scale": HOSTS}``; goes with its input, or with ``{"leave": true}``, then
as ``forerun`` does when it is told to stop: engine and agent end, too. With ``"attach": HOST:PORT`` in the order it only keeps the
machine's node attached to that head.
"""

import asyncio
import json
import sys
from pathlib import Path

import msgspec

from forerun.aio import SystemClock
from forerun.cluster import AgentPlan, Identity
from forerun.cluster.engine import EngineHere, NodeKeeper, RayFleet
from forerun.settings import ClusterSettings

# Stands in for the agent: it says who it is, and does nothing.
AGENT = """
import json, os, secrets, sys, time
info = dict(name=sys.argv[1], address="127.0.0.1:1", incarnation=secrets.token_hex(4), version="0",
    protocols=[1, 1], isolation="process", memory_mb=1000, cpus=1, runtimes=[], labels={"pid": str(os.getpid())})
print("ready " + json.dumps(info), flush=True)
assert not any(name.startswith("RAY_") for name in os.environ)
time.sleep(600)
"""


async def main() -> None:
    order = json.loads(sys.stdin.readline())
    directory = Path(order["directory"])
    identity = msgspec.convert(order["identity"], Identity)
    plan = AgentPlan(name=identity.name, command=[sys.executable, "-c", AGENT, identity.name])
    here = EngineHere(
        directory / "engine",
        identity,
        address=(order["ip"], 9702),
        secret=order["secret"],
        agent=(plan, directory),
    )
    settings = ClusterSettings(
        scale_command=order.get("scale_command", ""), scale_max=order.get("scale_max", 10)
    )
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    if head := order.get("attach"):
        keeper = NodeKeeper(here, SystemClock(), lambda: _told(head))
        await keeper.start()
        leaving = await lines.readline()
        await keeper.close()
        if leaving:
            await _leave(here)
        return
    fleet = RayFleet(settings, here, SystemClock(), locate=lambda: _told(""), moved=_moved)
    await fleet.start(lambda members: _say({"members": msgspec.to_builtins(members)}))
    while line := await lines.readline():
        command = json.loads(line)
        if command.get("leave"):
            break
        if name := command.get("dismiss"):
            await fleet.dismiss(name)
        else:
            await fleet.scale(command["scale"], 0)
    await fleet.close()
    if line:
        await _leave(here)


async def _leave(here: EngineHere) -> None:
    await here.node.end()
    keeper = here.keeper(SystemClock())
    assert keeper is not None
    await keeper.end(5.0)


async def _told(address: str) -> str:
    return address


async def _moved(address: str) -> None:
    _say({"head": address})


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
