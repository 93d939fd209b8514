"""What a sandbox prints, turned into log events: one for each line, bounded for each invocation."""

from collections.abc import Callable

from forerun.model import LogLine

MAX_BYTES = 4 * 1024 * 1024
_MAX_LINE = 256 * 1024
TRUNCATED = "[forerun] output truncated: more than 4 MiB in one invocation"


class Output:
    """Collects events until they are taken.

    ``now_ms`` gives the time of what is printed; events with a time of their own come by ``event``. Text is UTF-8,
    with replacement characters for what is not. A line without an end waits for it until the next ``take``.
    """

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._lines: list[LogLine] = []
        self._partial = bytearray()
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Bytes as they were printed."""
        self._partial += data
        if b"\n" not in data and len(self._partial) < _MAX_LINE:
            return
        now = self._now_ms()
        *lines, rest = bytes(self._partial).split(b"\n")
        self._partial = bytearray(rest)
        for line in lines:
            self._add(now, line)
        if len(rest) >= _MAX_LINE:
            self._partial.clear()
            self._add(now, rest)

    def event(self, time_ms: int, text: str) -> None:
        """A whole event, which may hold newlines."""
        self._flush()
        self._append(LogLine(time_ms, text), len(text))

    def take(self) -> list[LogLine]:
        """All events so far; the bound counts anew."""
        if self._partial:
            self._flush()
        taken, self._lines, self._size = self._lines, [], 0
        return taken

    def _flush(self) -> None:
        if self._partial:
            rest = bytes(self._partial)
            self._partial.clear()
            self._add(self._now_ms(), rest)

    def _add(self, now: int, line: bytes) -> None:
        self._append(LogLine(now, line.decode("utf-8", "replace")), len(line))

    def _append(self, line: LogLine, size: int) -> None:
        if self._size > MAX_BYTES:
            return
        self._size += size + 1
        if self._size > MAX_BYTES:
            line = LogLine(line.time_ms, TRUNCATED)
        self._lines.append(line)
