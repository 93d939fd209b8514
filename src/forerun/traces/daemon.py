"""What stands where X-Ray's daemon stands on AWS: takes segments that functions send as datagrams.

Nobody is answered. A datagram is kept when it is a segment of a trace in which the platform watched an execution of the
same account lately; everything else is dropped and counted by its reason.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from forerun.aio import TaskOwner
from forerun.errors import ForerunError, InvalidInput
from forerun.events import Event, ExecutionBegan
from forerun.model import Segment
from forerun.traces.xray_reading import MAX_DOCUMENT, read_document

log = logging.getLogger("forerun.traces")

GATHER_S = 0.5
ROOM_BYTES = 16 << 20
KNOWN_TRACES = 50_000
_EXECUTIONS_OF_TRACE = 1000
_HEADER = 200
_AT_ONCE = 8
# What one costs beside its bytes; and the part of all room that the sandboxes of one function may take.
_OVERHEAD = 300
_SHARE = 4

Keep = Callable[[str, Iterable[Segment]], Awaitable[int]]


class _Datagram(NamedTuple):
    data: bytes
    account: str
    service: str


class _Trace(NamedTuple):
    account: str
    executions: dict[str, str]


class Daemon:
    """``take`` datagrams and ``consume`` what the bus tells; ``start`` then ``close``, once each.

    ``kept`` counts segments; ``malformed`` are no segments, ``foreign`` are of no execution that was watched, ``lost``
    came too fast.
    """

    def __init__(
        self, keep: Keep, *, gather_s: float = GATHER_S, room_bytes: int = ROOM_BYTES
    ) -> None:
        self.kept = self.malformed = self.foreign = self.lost = 0
        self._keep = keep
        self._gather_s = gather_s
        self._room_bytes = room_bytes
        self._waiting: list[_Datagram] = []
        self._bytes = 0
        self._bytes_of: dict[tuple[str, str], int] = {}
        self._known: OrderedDict[str, _Trace] = OrderedDict()
        self._wake = asyncio.Event()
        self._owner = TaskOwner("xray-daemon")

    def start(self) -> None:
        """Begin to judge what was taken."""
        self._owner.spawn(self._run(), name="judge")

    async def close(self) -> None:
        """Judge what there is, and stop."""
        await self._owner.close()
        await self.flush()

    def take(self, data: bytes, account: str = "", service: str = "") -> None:
        """One datagram, from a sandbox of the account and function; both are empty where that is not known."""
        size, whose = len(data) + _OVERHEAD, (account, service)
        of_it = self._bytes_of.get(whose, 0) + size
        if self._bytes + size > self._room_bytes or of_it > self._room_bytes // _SHARE:
            self.lost += 1
            return
        self._bytes += size
        self._bytes_of[whose] = of_it
        self._waiting.append(_Datagram(data, account, service))
        self._wake.set()

    async def consume(self, events: Sequence[Event]) -> None:
        """Take note of executions that are watched."""
        for event in events:
            if not isinstance(event, ExecutionBegan):
                continue
            trace_id = event.context.trace_id
            trace = self._known.get(trace_id)
            # Whoever continues the trace of a stranger does not take it over.
            if trace is None or trace.account != event.account:
                trace = self._known.setdefault(trace_id, _Trace(event.account, {}))
            if trace.account == event.account and len(trace.executions) < _EXECUTIONS_OF_TRACE:
                trace.executions[event.context.span_id] = event.name
            self._known.move_to_end(trace_id)
        while len(self._known) > KNOWN_TRACES:
            self._known.popitem(last=False)

    async def flush(self) -> None:
        """Judge what has come so far, and give on what is kept."""
        waiting, self._waiting = self._waiting, []
        self._bytes = 0
        self._bytes_of.clear()
        for begin in range(0, len(waiting), _AT_ONCE):
            segments: dict[str, list[Segment]] = {}
            for datagram in waiting[begin : begin + _AT_ONCE]:
                if (segment := self._judged(datagram)) is not None:
                    segments.setdefault(segment.account, []).append(segment)
            for account, those in segments.items():
                await self._give(account, those)
            await asyncio.sleep(0)

    def stats(self) -> dict[str, int]:
        """For the status of the server."""
        return {
            "kept": self.kept,
            "malformed": self.malformed,
            "foreign": self.foreign,
            "lost": self.lost,
        }

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            # The bus tells of an execution sooner than that.
            await asyncio.sleep(self._gather_s)
            self._wake.clear()
            await self.flush()

    def _judged(self, datagram: _Datagram) -> Segment | None:
        try:
            segment = read_document(
                document_of(datagram.data), datagram.account, service=datagram.service
            )
        except InvalidInput:
            self.malformed += 1
            return None
        trace = self._known.get(segment.trace_id)
        if trace is None or datagram.account not in ("", trace.account):
            self.foreign += 1
            return None
        segment.account = trace.account
        function = trace.executions.get(segment.spans[0].parent_id, "")
        for span in segment.spans:
            # The execution itself is told by the platform alone.
            if span.span_id in trace.executions:
                self.foreign += 1
                return None
            span.service = span.service or function
        return segment

    async def _give(self, account: str, segments: list[Segment]) -> None:
        try:
            refused = await self._keep(account, segments)
        except ForerunError as error:
            self.lost += len(segments)
            log.debug("segments are lost: %s", error.message)
        else:
            self.kept += len(segments) - refused
            self.lost += refused


def document_of(data: bytes) -> bytes:
    """The segment in a datagram: what follows the line that says its format. Raises ``InvalidInput``."""
    header, newline, document = data.partition(b"\n")
    if not newline or len(header) > _HEADER or b'"format"' not in header or b"json" not in header:
        raise InvalidInput('A datagram begins with {"format":"json","version":1} and a newline')
    if len(document) > MAX_DOCUMENT:
        raise InvalidInput(f"A segment has at most {MAX_DOCUMENT} bytes")
    return document
