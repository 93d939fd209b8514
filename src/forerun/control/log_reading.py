"""Reading log events: filtered over a group, or up and down a stream, in pages that neither skip nor repeat.

An event's place is one number made of its time, its row and its index in the row; it is the event's id, and the
tokens of pages are such numbers. Rows overlap in time, by at most ``SPAN_MS``: reading merges them and gives out an
event only when no later row can hold an earlier one.
"""

import heapq
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import NamedTuple

from forerun.control.log_filter import Matches
from forerun.errors import InvalidInput
from forerun.storage.logs import EVENT_BYTES, SPAN_MS, LogStore, StoredBatch, Window

MAX_EVENTS = 10_000
MAX_BYTES = 1 << 20
MAX_ROWS = 20_000
_CHUNK = 50
_ROW = 10**16
_TIME = 10**36
_DIGITS = 56
_LAST_ID = (1 << 63) - 1
_FAR_MS = (1 << 62) - 1


class FoundEvent(NamedTuple):
    """One event and its place; times are epoch milliseconds."""

    place: int
    stream: str
    time_ms: int
    ingested_ms: int
    text: str

    @property
    def id(self) -> str:
        """The event's id: 56 digits that sort by time."""
        return f"{self.place:0{_DIGITS}d}"


class LogSearch(NamedTuple):
    """What to look for in a group. ``start_ms`` and ``end_ms`` are both inclusive."""

    matches: Matches
    streams: frozenset[str] | None = None
    stream_prefix: str = ""
    start_ms: int = 0
    end_ms: int = _FAR_MS


class SearchPage(NamedTuple):
    """Events in the order of time; ``token`` continues, ``None`` at the end. A page can be empty and not the last."""

    events: list[FoundEvent]
    token: str | None


class StreamPage(NamedTuple):
    """Events of a stream in the order of time, and where to go on in both directions."""

    events: list[FoundEvent]
    forward: str
    backward: str


