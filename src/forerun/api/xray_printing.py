"""Facts of traces and graphs of services as members of X-Ray's answers. Pure."""

from forerun.api.handlers import Members
from forerun.model import Attribute, Span
from forerun.traces import Measure, ServiceGraph, TraceFacts, documents_of, to_xray_id

MAX_SERVICES_OF_TRACE = 100
MAX_HISTOGRAM = 100


def printed_summary(facts: TraceFacts, account: str) -> Members:
    """A ``TraceSummary``."""
    services = [_service_id(each, account) for each in facts.services[:MAX_SERVICES_OF_TRACE]]
    statuses = {status.value for status in facts.statuses}
    annotations = {
        key: [{"AnnotationValue": _annotation(value), "ServiceIds": []}]
        for key, value in facts.annotations.items()
    }
    return {
        "Id": to_xray_id(facts.trace_id),
        "StartTime": facts.started,
        "Duration": round(facts.duration_s, 6),
        "ResponseTime": round(facts.response_s, 6),
        "HasFault": "fault" in statuses,
        "HasError": bool(statuses & {"error", "throttle"}),
        "HasThrottle": "throttle" in statuses,
        "IsPartial": facts.partial,
        "Http": _http(facts),
        "Annotations": annotations,
        "Users": [{"UserName": user, "ServiceIds": []} for user in facts.users],
        "ServiceIds": services,
        "ResourceARNs": [],
        "InstanceIds": [],
        "AvailabilityZones": [],
        "EntryPoint": services[0],
        "FaultRootCauses": [],
        "ErrorRootCauses": [],
        "ResponseTimeRootCauses": [],
        "Revision": 1,
        "MatchedEventTime": facts.started,
    }


def printed_trace(trace_id: str, spans: list[Span], *, cut: bool) -> Members:
    """A ``Trace`` with its segment documents."""
    started = min(span.started for span in spans)
    ended = max(max(span.ended, span.started) for span in spans)
    return {
        "Id": to_xray_id(trace_id),
        "Duration": round(ended - started, 6),
        "LimitExceeded": cut,
        "Segments": [{"Id": id_, "Document": text} for id_, text in documents_of(spans)],
    }


def printed_services(graph: ServiceGraph, account: str) -> list[Members]:
    """The ``Services`` of a graph with their edges."""
    numbers = {service: number for number, service in enumerate(graph.nodes)}
    edges: dict[object, list[Members]] = {}
    for (caller, callee), measure in graph.edges.items():
        edges.setdefault(caller, []).append(
            {
                "ReferenceId": numbers[callee],
                **_times(measure),
                "SummaryStatistics": _statistics(measure),
                "ResponseTimeHistogram": _histogram(measure),
                "Aliases": [],
            }
        )
    return [
        {
            "ReferenceId": numbers[service],
            **_service_id(service, account),
            "Root": node.root,
            "State": "active" if node.seen else "unknown",
            **_times(node.measure),
            "Edges": edges.get(service, []),
            "SummaryStatistics": _statistics(node.measure),
            "DurationHistogram": _histogram(node.measure),
            "ResponseTimeHistogram": _histogram(node.measure),
        }
        for service, node in graph.nodes.items()
    ]


def _service_id(service: tuple[str, str], account: str) -> Members:
    name, kind = service
    return {"Name": name, "Names": [name], "AccountId": account, "Type": kind or None}


def _times(measure: Measure) -> Members:
    return {"StartTime": measure.started, "EndTime": measure.ended} if measure.total else {}


def _statistics(measure: Measure) -> Members:
    return {
        "OkCount": measure.ok,
        "ErrorStatistics": {
            "ThrottleCount": measure.throttle,
            "OtherCount": measure.error,
            "TotalCount": measure.error + measure.throttle,
        },
        "FaultStatistics": {"OtherCount": measure.fault, "TotalCount": measure.fault},
        "TotalCount": measure.total,
        "TotalResponseTime": round(measure.seconds, 6),
    }


def _histogram(measure: Measure) -> list[Members]:
    ordered = sorted(measure.histogram.items())
    return [{"Value": value, "Count": count} for value, count in ordered[:MAX_HISTOGRAM]]


def _http(facts: TraceFacts) -> Members:
    said = facts.http
    status = said.get("http.response.status_code")
    texts = {
        "HttpURL": said.get("url.full"),
        "HttpMethod": said.get("http.request.method"),
        "UserAgent": said.get("user_agent.original"),
        "ClientIp": said.get("client.address"),
    }
    shown: Members = {name: str(value) for name, value in texts.items() if value is not None}
    if isinstance(status, int) and 0 <= status < 1000:
        shown["HttpStatus"] = status
    return shown


def _annotation(value: Attribute) -> Members:
    if isinstance(value, bool):
        return {"BooleanValue": value}
    return {"StringValue": value} if isinstance(value, str) else {"NumberValue": float(value)}
