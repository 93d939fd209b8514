"""X-Ray's words for what spans say, in both directions: trace ids, attributes, names and types of services. Pure."""

import re

from forerun.errors import InvalidInput
from forerun.model import Span

_XRAY_ID = re.compile(r"1-([0-9a-fA-F]{8})-([0-9a-fA-F]{24})\Z")
_PLAIN_ID = re.compile(r"[0-9a-fA-F]{32}\Z")

FUNCTION = "AWS::Lambda::Function"
CLIENT = "client"
REMOTE = "remote"
ANNOTATION = "annotation."
METADATA = "metadata."

# Block of a segment document, member of it, attribute of a span.
HTTP = (
    ("request", "method", "http.request.method"),
    ("request", "url", "url.full"),
    ("request", "user_agent", "user_agent.original"),
    ("request", "client_ip", "client.address"),
    ("response", "status", "http.response.status_code"),
    ("response", "content_length", "http.response.body.size"),
)
SQL = (
    ("sanitized_query", "db.query.text"),
    ("database_type", "db.system.name"),
    ("user", "db.user"),
    ("url", "db.url"),
)
_SERVICES = {"lambda": "Lambda", "dynamodb": "DynamoDB", "sqs": "SQS", "sns": "SNS", "s3": "S3"}


def from_xray_id(text: str) -> str:
    """A trace id as 32 hexadecimal digits, of ``1-XXXXXXXX-XXXXXXXXXXXXXXXXXXXXXXXX`` or of itself.

    Raises ``InvalidInput``.
    """
    if found := _XRAY_ID.match(text):
        return (found[1] + found[2]).lower()
    if _PLAIN_ID.match(text):
        return text.lower()
    raise InvalidInput(
        f"A trace id has the form 1-XXXXXXXX-XXXXXXXXXXXXXXXXXXXXXXXX in hexadecimal digits, not '{text[:64]}'"
    )


def to_xray_id(trace_id: str) -> str:
    """The trace id as X-Ray writes it."""
    return f"1-{trace_id[:8]}-{trace_id[8:]}"


def begins_segment(span: Span) -> bool:
    """Whether a span is a segment of its own wherever it stands: work that somebody asked for."""
    return span.kind in ("server", "consumer")


def service_of(span: Span) -> tuple[str, str]:
    """Name and type of the service that did the work of a segment."""
    kind = FUNCTION if span.source == "forerun" else str(span.attributes.get("xray.origin", ""))
    return span.service or span.name, kind


def called_by(span: Span) -> tuple[str, str]:
    """Name and type of what a client span called, as far as the caller saw."""
    service = str(span.attributes.get("aws.service", ""))
    if service:
        name = _SERVICES.get(service.lower(), service)
        return name, f"AWS::{name}"
    return str(span.attributes.get("server.address", "")) or span.name, REMOTE
