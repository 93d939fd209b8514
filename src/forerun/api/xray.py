"""X-Ray: traces put in and asked for by the tools that do so on AWS.

What the platform saw itself, what OpenTelemetry's libraries sent and what X-Ray's sent are the same spans here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from forerun.aio import Clock
from forerun.api.caller import Caller
from forerun.api.handlers import Handler
from forerun.api.xray_printing import printed_services, printed_summary, printed_trace
from forerun.control.paging import from_marker, to_marker
from forerun.errors import InvalidInput, Unsupported
from forerun.model import Segment, Span, distinct_spans
from forerun.storage.traces import TraceFilter, TracePage
from forerun.traces import (
    Filter,
    ServiceGraph,
    TraceFacts,
    compile_filter,
    facts_of,
    from_xray_id,
    read_document,
)

Keep = Callable[[str, Iterable[Segment]], Awaitable[int]]
"""Keep segments of an account: how many could not be kept. Raises ``Throttled`` when too many wait."""

MAX_DOCUMENTS = 500
MAX_TRACES = 50
PAGE = 50
PAGES_READ = 10
SPANS_OF_SUMMARY = 2000
SPANS_OF_TRACE = 10_000
GRAPH_SEGMENTS = 10_000
# Read in one go: what is unpacked meanwhile holds up the calls being answered.
_CHUNK = 200
_BREATHE = 100
_MICROSECOND = 1e-6


class Traces(Protocol):
    """Where traces are kept."""

    async def trace(self, account: str, trace_id: str, *, most: int) -> list[Span]:
        """The spans of a trace, each once."""
        ...

    async def summaries(
        self, account: str, wanted: TraceFilter, *, limit: int, before: str
    ) -> TracePage:
        """Traces, newest first."""
        ...

    async def between(
        self, account: str, since: float, until: float, *, limit: int
    ) -> list[Segment]:
        """Segments of a time, newest first."""
        ...


class XRayRoutes:
    """Answers the operations of ``xray``."""

    def __init__(self, traces: Traces, keep: Keep, clock: Clock) -> None:
        self._traces = traces
        self._keep = keep
        self._clock = clock

    def routes(self) -> dict[str, Handler]:
        """Operation name to handler."""
        refused = dict.fromkeys(_REFUSED, self._refuse)
        return {
            **refused,
            "PutTraceSegments": self.put_segments,
            "PutTelemetryRecords": self.put_telemetry,
            "GetTraceSummaries": self.get_summaries,
            "BatchGetTraces": self.get_traces,
            "GetServiceGraph": self.get_service_graph,
            "GetTraceGraph": self.get_trace_graph,
            "GetSamplingRules": self.get_sampling_rules,
            "GetSamplingTargets": self.get_sampling_targets,
            "GetSamplingStatisticSummaries": self.get_sampling_statistics,
            "GetGroups": self.get_groups,
            "GetGroup": self.get_group,
            "GetEncryptionConfig": self.get_encryption,
        }

    async def put_segments(self, caller: Caller, request: Any) -> dict[str, Any]:
        """PutTraceSegments: each document for itself."""
        documents = request.TraceSegmentDocuments
        if len(documents) > MAX_DOCUMENTS:
            raise InvalidInput(f"TraceSegmentDocuments has at most {MAX_DOCUMENTS} documents")
        segments: list[Segment] = []
        refused: list[dict[str, Any]] = []
        for number, text in enumerate(documents):
            try:
                segments.append(read_document(text, caller.account))
            except InvalidInput as error:
                refused.append({"ErrorCode": "InvalidSegment", "Message": error.message})
            if number % _BREATHE == _BREATHE - 1:
                await asyncio.sleep(0)
        await self._keep(caller.account, segments)
        return {"UnprocessedTraceSegments": refused}

    async def put_telemetry(self, _caller: Caller, _request: Any) -> dict[str, Any]:
        """PutTelemetryRecords: what daemons say of themselves is of no use here."""
        return {}

    async def get_summaries(self, caller: Caller, request: Any) -> dict[str, Any]:
        """GetTraceSummaries: newest first; a page can be empty and not the last."""
        since, until = _range(request)
        fits = compile_filter(request.FilterExpression or "")
        wanted = TraceFilter(since=since, until=until)
        before = str(from_marker(request.NextToken, ("",))[0])
        found: list[TraceFacts] = []
        read = 0
        for _ in range(PAGES_READ):
            page = await self._traces.summaries(caller.account, wanted, limit=PAGE, before=before)
            read += len(page.traces)
            found += await self._fitting(caller.account, page, fits)
            before = page.before
            if not before or found:
                break
        return {
            "TraceSummaries": [printed_summary(facts, caller.account) for facts in found],
            "ApproximateTime": self._clock.now(),
            "TracesProcessedCount": read,
            "NextToken": to_marker((before,)) if before else None,
        }

    async def _fitting(self, account: str, page: TracePage, fits: Filter) -> list[TraceFacts]:
        found = []
        for trace in page.traces:
            spans = await self._traces.trace(account, trace.trace_id, most=SPANS_OF_SUMMARY)
            if spans and fits(facts := facts_of(spans)):
                found.append(facts)
        return found

    async def get_traces(self, caller: Caller, request: Any) -> dict[str, Any]:
        """BatchGetTraces: segment documents made of the spans; traces that are not kept are left out, as on AWS."""
        shown: list[dict[str, Any]] = []
        for trace_id in _trace_ids(request):
            spans = await self._traces.trace(caller.account, trace_id, most=SPANS_OF_TRACE)
            if spans:
                shown.append(printed_trace(trace_id, spans, cut=len(spans) >= SPANS_OF_TRACE))
        return {"Traces": shown, "UnprocessedTraceIds": []}

    async def get_service_graph(self, caller: Caller, request: Any) -> dict[str, Any]:
        """GetServiceGraph: over the newest segments of the time, at most ``GRAPH_SEGMENTS``."""
        since, until = _range(request)
        if request.GroupName not in (None, "Default"):
            raise InvalidInput(f"There is no group {request.GroupName}, there is only Default")
        traces: dict[str, list[Span]] = {}
        before, left = until, GRAPH_SEGMENTS
        while left > 0:
            segments = await self._traces.between(
                caller.account, since, before, limit=min(_CHUNK, left)
            )
            for segment in segments:
                traces.setdefault(segment.trace_id, []).extend(segment.spans)
            left -= len(segments)
            if len(segments) < _CHUNK:
                break
            # Those that began in the same microsecond come again and are counted once, by their span ids.
            oldest = segments[-1].spans[0].started + _MICROSECOND
            before = oldest if oldest < before else oldest - 2 * _MICROSECOND
        graph = await _graph([distinct_spans(spans) for spans in traces.values()])
        return {
            "StartTime": since,
            "EndTime": until,
            "Services": printed_services(graph, caller.account),
            "ContainsOldGroupVersions": False,
        }

    async def get_trace_graph(self, caller: Caller, request: Any) -> dict[str, Any]:
        """GetTraceGraph: the same over the traces that are named."""
        traces = [
            await self._traces.trace(caller.account, trace_id, most=SPANS_OF_TRACE)
            for trace_id in _trace_ids(request)
        ]
        return {"Services": printed_services(await _graph(traces), caller.account)}

    async def get_sampling_rules(self, caller: Caller, _request: Any) -> dict[str, Any]:
        """GetSamplingRules: AWS's default, and no other."""
        rule = {
            "RuleName": "Default",
            "RuleARN": f"arn:aws:xray:{caller.region}:{caller.account}:sampling-rule/Default",
            "ResourceARN": "*",
            "Priority": 10_000,
            "FixedRate": _FIXED_RATE,
            "ReservoirSize": 1,
            **dict.fromkeys(("ServiceName", "ServiceType", "Host", "HTTPMethod", "URLPath"), "*"),
            "Version": 1,
            "Attributes": {},
        }
        return {
            "SamplingRuleRecords": [{"SamplingRule": rule, "CreatedAt": 0.0, "ModifiedAt": 0.0}]
        }

    async def get_sampling_targets(self, _caller: Caller, request: Any) -> dict[str, Any]:
        """GetSamplingTargets: one request a second for each client, and its share of the rest."""
        targets: list[dict[str, Any]] = []
        unknown: list[dict[str, Any]] = []
        for document in request.SamplingStatisticsDocuments:
            if document.RuleName != "Default":
                message = f"There is no rule {document.RuleName}, there is only Default"
                unknown.append(
                    {"RuleName": document.RuleName, "ErrorCode": "404", "Message": message}
                )
                continue
            targets.append(
                {
                    "RuleName": "Default",
                    "FixedRate": _FIXED_RATE,
                    "ReservoirQuota": 1,
                    "ReservoirQuotaTTL": self._clock.now() + _QUOTA_S,
                    "Interval": _INTERVAL_S,
                }
            )
        return {
            "SamplingTargetDocuments": targets,
            "LastRuleModification": 0.0,
            "UnprocessedStatistics": unknown,
        }

    async def get_sampling_statistics(self, _caller: Caller, _request: Any) -> dict[str, Any]:
        """GetSamplingStatisticSummaries: none are kept."""
        return {"SamplingStatisticSummaries": []}

    async def get_groups(self, caller: Caller, _request: Any) -> dict[str, Any]:
        """GetGroups: the default, which holds all traces."""
        return {"Groups": [_default_group(caller)]}

    async def get_group(self, caller: Caller, request: Any) -> dict[str, Any]:
        """GetGroup."""
        group = _default_group(caller)
        if group["GroupName"] != request.GroupName and group["GroupARN"] != request.GroupARN:
            raise InvalidInput("There is only the group Default")
        return {"Group": group}

    async def get_encryption(self, _caller: Caller, _request: Any) -> dict[str, Any]:
        """GetEncryptionConfig."""
        return {"EncryptionConfig": {"Status": "ACTIVE", "Type": "NONE"}}

    async def _refuse(self, _caller: Caller, _request: Any) -> dict[str, Any]:
        raise Unsupported(
            "Groups and sampling rules cannot be changed here: executions are chosen by the tag forerun:monitoring, "
            "and other programs sample by the rule Default"
        )


