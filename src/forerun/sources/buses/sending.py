"""Takes events onto buses: what users put there, and what other parts of the platform send.

An event is accepted when the messages it leads to are on disk; one that nobody wants leaves nothing behind.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec

from forerun.aio import Clock
from forerun.errors import ForerunError, InvalidInput, NotFound
from forerun.model import Arn, Message, Origin
from forerun.sources import Outbox
from forerun.sources.buses.envelope import Event, event_of, event_time, read_detail
from forerun.sources.buses.matching import Book, Books
from forerun.sources.buses.names import SERVICE, BusName, Place

ENTRIES_BYTES = 1024 * 1024
TIME_BYTES = 14
# The end of the year 9999.
LATEST_S = 253_402_300_799
MOST_HOPS = 5
CHUNK_MESSAGES = 500
CHUNK_BYTES = 16 * 1024 * 1024


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An event as a user of ``account`` gives it; ``time`` in epoch seconds, ``None`` for now."""

    bus: BusName
    account: str
    source: str | None = None
    detail_type: str | None = None
    detail: str | None = None
    resources: Sequence[str] = ()
    time: float | None = None
    origin: Origin = Origin()

    @property
    def size(self) -> int:
        """Bytes as EventBridge counts them."""
        texts = (self.source, self.detail_type, self.detail, *self.resources)
        size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts if text)
        return size + (TIME_BYTES if self.time is not None else 0)


class Answer(msgspec.Struct, frozen=True):
    """The event's id, or why it was not accepted: EventBridge's code and sentence."""

    event_id: str = ""
    code: str = ""
    message: str = ""


class Sender:
    """Puts events on buses."""

    def __init__(self, books: Books, outbox: Outbox, clock: Clock, *, region: str) -> None:
        self._books = books
        self._outbox = outbox
        self._clock = clock
        self._region = region

    async def put(self, entries: Sequence[Entry]) -> list[Answer]:
        """Accept the entries that are sound and for a bus that there is; an answer for each.

        ``InvalidInput`` when they are too large together; ``Throttled`` and ``StorageFailed`` when none is accepted.
        """
        if sum(entry.size for entry in entries) > ENTRIES_BYTES:
            raise InvalidInput("Total size of the entries in the request is over the limit.")
        answers: list[Answer] = []
        accepted: list[tuple[BusName, Book, Event]] = []
        for entry in entries:
            answer = _fault(entry)
            if answer is None:
                try:
                    book = await self._books.of(entry.bus)
                except NotFound as error:
                    answer = _invalid(error.message)
                else:
                    event = self._event(entry)
                    accepted.append((entry.bus, book, event))
                    answer = Answer(event.id)
            answers.append(answer)
        await self._send(accepted)
        return answers

    async def take(self, bus: BusName, book: Book, events: Sequence[Event]) -> None:
        """Accept events of the platform's own; their details must be sound."""
        await self._send([(bus, book, event) for event in events])

    def _event(self, entry: Entry) -> Event:
        now = self._clock.now()
        return Event(
            id=str(uuid.uuid4()),
            detail_type=entry.detail_type or "",
            source=entry.source or "",
            account=entry.account,
            time=event_time(now if entry.time is None else entry.time),
            region=self._region,
            resources=entry.resources,
            detail=(entry.detail or "").encode(),
            origin=entry.origin,
        )

    async def _send(self, events: Sequence[tuple[BusName, Book, Event]]) -> None:
        now = self._clock.now()
        found = [book.messages(event, account=bus.account, now=now) for bus, book, event in events]
        await send_in_chunks(self._outbox, chain.from_iterable(found))


async def send_in_chunks(outbox: Outbox, messages: Iterable[Message]) -> None:
    """Hand over any number of messages without holding all of them at once."""
    chunk: list[Message] = []
    size = 0
    for message in messages:
        chunk.append(message)
        size += len(message.payload)
        if len(chunk) >= CHUNK_MESSAGES or size >= CHUNK_BYTES:
            await outbox.send(chunk)
            chunk, size = [], 0
    if chunk:
        await outbox.send(chunk)


class BusSink:
    """``sources.Sink``: buses as others' targets.

    Messages have the attributes ``Source``, ``DetailType`` and ``Resources`` (a JSON array), their payload is the detail.
    """

    service = SERVICE

    def __init__(self, sender: Sender, books: Books, clock: Clock, *, region: str) -> None:
        self._sender = sender
        self._books = books
        self._clock = clock
        self._region = region

    async def policy(self, arn: str) -> str | None:
        """See ``Sink``."""
        return (await self._books.of(self._bus(arn))).policy or None

    async def take(self, messages: Sequence[Message]) -> Sequence[ForerunError | None]:
        """See ``Sink``. An event that went over too many buses is refused, so that no circle lasts."""
        answers: list[ForerunError | None] = []
        accepted: dict[BusName, tuple[Book, list[Event]]] = {}
        for message in messages:
            try:
                bus = self._bus(message.target)
                book = await self._books.of(bus)
                event = event_of(message, Place(self._region, bus.account), self._clock.now())
                read_detail(event.detail)
                if event.hops > MOST_HOPS:
                    raise InvalidInput(f"The event was forwarded over {MOST_HOPS} buses already")
            except ForerunError as error:
                answers.append(error)
            else:
                accepted.setdefault(bus, (book, []))[1].append(event)
                answers.append(None)
        try:
            for bus, (book, events) in accepted.items():
                await self._sender.take(bus, book, events)
        except ForerunError as error:
            return [error if answer is None else answer for answer in answers]
        return answers

    def _bus(self, arn: str) -> BusName:
        return Place(self._region, Arn.parse(arn).account).bus(arn)


def _invalid(message: str) -> Answer:
    return Answer(code="InvalidArgument", message=message)


_REQUIRED: Mapping[str, Callable[[Entry], Any]] = {
    "Source": lambda entry: entry.source,
    "DetailType": lambda entry: entry.detail_type,
    "Detail": lambda entry: entry.detail,
}


def _fault(entry: Entry) -> Answer | None:
    for name, read in _REQUIRED.items():
        if not read(entry):
            return _invalid(
                f"Parameter {name} is not valid. Reason: {name} is a required argument."
            )
    if (entry.source or "").lower().startswith("aws."):
        return Answer(code="NotAuthorizedForSource", message="Not authorized for the source.")
    if entry.time is not None and not 0 <= entry.time <= LATEST_S:
        return _invalid("Parameter Time is not valid. Reason: it is no time that can be written.")
    try:
        read_detail(entry.detail or "")
    except InvalidInput as error:
        return Answer(code="MalformedDetail", message=error.message)
    return None
