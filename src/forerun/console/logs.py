"""What the pages show of logs: a function's, from a moment on, and what one execution wrote."""

from typing import Any

from forerun.console.sign_in import Visitor
from forerun.control.authorization import Authorizer
from forerun.control.functions import Functions
from forerun.control.log_filter import compile_filter
from forerun.control.log_reading import FoundEvent, LogReader, LogSearch, place_of
from forerun.control.logs import LogService
from forerun.errors import InvalidInput, NotFound
from forerun.storage.log_groups import LogGroup

EVENTS = 1_000
# Pages that are read for one execution: enough for its lines among those of others at the same time.
PAGES = 10
_FAR_MS = (1 << 62) - 1


class LogPages:
    """Lines of the functions of a visitor's account."""

    def __init__(
        self, functions: Functions, logs: LogService, reader: LogReader, authorizer: Authorizer
    ) -> None:
        self._functions = functions
        self._logs = logs
        self._reader = reader
        self._authorizer = authorizer

    async def follow(
        self, visitor: Visitor, name: str, *, start: float, pattern: str, after: str | None
    ) -> dict[str, Any]:
        """Lines that fit ``pattern``, from ``start`` (epoch seconds) on, behind the place ``after``; and the next place."""
        search = LogSearch(compile_filter(pattern), start_ms=_ms(start))
        if after is not None:
            place_of(after)
        group = await self._group(visitor, name)
        if group is None:
            return {"events": [], "next": None}
        page = await self._reader.search(group.id, search, limit=EVENTS, token=after)
        last = page.events[-1].id if page.events else page.token
        return {"events": [_line(name, each) for each in page.events], "next": last}

    async def of_request(
        self, visitor: Visitor, name: str, request_id: str, *, start: float, end: float
    ) -> dict[str, Any]:
        """What one execution wrote, known to lie between ``start`` and ``end`` (epoch seconds).

        A sandbox runs one execution at a time: its lines are those of a stream between the first and the last that
        name the request.
        """
        search = LogSearch(compile_filter(""), start_ms=_ms(start), end_ms=_ms(end))
        group = await self._group(visitor, name)
        if group is None:
            return {"events": [], "next": None}
        streams: dict[str, list[FoundEvent]] = {}
        token = None
        for _ in range(PAGES):
            page = await self._reader.search(group.id, search, limit=EVENTS, token=token)
            for event in page.events:
                streams.setdefault(event.stream, []).append(event)
            token = page.token
            if token is None:
                break
        for events in streams.values():
            named = [index for index, event in enumerate(events) if request_id in event.text]
            if named:
                own = events[named[0] : named[-1] + 1]
                return {"events": [_line(name, each) for each in own], "next": None}
        return {"events": [], "next": None}

    async def _group(self, visitor: Visitor, name: str) -> LogGroup | None:
        """The group that a function writes to; ``None`` when nothing was written. A deleted function's may be there still."""
        try:
            _, function = await self._functions.get(visitor.account, name)
            group = function.logging.group
        except NotFound:
            group = f"/aws/lambda/{name}"
        arn = f"arn:aws:logs:{visitor.region}:{visitor.account}:log-group:{group}:*"
        self._authorizer.require(visitor, "logs:FilterLogEvents", arn)
        try:
            return await self._logs.group(visitor.account, group)
        except NotFound:
            return None


def _line(name: str, event: FoundEvent) -> dict[str, Any]:
    return {"at": event.time_ms / 1000, "text": event.text, "name": name}


def _ms(seconds: float) -> int:
    if not 0 <= seconds < 1e12:
        raise InvalidInput("start and end must be epoch seconds")
    return min(int(seconds * 1000), _FAR_MS)
