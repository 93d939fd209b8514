"""Trace information on outgoing calls: which headers one gets, for every HTTP client alike.

Pure. The signed part is copied as it was given; nothing here can make one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

XRAY, PARENT, STATE, BAGGAGE = "x-amzn-trace-id", "traceparent", "tracestate", "baggage"
AUTHORIZATION = "authorization"
# What a client has to show of the headers that a call has already.
CONSIDERED = frozenset((XRAY, PARENT, STATE, BAGGAGE, AUTHORIZATION))
_VENDOR = "forerun="
_MAX_STATE, _MAX_MEMBERS, _MAX_BAGGAGE, _MAX_PART = 512, 32, 8192, 256
_HEX = frozenset("0123456789abcdef")


class Carrier:
    """What the calls of one execution carry.

    ``trace`` is its ``X-Amzn-Trace-Id``, ``tracestate`` and ``baggage`` are W3C's headers as they came in. What is
    malformed is not carried.
    """

    __slots__ = ("_baggage", "_root", "_signed", "_state", "_trace_id")

    def __init__(self, trace: str, tracestate: str = "", baggage: str = "") -> None:
        parts = _parts(trace)
        self._root = _clean(parts.get("Root", ""), _MAX_PART)
        self._signed = _clean(parts.get("Forerun", ""), _MAX_PART)
        self._trace_id = _w3c_trace_id(self._root)
        self._baggage = _clean(baggage, _MAX_BAGGAGE)
        own = _VENDOR + self._signed if self._signed else ""
        self._state = _merge(own, _clean(tracestate, _MAX_STATE)) or own

    def edit(
        self, span_id: str, given: Mapping[str, str]
    ) -> tuple[list[str], list[tuple[str, str]]]:
        """The lower-case names of headers to take away, then the headers to add.

        ``given`` are the call's headers among ``CONSIDERED``, with lower-case names. A ``traceparent`` there is that of
        an instrumented function: then its trace is left alone, and only learns of ours. What a signature covers is
        never touched.
        """
        taken: list[str] = []
        added: list[tuple[str, str]] = []
        covered = _covered(given.get(AUTHORIZATION, ""))
        if self._root and XRAY not in covered:
            taken.append(XRAY)
            added.append(("X-Amzn-Trace-Id", self._xray(span_id)))
        if PARENT in given:
            own, theirs = _VENDOR + self._signed, given.get(STATE, "")
            state = (
                _merge(own, theirs) if self._signed and _clean(theirs, _MAX_STATE) == theirs else ""
            )
            if state and STATE not in covered:
                taken.append(STATE)
                added.append((STATE, state))
        elif self._trace_id and not (PARENT in covered or STATE in covered):
            added.append((PARENT, "00-%s-%s-01" % (self._trace_id, span_id)))
            taken.append(STATE)
            if self._state:
                added.append((STATE, self._state))
            if self._baggage and BAGGAGE not in given:
                added.append((BAGGAGE, self._baggage))
        return taken, added

    def _xray(self, span_id: str) -> str:
        text = "Root=%s;Parent=%s;Sampled=1" % (self._root, span_id)
        return "%s;Forerun=%s" % (text, self._signed) if self._signed else text


def _parts(trace: str) -> dict[str, str]:
    found = {}
    for part in trace.split(";"):
        name, _, value = part.strip().partition("=")
        found[name] = value
    return found


def _clean(text: str, most: int) -> str:
    """``text``, or nothing when it is no value of a header."""
    fits = len(text) <= most and text.isascii() and text.isprintable()
    return text if fits else ""


def _w3c_trace_id(root: str) -> str:
    """``1-5759e988-bd862e3fe1be46a994272793`` as 32 digits; empty for what is no X-Ray trace id."""
    version, _, rest = root.partition("-")
    digits = rest.replace("-", "", 1)
    return digits if version == "1" and len(digits) == 32 and _HEX.issuperset(digits) else ""


def _merge(own: str, others: str) -> str:
    """``tracestate`` with ``own`` first and without what stood there in its name; empty when it would be too long."""
    members = [member.strip() for member in others.split(",")]
    members = [member for member in members if member and not member.startswith(_VENDOR)]
    if own:
        members.insert(0, own)
    text = ",".join(members)
    return text if own and len(text) <= _MAX_STATE and len(members) <= _MAX_MEMBERS else ""


def _covered(authorization: str) -> frozenset[str]:
    """The headers that an AWS signature covers."""
    _, found, rest = authorization.partition("SignedHeaders=")
    return frozenset(rest.partition(",")[0].strip().lower().split(";")) if found else frozenset()
