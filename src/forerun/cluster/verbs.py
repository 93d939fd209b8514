"""What a control plane asks of a host besides calls, carried out by the agent."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from forerun.aio import Clock, TaskOwner
from forerun.cluster.frames import AnswerHead, AskHead
from forerun.cluster.here import Held, Here
from forerun.cluster.shares import Shares
from forerun.errors import HostUnreachable, InvalidInput
from forerun.host import HostAgent
from forerun.model import OutgoingCall, Phase

log = logging.getLogger("forerun.cluster")


class Place(NamedTuple):
    """What the connections of one agent have in common. ``announce_all``: control planes hear in which sandbox each call runs."""

    host: HostAgent
    here: Here
    clock: Clock
    owner: TaskOwner
    accepts: Callable[[], bool]
    set_phase: Callable[[Phase], None]
    measure: Callable[[list[str]], None]
    heard: Callable[[list[OutgoingCall]], None]
    expel: Callable[[list[str]], None]
    shares: Shares
    announce_all: bool


def do(place: Place, held: Held | None, ask: AskHead, plane: str) -> None:
    """Carry out what ``plane`` has told; ``held`` is the version that it is about. Raises ``ForerunError``."""
    host = place.host
    match ask.verb:
        case "stand_by":
            if ask.standby is not None and held is not None:
                host.stand_by(held.spec, ask.standby)
        case "hold_ready":
            host.hold_ready(ask.runtime)
        case "hold_pool":
            host.hold_pool(ask.runtime, ask.floor, borrow=ask.borrow)
        case "drop":
            gone = frozenset(ask.keys)
            host.drop(gone.__contains__)
        case "phase":
            if ask.phase is not None:
                place.set_phase(ask.phase)
        case "expel":
            place.expel(ask.keys)
        case "measure":
            place.measure(ask.services)
        case _:
            # Of a newer control plane; what it must know of was asked, not told.
            log.info("control plane %s told of %r", plane, ask.verb[:40])


async def answer(place: Place, held: Held | None, ask: AskHead) -> AnswerHead:
    """What comes of a question. Raises ``ForerunError``."""
    if ask.verb == "keep_to":
        return AnswerHead(kept=place.shares.keep_to(ask.shares))
    if ask.verb == "sandboxes":
        return AnswerHead(sandboxes=place.host.sandboxes())
    if ask.verb == "take_snapshot":
        if held is None:
            raise HostUnreachable("no such spec")
        await place.host.take_snapshot(held.spec)
        return AnswerHead()
    raise InvalidInput(f"this host does not know how to {ask.verb[:40]!r}")
