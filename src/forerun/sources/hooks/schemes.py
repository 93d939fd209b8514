"""Who sent a webhook, and when: the schemes by which senders sign what they send. Pure.

Signatures are compared in constant time, all of those given with all secrets that are good now.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from forerun.errors import AccessDenied, InvalidInput
from forerun.storage.hooks import Scheme

MAX_ID = 256
MAX_SIGNATURES = 16
STANDARD_PREFIX = "whsec_"
_SECONDS = re.compile(r"\d{1,12}")


class Request(NamedTuple):
    """What came: headers by lower-case name, and the body; ``now`` and ``max_age_s`` say how old it may be."""

    headers: Mapping[str, str]
    body: bytes
    now: float
    max_age_s: float


class Verified(NamedTuple):
    """A request whose signature is good.

    ``key`` is what it is known again by, of what was signed alone; empty when nothing was. ``id`` and ``type`` are what
    the sender calls it, as far as that is known. ``signed_at``: when, where that was signed. ``reply`` is what the
    sender wants to hear, where it asked something instead of telling what happened.
    """

    key: str = ""
    id: str = ""
    type: str = ""
    signed_at: float | None = None
    reply: dict[str, Any] | None = None


def verify(scheme: Scheme, request: Request, secrets: Sequence[str]) -> Verified:
    """Raises ``AccessDenied`` for what is not signed, not with one of the secrets, or too old; ``InvalidInput`` for a broken header."""
    return _SCHEMES[scheme](request, secrets)


def require_secret(scheme: Scheme, secret: str) -> None:
    """``InvalidInput`` unless it can be a secret of the scheme."""
    if not 8 <= len(secret) <= 512 or not secret.isprintable():
        raise InvalidInput("Secret must be 8 to 512 printable characters")
    if scheme is Scheme.STANDARD:
        _standard_key(secret)


# Standard Webhooks


def _standard(request: Request, secrets: Sequence[str]) -> Verified:
    brand = "svix" if "svix-id" in request.headers else "webhook"
    delivery = _header(request, f"{brand}-id")
    stamp = _header(request, f"{brand}-timestamp")
    given = _header(request, f"{brand}-signature").split(" ")
    signed_at = _fresh(request, stamp)
    signatures = [each[3:].encode() for each in given if each.startswith("v1,")]
    text = f"{delivery}.{stamp}.".encode() + request.body
    digests = [hmac.digest(_standard_key(each), text, "sha256") for each in secrets]
    _require_match(signatures, [base64.b64encode(each) for each in digests])
    kind = _member(request.body, "type")
    return Verified(key=delivery, id=delivery, type=kind, signed_at=signed_at)


def _standard_key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(STANDARD_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not 16 <= len(key) <= 128:
        raise InvalidInput(f"Secret must be {STANDARD_PREFIX} and the base64 of 16 to 128 bytes")
    return key


# GitHub


def _github(request: Request, secrets: Sequence[str]) -> Verified:
    given = _header(request, "x-hub-signature-256").removeprefix("sha256=").lower()
    digests = [hmac.digest(each.encode(), request.body, "sha256").hex() for each in secrets]
    _require_match([given.encode()], [each.encode() for each in digests])
    event = request.headers.get("x-github-event", "")[:MAX_ID]
    action = _member(request.body, "action")
    # The delivery's id is not signed: who replays could choose another one. The body's signature is known again.
    return Verified(
        key=given,
        id=request.headers.get("x-github-delivery", "")[:MAX_ID],
        type=".".join(each for each in ("com.github", event, action) if each),
        reply={"message": "pong"} if event == "ping" else None,
    )


# Stripe


def _stripe(request: Request, secrets: Sequence[str]) -> Verified:
    stamp, signatures = "", []
    for part in _header(request, "stripe-signature").split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            stamp = value
        elif name == "v1":
            signatures.append(value.encode())
    signed_at = _fresh(request, stamp)
    text = stamp.encode() + b"." + request.body
    digests = [hmac.digest(each.encode(), text, "sha256").hex().encode() for each in secrets]
    _require_match(signatures, digests)
    # Each try is signed anew; the event's own id stays.
    event = _member(request.body, "id")
    kind = _member(request.body, "type")
    return Verified(
        key=event or signatures[0].decode(),
        id=event,
        type=f"com.stripe.{kind}" if kind else "",
        signed_at=signed_at,
    )


# Slack


def _slack(request: Request, secrets: Sequence[str]) -> Verified:
    stamp = _header(request, "x-slack-request-timestamp")
    signed_at = _fresh(request, stamp)
    given = _header(request, "x-slack-signature").removeprefix("v0=")
    text = f"v0:{stamp}:".encode() + request.body
    digests = [hmac.digest(each.encode(), text, "sha256").hex().encode() for each in secrets]
    _require_match([given.encode()], digests)
    content = _object(request.body)
    reply = None
    if content.get("type") == "url_verification" and isinstance(content.get("challenge"), str):
        reply = {"challenge": content["challenge"]}
    event = content.get("event_id")
    inner = content.get("event")
    kind = inner.get("type") if isinstance(inner, dict) else content.get("type")
    return Verified(
        key=event if isinstance(event, str) and event else given,
        id=event if isinstance(event, str) else "",
        type=f"com.slack.{kind}" if isinstance(kind, str) and kind else "com.slack",
        signed_at=signed_at,
        reply=reply,
    )


def _none(_request: Request, _secrets: Sequence[str]) -> Verified:
    return Verified()


_SCHEMES: Mapping[Scheme, Callable[[Request, Sequence[str]], Verified]] = {
    Scheme.STANDARD: _standard,
    Scheme.GITHUB: _github,
    Scheme.STRIPE: _stripe,
    Scheme.SLACK: _slack,
    Scheme.NONE: _none,
}


def _header(request: Request, name: str) -> str:
    value = request.headers.get(name, "")
    if not value:
        raise AccessDenied(f"The header {name} is missing: this webhook takes signed requests only")
    if len(value) > MAX_ID * MAX_SIGNATURES or not value.isascii() or not value.isprintable():
        raise InvalidInput(f"The header {name} is not acceptable")
    if name.endswith("-id") and len(value) > MAX_ID:
        raise InvalidInput(f"The header {name} may have {MAX_ID} characters")
    return value


def _fresh(request: Request, stamp: str) -> float:
    if not _SECONDS.fullmatch(stamp):
        raise InvalidInput("The timestamp must be in seconds since 1970")
    signed_at = float(stamp)
    if abs(request.now - signed_at) > request.max_age_s:
        early = "is in the future" if signed_at > request.now else "is too old"
        raise AccessDenied(
            f"The timestamp {early}: it may differ from this server's clock by {request.max_age_s:g} seconds"
        )
    return signed_at


def _require_match(given: Sequence[bytes], wanted: Sequence[bytes]) -> None:
    matches = [
        hmac.compare_digest(one, other) for one in given[:MAX_SIGNATURES] for other in wanted
    ]
    if not any(matches):
        raise AccessDenied("The signature does not match: it is of another secret or another body")


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}


def _member(body: bytes, name: str) -> str:
    value = _object(body).get(name)
    return value[:MAX_ID] if isinstance(value, str) else ""
