"""Spans as bytes: msgpack, deflated with a dictionary of what every segment says, which makes them five times smaller.

The first byte names the dictionary, so that rows stay readable when a later version brings a better one.
"""

import zlib

import msgspec

from forerun.errors import InvalidInput, StorageFailed
from forerun.model import Segment, Span

# What most segments say, in the order in which they say it; what is last is found most cheaply. Never edit it: rows are
# unreadable without it. Add another instead.
_CALL = {
    "trace_id": "00000000000000000000000000000000",
    "span_id": "0000000000000000",
    "parent_id": "0000000000000000",
    "name": "lambda.Invoke",
    "kind": "client",
    "service": "",
    "started": 1.7e9,
    "ended": 1.7e9,
    "attributes": {
        "server.address": "127.0.0.1",
        "server.port": 4566,
        "http.request.method": "POST",
        "url.path": "/2015-03-31/functions/",
        "http.request.body.size": 0,
        "http.response.body.size": 0,
        "forerun.fingerprint": "0000000000000000",
        "forerun.injected": True,
        "http.response.status_code": 200,
        "aws.service": "lambda",
        "aws.operation": "Invoke",
        "faas.invoked_name": "",
    },
}
_EXECUTION = {
    "trace_id": "00000000000000000000000000000000",
    "span_id": "0000000000000000",
    "parent_id": "0000000000000000",
    "name": "",
    "kind": "server",
    "service": "",
    "started": 1.7e9,
    "ended": 1.7e9,
    "attributes": {
        "faas.name": "",
        "faas.version": "$LATEST",
        "faas.invocation_id": "",
        "cloud.region": "us-home-1",
        "forerun.invocation_type": "RequestResponse",
        "forerun.status": "success",
        "forerun.attempt": 1,
        "forerun.weight": 1,
        "forerun.depth": 0,
        "forerun.memory_mb": 128,
        "http.request.body.size": 0,
        "http.response.body.size": 0,
        "forerun.start_type": "warm",
        "faas.coldstart": False,
        "forerun.max_memory_mb": 0,
        "forerun.host": "",
        "forerun.sandbox": "",
        "forerun.isolation": "jail",
        "forerun.placement": "idle sandbox of this version",
        "forerun.channel": "header",
        "forerun.caused_by": "0000000000000000",
        "forerun.cpu_ms": 0.5,
        "forerun.step.admit_ms": 0.5,
        "forerun.step.queue_ms": 0.5,
        "forerun.step.sandbox_ms": 0.5,
        "forerun.step.load_ms": 0.5,
        "forerun.step.enter_ms": 0.5,
        "forerun.step.run_ms": 0.5,
        "forerun.step.answer_ms": 0.5,
    },
}
_SELDOM = (
    "otlp", "xray", "throttle", "producer", "consumer", "internal", "telemetry.sdk.name",
    "exception.type", "exception.message", "network.transport", "unix", "forerun.unfinished",
    "forerun.dropped_calls", "forerun.qualifier", "destination", "credential", "timeout", "Event",
    "prewarmed", "pool", "zygote", "cold", "init", "forerun.init_ms", "GET", "PUT", "DELETE",
    "dynamodb", "PutItem", "GetItem", "Query", "s3", "PutObject", "GetObject", "sqs", "SendMessage",
    "sns", "Publish", ".us-east-1.amazonaws.com", "connect ", "source", "status", "error", "fault",
    "error.type",
)  # fmt: skip
_FIRST = msgspec.msgpack.encode([_SELDOM, ["", "", [_CALL, _EXECUTION, _CALL]]])
_DICTIONARIES = {1: _FIRST}
_NEWEST = 1
_LEVEL = 1
_WINDOW = 12
_MEMORY = 5

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str, list[Span]]).decode


def pack_segment(segment: Segment) -> bytes:
    """What a row's columns do not tell: version, request id and spans. Raises ``InvalidInput`` for text that is none."""
    try:
        content = _encode((segment.version, segment.request_id, segment.spans))
    except (UnicodeError, OverflowError, TypeError, ValueError) as error:
        raise InvalidInput(f"A span cannot be kept: {error}") from error
    packer = zlib.compressobj(
        _LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, _DICTIONARIES[_NEWEST]
    )
    return bytes([_NEWEST]) + packer.compress(content) + packer.flush()


def unpack_segment(body: bytes) -> tuple[str, str, list[Span]]:
    """Version, request id and spans. Raises ``StorageFailed`` for what ``pack_segment`` did not make."""
    try:
        unpacker = zlib.decompressobj(_WINDOW, _DICTIONARIES[body[0]])
        return _decode(unpacker.decompress(memoryview(body)[1:]))
    except (LookupError, zlib.error, msgspec.MsgspecError) as error:
        raise StorageFailed(f"A stored segment cannot be read: {error!r}") from error
