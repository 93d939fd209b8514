"""Log groups and streams as users see them, what they write themselves, and how long it all is kept."""

import re
from typing import NamedTuple

from forerun.aio import Clock
from forerun.errors import Conflict, InvalidInput, NotFound
from forerun.model import LogLine
from forerun.storage.log_groups import LogGroup, LogGroupStore, LogStream, StreamOrder
from forerun.storage.logs import EVENT_BYTES, LogBatch, LogStore

DAY_MS = 86_400_000
RETENTION_DAYS = frozenset(
    {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827}
    | {2192, 2557, 2922, 3288, 3653}
)
MAX_TAGS = 50
_TOO_OLD_MS = 14 * DAY_MS
_TOO_NEW_MS = 2 * 3_600_000
_MAX_PUT_BYTES = 1_048_576
_MAX_PUT_EVENTS = 10_000
_MAX_EVENT_BYTES = 1_048_576
_GROUP = re.compile(r"[.\-_/#A-Za-z0-9]{1,512}\Z")
_STREAM = re.compile(r"[^:*]{1,512}\Z")


class Refused(NamedTuple):
    """Which events of a put were left out: the last too old or expired, the first too new; ``None`` where there is none."""

    too_old_end: int | None
    too_new_start: int | None
    expired_end: int | None


