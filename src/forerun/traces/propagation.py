"""How trace information is written into headers and read from them. Pure; the one place that knows the formats.

``X-Amzn-Trace-Id: Root=1-8HEX-24HEX;Parent=SPAN;Sampled=1;Forerun=SIGNED``, or W3C's ``traceparent`` with the signed part
as ``forerun=SIGNED`` in ``tracestate``. Whatever cannot be read is ignored and counted: it never fails a call.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from forerun.model import Channel, Origin, TraceContext
from forerun.traces.signing import Signed, Signer

MAX_XRAY = 1024
MAX_TRACESTATE = 512
MAX_MEMBERS = 32
MAX_BAGGAGE = 8192
OWN = "forerun"
NOTHING = Origin()

XRAY = b"x-amzn-trace-id"
TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"
BAGGAGE = b"baggage"

_VISIBLE = re.compile(rb"[\x20-\x7e]*")
_ROOT = re.compile(r"1-([0-9a-f]{8})-([0-9a-f]{24})")
_SPAN = re.compile(r"[0-9a-f]{16}")
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(
    r"([a-z0-9][a-z0-9_\-*/@]{0,255})=([\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e])"
)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


class Seen(msgspec.Struct):
    """How often requests brought what. ``foreign`` is what was signed for the caller's account and not the callee's."""

    linked: int = 0
    credential: int = 0
    malformed: int = 0
    forged: int = 0
    foreign: int = 0


class _Read(NamedTuple):
    """What one format said; ``signed`` is the platform's part as it came."""

    trace_id: str
    parent_id: str
    sampled: bool
    signed: str


class _State(NamedTuple):
    """A ``tracestate``: the platform's own part, and the others as they are to be passed on."""

    own: str
    others: str


_NO_STATE = _State("", "")


class Reader:
    """Makes origins of the headers of requests (names in lower case), and counts what it sees in ``seen``."""

    def __init__(self, signer: Signer | None) -> None:
        """Without a ``signer`` no execution is recognised."""
        self._signer = signer

    def origin_of(
        self,
        headers: Mapping[bytes, bytes],
        account: str,
        seen: Seen,
        *,
        trusted: bool,
        caller: str = "",
    ) -> Origin:
        """The origin of a call to a function of ``account``; ``caller`` is the account of who sent it.

        What is not signed is taken over from ``trusted`` callers only, and never names an execution.
        """
        xray, traceparent = headers.get(XRAY), headers.get(TRACEPARENT)
        if xray is None and traceparent is None:
            return NOTHING
        state = _NO_STATE
        reads: list[_Read] = []
        if xray is not None:
            _add(reads, _read_xray(xray), seen)
        if traceparent is not None:
            state = _read_tracestate(headers.get(TRACESTATE), seen)
            _add(reads, _read_traceparent(traceparent, state.own), seen)
        if not reads:
            return NOTHING
        read, signed = self._verified(reads, account, seen, caller)
        if signed is None and not trusted:
            return NOTHING
        return Origin(
            trace_id=read.trace_id,
            parent_id=read.parent_id,
            execution=signed.execution if signed else "",
            account=account if signed else "",
            depth=signed.depth if signed else 0,
            weight=signed.weight if signed else 0,
            channel=Channel.HEADER if signed else Channel.NONE,
            tracestate=state.others,
            baggage=_read_baggage(headers.get(BAGGAGE), seen),
            sampled=read.sampled,
            w3c=traceparent is not None,
        )

    def _verified(
        self, reads: list[_Read], account: str, seen: Seen, caller: str
    ) -> tuple[_Read, Signed | None]:
        """The first whose signed part is good; else the first of all."""
        signer = self._signer
        if signer is None:
            return reads[0], None
        claimed = [read for read in reads if read.signed]
        for read in claimed:
            signed = signer.verify(read.signed, read.trace_id, account)
            if signed is not None:
                seen.linked += 1
                return read, signed
        if claimed:
            first = claimed[0]
            if (
                caller
                and caller != account
                and signer.verify(first.signed, first.trace_id, caller) is not None
            ):
                seen.foreign += 1
            else:
                seen.forged += 1
        return reads[0], None


def linked(origin: Origin, context: TraceContext, account: str, channel: Channel) -> Origin:
    """``origin`` of a call that the monitored execution of ``context`` is known to have caused."""
    same = origin.trace_id == context.trace_id
    return Origin(
        trace_id=context.trace_id,
        parent_id=origin.parent_id if same and origin.parent_id else context.span_id,
        execution=context.span_id,
        account=account,
        depth=context.depth,
        weight=context.weight,
        channel=channel,
        tracestate=origin.tracestate or context.origin.tracestate,
        baggage=origin.baggage or context.origin.baggage,
        sampled=True,
        w3c=origin.w3c,
    )


