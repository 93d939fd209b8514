"""Frames of ``application/vnd.amazon.eventstream``, which response streaming is sent in.

::

    total:u32  headers:u32  crc32(first 8 bytes):u32  headers...  payload...  crc32(all before):u32
    header:  length:u8  name  7 (a string)  length:u16  value

All numbers are big-endian. A client checks both sums.
"""

import struct
from collections.abc import Mapping
from zlib import crc32

import msgspec

MAX_PAYLOAD = 1 << 20
_STRING = 7


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message."""
    packed = bytearray()
    for name, value in headers.items():
        key, text = name.encode(), value.encode()
        packed += struct.pack(f">B{len(key)}sBH", len(key), key, _STRING, len(text)) + text
    prelude = struct.pack(">II", 16 + len(packed) + len(payload), len(packed))
    message = b"".join((prelude, struct.pack(">I", crc32(prelude)), packed, payload))
    return message + struct.pack(">I", crc32(message))


def event(kind: str, payload: bytes, content_type: str) -> bytes:
    """An event message of the given type."""
    return frame(
        {":message-type": "event", ":event-type": kind, ":content-type": content_type}, payload
    )


def payload_chunks(data: bytes) -> bytes:
    """``PayloadChunk`` events that carry ``data``, as many as its size needs; nothing for no data."""
    return b"".join(
        event("PayloadChunk", data[start : start + MAX_PAYLOAD], "application/octet-stream")
        for start in range(0, len(data), MAX_PAYLOAD)
    )


def invoke_complete(
    *,
    error_code: str | None = None,
    error_details: str | None = None,
    log_result: str | None = None,
) -> bytes:
    """The ``InvokeComplete`` event that ends an invocation's stream."""
    values = {"ErrorCode": error_code, "ErrorDetails": error_details, "LogResult": log_result}
    body = msgspec.json.encode({name: value for name, value in values.items() if value is not None})
    return event("InvokeComplete", body, "application/json")


def exception(code: str, message: str) -> bytes:
    """A message that ends a stream with an error of AWS's name."""
    headers = {
        ":message-type": "exception",
        ":exception-type": code,
        ":content-type": "application/json",
    }
    return frame(headers, msgspec.json.encode({"message": message}))
