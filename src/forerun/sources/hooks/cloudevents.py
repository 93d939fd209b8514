"""CloudEvents 1.0 over HTTP: read from requests in their three modes, checked against the specification, and made. Pure.

Inside, an event is what its JSON format says: a dictionary of attributes, with ``data`` or ``data_base64``.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from forerun.errors import InvalidInput
from forerun.model import iso_time

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MAX_BATCH = 1000
MAX_ATTRIBUTES = 64
MAX_VALUE = 4096
_BINARY = "ce-"
_EXTENSION = re.compile(r"[a-z0-9]{1,64}")
_MEDIA_TYPE = re.compile(r"[\w.+!#$&^-]+/[\w.+!#$&^*-]+(\s*;.*)?", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_INT32 = 2**31

Event = dict[str, Any]


def media_type(content_type: str) -> str:
    """Without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    """Whether content of this type is JSON."""
    kind = media_type(content_type)
    return kind in ("application/json", "text/json") or kind.endswith("+json")


def read_events(headers: Mapping[str, str], body: bytes) -> list[Event] | None:
    """The events of a request (headers by lower-case name); ``None`` when it holds none.

    Raises ``InvalidInput`` naming the attribute for what breaks the specification.
    """
    kind = media_type(headers.get("content-type", ""))
    if kind == STRUCTURED:
        return [_checked(_decoded(body))]
    if kind == BATCH:
        found = _decoded(body)
        if not isinstance(found, list):
            raise InvalidInput("A batch of CloudEvents must be a JSON array")
        if len(found) > MAX_BATCH:
            raise InvalidInput(f"A batch of CloudEvents may have {MAX_BATCH} events")
        return [_checked(each) for each in found]
    if "ce-specversion" in headers or "ce-id" in headers:
        return [_checked(_of_headers(headers, body))]
    return None


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidInput(f"The body is no JSON: {error}") from None


def _of_headers(headers: Mapping[str, str], body: bytes) -> Event:
    event: Event = {
        name.removeprefix(_BINARY): _unescaped(name, value)
        for name, value in headers.items()
        if name.startswith(_BINARY)
    }
    content_type = headers.get("content-type", "")
    if content_type:
        event["datacontenttype"] = content_type
    return event | data_of(body, content_type)


def data_of(body: bytes, content_type: str) -> Event:
    """``data`` or ``data_base64`` for a body: JSON and text as they are; nothing for none. ``InvalidInput`` for broken JSON."""
    if not body:
        return {}
    if is_json(content_type):
        return {"data": _decoded(body)}
    if media_type(content_type).startswith("text/") or "x-www-form-urlencoded" in content_type:
        try:
            return {"data": body.decode()}
        except UnicodeDecodeError:
            pass
    return {"data_base64": base64.b64encode(body).decode()}


def _unescaped(name: str, value: str) -> str:
    text = value
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidInput(f"The header {name} holds what is no UTF-8") from None


def _checked(given: Any) -> Event:
    if not isinstance(given, dict):
        raise InvalidInput("A CloudEvent must be a JSON object")
    event = {name: value for name, value in given.items() if value is not None or name == "data"}
    if len(event) > MAX_ATTRIBUTES:
        raise InvalidInput(f"A CloudEvent may have {MAX_ATTRIBUTES} attributes")
    version = event.get("specversion")
    if version != "1.0":
        raise InvalidInput(f"specversion must be 1.0, not {str(version)[:20]!r}")
    for name in ("id", "source", "type"):
        _require_text(event, name)
    _require_uri(event["source"], "source", absolute=False)
    for name, value in event.items():
        _check_attribute(event, name, value)
    if "data" in event and "data_base64" in event:
        raise InvalidInput("A CloudEvent has either data or data_base64")
    return event


def _check_attribute(event: Event, name: str, value: Any) -> None:
    if name in ("specversion", "id", "source", "type", "data"):
        return
    if name == "data_base64":
        _require_base64(value)
    elif name == "time":
        _require_time(value)
    elif name == "dataschema":
        _require_text(event, name)
        _require_uri(value, name, absolute=True)
    elif name == "datacontenttype":
        if not isinstance(value, str) or not _MEDIA_TYPE.fullmatch(value):
            raise InvalidInput("datacontenttype must be a media type")
    elif name == "subject":
        _require_text(event, name)
    else:
        _require_extension(name, value)


def _require_text(event: Event, name: str) -> None:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{name} must be a text that is not empty")
    _require_plain(name, value)


def _require_plain(name: str, value: str) -> None:
    if len(value) > MAX_VALUE:
        raise InvalidInput(f"{name} may have {MAX_VALUE} characters")
    if any(_is_control(letter) for letter in value):
        raise InvalidInput(f"{name} may not hold control characters")


def _is_control(letter: str) -> bool:
    code = ord(letter)
    return code < 32 or 127 <= code < 160 or 0xD800 <= code < 0xE000


def _require_uri(value: str, name: str, *, absolute: bool) -> None:
    try:
        scheme = urlsplit(value).scheme
    except ValueError:
        raise InvalidInput(f"{name} must be a URI") from None
    if " " in value or (absolute and not scheme):
        raise InvalidInput(f"{name} must be {'an absolute URI' if absolute else 'a URI'}")


def _require_base64(value: Any) -> None:
    try:
        base64.b64decode(value if isinstance(value, str) else "!", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput("data_base64 must be base64") from None


def _require_time(value: Any) -> None:
    good = isinstance(value, str) and _TIME.fullmatch(value)
    if good:
        try:
            datetime.fromisoformat(re.sub(r"\.\d+", "", value.upper()))
        except ValueError:
            good = None
    if not good:
        raise InvalidInput("time must be a moment as in RFC 3339")


def _require_extension(name: str, value: Any) -> None:
    if not _EXTENSION.fullmatch(name):
        raise InvalidInput(
            f"{name[:64]!r} is no name of an attribute: it may have letters a to z and digits"
        )
    if isinstance(value, bool):
        return
    if isinstance(value, int):
        if not -_INT32 <= value < _INT32:
            raise InvalidInput(f"{name} must be an integer of 32 bits")
        return
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be a text, an integer or a boolean")
    _require_plain(name, value)


def make_event(
    *,
    event_id: str,
    source: str,
    event_type: str,
    now: float,
    body: bytes,
    content_type: str,
) -> Event:
    """An event that says that this body came."""
    event: Event = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": event_type,
        "time": iso_time(now),
    }
    if _MEDIA_TYPE.fullmatch(content_type):
        event["datacontenttype"] = content_type
    return event | data_of(body, content_type)


def encode(event: Event) -> bytes:
    """In structured mode."""
    return msgspec.json.encode(event)


def trace_headers(event: Event) -> dict[bytes, bytes]:
    """The extension for distributed tracing, as headers."""
    found = {name: event.get(name) for name in ("traceparent", "tracestate")}
    return {
        name.encode(): value.encode() for name, value in found.items() if isinstance(value, str)
    }