class LogReader:
    """Reads pages of events of a group that is known by its id."""

    def __init__(self, store: LogStore) -> None:
        self._store = store

    async def search(
        self, group_id: int, search: LogSearch, *, limit: int, token: str | None = None
    ) -> SearchPage:
        """The next page of events that match; bounded also by the work it takes."""
        after = -1 if token is None else place_of(token)
        names = search.streams
        only = next(iter(names)) if names is not None and len(names) == 1 else None
        events: list[FoundEvent] = []
        size = 0
        last: int | None = None
        source = self._ascending(group_id, after, search.start_ms, search.end_ms, only)
        async with aclosing(source):
            async for event in source:
                if event is None:
                    if last is not None:
                        return SearchPage(events, _printed(last))
                    continue
                last = event.place
                if not _wanted(event, search):
                    continue
                events.append(event)
                size += len(event.text) + EVENT_BYTES
                if len(events) >= limit or size >= MAX_BYTES:
                    return SearchPage(events, _printed(last))
        return SearchPage(events, None)

    async def page(  # noqa: PLR0913 the members of AWS's call
        self,
        group_id: int,
        stream: str,
        *,
        start_ms: int = 0,
        end_ms: int = _FAR_MS,
        token: str | None = None,
        from_head: bool = False,
        limit: int = MAX_EVENTS,
    ) -> StreamPage:
        """A page of a stream: from a token, or its head, or its tail. ``end_ms`` is exclusive."""
        direction, place = _stream_token(token)
        if direction == "f" or (direction is None and from_head):
            source = self._ascending(group_id, place, start_ms, end_ms - 1, stream)
            events = await _taken(source, limit)
        else:
            upper = place if direction == "b" else end_ms * _TIME
            source = self._descending(
                group_id, min(upper, end_ms * _TIME), max(start_ms, 0), stream
            )
            events = (await _taken(source, limit))[::-1]
        if events:
            first, last = events[0].place, events[-1].place
        elif direction == "b":
            first, last = place, place - 1
        else:
            first, last = max(place, 0) + (direction == "f"), max(place, 0)
        return StreamPage(events, f"f/{_printed(max(last, 0))}/s", f"b/{_printed(first)}/s")

    async def _ascending(
        self, group_id: int, after: int, start_ms: int, end_ms: int, stream: str | None
    ) -> AsyncGenerator[FoundEvent | None, None]:
        """Events behind ``after`` by time; ``None`` now and then, when much was read."""
        from_ms = max(start_ms, after // _TIME if after >= 0 else 0)
        window = Window(from_ms - SPAN_MS - 1, _LAST_ID, end_ms, from_ms)
        pending: list[FoundEvent] = []
        read = 0
        while True:
            rows = await self._store.forward(group_id, window, limit=_CHUNK, stream=stream)
            for row in rows:
                for event in _events(row):
                    if event.place > after and start_ms <= event.time_ms <= end_ms:
                        heapq.heappush(pending, event)
            ended = len(rows) < _CHUNK
            while pending and (ended or pending[0].time_ms < rows[-1].first_ms):
                yield heapq.heappop(pending)
            if ended:
                return
            window = window._replace(first_ms=rows[-1].first_ms, id=rows[-1].id)
            read += len(rows)
            if read >= MAX_ROWS:
                yield None

    async def _descending(
        self, group_id: int, before: int, start_ms: int, stream: str
    ) -> AsyncGenerator[FoundEvent | None, None]:
        """Events of a stream before the place ``before``, latest first."""
        window = Window(before // _TIME, _LAST_ID, start_ms - SPAN_MS, start_ms)
        pending: list[tuple[int, FoundEvent]] = []
        while True:
            rows = await self._store.backward(group_id, window, limit=_CHUNK, stream=stream)
            for row in rows:
                for event in _events(row):
                    if event.place < before and event.time_ms >= start_ms:
                        heapq.heappush(pending, (-event.place, event))
            ended = len(rows) < _CHUNK
            while pending and (ended or pending[0][1].time_ms > rows[-1].first_ms + SPAN_MS):
                yield heapq.heappop(pending)[1]
            if ended:
                return
            window = window._replace(first_ms=rows[-1].first_ms, id=rows[-1].id)


def _events(row: StoredBatch) -> list[FoundEvent]:
    return [
        FoundEvent(
            line.time_ms * _TIME + row.id * _ROW + index,
            row.stream,
            line.time_ms,
            row.ingested_ms,
            line.text,
        )
        for index, line in enumerate(row.lines)
    ]


def _wanted(event: FoundEvent, search: LogSearch) -> bool:
    return (
        (search.streams is None or event.stream in search.streams)
        and event.stream.startswith(search.stream_prefix)
        and search.matches(event.text)
    )


async def _taken(source: AsyncGenerator[FoundEvent | None, None], limit: int) -> list[FoundEvent]:
    events: list[FoundEvent] = []
    size = 0
    async with aclosing(source):
        async for event in source:
            if event is None:
                continue
            events.append(event)
            size += len(event.text) + EVENT_BYTES
            if len(events) >= limit or size >= MAX_BYTES:
                break
    return events


def _printed(place: int) -> str:
    return f"{place:0{_DIGITS}d}"


def place_of(token: str) -> int:
    """The place in time that the token of a page stands for; ``InvalidInput`` for what is none."""
    if len(token) != _DIGITS or not token.isascii() or not token.isdigit():
        raise InvalidInput("The specified nextToken is invalid.")
    place = int(token)
    if place // _TIME > _FAR_MS:
        raise InvalidInput("The specified nextToken is invalid.")
    return place


def _stream_token(token: str | None) -> tuple[str | None, int]:
    if token is None:
        return None, -1
    direction, _, rest = token.partition("/")
    if direction not in ("f", "b") or not rest.endswith("/s"):
        raise InvalidInput("The specified nextToken is invalid.")
    return direction, place_of(rest.removesuffix("/s"))
