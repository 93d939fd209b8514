"""A handler's dictionary of AWS members becomes the HTTP reply of the service's protocol.

Members go where the model puts them: status, headers, payload, body. ``None`` members are left out. Every reply names its
request id.
"""

from collections.abc import Mapping
from typing import Any

from forerun.api.protocol.json_writer import JsonWriter
from forerun.api.protocol.messages import HttpReply
from forerun.api.protocol.models import Member, Operation, ServiceModel, Shape
from forerun.api.protocol.xml_writer import scalar, text, write, write_members

_XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
EVENT_STREAM = b"application/vnd.amazon.eventstream"
# Names of root elements that the models do not tell; clients other than botocore look at them.
_ROOTS = {
    "CompleteMultipartUploadOutput": "CompleteMultipartUploadResult",
    "CreateMultipartUploadOutput": "InitiateMultipartUploadResult",
    "DeleteObjectsOutput": "DeleteResult",
    "ListBucketsOutput": "ListAllMyBucketsResult",
    "ListMultipartUploadsOutput": "ListMultipartUploadsResult",
    "ListObjectVersionsOutput": "ListVersionsResult",
    "ListObjectsOutput": "ListBucketResult",
    "ListObjectsV2Output": "ListBucketResult",
    "ListPartsOutput": "ListPartsResult",
}


class _OutputPlan:
    """Where the members of one operation's output go."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.body = shape.body_members()
        self.located = [member for member in shape.members.values() if member.location is not None]
        self.payload = shape.members[shape.payload] if shape.payload else None


class Serializer:
    """Writes replies; keeps what it compiled of the operations it has seen."""

    def __init__(self) -> None:
        self._plans: dict[Operation, _OutputPlan | None] = {}
        self._json: dict[int, JsonWriter] = {}

    def reply(self, operation: Operation, values: Mapping[str, Any], request_id: str) -> HttpReply:
        """The reply that carries ``values``.

        An operation that answers with an event stream gets status and headers; the frames are the caller's to send.
        Raises ``KeyError`` for a member that the model does not know.
        """
        plan = self._plan(operation)
        headers = identity_headers(operation.model, request_id)
        if plan is not None and not values.keys() <= plan.shape.members.keys():
            raise KeyError((values.keys() - plan.shape.members.keys()).pop())
        if operation.model.protocol == "query":
            headers.append((b"content-type", b"text/xml"))
            return HttpReply(200, headers, _query_body(operation, plan, values, request_id))
        if operation.model.protocol == "json":
            headers.append((b"content-type", json_type(operation.model)))
            return HttpReply(200, headers, self._writer(operation.model)(plan, values))
        status = operation.status
        if plan is not None and plan.located:
            status = _place(plan, values, headers, status)
        return self._rest(operation, plan, values, HttpReply(status, headers, b""))

    def _plan(self, operation: Operation) -> _OutputPlan | None:
        if operation not in self._plans:
            shape = operation.output
            self._plans[operation] = _OutputPlan(shape) if shape else None
        return self._plans[operation]

    def _writer(self, model: ServiceModel) -> Any:
        writer = self._json.setdefault(id(model), JsonWriter())

        def body(plan: _OutputPlan | None, values: Mapping[str, Any]) -> bytes:
            return b"{}" if plan is None else writer.encode(plan.shape, plan.body, values)

        return body

    def _rest(
        self,
        operation: Operation,
        plan: _OutputPlan | None,
        values: Mapping[str, Any],
        reply: HttpReply,
    ) -> HttpReply:
        if plan is not None and plan.payload is not None:
            value = values.get(plan.payload.name)
            kind, reply.body = self._payload(operation, plan.payload, value)
            if (
                not any(name == b"content-type" for name, _ in reply.headers)
                or kind == EVENT_STREAM
            ):
                reply.headers[:] = [pair for pair in reply.headers if pair[0] != b"content-type"]
                reply.headers.append((b"content-type", kind))
        elif operation.model.protocol == "rest-json":
            if reply.status != 204:
                reply.headers.append((b"content-type", b"application/json"))
                reply.body = self._writer(operation.model)(plan, values)
        elif plan is not None and plan.body:
            reply.headers.append((b"content-type", b"application/xml"))
            reply.body = _xml_document(plan.shape, plan.body, values)
        return reply

    def _payload(self, operation: Operation, member: Member, value: Any) -> tuple[bytes, bytes]:
        shape = member.shape
        if shape.traits.get("eventstream"):
            return EVENT_STREAM, b""
        in_json = operation.model.protocol == "rest-json"
        if shape.type == "structure":
            if in_json:
                writer = self._json.setdefault(id(operation.model), JsonWriter())
                return b"application/json", writer.encode(
                    shape, list(shape.members.values()), value or {}
                )
            body = (
                write(shape.traits.get("locationName") or member.wire, member, value)
                if value is not None
                else ""
            )
            return b"application/xml", (_XML_HEAD + body).encode() if body else b""
        content = value or b""
        kind = b"application/json" if in_json else b"binary/octet-stream"
        return kind, content if isinstance(content, bytes) else str(content).encode()


def json_type(model: ServiceModel) -> bytes:
    """The content type of a JSON protocol's bodies."""
    if model.protocol == "rest-json":
        return b"application/json"
    return f"application/x-amz-json-{model.metadata.get('jsonVersion', '1.0')}".encode()


