"""The texts of the Runtime API: headers of an invocation, and errors, both ways. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Iterable

from forerun.model import Call, InitFailure, Outcome

Headers = Iterable[tuple[bytes, bytes]]

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# JSON may hold halves of characters, which cannot be written down anywhere.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_MAX_NAME = 256


def next_headers(call: Call, fence: str) -> list[tuple[bytes, bytes]]:
    """The headers of an answer to ``invocation/next``; ``fence`` is the Invocation-Id.

    ``Forerun-Monitored``, ``-Tracestate`` and ``-Baggage`` are for the platform's own bootstrap.
    """
    headers = [
        (b"lambda-runtime-aws-request-id", _header(call.request_id)),
        (b"lambda-runtime-deadline-ms", str(call.deadline_ms).encode()),
        (b"lambda-runtime-invoked-function-arn", _header(call.invoked_arn)),
        (b"lambda-runtime-invocation-id", _header(fence)),
    ]
    if call.trace_id:
        headers.append((b"lambda-runtime-trace-id", _header(call.trace_id)))
    if call.client_context:
        headers.append((b"lambda-runtime-client-context", _json_header(call.client_context)))
    if call.monitored:
        headers.append((b"forerun-monitored", b"true"))
        if call.tracestate:
            headers.append((b"forerun-tracestate", _header(call.tracestate)))
        if call.baggage:
            headers.append((b"forerun-baggage", _header(call.baggage)))
    return headers


def _header(value: str) -> bytes:
    return _CONTROL.sub("", value).encode("utf-8", "replace")


def _json_header(text: str) -> bytes:
    """JSON on one line and in ASCII, so that a caller's text cannot end the header; what is no JSON as it is."""
    try:
        return json.dumps(json.loads(text)).encode()
    except (ValueError, RecursionError):
        return _header(text)


def error_json(error_type: str, message: str) -> bytes:
    """An error as the Runtime API, and AWS's clients, get it."""
    return json.dumps({"errorMessage": message, "errorType": error_type}).encode()


def error_type_of(headers: Headers, body: bytes) -> str:
    """AWS's name of an error: of the header, else of the body, else unknown."""
    given: bytes | None = dict(headers).get(b"lambda-runtime-function-error-type")
    if given:
        return name_of_error(given.decode("latin-1"))
    try:
        named = json.loads(body).get("errorType")
    except (ValueError, AttributeError, RecursionError):
        named = None
    return name_of_error(named) if isinstance(named, str) and named else "Runtime.Unknown"


def name_of_error(named: object) -> str:
    """What somebody says is an error's type, as it can be kept and shown."""
    return _UNWRITABLE.sub("?", str(named)[:_MAX_NAME])


def trailer_body(trailers: dict[bytes, bytes], error_type: str) -> bytes:
    """The error object that a streaming program sent after its response, decoded."""
    try:
        return base64.b64decode(trailers[b"lambda-runtime-function-error-body"], validate=True)
    except (KeyError, binascii.Error):
        return error_json(error_type, "")


def timed_out(call: Call, started: float, now: float) -> Outcome:
    """The outcome of a call whose deadline has passed; ``started`` is 0.0 when nobody took it."""
    began = started or now
    message = (
        f"RequestId: {call.request_id} Error: Task timed out after "
        f"{call.deadline_ms / 1000 - began:.2f} seconds"
    )
    return Outcome(
        payload=error_json("Sandbox.Timedout", message),
        error="Unhandled",
        error_type="Sandbox.Timedout",
        status="timeout",
        alive=False,
        started=began,
        ended=now,
    )


def unrestored(failure: InitFailure, now: float) -> Outcome:
    """The outcome of a call for a program that could not be restored."""
    return Outcome(
        payload=failure.payload,
        error="Unhandled",
        error_type=failure.error_type,
        status=failure.status,
        alive=False,
        started=now,
        ended=now,
    )