def xray_header(trace_id: str, parent_id: str, *, sampled: bool, signed: str = "") -> str:
    """``X-Amzn-Trace-Id``."""
    header = f"Root=1-{trace_id[:8]}-{trace_id[8:]};Parent={parent_id};Sampled={int(sampled)}"
    return f"{header};Forerun={signed}" if signed else header


def signed_part(header: str) -> str:
    """The signed part of a header made by ``xray_header``, empty when it has none."""
    return header.partition(";Forerun=")[2]


def unsigned(header: str) -> str:
    """A header made by ``xray_header`` without its signed part: for those who did not cause the execution's calls."""
    return header.partition(";Forerun=")[0]


def w3c_fields(context: TraceContext) -> dict[str, str]:
    """``traceparent``, ``tracestate`` and ``baggage`` for a function that continues its trace by itself."""
    origin = context.origin
    parent = context.span_id if context.monitored else origin.parent_id or context.span_id
    sampled = context.monitored or origin.sampled
    fields = {"traceparent": f"00-{context.trace_id}-{parent}-0{int(sampled)}"}
    tracestate = origin.tracestate
    if signed := signed_part(context.header):
        tracestate = with_own_member(signed, tracestate)
    if tracestate:
        fields["tracestate"] = tracestate
    if origin.baggage:
        fields["baggage"] = origin.baggage
    return fields


def with_own_member(signed: str, others: str) -> str:
    """A ``tracestate`` that begins with the platform's part; the last of the others go when they are too many."""
    members = [f"{OWN}={signed}", *(each for each in others.split(",") if each)]
    return ",".join(members[:MAX_MEMBERS])


def _add(reads: list[_Read], read: _Read | None, seen: Seen) -> None:
    if read is None:
        seen.malformed += 1
    else:
        reads.append(read)


def _text(value: bytes, limit: int) -> str | None:
    """What a header says; ``None`` when it is too long or holds anything but visible ASCII."""
    if len(value) > limit or not _VISIBLE.fullmatch(value):
        return None
    return value.decode("ascii")


def _read_xray(value: bytes) -> _Read | None:
    text = _text(value, MAX_XRAY)
    if text is None:
        return None
    parts: dict[str, str] = {}
    for part in text.split(";"):
        name, _, given = part.strip().partition("=")
        parts.setdefault(name, given)
    root = _ROOT.fullmatch(parts.get("Root", ""))
    parent = parts.get("Parent", "")
    if root is None or (parent and not _SPAN.fullmatch(parent)):
        return None
    trace_id = root[1] + root[2]
    if trace_id == _NO_TRACE:
        return None
    return _Read(trace_id, parent, parts.get("Sampled") == "1", parts.get("Forerun", ""))


def _read_traceparent(value: bytes, signed: str) -> _Read | None:
    text = _text(value, MAX_XRAY)
    read = _PARENT.fullmatch(text.strip()) if text is not None else None
    if read is None:
        return None
    version, trace_id, span_id, flags, further = read.groups()
    if version == "ff" or (version == "00" and further is not None):
        return None
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return _Read(trace_id, span_id, bool(int(flags, 16) & 1), signed)


def _read_tracestate(value: bytes | None, seen: Seen) -> _State:
    if not value:
        return _NO_STATE
    text = _text(value, MAX_TRACESTATE)
    members = _members(text) if text is not None else None
    if members is None:
        seen.malformed += 1
        return _NO_STATE
    own = members.pop(OWN, "")
    return _State(own, ",".join(f"{key}={given}" for key, given in members.items()))


def _members(text: str) -> dict[str, str] | None:
    """The members in their order; ``None`` when one is broken or comes twice, or there are too many."""
    members: dict[str, str] = {}
    for each in text.split(","):
        member = each.strip(" \t")
        if not member:
            continue
        read = _MEMBER.fullmatch(member)
        if read is None or read[1] in members:
            return None
        members[read[1]] = read[2]
    return members if len(members) <= MAX_MEMBERS else None


def _read_baggage(value: bytes | None, seen: Seen) -> str:
    if not value:
        return ""
    text = _text(value, MAX_BAGGAGE)
    if text is None:
        seen.malformed += 1
    return text or ""
