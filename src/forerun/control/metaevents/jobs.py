"""Sends the jobs of metaevents, and tells that they were raised: one after the other, tried until the disk takes them."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.control.delivery.undeliverable import message_key
from forerun.control.metaevents.chains import Chain
from forerun.control.metaevents.rules import Rule
from forerun.errors import ForerunError
from forerun.events import Bus, MetaeventRaised
from forerun.metaevents import Fact, Judgement, label, looks_back
from forerun.model import Message, Origin, iso_time, parse_function_ref
from forerun.patterns import About
from forerun.sources import Outbox

log = logging.getLogger("forerun.metaevents")

PRINCIPAL = "metaevents.forerun"
BOUND = 1_000
AGAIN_S = 1.0
CLOSE_S = 5.0


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """A metaevent: ``id`` is the same when the server died before it remembered that it was raised."""

    rule: Rule
    id: str
    at: float
    judgement: Judgement
    chain: Chain
    fact: Fact | None = None
    origin: Origin = Origin()


class Jobs:
    """``sent`` is called for each job whose message is on disk. ``start`` then ``close``, once each."""

    def __init__(
        self,
        outbox: Outbox,
        bus: Bus,
        clock: Clock,
        *,
        region: str,
        sent: Callable[[Raised], Awaitable[None]],
    ) -> None:
        self._outbox = outbox
        self._bus = bus
        self._clock = clock
        self._region = region
        self._sent = sent
        self._waiting: asyncio.Queue[tuple[Raised, Message]] = asyncio.Queue(BOUND)
        self._owner = TaskOwner("metaevent-jobs")

    def start(self) -> None:
        """Begin to send."""
        self._owner.spawn(self._run(), name="send")

    async def close(self) -> None:
        """Send what waits, as far as that can be done within ``CLOSE_S`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._waiting.join()
        await self._owner.close()

    @property
    def full(self) -> bool:
        """Whether no job can be taken now: the disk takes none."""
        return self._waiting.full()

    def take(self, raised: Raised) -> str:
        """Send the job of this metaevent soon; the request id of its invocation. Not while ``full``."""
        message = self._message(raised)
        raised.rule.unsent += 1
        self._waiting.put_nowait((raised, message))
        return message_key(message)

    async def _run(self) -> None:
        while True:
            raised, message = await self._waiting.get()
            try:
                await self._send(raised, message)
                raised.rule.unsent -= 1
                await self._sent(raised)
            except Exception:
                log.exception("the job of %s/%s was not sent", *raised.rule.key)
            finally:
                self._waiting.task_done()

    async def _send(self, raised: Raised, message: Message) -> None:
        while True:
            try:
                await self._outbox.send([message])
            except ForerunError:
                await self._clock.sleep(AGAIN_S)
            else:
                break
        self._bus.note(
            MetaeventRaised(
                account=raised.rule.row.account,
                name=raised.rule.row.name,
                id=raised.id,
                function=parse_function_ref(raised.rule.definition.job).name,
                chain=raised.chain,
                at=raised.at,
            )
        )

    def _message(self, raised: Raised) -> Message:
        rule = raised.rule
        source = f"arn:aws:forerun:{self._region}:{rule.row.account}:metaevent/{rule.row.name}"
        told = _told(raised)
        about = About(source, rule.row.name, iso_time(raised.at))
        return Message(
            id=raised.id,
            account=rule.row.account,
            source=source,
            principal=PRINCIPAL,
            target=rule.definition.job,
            payload=rule.form.make(told, msgspec.json.encode(told), about),
            origin=raised.origin,
            occurred_at=raised.at,
        )


def _told(raised: Raised) -> Mapping[str, Any]:
    """What the job is given."""
    memory, judgement = raised.rule.memory, raised.judgement
    parts = zip(raised.rule.criteria.nodes, judgement.parts, strict=True)
    last = memory.last
    since = looks_back(raised.rule.criteria, memory.state, raised.at)
    return {
        "metaevent": raised.rule.row.name,
        "id": raised.id,
        "firedAt": iso_time(raised.at),
        "criteria": [
            {"path": node.path, "says": label(node), "held": part.held, "value": part.value}
            for node, part in parts
        ],
        "window": {"from": iso_time(since), "to": iso_time(raised.at)},
        "event": _event(raised.fact),
        "lastExecution": {**last, "at": iso_time(last["at"])} if last else None,
        "chain": list(raised.chain),
    }


def _event(fact: Fact | None) -> dict[str, Any] | None:
    if fact is None:
        return None
    return {"event": fact.kind, "function": fact.function, "at": iso_time(fact.at), **fact.fields}
