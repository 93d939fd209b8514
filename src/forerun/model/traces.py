"""What is known of how executions call each other: where one stands in its trace, what it called, and spans.

An **execution** is one run of a handler: one attempt of an invocation. Trace ids are 32 and span ids 16 lower-case
hexadecimal digits, as in W3C Trace Context; times are epoch seconds.
"""

from collections.abc import Iterable
from enum import StrEnum

import msgspec


class Channel(StrEnum):
    """How it was recognised which execution caused another."""

    NONE = ""
    HEADER = "header"
    CREDENTIAL = "credential"
    DESTINATION = "destination"


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a request brought with it.

    ``trace_id`` and ``parent_id`` are empty when it said nothing. ``execution`` is the span id of the execution that
    caused it and is set only when that was verified; then ``account`` is the execution's, ``depth`` its distance from
    the root and ``weight`` its weight (see ``TraceContext``). ``tracestate`` and ``baggage`` are the W3C headers, to be
    passed on, without the platform's own part. ``sampled``: the caller's tracing wants this trace; ``w3c``: the caller
    spoke W3C Trace Context. ``lineage`` counts the functions whose executions led to it, see ``model.lineage``.
    """

    trace_id: str = ""
    parent_id: str = ""
    execution: str = ""
    account: str = ""
    depth: int = 0
    weight: int = 0
    channel: Channel = Channel.NONE
    tracestate: str = ""
    baggage: str = ""
    sampled: bool = False
    w3c: bool = False
    lineage: str = ""


class TraceContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where one execution stands in its trace.

    ``weight`` says whether it is monitored, and for how many executions it stands: 0 for not monitored, else one in
    ``weight`` was chosen. ``header`` is the ``X-Amzn-Trace-Id`` that the function is given; of a monitored execution it
    carries the platform's signature. ``account`` and ``function`` are whose execution it is.
    """

    trace_id: str
    span_id: str
    origin: Origin
    header: str
    weight: int = 0
    depth: int = 0
    account: str = ""
    function: str = ""

    @property
    def monitored(self) -> bool:
        """Whether its calls are watched and carry trace information."""
        return self.weight > 0


class OutgoingCall(msgspec.Struct, kw_only=True, array_like=True):
    """One call that an execution made, as its runtime saw it.

    ``kind``: ``http``, or ``connection`` for a socket that was opened by other means. ``ended`` is 0.0 for a call that
    was under way when the execution ended. ``service`` is the signing name of an AWS request (``lambda``, ``sqs``), else
    empty; ``operation`` is what such a request asks for where that can be seen. ``host`` is ``name:port`` as the code
    named it; ``path`` has no query, and ``*`` in place of numbers and ids, except in paths of the Lambda API.
    ``status`` is the HTTP status, 0 for none; ``error`` the type of the exception. ``fingerprint`` is equal for equal
    requests (method, address, body) of one execution. ``injected`` says whether trace information was added to it.
    ``rtt_ms`` is the round trip of its connection as the kernel measured it, 0 where that was not seen.
    """

    span_id: str
    started: float
    ended: float = 0.0
    kind: str = "http"
    method: str = ""
    service: str = ""
    operation: str = ""
    host: str = ""
    path: str = ""
    status: int = 0
    error: str = ""
    sent_bytes: int = 0
    received_bytes: int = 0
    fingerprint: int = 0
    injected: bool = False
    rtt_ms: float = 0.0


class SpanStatus(StrEnum):
    """X-Ray's four ends of a span: what the callee did, whether the caller or the callee was at fault, or refused."""

    OK = "ok"
    ERROR = "error"
    FAULT = "fault"
    THROTTLE = "throttle"


Attribute = str | int | float | bool


class Span(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One piece of work in a trace.

    ``kind``: ``server``, ``client``, ``internal``, ``producer`` or ``consumer``. ``service`` is who did the work: a
    function's name, or what an instrumented program calls itself. ``source``: ``forerun``, ``otlp`` or ``xray``.
    ``ended`` is 0.0 when the end is not known.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str
    kind: str = "internal"
    service: str = ""
    started: float
    ended: float = 0.0
    status: SpanStatus = SpanStatus.OK
    source: str = "forerun"
    attributes: dict[str, Attribute] = {}


def distinct_spans(spans: Iterable[Span]) -> list[Span]:
    """One span per span id, by start. Of several the platform's own wins, then one that ended, then the later one."""
    known: dict[str, Span] = {}
    for span in spans:
        before = known.get(span.span_id)
        if before is None or _rank(span) >= _rank(before):
            known[span.span_id] = span
    return sorted(known.values(), key=lambda span: (span.started, span.span_id))


def _rank(span: Span) -> tuple[bool, bool]:
    return span.source == "forerun", span.ended > 0.0


class Segment(msgspec.Struct, kw_only=True):
    """Spans of one trace that came together: an execution with its calls, or what an instrumented program sent.

    The first span stands for the whole: its times and status are those that segments are found by. ``function`` and
    ``version`` are empty for what no function did.
    """

    account: str
    trace_id: str
    spans: list[Span]
    function: str = ""
    version: str = ""
    request_id: str = ""
