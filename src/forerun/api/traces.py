"""``GET /forerun/traces`` and ``GET /forerun/trace``: which traces there are, and one of them as a tree."""

import asyncio
import re

from forerun.api.caller import Caller
from forerun.api.numbers import positive_number
from forerun.api.platform import Query, Route
from forerun.errors import InvalidInput, NotFound
from forerun.model import parse_function_ref
from forerun.storage import InvocationStore
from forerun.storage.traces import TraceFilter, TraceStore
from forerun.traces import from_xray_id, tree_of

MAX_ITEMS = 500
_MANY_SPANS = 500
_REQUEST = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_ROOT = re.compile(r"(?:\A|;) *Root=(1-[0-9a-f]{8}-[0-9a-f]{24})", re.ASCII)


class TraceRoutes:
    """The caller's own account only."""

    def __init__(self, traces: TraceStore, invocations: InvocationStore) -> None:
        self._traces = traces
        self._invocations = invocations

    def routes(self) -> dict[str, Route]:
        """By name, for ``PlatformRoutes``."""
        return {"traces": self.get_traces, "trace": self.get_trace}

    async def get_traces(self, caller: Caller, query: Query) -> object:
        """Traces newest first: of ``FunctionName``, between ``Since`` and ``Until`` (epoch seconds), with ``Errors``,
        or of ``MinDurationMs``; at most ``MaxItems``, from ``Marker`` on.
        """
        name = query.get("FunctionName")
        wanted = TraceFilter(
            function=parse_function_ref(name).name if name else "",
            since=positive_number(query, "Since", 0.0),
            until=positive_number(query, "Until", 0.0),
            errors=_truth(query, "Errors"),
            min_duration_s=positive_number(query, "MinDurationMs", 0.0) / 1000,
        )
        limit = int(positive_number(query, "MaxItems", 50))
        if not 1 <= limit <= MAX_ITEMS:
            raise InvalidInput(f"MaxItems must be a number from 1 to {MAX_ITEMS}")
        page = await self._traces.summaries(
            caller.account, wanted, limit=limit, before=query.get("Marker", "")
        )
        answer: dict[str, object] = {"Traces": page.traces}
        if page.before:
            answer["NextMarker"] = page.before
        return answer

    async def get_trace(self, caller: Caller, query: Query) -> object:
        """The trace of ``TraceId``: 32 hexadecimal digits, X-Ray's form, or the id of a request that was part of it."""
        trace_id = await self._trace_id(caller, query.get("TraceId", ""))
        spans = await self._traces.trace(caller.account, trace_id)
        if not spans:
            raise NotFound(
                f"Nothing is known of trace {trace_id}: it was not monitored, ended a moment ago, or is no longer kept"
            )
        if len(spans) <= _MANY_SPANS:
            return tree_of(trace_id, spans)
        return await asyncio.to_thread(tree_of, trace_id, spans)

    async def _trace_id(self, caller: Caller, text: str) -> str:
        if not text:
            raise InvalidInput("TraceId is missing: say which trace")
        if not _REQUEST.match(text):
            return from_xray_id(text)
        for record in await self._invocations.attempts(text[:100]):
            if record.account == caller.account and (root := _ROOT.search(record.trace_id)):
                return from_xray_id(root[1])
        raise NotFound(f"Nothing is known of a request {text[:100]}")


def _truth(query: Query, name: str) -> bool:
    text = query.get(name, "false").lower()
    if text not in ("true", "false", ""):
        raise InvalidInput(f"{name} must be true or false, not '{text[:100]}'")
    return text == "true"
