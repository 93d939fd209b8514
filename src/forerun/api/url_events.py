"""Function URLs, the pure part: an HTTP request as payload format 2.0, and a handler's result as an HTTP response."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from forerun.api.caller import Caller

_TEXT = ("text/", "application/json", "application/javascript", "application/xml")
_TEXT_SUFFIXES = ("+json", "+xml")
PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"
PRELUDE_END = b"\0" * 8
MAX_PRELUDE = 64 * 1024

Headers = list[tuple[bytes, bytes]]


class HttpRequest(NamedTuple):
    """What arrived at a function's URL; ``path`` is below the URL's own prefix, percent-encoded as sent."""

    method: str
    path: str
    query: str
    headers: Headers
    body: bytes
    source_ip: str
    protocol: str


class HttpResponse(NamedTuple):
    """What to send back."""

    status: int
    headers: Headers
    body: bytes


class BadHandlerResponse(ValueError):
    """The handler's result is no valid HTTP response; the client gets 502."""


def request_event(
    request: HttpRequest,
    *,
    url_id: str,
    domain: str,
    request_id: str,
    now: float,
    caller: Caller | None,
) -> bytes:
    """The event of payload format 2.0, as JSON."""
    given = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
    headers = _joined(given)
    cookies = [part.strip() for part in headers.get("cookie", "").split(";") if part.strip()]
    query = _joined(parse_qsl(request.query, keep_blank_values=True))
    moment = datetime.fromtimestamp(now, UTC)
    context: dict[str, Any] = {
        "accountId": caller.account if caller else "anonymous",
        "apiId": url_id,
        "domainName": domain,
        "domainPrefix": domain.split(".", 1)[0],
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": moment.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(now * 1000),
    }
    if caller is not None:
        context["authorizer"] = {
            "iam": {
                "accessKey": caller.access_key_id,
                "accountId": caller.account,
                "callerId": caller.access_key_id,
                "cognitoIdentity": None,
                "principalOrgId": None,
                "userArn": caller.principal_arn,
                "userId": caller.access_key_id,
            }
        }
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": context,
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        event["queryStringParameters"] = query
    if request.body:
        event["body"], event["isBase64Encoded"] = _body(
            request.body, headers.get("content-type", "")
        )
    return msgspec.json.encode(event)


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """One value per name: repeated ones are joined by commas."""
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _body(body: bytes, content_type: str) -> tuple[str, bool]:
    kind = content_type.split(";", 1)[0].strip().lower()
    if kind.startswith(_TEXT) or kind.endswith(_TEXT_SUFFIXES):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


def buffered_response(payload: bytes) -> HttpResponse:
    """A handler's buffered result: an object with ``statusCode`` is a whole response, all else a JSON body.

    Raises ``BadHandlerResponse`` when the object's members are not of the right kind.
    """
    try:
        result = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        result = None
    if not isinstance(result, dict) or "statusCode" not in result:
        return HttpResponse(200, [(b"content-type", b"application/json")], payload)
    status, headers = response_head(result)
    body = result.get("body") or ""
    if not isinstance(body, str):
        body = msgspec.json.encode(body).decode()
    if result.get("isBase64Encoded"):
        try:
            return HttpResponse(status, headers, base64.b64decode(body, validate=True))
        except binascii.Error as error:
            raise BadHandlerResponse("body is not Base64") from error
    return HttpResponse(status, headers, body.encode())


def response_head(result: dict[str, Any]) -> tuple[int, Headers]:
    """Status and headers of a handler's response object or stream prelude."""
    try:
        status = int(result.get("statusCode", 200))
    except (TypeError, ValueError) as error:
        raise BadHandlerResponse("statusCode is not a number") from error
    given = result.get("headers") or {}
    cookies = result.get("cookies") or []
    if not 100 <= status <= 599 or not isinstance(given, dict) or not isinstance(cookies, list):
        raise BadHandlerResponse("statusCode, headers or cookies are of a wrong kind")
    headers: Headers = []
    for name, value in given.items():
        low = str(name).lower()
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if low not in ("content-length", "transfer-encoding", "connection"):
            headers.append((_safe(low), _safe(text)))
    headers += [(b"set-cookie", _safe(str(cookie))) for cookie in cookies]
    if not any(name == b"content-type" for name, _ in headers):
        headers.append((b"content-type", b"application/json"))
    return status, headers


def _safe(text: str) -> bytes:
    if any(ord(sign) < 32 and sign != "\t" for sign in text):
        raise BadHandlerResponse("a header holds control characters")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise BadHandlerResponse("a header is not Latin-1") from error


def cors_headers(cors: Any, origin: str | None, *, preflight: bool) -> Headers:
    """Headers for a cross-origin request; ``cors`` is the URL's configuration with AWS's member names as a dict."""
    if not cors or not origin:
        return []
    allowed = cors.get("AllowOrigins") or []
    if "*" not in allowed and origin not in allowed:
        return []
    headers: Headers = [
        (
            b"access-control-allow-origin",
            origin.encode("latin-1")
            if "*" not in allowed or cors.get("AllowCredentials")
            else b"*",
        ),
        (b"vary", b"Origin"),
    ]
    if cors.get("AllowCredentials"):
        headers.append((b"access-control-allow-credentials", b"true"))
    lists = (
        [
            ("AllowMethods", b"access-control-allow-methods"),
            ("AllowHeaders", b"access-control-allow-headers"),
        ]
        if preflight
        else [("ExposeHeaders", b"access-control-expose-headers")]
    )
    for member, header in lists:
        if cors.get(member):
            headers.append((header, ",".join(cors[member]).encode("latin-1")))
    if preflight and cors.get("MaxAge"):
        headers.append((b"access-control-max-age", str(cors["MaxAge"]).encode()))
    return headers