class LogService:
    """Manages groups and streams of an account, and keeps the store within its bounds."""

    def __init__(
        self, groups: LogGroupStore, events: LogStore, clock: Clock, *, cap_bytes: int = 4 << 30
    ) -> None:
        """``cap_bytes``: how many bytes of events this server keeps; the oldest go first."""
        self._groups = groups
        self._events = events
        self._clock = clock
        self._cap_bytes = cap_bytes

    async def create_group(self, account: str, name: str, tags: dict[str, str]) -> None:
        """A new group; ``InvalidInput``, ``AlreadyExists``."""
        _check(_GROUP, name, "logGroupName")
        _check_tags(tags)
        await self._groups.create(account, name, tags)

    async def group(self, account: str, name: str) -> LogGroup:
        """A group by its name; ``NotFound``."""
        group = await self._groups.get(account, name)
        if group is None:
            raise NotFound("The specified log group does not exist.")
        return group

    async def groups(
        self, account: str, *, prefix: str = "", after: str = "", limit: int = 50
    ) -> list[LogGroup]:
        """Groups by name, from behind ``after``."""
        return await self._groups.list(account, prefix=prefix, after=after, limit=limit)

    async def delete_group(self, account: str, name: str) -> None:
        """Remove a group with everything in it; ``NotFound``."""
        try:
            await self._groups.delete(await self.group(account, name))
        except Conflict:
            raise NotFound("The specified log group does not exist.") from None

    async def retain(self, account: str, name: str, days: int | None) -> None:
        """Keep a group's events for ``days`` (one of AWS's values), or with ``None`` as long as there is room."""
        if days is not None and days not in RETENTION_DAYS:
            raise InvalidInput(
                f"retentionInDays must be one of {', '.join(map(str, sorted(RETENTION_DAYS)))}, not {days}"
            )
        group = await self.group(account, name)
        await self._groups.configure(group._replace(retention_days=days or 0))

    async def tag(
        self, account: str, name: str, *, add: dict[str, str], remove: tuple[str, ...] = ()
    ) -> None:
        """Add and remove tags of a group."""
        group = await self.group(account, name)
        tags = {key: value for key, value in group.tags.items() if key not in remove} | add
        _check_tags(tags)
        await self._groups.configure(group._replace(tags=tags))

    async def create_stream(self, account: str, group: str, name: str) -> None:
        """A new stream; ``NotFound``, ``InvalidInput``, ``AlreadyExists``."""
        _check(_STREAM, name, "logStreamName")
        await self._groups.create_stream(await self.group(account, group), name)

    async def delete_stream(self, account: str, group: str, name: str) -> None:
        """Remove a stream and its events; ``NotFound``."""
        await self._groups.delete_stream(await self.group(account, group), name)

    async def streams(
        self, account: str, group: str, order: StreamOrder, *, prefix: str = "", limit: int = 50
    ) -> tuple[LogStream, ...]:
        """Streams of a group in ``order``."""
        found = await self.group(account, group)
        return await self._groups.streams(found, order, prefix=prefix, limit=limit)

    async def stream(self, account: str, group: str, name: str) -> tuple[LogGroup, LogStream]:
        """A group and one of its streams; ``NotFound``."""
        found = await self.group(account, group)
        order = StreamOrder()
        for stream in await self._groups.streams(found, order, prefix=name, limit=1):
            if stream.name == name:
                return found, stream
        raise NotFound("The specified log stream does not exist.")

    async def put(self, account: str, group: str, stream: str, lines: list[LogLine]) -> Refused:
        """Keep events that users send, to an existing stream; those out of the accepted time are left out."""
        if not 1 <= len(lines) <= _MAX_PUT_EVENTS:
            raise InvalidInput(f"logEvents must have 1 to {_MAX_PUT_EVENTS} events")
        sizes = [len(line.text.encode("utf-8", "replace")) + EVENT_BYTES for line in lines]
        if max(sizes) > _MAX_EVENT_BYTES:
            raise InvalidInput(
                f"Log event too large: {max(sizes)} bytes exceeds limit of {_MAX_EVENT_BYTES}"
            )
        if sum(sizes) > _MAX_PUT_BYTES:
            raise InvalidInput(
                f"Upload too large: {sum(sizes)} bytes exceeds limit of {_MAX_PUT_BYTES}"
            )
        times = [line.time_ms for line in lines]
        if times != sorted(times):
            raise InvalidInput(
                "Log events in a single PutLogEvents request must be in chronological order."
            )
        if times[-1] - times[0] > DAY_MS:
            raise InvalidInput(
                "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
            )
        found, _ = await self.stream(account, group, stream)
        kept, refused = _accepted(lines, int(self._clock.now() * 1000), found.retention_days)
        await self._events.append(
            [LogBatch(account=account, group=group, stream=stream, lines=kept)]
        )
        return refused

    async def expire(self, now: float) -> int:
        """Remove what is past its retention, what belongs to deleted groups, and what exceeds the bound.

        To be called now and then, by one caller at a time; returns the rows removed. ``now`` is epoch seconds.
        """
        removed = await self._events.delete_garbage()
        removed += await self._events.delete_aged(int(now * 1000))
        return removed + await self._events.delete_oldest(self._cap_bytes)


def _accepted(
    lines: list[LogLine], now_ms: int, retention_days: int
) -> tuple[list[LogLine], Refused]:
    """Split ordered events at AWS's limits: 14 days back, the group's retention, two hours ahead."""
    expired = sum(
        retention_days > 0 and line.time_ms < now_ms - retention_days * DAY_MS for line in lines
    )
    old = sum(line.time_ms < now_ms - _TOO_OLD_MS for line in lines)
    new = sum(line.time_ms > now_ms + _TOO_NEW_MS for line in lines)
    kept = lines[max(old, expired) : len(lines) - new]
    return kept, Refused(old or None, len(lines) - new if new else None, expired or None)


def _check(pattern: re.Pattern[str], value: str, member: str) -> None:
    if not pattern.match(value):
        raise InvalidInput(
            f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {pattern.pattern.removesuffix('Z')[:-1]}"
        )


def _check_tags(tags: dict[str, str]) -> None:
    if len(tags) > MAX_TAGS:
        raise InvalidInput(f"A log group can have at most {MAX_TAGS} tags")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise InvalidInput(
                f"The tag '{key}' is not valid: keys have 1 to 128 characters and no prefix 'aws:', values up to 256"
            )