_FIXED_RATE = 0.05
_QUOTA_S = 60.0
_INTERVAL_S = 10
_REFUSED = (
    "CreateGroup",
    "UpdateGroup",
    "DeleteGroup",
    "CreateSamplingRule",
    "UpdateSamplingRule",
    "DeleteSamplingRule",
    "PutEncryptionConfig",
)


async def _graph(traces: Sequence[list[Span]]) -> ServiceGraph:
    """Counted in pieces, so that others get their turn."""
    graph = ServiceGraph()
    for number, spans in enumerate(traces):
        graph.add(spans)
        if number % _BREATHE == _BREATHE - 1:
            await asyncio.sleep(0)
    return graph


def _range(request: Any) -> tuple[float, float]:
    since, until = request.StartTime, request.EndTime
    if until < since:
        raise InvalidInput("EndTime must not be before StartTime")
    return since, until


def _trace_ids(request: Any) -> list[str]:
    if len(request.TraceIds) > MAX_TRACES:
        raise InvalidInput(f"TraceIds has at most {MAX_TRACES} trace ids")
    return list(dict.fromkeys(from_xray_id(each) for each in request.TraceIds))


def _default_group(caller: Caller) -> dict[str, Any]:
    return {
        "GroupName": "Default",
        "GroupARN": f"arn:aws:xray:{caller.region}:{caller.account}:group/Default",
        "InsightsConfiguration": {"InsightsEnabled": False, "NotificationsEnabled": False},
    }
