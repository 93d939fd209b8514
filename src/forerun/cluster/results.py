"""A run as it travels: its head, its payload, and its log behind that; and what is made of it again. Pure.

Nothing of it is believed without a look: numbers that are none become 0, texts that end up in headers and columns are printable and
short, what does not fit together breaks the wire.
"""

import math
import re

import msgspec

from forerun.cluster.flight import Landed
from forerun.cluster.frames import PAYLOAD_MAX, Moments, ResultHead, WireBroken, encode
from forerun.host import Run
from forerun.model import InitFailure, InitReport, LogLine, Outcome, OutgoingCall

_LOGS_MAX = PAYLOAD_MAX - 16 * 1024 * 1024
_TEXT_MAX = 1000
_STATUSES = frozenset(("success", "error", "timeout"))
_ERRORS = frozenset((None, "Unhandled", "Handled"))
# Functions choose it, so what is none breaks nothing: it is replaced. It ends up in a header.
_CONTENT_TYPE = re.compile(r"[\x20-\x7e\xa0-\xff]{1,256}")
_ANY_TYPE = "application/octet-stream"
_logs = msgspec.msgpack.Decoder(tuple[list[LogLine], list[LogLine]])


def sent(run: Run, moments: Moments) -> tuple[bytes, bytes]:
    """Head and payload of a RESULT. The run is used up by it."""
    what, init = run.outcome, run.init
    payload, what.payload = what.payload, b""
    init_lines: list[LogLine] = []
    if init is not None and init.logs:
        init_lines, init.logs = init.logs, []
    lines, what.logs = what.logs, []
    body = len(payload)
    if lines or init_lines:
        payload += _packed(init_lines, lines)
    outcome = what if isinstance(what, Outcome) else None
    failure = what if isinstance(what, InitFailure) else None
    head = ResultHead(
        len(payload),
        moments,
        run.start_type,
        run.sandbox_id,
        run.isolation,
        run.placement,
        run.log_stream,
        run.foresight,
        run.cause,
        run.idle_mb_s,
        run.provisioned,
        init,
        outcome,
        failure,
        body,
    )
    return encode(head), payload


def _packed(init_lines: list[LogLine], lines: list[LogLine]) -> bytes:
    """What was logged; of far too much the beginning."""
    left = _LOGS_MAX
    for kept in (init_lines, lines):
        for number, line in enumerate(kept):
            left -= len(line.text) * (1 if line.text.isascii() else 4) + 16
            if left < 0:
                kept[number:] = [LogLine(line.time_ms, "(the rest of the log is too long)")]
                break
    return encode((init_lines, lines))


def run_of(head: ResultHead, payload: bytes) -> Landed:
    """The run that was sent. Raises ``WireBroken``."""
    what: Outcome | InitFailure | None = head.outcome or head.failure
    if what is None or not 0 <= head.body <= len(payload) or head.size != len(payload):
        raise WireBroken("a result without outcome, or of another length than it says")
    init = head.init
    if head.body < len(payload):
        try:
            init_lines, what.logs = _logs.decode(memoryview(payload)[head.body :])
        except (msgspec.DecodeError, UnicodeError) as error:
            raise WireBroken(f"no log: {error}") from None
        if init is not None:
            init.logs = init_lines
        payload = payload[: head.body]
    what.payload = payload
    _tidy(what, init)
    run = Run(
        outcome=what,
        start_type=head.start_type,
        sandbox_id=_text(head.sandbox_id),
        isolation=_text(head.isolation),
        placement=_text(head.placement),
        log_stream=_text(head.log_stream),
        init=init,
        foresight=_text(head.foresight),
        cause=_text(head.cause),
        idle_mb_s=_number(head.idle_mb_s),
        provisioned=head.provisioned,
    )
    return Landed(run, head.moments)


def _tidy(what: Outcome | InitFailure, init: InitReport | None) -> None:
    if init is not None:
        init.duration_ms = _number(init.duration_ms)
        if init.imports:
            init.imports = [one for one in init.imports if math.isfinite(one.ms)]
    if what.status not in _STATUSES:
        what.status = "error"
    if isinstance(what, InitFailure):
        what.duration_ms = _number(what.duration_ms)
        what.error_type = _text(what.error_type)
        return
    what.content_type = safe_type(what.content_type)
    if what.error not in _ERRORS:
        what.error = "Unhandled"
    if what.error_type:
        what.error_type = _text(what.error_type)
    what.cpu_ms = _number(what.cpu_ms)
    what.max_memory_mb = max(0, what.max_memory_mb)
    what.calls_dropped = max(0, what.calls_dropped)
    if what.calls:
        what.calls = [one for one in what.calls if _is_sound(one)]


def safe_type(content_type: str) -> str:
    """A content type that can stand in a header."""
    return content_type if _CONTENT_TYPE.fullmatch(content_type) else _ANY_TYPE


def _is_sound(call: OutgoingCall) -> bool:
    numbers = (call.started, call.ended, call.rtt_ms)
    texts = (call.kind, call.method, call.service, call.operation, call.host, call.path, call.error)
    return all(map(math.isfinite, numbers)) and "\0" not in "".join((call.span_id, *texts))


def _text(value: str) -> str:
    if len(value) <= _TEXT_MAX and value.isprintable():
        return value
    return "".join(each if each.isprintable() else "?" for each in value[:_TEXT_MAX])


def _number(value: float) -> float:
    return value if math.isfinite(value) and value >= 0 else 0.0
