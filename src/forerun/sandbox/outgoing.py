"""Outgoing calls as the code in a sandbox reports them: read, checked, and kept within bounds. Pure.

Whoever reports shares its process with user code. What is of another form than the platform's own runtimes send is
refused; what is of that form may still be invented, and is only ever told of the execution that sent it.
"""

import re
from typing import TypeVar

import msgspec

from forerun.model import Outcome, OutgoingCall

MAX_CALLS = 1000
MAX_REPORT_BYTES = 512 * 1024

_SKEW_S = 1.0
_MAX_COUNT = 2**53
_MAX_CPU_MS = 1e9
_MAX_RTT_MS = 600_000.0
_KINDS = ("http", "connection")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Most characters of each text.
_TEXTS = {"method": 32, "service": 128, "operation": 256, "host": 512, "path": 2048, "error": 256}
_COUNTS = {
    "status": 999,
    "sent_bytes": _MAX_COUNT,
    "received_bytes": _MAX_COUNT,
    "fingerprint": 2**63 - 1,
}
T = TypeVar("T")
_CALL = msgspec.json.Decoder(OutgoingCall)
_CALLS = msgspec.json.Decoder(list[msgspec.Raw])


class Report(msgspec.Struct, kw_only=True):
    """What one report says: calls that began or ended, how many its sender left out, CPU milliseconds so far."""

    calls: list[msgspec.Raw] = []
    dropped: int = 0
    cpu_ms: float = 0.0


_REPORT = msgspec.json.Decoder(Report)


class OutgoingCalls:
    """The calls of one execution: the last word of each, at most ``limit`` of them.

    ``began`` is the beginning of the execution in epoch seconds: no call began before.
    """

    def __init__(self, began: float, limit: int = MAX_CALLS) -> None:
        self._began = began
        self._limit = limit
        self._calls: dict[str, OutgoingCall] = {}
        self._beyond: set[str] = set()
        self._dropped = 0
        self._cpu_ms = 0.0

    def report(self, body: bytes, now: float) -> None:
        """Take a report: a JSON array of calls, or ``{"calls": […], "dropped": n, "cpu_ms": x}``.

        At most ``limit`` calls. All of it or nothing: raises ``ValueError``, which names the call and what is wrong with it.
        """
        if body.lstrip()[:1] == b"[":
            report = Report(calls=_decode(_CALLS, body, "calls"))
        else:
            report = _decode(_REPORT, body, "report")
        if not 0 <= report.cpu_ms <= _MAX_CPU_MS:
            raise ValueError(f"cpu_ms: not within 0 and {_MAX_CPU_MS:g}")
        if not 0 <= report.dropped <= _MAX_COUNT:
            raise ValueError(f"dropped: not within 0 and {_MAX_COUNT}")
        if len(report.calls) > self._limit:
            raise ValueError(f"calls: more than {self._limit}")
        calls = [
            self.checked(raw, now, where=f"calls[{number}]")
            for number, raw in enumerate(report.calls)
        ]
        for call in calls:
            self.add(call)
        self._dropped += report.dropped
        self._cpu_ms = report.cpu_ms or self._cpu_ms

    def checked(self, raw: bytes | msgspec.Raw, now: float, *, where: str = "call") -> OutgoingCall:
        """The call that one JSON array says; raises ``ValueError`` for what cannot have been."""
        call = _decode(_CALL, raw, where)
        wrong = _wrong_text(call) or _wrong_number(call) or self._wrong_time(call, now)
        if wrong:
            raise ValueError(f"{where}.{wrong}")
        return call

    def add(self, call: OutgoingCall) -> None:
        """Keep what is said last of a call; of those beyond the limit only their number."""
        if call.span_id in self._calls or len(self._calls) < self._limit:
            self._calls[call.span_id] = call
        elif call.span_id not in self._beyond:
            self._dropped += 1
            if len(self._beyond) < self._limit:
                self._beyond.add(call.span_id)

    def tell(self, outcome: Outcome) -> None:
        """Write what is known into the outcome of the execution."""
        outcome.calls = list(self._calls.values())
        outcome.calls_dropped = self._dropped
        outcome.cpu_ms = self._cpu_ms

    def _wrong_time(self, call: OutgoingCall, now: float) -> str:
        earliest, latest = self._began - _SKEW_S, now + _SKEW_S
        if not earliest <= call.started <= latest:
            return f"started: {call.started:.3f} is not within the execution"
        if call.ended and not call.started <= call.ended <= latest:
            return f"ended: {call.ended:.3f} is not between its start and now"
        return ""


def _decode(reader: "msgspec.json.Decoder[T]", body: bytes | msgspec.Raw, where: str) -> T:
    try:
        return reader.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: {error}") from None


def _wrong_text(call: OutgoingCall) -> str:
    if not _SPAN_ID.fullmatch(call.span_id):
        return "span_id: not 16 lower-case hexadecimal digits"
    if call.kind not in _KINDS:
        return f"kind: not one of {', '.join(_KINDS)}"
    for name, limit in _TEXTS.items():
        text: str = getattr(call, name)
        if len(text) > limit:
            return f"{name}: more than {limit} characters"
        if _CONTROL.search(text):
            return f"{name}: holds a control character"
    return ""


def _wrong_number(call: OutgoingCall) -> str:
    for name, limit in _COUNTS.items():
        if not 0 <= getattr(call, name) <= limit:
            return f"{name}: not within 0 and {limit}"
    if not 0 <= call.rtt_ms <= _MAX_RTT_MS:
        return f"rtt_ms: not within 0 and {_MAX_RTT_MS:g}"
    return ""
