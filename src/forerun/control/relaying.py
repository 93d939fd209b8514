"""What happens at one control plane, told to the one that has the duties: there it is as if it had happened there.

Batches carry each notice by the name of its kind, so that control planes of two versions understand each other as far as they
can. What cannot be told is counted, and lost: nothing of an execution depends on it.
"""

import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, get_args

import msgspec

from forerun.control.ahead.foresight import Foresight
from forerun.control.registry import Registry, Resolved
from forerun.errors import ForerunError
from forerun.events import Bus, Event, Notice, Watch, Watched
from forerun.host import Run
from forerun.model import Timings, TraceContext

log = logging.getLogger("forerun.relay")

BATCH: Final = 2_000
MOST: Final = 50_000
_DISTANT: Final = 50_000
# Datagrams that wait to be told, of all functions and of one.
DATAGRAMS_BYTES: Final = 8 * 1024 * 1024
DATAGRAMS_BYTES_OF_ONE: Final = DATAGRAMS_BYTES // 4
_OVERHEAD: Final = 200


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """An execution was admitted elsewhere. ``at`` is epoch seconds."""

    account: str
    name: str
    qualifier: str | None
    request_id: str
    context: TraceContext
    at: float


class Departure(msgspec.Struct, frozen=True, kw_only=True):
    """It is over."""

    span_id: str


class Datagram(msgspec.Struct, frozen=True, kw_only=True):
    """One that a function sent to X-Ray's daemon."""

    data: bytes
    account: str
    name: str


Telling = Event | Notice | Arrival | Departure | Datagram

_EVENTS: tuple[type, ...] = get_args(Event)
_KINDS: Mapping[str, type] = {kind.__name__: kind for kind in get_args(Telling)}
_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    name: msgspec.msgpack.Decoder(kind) for name, kind in _KINDS.items()
}
_encode = msgspec.msgpack.Encoder().encode
_batch = msgspec.msgpack.Decoder(list[tuple[str, msgspec.Raw]])


class WatchedElsewhere(msgspec.Struct, frozen=True, array_like=True):
    """What the holder's listeners watch: by account and name, and by account."""

    functions: list[tuple[str, str, int]] = []
    accounts: list[tuple[str, int]] = []

    @classmethod
    def of(cls, watched: Watched) -> "WatchedElsewhere":
        """As it is told to others."""
        return cls(
            [(*which, int(value)) for which, value in watched.functions.items()],
            [(account, int(value)) for account, value in watched.accounts.items()],
        )

    def watched(self) -> Watched:
        """To ask for each call."""
        return Watched(
            {(account, name): Watch(value) for account, name, value in self.functions},
            {account: Watch(value) for account, value in self.accounts},
        )


def packed(tellings: Sequence[Telling]) -> bytes:
    """One batch."""
    return _encode([(type(each).__name__, msgspec.Raw(_encode(each))) for each in tellings])


def unpacked(batch: bytes) -> list[Telling]:
    """What can be read of a batch. Raises ``msgspec.DecodeError`` when that is nothing."""
    found: list[Telling] = []
    for name, raw in _batch.decode(batch):
        decoder = _decoders.get(name)
        if decoder is None:
            continue
        try:
            found.append(decoder.decode(raw))
        except msgspec.DecodeError as error:
            log.warning("a %s that was told cannot be read: %s", name, error)
    return found


TakeDatagram = Callable[[bytes, str, str], None]
"""Data, account and name of the function that sent it."""


class Distant:
    """Takes what others tell, on the holder of the duties."""

    def __init__(
        self, bus: Bus, foresight: Foresight, registry: Registry, datagram: TakeDatagram
    ) -> None:
        self._bus = bus
        self._datagram = datagram
        self._foresight = foresight
        self._registry = registry
        self._running: OrderedDict[str, tuple[Any, Resolved, TraceContext, Timings]] = OrderedDict()

    async def take(self, tellings: Sequence[Telling]) -> None:
        """As if it had happened here."""
        for each in tellings:
            if isinstance(each, Arrival):
                await self._arrive(each)
            elif isinstance(each, Departure):
                self._depart(each.span_id)
            elif isinstance(each, Datagram):
                self._datagram(each.data, each.account, each.name)
            elif isinstance(each, _EVENTS):
                self._bus.tell(each)  # type: ignore[arg-type]
            else:
                self._bus.note(each)  # type: ignore[arg-type]

    def close(self) -> None:
        """Nobody tells anything any more."""
        while self._running:
            self._depart(next(iter(self._running)))

    async def _arrive(self, arrival: Arrival) -> None:
        if not self._foresight.active:
            return
        account, name, qualifier = arrival.account, arrival.name, arrival.qualifier
        resolved = self._registry.peek(account, name, qualifier, 0.0)
        try:
            if resolved is None:
                resolved = await self._registry.resolve(account, name, qualifier, 0.0)
        except ForerunError:
            return
        timings = Timings(admitted=arrival.at)
        context = arrival.context
        traffic = self._foresight.began(resolved, context, arrival.request_id, timings)
        self._running[context.span_id] = (traffic, resolved, context, timings)
        if len(self._running) > _DISTANT:
            # Whoever told of it has not lived to tell its end.
            self._depart(next(iter(self._running)))

    def _depart(self, span_id: str) -> None:
        known = self._running.pop(span_id, None)
        if known is not None:
            traffic, resolved, context, timings = known
            self._foresight.ended(traffic, resolved, context, None, timings)