def identity_headers(model: ServiceModel | None, request_id: str) -> list[tuple[bytes, bytes]]:
    """The headers that name the request."""
    value = request_id.encode()
    headers = [(b"x-amzn-requestid", value)]
    if model is not None and model.protocol == "rest-xml":
        headers.append((b"x-amz-request-id", value))
    return headers


def _place(
    plan: _OutputPlan, values: Mapping[str, Any], headers: list[tuple[bytes, bytes]], status: int
) -> int:
    for member in plan.located:
        value = values.get(member.name)
        if value is None:
            continue
        if member.location == "statusCode":
            status = int(value)
        elif member.location == "headers":
            headers.extend(
                (header_name(member.wire + key), header_value(item)) for key, item in value.items()
            )
        elif member.location == "header":
            headers.append((header_name(member.wire), header_value(header_text(member, value))))
    return status


def header_text(member: Member, value: Any) -> str:
    """A member's value as a header; lists are joined by commas."""
    if member.shape.type == "list" and member.shape.element is not None:
        element = member.shape.element
        return ",".join(scalar(element, item, "rfc822") for item in value)
    return scalar(member, value, "rfc822")


def header_name(name: str) -> bytes:
    """A header's name as ASGI wants it."""
    return name.lower().encode("latin-1", "replace")


def header_value(value: str) -> bytes:
    """A header's value; line ends, which would start another header, become spaces."""
    return str(value).replace("\r", " ").replace("\n", " ").replace("\0", " ").encode("utf-8")


def _query_body(
    operation: Operation, plan: _OutputPlan | None, values: Mapping[str, Any], request_id: str
) -> bytes:
    model = operation.model
    inner = ""
    if plan is not None:
        inner = write_members(plan.shape, values)
        if operation.result_wrapper:
            inner = f"<{operation.result_wrapper}>{inner}</{operation.result_wrapper}>"
    name = f"{operation.name}Response"
    space = f' xmlns="{text(model.xml_namespace)}"' if model.xml_namespace else ""
    metadata = f"<ResponseMetadata><RequestId>{text(request_id)}</RequestId></ResponseMetadata>"
    return f"<{name}{space}>{inner}{metadata}</{name}>".encode()


def _xml_document(shape: Shape, members: list[Member], values: Mapping[str, Any]) -> bytes:
    if shape.name == "GetBucketLocationOutput":
        # The one answer whose root element is itself the value.
        place = text(values.get("LocationConstraint") or "")
        return f'{_XML_HEAD}<LocationConstraint xmlns="{_S3_NAMESPACE}">{place}</LocationConstraint>'.encode()
    name = _ROOTS.get(shape.name, shape.traits.get("locationName") or shape.name)
    inner = write_members(shape, values, members)
    return f'{_XML_HEAD}<{name} xmlns="{_S3_NAMESPACE}">{inner}</{name}>'.encode()
