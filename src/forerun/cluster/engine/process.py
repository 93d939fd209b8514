"""The process beside a control plane that speaks with the engine, so that the control plane's own loop never waits for it.

Commands come as lines of JSON, reports leave as such. The engine's head or node on this machine is started when none
runs, and goes on when this process ends.
"""

import asyncio
import logging
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from forerun.cluster.engine.node import GRACE_S, EngineNode, reachable
from forerun.cluster.engine.provider import write_config, write_joined
from forerun.cluster.engine.wire import (
    Dismiss,
    Failed,
    Members,
    Order,
    Ready,
    Report,
    Scale,
    commands,
    encode,
)
from forerun.errors import ForerunError, SetupFailed

if TYPE_CHECKING:
    from forerun.cluster.engine.driver import Driver

log = logging.getLogger("forerun.engine")

LOOK_S = 0.5
# Of more members each is looked at more rarely, so that looking stays cheap.
MEMBERS_PER_S = 200
CONNECT_S = 45.0

Commands = queue.Queue["Dismiss | Scale | None"]


def main() -> int:
    """Take the first command, do what it says, and go on until the input ends; 1 when that cannot be."""
    reports = os.fdopen(os.dup(1), "wb", buffering=0)
    # The engine prints as it pleases.
    os.dup2(2, 1)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    try:
        _work(_first_order(), reports)
    except (ForerunError, msgspec.DecodeError) as error:
        _say(reports, Failed(reason=str(error)))
        return 1
    except Exception as error:  # the engine raises whatever it pleases
        log.exception("the engine cannot be used")
        _say(reports, Failed(reason=f"{type(error).__name__}: {error}"[:1000]))
        return 1
    return 0


def _first_order() -> Order:
    order = commands.decode(sys.stdin.buffer.readline())
    if not isinstance(order, Order):
        raise SetupFailed("the first command must be to start")
    return order


def _work(order: Order, reports: IO[bytes]) -> None:
    agent_data = Path(order.keeper) if order.keeper else None
    node = EngineNode(
        Path(order.directory),
        name=order.name,
        ip=order.ip,
        secret=order.secret,
        agent_data=agent_data,
        foreign=not order.own,
    )
    os.environ.update(node.environment())  # noqa: TID251 the engine reads nothing else
    address = asyncio.run(_begin(order, node))
    driver = _connect(address, order.ip, node)
    _say(reports, Ready(address=address))
    waiting: Commands = queue.Queue(maxsize=1000)
    threading.Thread(target=_listen, args=(waiting,), daemon=True).start()
    told: bytes = b""
    while True:
        began = time.monotonic()  # noqa: TID251 a process of its own, which nobody tests by a clock
        members = driver.look(LOOK_S / 2)
        if order.scale_command:
            write_joined(Path(order.directory), members, order.name)
        body = encode(Members(members=members))
        if body != told:
            told = body
            reports.write(body + b"\n")
        pause = max(LOOK_S, len(members) / MEMBERS_PER_S) - (time.monotonic() - began)  # noqa: TID251
        if not _obey(driver, waiting, max(0.05, pause)):
            return


def _connect(address: str, ip: str, node: EngineNode) -> "Driver":
    # Imported late: it takes seconds, and reads the environment once.
    from forerun.cluster.engine.driver import Driver  # noqa: PLC0415

    deadline = time.monotonic() + CONNECT_S  # noqa: TID251
    while True:
        try:
            return Driver(address, ip)
        except (ConnectionError, ValueError, RuntimeError) as error:
            if time.monotonic() >= deadline:  # noqa: TID251
                raise SetupFailed(
                    f"the engine at {address} does not answer: {error}; {node.last_words()}"
                ) from error
            time.sleep(0.3)


async def _begin(order: Order, node: EngineNode) -> str:
    """See that the engine runs on this machine; where its head is. Only heads are started here: nodes are kept by ``NodeKeeper``."""
    here = f"{order.ip}:{order.port}"
    address = order.address or here
    if order.own and address != here and not reachable(address):
        # The machine with the head is gone: there is to be one here.
        address = here
    if address != here or not order.own:
        await _attached(node, address)
        return address
    running = node.find()
    if running is not None:
        if node.head() == here and reachable(here):
            running.release()
            return here
        await running.end(GRACE_S)
    (await node.start_head(order.port, write_config(Path(order.directory), order))).release()
    return here


async def _attached(node: EngineNode, address: str) -> None:
    """Wait until this machine's node is one of the head there."""
    deadline = time.monotonic() + CONNECT_S  # noqa: TID251
    while time.monotonic() < deadline:  # noqa: TID251
        running = node.find()
        if running is not None:
            running.release()
            if node.head() == address:
                return
        await asyncio.sleep(0.2)
    raise SetupFailed(
        f"this machine has no node of the engine at {address}: {node.last_words() or 'none was started'}"
    )


def _listen(waiting: Commands) -> None:
    """Take commands until the input ends: then the control plane is gone, and nobody needs this process."""
    for line in sys.stdin.buffer:
        try:
            command = commands.decode(line)
        except msgspec.DecodeError as error:
            log.warning("a command that is none: %s", error)
            continue
        if not isinstance(command, Order):
            waiting.put(command)
    waiting.put(None)


def _obey(driver: "Driver", waiting: Commands, wait_s: float) -> bool:
    """Carry out what comes within ``wait_s`` seconds; false when nothing more will come."""
    try:
        command = waiting.get(timeout=wait_s)
    except queue.Empty:
        return True
    if isinstance(command, Dismiss):
        driver.dismiss(command.name, command.grace_s)
    elif isinstance(command, Scale):
        driver.scale(command.hosts, command.memory_mb)
    return command is not None


def _say(reports: IO[bytes], report: Report) -> None:
    reports.write(encode(report) + b"\n")
