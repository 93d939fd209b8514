"""Who caused an execution, whether it is watched, and the trace information it is given: decided here for all calls."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import msgspec

from forerun.model import Channel, FunctionVersion, Origin, TraceContext, extended
from forerun.settings import MonitoringSettings
from forerun.traces import (
    NOTHING,
    OFF,
    Reader,
    Seen,
    Selector,
    Signed,
    Signer,
    linked,
    w3c_fields,
    xray_header,
)

OWN_RUNTIMES = ("python", "nodejs")

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])

Running = Callable[[str], TraceContext | None]


class Counts(Seen):
    """What was seen of one account. ``monitored`` counts executions, ``too_deep`` those that a chain ended with."""

    monitored: int = 0
    executions: int = 0
    too_deep: int = 0


class Monitor:
    """Recognises, chooses and signs. ``running`` tells the execution behind a sandbox's access key id."""

    def __init__(
        self,
        settings: MonitoringSettings,
        *,
        key: bytes,
        running: Running,
        random: Random | None = None,
    ) -> None:
        self._settings = settings
        self._signer = Signer(key)
        self._reader = Reader(self._signer if settings.enabled else None)
        self._running = running
        # Names traces and chooses executions; nothing depends on its being unguessable: what must not be is signed.
        self._random = random or Random()  # noqa: S311
        self._selector = Selector(
            min_calls_per_hour=settings.min_calls_per_hour,
            function_per_s=settings.function_per_s,
            total_per_s=settings.total_per_s,
        )
        self._counts: dict[str, Counts] = {}

    @property
    def enabled(self) -> bool:
        """Whether any execution is monitored."""
        return self._settings.enabled

    def recognise(
        self,
        headers: Mapping[bytes, bytes],
        access_key_id: str | None,
        account: str,
        *,
        trusted: bool,
        caller: str = "",
    ) -> Origin:
        """The origin of a request to a function of ``account``, and the lineage of a sandbox's; never raises.

        ``headers`` have names in lower case; ``access_key_id`` is that of a caller whose signature was good, and
        ``caller`` its account; what a caller who is not ``trusted`` says is believed only where it is signed.
        """
        origin = self._reader.origin_of(
            headers, account, self._count(account), trusted=trusted, caller=caller
        )
        if not access_key_id or (context := self._running(access_key_id)) is None:
            return origin
        if not origin.execution and context.monitored and self._settings.enabled:
            counts = self._count(account)
            if caller == account:
                counts.credential += 1
                origin = linked(origin, context, account, Channel.CREDENTIAL)
            else:
                counts.foreign += 1
        return _descended(origin, context)

    def rooted(self, origin: Origin, now: float) -> Origin:
        """``origin`` with a trace, so that all attempts of an event are of one."""
        if origin.trace_id:
            return origin
        drawn = f"{self._random.getrandbits(96):024x}"
        return msgspec.structs.replace(origin, trace_id=_dated(now, drawn))

    def begin(self, function: FunctionVersion, origin: Origin, now: float) -> TraceContext:
        """Where one attempt stands in its trace; ``now`` in epoch seconds."""
        counts = self._count(function.account)
        counts.executions += 1
        trace_id, parent_id = origin.trace_id, origin.parent_id
        weight = depth = 0
        if self._settings.enabled:
            caused = origin.execution and origin.account == function.account
            if not caused or function.monitoring == OFF:
                weight = self._choose(function, now)
            elif origin.depth + 1 < self._settings.max_depth:
                weight, depth = origin.weight, origin.depth + 1
                self._selector.caused((function.account, function.name), now)
            else:
                # What it causes belongs to another trace, so that no loop makes a trace without end.
                trace_id = parent_id = ""
                counts.too_deep += 1
        drawn = f"{self._random.getrandbits(160):040x}"
        span_id = drawn[24:]
        if not trace_id:
            trace_id = _dated(now, drawn[:24])
        if weight:
            counts.monitored += 1
            signed = self._signer.sign(trace_id, Signed(span_id, depth, weight), function.account)
            header = xray_header(trace_id, span_id, sampled=True, signed=signed)
        else:
            header = xray_header(trace_id, parent_id or span_id, sampled=origin.sampled)
        return TraceContext(
            trace_id=trace_id,
            span_id=span_id,
            origin=origin,
            header=header,
            weight=weight,
            depth=depth,
            account=function.account,
            function=function.name,
        )

    def ended(self, context: TraceContext, account: str) -> Origin:
        """The origin of what the platform does because an execution of ``account``'s ended: of its destinations."""
        if context.monitored:
            origin = linked(NOTHING, context, account, Channel.DESTINATION)
        else:
            origin = Origin(trace_id=context.trace_id, parent_id=context.origin.parent_id)
        return _descended(origin, context)

    def explain(self, function: FunctionVersion, now: float) -> dict[str, Any]:
        """Whether executions of a function are monitored, and why."""
        decision = self._selector.decision(
            (function.account, function.name), function.monitoring, now
        )
        enabled = self._settings.enabled
        return {
            "FunctionName": function.name,
            "Tag": function.monitoring,
            "OneIn": decision.weight if enabled else 0,
            "Reason": decision.reason if enabled else "monitoring.enabled is false",
            "CallsPerSecond": round(decision.rate, 3),
            "CallsPerHour": round(decision.calls_per_hour, 1),
            "Executions": decision.executions,
            "Monitored": decision.monitored,
        }

    def counts(self, account: str) -> dict[str, int]:
        """What was seen of calls to an account's functions since the server began."""
        return msgspec.structs.asdict(self._counts.get(account) or Counts())

    def _choose(self, function: FunctionVersion, now: float) -> int:
        return self._selector.choose(
            (function.account, function.name), function.monitoring, now, self._random.random()
        )

    def _count(self, account: str) -> Counts:
        counts = self._counts.get(account)
        if counts is None:
            counts = self._counts[account] = Counts()
        return counts


def with_w3c(given: str | None, runtime: str, context: TraceContext) -> str | None:
    """The caller's client context with W3C's trace context, which ``context.w3c()`` of AWS's runtimes finds there.

    The platform's own runtimes take it out again. Others show what is left of it, even if it is empty; so a program
    whose caller gave no client context gets none.
    """
    if given is None and not runtime.startswith(OWN_RUNTIMES):
        return None
    try:
        members = _MEMBERS.decode(given) if given else {}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return given
    members["w3c"] = msgspec.Raw(msgspec.json.encode(w3c_fields(context)))
    return msgspec.json.encode(members).decode()


def _descended(origin: Origin, context: TraceContext) -> Origin:
    """``origin`` with the lineage of what an execution causes, monitored or not."""
    lineage = extended(context.origin.lineage, context.account, context.function)
    return msgspec.structs.replace(origin, lineage=lineage)


def _dated(now: float, drawn: str) -> str:
    """A trace id as X-Ray makes them: when it began, and chance."""
    return f"{int(now) & 0xFFFFFFFF:08x}{drawn}"
