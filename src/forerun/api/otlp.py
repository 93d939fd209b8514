"""OpenTelemetry's door: spans handed in by ``POST /v1/traces``, as protobuf or JSON, perhaps packed with gzip.

Three may: who has the token of an account (``forerun env --otlp``), who signs as for AWS, and whatever runs in a
sandbox, for the account that it belongs to. Answers are those of the OTLP specification, refusals included.
"""

import asyncio
import hmac
import uuid
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from forerun.aio import BodyTooLarge, BodyTooSlow, Receive, Scope, Send, read_body
from forerun.api.authentication import Authenticator
from forerun.api.caller import Caller
from forerun.api.inside import account_inside
from forerun.api.platform import Query, Route
from forerun.api.protocol import ApiError, HttpRequest
from forerun.api.response import Response, send_response
from forerun.api.xray import Keep
from forerun.control.authorization import Authorizer
from forerun.errors import AccessDenied, ForerunError, InvalidInput, Throttled
from forerun.traces import Imported, read_json, read_protobuf, response_bytes, status_bytes

PATH = b"/v1/traces"
ACTION = "xray:PutTraceSegments"
MAX_BYTES = 16 * 1024 * 1024
STRANGERS_BYTES = 1024 * 1024
OFF_LOOP_BYTES = 64 * 1024

_PROTOBUF, _JSON = "application/x-protobuf", "application/json"
# Of google.rpc.Code, as far as they are needed.
_INVALID, _DENIED, _EXHAUSTED, _INTERNAL, _UNAUTHENTICATED = 3, 7, 8, 13, 16
_CODES = {400: _INVALID, 401: _UNAUTHENTICATED, 403: _DENIED, 429: _EXHAUSTED, 413: _EXHAUSTED}


class _Refused(Exception):
    """Answered with a status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class OtlpTokens:
    """Tokens of accounts: who has one may hand in spans, and nothing else. They last as long as the server's key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, account: str) -> str:
        """The token of an account."""
        seal = hmac.digest(self._key, account.encode(), "sha256")
        return f"{account}.{urlsafe_b64encode(seal).rstrip(b'=').decode()}"

    def account_of(self, authorization: str) -> str | None:
        """Whose token a header brings; ``None`` when it is none."""
        scheme, _, token = authorization.partition(" ")
        account = token.partition(".")[0]
        if scheme.lower() != "bearer" or not account.isascii() or not token.isascii():
            return None
        return account if hmac.compare_digest(token.strip(), self.token(account)) else None

    def routes(self) -> dict[str, Route]:
        """``GET /forerun/otlp``: how to hand in spans, at the address that the server is known by."""
        return {"otlp": self._get}

    async def _get(self, caller: Caller, _query: Query) -> object:
        return {
            "Protocol": "http/protobuf",
            "Headers": "Authorization=" + quote(f"Bearer {self.token(caller.account)}"),
        }


class Guard(NamedTuple):
    """Who decides whose spans they are."""

    tokens: OtlpTokens
    authenticator: Authenticator
    authorizer: Authorizer


class OtlpDoor:
    """The ASGI application at ``PATH``."""

    def __init__(self, keep: Keep, guard: Guard, *, body_s: float) -> None:
        self._keep = keep
        self._guard = guard
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the spans of one request."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        form = headers.get(b"content-type", "").partition(";")[0].strip().lower()
        try:
            response = await self._take(scope, receive, headers, form)
        except _Refused as refused:
            response = _refusal(form, refused.status, refused.reason)
        except Throttled as error:
            response = _refusal(form, 429, error.message)
            response.headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_s))))
        except InvalidInput as error:
            response = _refusal(form, 400, error.message)
        except ForerunError as error:
            response = _refusal(form, 503, error.message)
        await send_response(send, response)

    async def _take(
        self, scope: Scope, receive: Receive, headers: Mapping[bytes, str], form: str
    ) -> Response:
        if scope["method"] != "POST":
            raise _Refused(405, "Spans are handed in by POST")
        known = account_inside(scope)
        if known is None:
            known = self._guard.tokens.account_of(headers.get(b"authorization", ""))
        trusted = known is not None or self._guard.authenticator.knows(scope)
        body = await self._body(receive, MAX_BYTES if trusted else STRANGERS_BYTES)
        account = known if known is not None else self._signed(scope, body)
        read = _READERS.get(form)
        if read is None:
            raise _Refused(415, f"Send {_PROTOBUF} or {_JSON}, not '{form[:100]}'")
        plain = await _unpacked(body, headers.get(b"content-encoding", "").strip().lower())
        rejected, reason = 0, ""
        for part in read(plain, account):
            lost = await self._keep(account, part.segments)
            rejected += part.rejected + lost
            reason = reason or part.reason or ("Some spans cannot be kept" if lost else "")
            # Calls are being answered meanwhile.
            await asyncio.sleep(0)
        return _success(form, rejected, reason)

    async def _body(self, receive: Receive, limit: int) -> bytes:
        try:
            return await read_body(receive, limit=limit, timeout_s=self._body_s)
        except BodyTooLarge:
            raise _Refused(413, f"The body must be at most {limit} bytes") from None
        except BodyTooSlow:
            raise _Refused(408, "The body did not arrive in time") from None

    def _signed(self, scope: Scope, body: bytes) -> str:
        request = HttpRequest(
            scope["method"], scope["raw_path"], scope["query_string"], scope["headers"], body
        )
        if b"authorization" not in request.header:
            raise _Refused(
                401, "Send the token that 'forerun env --otlp' shows, or sign the request"
            )
        try:
            caller = self._guard.authenticator.caller(scope, request, str(uuid.uuid4()), None)
            self._guard.authorizer.require(caller, ACTION, "*")
        except ApiError as error:
            raise _Refused(401, error.message) from error
        except AccessDenied as error:
            raise _Refused(403, error.message) from error
        return caller.account


_READERS: dict[str, Callable[[bytes, str], Iterator[Imported]]] = {
    _PROTOBUF: read_protobuf,
    _JSON: read_json,
}


async def _unpacked(body: bytes, coding: str) -> bytes:
    if coding in ("", "identity"):
        return body
    if coding != "gzip":
        raise _Refused(415, f"Content-Encoding is gzip or nothing, not '{coding[:100]}'")
    if len(body) > OFF_LOOP_BYTES:
        return await asyncio.to_thread(_gunzip, body)
    return _gunzip(body)


def _gunzip(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, MAX_BYTES)
    except zlib.error as error:
        raise _Refused(400, f"The body is not gzip: {error}") from error
    if unpacker.unconsumed_tail:
        raise _Refused(413, f"The body must be at most {MAX_BYTES} bytes when it is unpacked")
    if not unpacker.eof:
        raise _Refused(400, "The body is not gzip: it ends too early")
    return plain


def _success(form: str, rejected: int, reason: str) -> Response:
    if form == _PROTOBUF:
        return Response(200, _type(form), response_bytes(rejected, reason))
    partial = {"rejectedSpans": str(rejected), "errorMessage": reason}
    return Response(
        200, _type(form), msgspec.json.encode({"partialSuccess": partial} if rejected else {})
    )


def _refusal(form: str, status: int, reason: str) -> Response:
    code = _CODES.get(status, _INTERNAL if status >= 500 else _INVALID)
    if form == _PROTOBUF:
        return Response(status, _type(form), status_bytes(code, reason))
    return Response(status, _type(_JSON), msgspec.json.encode({"code": code, "message": reason}))


def _type(form: str) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", form.encode())]
