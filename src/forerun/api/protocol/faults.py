"""Errors in the shape of each protocol: what boto3 turns into ``ClientError`` and its subclasses.

The status comes from the service's model when it knows the error, else from the error itself. A request whose service is not
known is answered as rest-json does it; never HTML.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from forerun.api.protocol.messages import ApiError, HttpReply
from forerun.api.protocol.models import Member, ServiceModel, Shape
from forerun.api.protocol.serializer import (
    header_name,
    header_text,
    header_value,
    identity_headers,
    json_type,
)
from forerun.api.protocol.xml_writer import text, write_members

# What clients of the query dialect know an error of a JSON service by.
_QUERY_CODES: Mapping[str, str] = {
    "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
    "BatchRequestTooLong": "AWS.SimpleQueueService.BatchRequestTooLong",
    "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
    "InvalidBatchEntryId": "AWS.SimpleQueueService.InvalidBatchEntryId",
    "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
    "PurgeQueueInProgress": "AWS.SimpleQueueService.PurgeQueueInProgress",
    "QueueDeletedRecently": "AWS.SimpleQueueService.QueueDeletedRecently",
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    "UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation",
}


def error_reply(model: ServiceModel | None, error: ApiError, request_id: str) -> HttpReply:
    """The reply that tells a client of ``model`` about ``error``."""
    shape = model.error_shape(error.code) if model is not None else None
    trait: Mapping[str, Any] = shape.traits.get("error", {}) if shape else {}
    status = int(trait.get("httpStatusCode", error.status))
    code = str(trait.get("code", error.code))
    headers = identity_headers(model, request_id)
    if shape is not None:
        for member in shape.members.values():
            value = error.members.get(member.name)
            if member.location == "header" and value is not None:
                headers.append((header_name(member.wire), header_value(header_text(member, value))))
    protocol = model.protocol if model is not None else "rest-json"
    if model is None or protocol in {"rest-json", "json"}:
        return _json(model, shape, error, HttpReply(status, headers, b""))
    if "awsQueryCompatible" in model.metadata:
        code = _QUERY_CODES.get(code, code)
    headers.append((b"content-type", b"text/xml" if protocol == "query" else b"application/xml"))
    body = (
        _query(model, shape, error, code, status, request_id)
        if protocol == "query"
        else _xml(shape, error, code, request_id)
    )
    return HttpReply(status, headers, body.encode())


def _json(
    model: ServiceModel | None, shape: Shape | None, error: ApiError, reply: HttpReply
) -> HttpReply:
    name = shape.name if shape is not None else error.code
    headers = reply.headers
    headers.append((b"x-amzn-errortype", header_value(name)))
    headers.append(
        (b"content-type", json_type(model) if model is not None else b"application/json")
    )
    values = _body_members(shape, error)
    if model is not None and model.protocol == "json":
        values = {"__type": name, **values}
        if "awsQueryCompatible" in model.metadata:
            fault = "Sender" if reply.status < 500 else "Receiver"
            headers.append(
                (
                    b"x-amzn-query-error",
                    header_value(f"{_QUERY_CODES.get(error.code, error.code)};{fault}"),
                )
            )
    elif shape is not None and "Type" in shape.members:
        values = {"Type": "User" if reply.status < 500 else "Service", **values}
    reply.body = msgspec.json.encode(values)
    return reply


def _body_members(shape: Shape | None, error: ApiError) -> dict[str, Any]:
    values: dict[str, Any] = {}
    message = "message"
    for member in shape.members.values() if shape is not None else ():
        if member.name.lower() == "message":
            message = member.wire
        elif _in_body(member) and error.members.get(member.name) is not None:
            values[member.wire] = error.members[member.name]
    return {**values, message: error.message}


def _in_body(member: Member) -> bool:
    return member.location is None


def _query(
    model: ServiceModel,
    shape: Shape | None,
    error: ApiError,
    code: str,
    status: int,
    request_id: str,
) -> str:
    space = f' xmlns="{text(model.xml_namespace)}"' if model.xml_namespace else ""
    kind = "Sender" if status < 500 else "Receiver"
    return (
        f"<ErrorResponse{space}><Error><Type>{kind}</Type><Code>{text(code)}</Code>"
        f"<Message>{text(error.message)}</Message>{_extra(shape, error)}</Error>"
        f"<RequestId>{text(request_id)}</RequestId></ErrorResponse>"
    )


def _xml(shape: Shape | None, error: ApiError, code: str, request_id: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{text(code)}</Code><Message>{text(error.message)}</Message>{_extra(shape, error)}"
        f"<RequestId>{text(request_id)}</RequestId></Error>"
    )


def _extra(shape: Shape | None, error: ApiError) -> str:
    if shape is None:
        return "".join(
            f"<{name}>{text(str(value))}</{name}>" for name, value in error.members.items()
        )
    members = [
        member
        for member in shape.members.values()
        if _in_body(member) and member.name.lower() != "message"
    ]
    return write_members(shape, error.members, members)