Note = Arrival | Departure | Datagram


class Lookout:
    """Stands where foresight stands on one machine: hands on to that while it is here, else notes for those who have it."""

    def __init__(self) -> None:
        self._here: Foresight | None = None
        self._notes: list[Note] = []
        self._bytes = 0
        self._bytes_of: dict[tuple[str, str], int] = {}
        self.dropped = 0

    def look(self, foresight: Foresight | None) -> None:
        """It is here from now on, or elsewhere."""
        self._here = foresight if foresight is not None and foresight.active else None

    def began(
        self, resolved: Resolved, context: TraceContext, request_id: str, timings: Timings
    ) -> Any:
        """As ``Foresight.began``."""
        here = self._here
        if here is not None:
            return here, here.began(resolved, context, request_id, timings)
        function = resolved.function
        self.note(
            Arrival(
                account=function.account,
                name=function.name,
                qualifier=resolved.qualifier,
                request_id=request_id,
                context=context,
                at=timings.admitted,
            )
        )
        return None

    def ended(
        self,
        traffic: Any,
        resolved: Resolved,
        context: TraceContext,
        run: Run | None,
        timings: Timings,
    ) -> None:
        """As ``Foresight.ended``."""
        if traffic is None:
            self.note(Departure(span_id=context.span_id))
        else:
            foresight, known = traffic
            foresight.ended(known, resolved, context, run, timings)

    def take(self) -> list[Note]:
        """What is to be told to those who have foresight."""
        notes, self._notes = self._notes, []
        self._bytes = 0
        self._bytes_of.clear()
        return notes

    def note(self, note: Note) -> None:
        """Have it told with the next batch."""
        if len(self._notes) >= MOST or (isinstance(note, Datagram) and not self._has_room(note)):
            self.dropped += 1
        else:
            self._notes.append(note)

    def _has_room(self, datagram: Datagram) -> bool:
        """Functions choose how many and how long they are: none of them takes the place of others."""
        size, whose = len(datagram.data) + _OVERHEAD, (datagram.account, datagram.name)
        of_it = self._bytes_of.get(whose, 0) + size
        if self._bytes + size > DATAGRAMS_BYTES or of_it > DATAGRAMS_BYTES_OF_ONE:
            return False
        self._bytes += size
        self._bytes_of[whose] = of_it
        return True


Deliver = Callable[[bytes], Awaitable[bytes]]
"""Tells the holder a batch, and answers what that one watches. Raises ``ForerunError`` while there is none."""


class Relay:
    """Listens to a bus: tells ``here`` when the duties are here, else ``deliver`` it. ``dropped`` counts what was lost."""

    def __init__(self, bus: Bus, lookout: Lookout, deliver: Deliver) -> None:
        self._bus = bus
        self._lookout = lookout
        self._deliver = deliver
        self._here: Distant | None = None
        self.dropped = 0
        self.told = 0
        bus.listen("relay", self.consume)
        bus.heed("relay", self.consume)

    def tell(self, here: Distant | None, watched: Callable[[str, str], Watch] | None) -> None:
        """The duties are here from now on, with what they watch; or they are elsewhere."""
        self._here = here
        if watched is not None:
            self._bus.watched = watched

    async def consume(self, tellings: Sequence[Telling]) -> None:
        """As listeners of the bus do."""
        if self._here is not None:
            await self._here.take(tellings)
            return
        for first in range(0, len(tellings), BATCH):
            await self._send(tellings[first : first + BATCH])

    async def flush(self) -> None:
        """Tell what the lookout has noted, and learn what is watched."""
        notes = self._lookout.take()
        if self._here is not None:
            await self._here.take(notes)
            return
        for first in range(0, len(notes), BATCH):
            await self._send(notes[first : first + BATCH])

    async def ask(self) -> None:
        """Learn what is watched, though there is nothing to tell."""
        if self._here is None:
            await self._send(())

    async def _send(self, tellings: Sequence[Telling]) -> None:
        try:
            answer = await self._deliver(packed(tellings))
            watched = msgspec.msgpack.decode(answer, type=WatchedElsewhere).watched()
        except (ForerunError, msgspec.DecodeError) as error:
            self.dropped += len(tellings)
            log.debug("%d notices are lost: %s", len(tellings), error)
        else:
            self.told += len(tellings)
            if self._here is None:
                self._bus.watched = watched.of
