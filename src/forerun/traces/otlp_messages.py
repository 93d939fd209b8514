"""OpenTelemetry's messages in protobuf: the only door to them, opened when the first is read or written.

Whoever neither sends nor exports spans pays nothing for protobuf.
"""

import importlib
from typing import Any

from forerun.errors import InvalidInput


def _service() -> Any:
    return importlib.import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")


def request_of(body: bytes) -> Any:
    """An ``ExportTraceServiceRequest``. Raises ``InvalidInput`` when ``body`` is none."""
    errors = importlib.import_module("google.protobuf.message")
    try:
        return _service().ExportTraceServiceRequest.FromString(body)
    except errors.DecodeError as error:
        raise InvalidInput("The body is no ExportTraceServiceRequest in protobuf") from error


def new_request() -> Any:
    """An empty ``ExportTraceServiceRequest``."""
    return _service().ExportTraceServiceRequest()


def response_bytes(rejected: int, reason: str) -> bytes:
    """An ``ExportTraceServiceResponse``; empty when nothing was refused."""
    response = _service().ExportTraceServiceResponse()
    if rejected:
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = reason
    return bytes(response.SerializeToString())


def status_bytes(code: int, message: str) -> bytes:
    """A ``google.rpc.Status``: two fields, for which no further package is needed."""
    text = message.encode()[:4096]
    return b"\x08" + _varint(code) + b"\x12" + _varint(len(text)) + text


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
