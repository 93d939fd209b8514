"""Spans as bytes: msgpack, deflated with a dictionary of what every segment says, which makes them six times smaller.

The first byte names the dictionary, so that rows stay readable when a later version brings a better one.
"""

import zlib

import msgspec

from forerun.errors import InvalidInput, StorageFailed
from forerun.model import Segment, Span

# What stands near the end is found most cheaply. Never edit it: rows are unreadable without it. Add another instead.
_FIRST = b"".join(
    bytes([0xA0 | len(word) if len(word) < 32 else 0xD9]) + word.encode() + b"\xa0"
    for word in (
        "otlp xray fault throttle error internal producer consumer telemetry.sdk.name exception.type",
        "error.type", "network.transport", "forerun.unfinished", "forerun.dropped_calls",
        "init", "timeout", "zygote", "cold", "pool", "prewarmed", "credential", "destination",
        "GET", "PUT", "PATCH", "DELETE", "s3", "sqs", "sns", "lambda", "dynamodb", "Invoke",
        ".us-east-1.amazonaws.com", "us-home-1", "000000000000", "connect", "POST",
        "/2015-03-31/functions/", "/invocations", "Event", "RequestResponse", "$LATEST",
        "trace_id", "span_id", "parent_id", "name", "kind", "server", "service", "started", "ended",
        "status", "attributes", "faas.name", "faas.version", "faas.invocation_id", "faas.coldstart",
        "faas.max_memory", "cloud.region", "cloud.account.id", "forerun.invocation_type",
        "forerun.status", "forerun.attempt", "forerun.start_type", "warm", "forerun.isolation", "jail",
        "forerun.host", "forerun.sandbox", "forerun.placement", "forerun.init_ms",
        "forerun.max_memory_mb", "forerun.cpu_ms", "forerun.weight", "forerun.depth",
        "forerun.channel", "header", "forerun.caused_by", "success", "forerun.step.admit_ms",
        "forerun.step.queue_ms", "forerun.step.sandbox_ms", "forerun.step.load_ms",
        "forerun.step.enter_ms", "forerun.step.run_ms", "forerun.step.answer_ms",
        "trace_id", "span_id", "parent_id", "name", "kind", "client", "service", "started", "ended",
        "status", "attributes", "http.request.method", "POST", "server.address", "server.port",
        "url.path", "http.response.status_code", "aws.service", "aws.operation",
        "http.request.body.size", "http.response.body.size", "forerun.fingerprint",
        "forerun.injected", "trace_id", "span_id", "parent_id", "name", "kind",
    )
)  # fmt: skip
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
