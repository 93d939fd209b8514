"""Webhooks: the URLs that others send to, and how they are made, listed, changed and deleted."""

import math
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from forerun.aio import BodyTooLarge, BodyTooSlow, Clock, Receive, Scope, Send, read_body
from forerun.api.caller import Caller
from forerun.api.platform import Command, Query, Route
from forerun.api.response import Headers, Response, send_response
from forerun.api.url_events import HttpRequest as UrlRequest
from forerun.api.url_events import request_event
from forerun.control.authorization import Authorizer
from forerun.control.delivery.permission import require_sending
from forerun.control.monitoring import Monitor
from forerun.errors import (
    AccessDenied,
    Conflict,
    ForerunError,
    InvalidInput,
    NotFound,
    RequestTooLarge,
    Throttled,
    Unsupported,
)
from forerun.model import Origin
from forerun.sources.hooks import (
    MAX_BYTES,
    Arrival,
    Changed,
    Event,
    Hooks,
    HookSettings,
    OpenHook,
    Receipt,
    Receiver,
    trace_headers,
)
from forerun.storage.hooks import Hook, Scheme, TargetFormat

PREFIX = b"/hooks/"
KEPT_S = 86_400.0
WARNING = (
    "This hook takes unsigned requests: whoever learns its URL can run its target. Put it with another Scheme where the "
    "sender can sign."
)

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]


class PutHook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of put-hook."""

    Name: Text
    Target: Text
    Scheme: Literal["standard", "github", "stripe", "slack", "none"]
    TargetFormat: Literal["cloudevent", "raw", "http"] = "cloudevent"
    Secret: Text | None = None
    MaxAgeSeconds: float | None = None
    RatePerSecond: float | None = None
    ContentTypes: list[str] = []


class RotateHook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of rotate-hook."""

    Name: Text
    Secret: Text | None = None
    KeepSeconds: float = KEPT_S


class DeleteHook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of delete-hook."""

    Name: Text


class HookRoutes:
    """Answers ``GET /forerun/hooks`` and ``POST /forerun/{put,rotate,delete}-hook``."""

    def __init__(
        self, hooks: Hooks, receiver: Receiver, authorizer: Authorizer, base_url: str
    ) -> None:
        self._hooks = hooks
        self._receiver = receiver
        self._authorizer = authorizer
        self._base_url = base_url

    def routes(self) -> dict[str, Route]:
        """What is told."""
        return {"hooks": self.list_hooks}

    def commands(self) -> dict[str, Command]:
        """What is done."""
        return {"put-hook": self.put, "rotate-hook": self.rotate, "delete-hook": self.delete}

    async def rows(self, account: str) -> list[dict[str, Any]]:
        """The hooks of an account among all sources."""
        found = []
        for hook in await self._hooks.list(account):
            counts = self._receiver.counts(hook.id)
            found.append(
                {
                    "Source": self._hooks.arn(hook),
                    "Target": hook.target,
                    "Kind": "webhook",
                    "Id": hook.name,
                    "State": "Unsigned" if hook.scheme is Scheme.NONE else "",
                    "Received": counts.accepted,
                    "LastResult": f"{counts.duplicates} came again, {counts.refused} refused",
                }
            )
        return found

    async def list_hooks(self, caller: Caller, _query: Query) -> object:
        """An account's hooks; never their secrets."""
        return {"Hooks": [self._printed(each) for each in await self._hooks.list(caller.account)]}

    async def put(self, caller: Caller, given: dict[str, Any]) -> object:
        """Make a hook or change one. Who puts it must itself be allowed to do to the target what the hook will do."""
        wanted = _read(given, PutHook)
        target = self._hooks.target_of(caller.account, wanted.Target)
        require_sending(self._authorizer, caller, target)
        changed = await self._hooks.put(
            caller.account,
            HookSettings(
                name=wanted.Name,
                target=target,
                scheme=Scheme(wanted.Scheme),
                target_format=TargetFormat(wanted.TargetFormat),
                secret=wanted.Secret,
                max_age_s=wanted.MaxAgeSeconds,
                content_types=wanted.ContentTypes,
                rate_per_s=wanted.RatePerSecond,
            ),
        )
        return self._told(changed)

    async def rotate(self, caller: Caller, given: dict[str, Any]) -> object:
        """Give a hook another secret."""
        wanted = _read(given, RotateHook)
        changed = await self._hooks.rotate(
            caller.account, wanted.Name, wanted.Secret, wanted.KeepSeconds
        )
        return self._told(changed)

    async def delete(self, caller: Caller, given: dict[str, Any]) -> object:
        """Delete a hook."""
        await self._hooks.delete(caller.account, _read(given, DeleteHook).Name)
        return {}

    def _told(self, changed: Changed) -> dict[str, Any]:
        """The hook, and its secret this once."""
        secret = {"Secret": changed.secret} if changed.secret else {}
        return self._printed(changed.hook) | secret

    def _printed(self, hook: Hook) -> dict[str, Any]:
        counts = self._receiver.counts(hook.id)
        printed: dict[str, Any] = {
            "Name": hook.name,
            "Arn": self._hooks.arn(hook),
            "Url": f"{self._base_url}/hooks/{hook.id}",
            "Target": hook.target,
            "Scheme": hook.scheme,
            "TargetFormat": hook.target_format,
            "MaxAgeSeconds": hook.max_age_s,
            "RatePerSecond": hook.rate_per_s,
            "ContentTypes": hook.content_types,
            "Created": hook.created,
            "Changed": hook.changed,
            "Accepted": counts.accepted,
            "Duplicates": counts.duplicates,
            "Refused": counts.refused,
            "LastDelivery": counts.last or None,
        }
        if hook.scheme is Scheme.NONE:
            printed["Warning"] = WARNING
        return printed


Body = TypeVar("Body")


def _read(given: dict[str, Any], kind: type[Body]) -> Body:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error).replace("`$.", "`")) from None


class HookDoor:
    """Serves ``/hooks/ID``, an ASGI application: 202 for what was taken, 200 for what came before, 4xx with the reason."""

    def __init__(
        self, receiver: Receiver, monitor: Monitor, clock: Clock, *, body_s: float
    ) -> None:
        self._receiver = receiver
        self._monitor = monitor
        self._clock = clock
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await self._answer(scope, receive)
        except ForerunError as error:
            response = _refusal(error)
        if scope["method"] == "HEAD":
            response = response._replace(body=b"")
        await send_response(send, response)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        path: bytes = scope["raw_path"]
        opened = await self._receiver.admit(path[len(PREFIX) :].decode("latin-1"))
        headers = _joined(scope["headers"])
        if scope["method"] == "OPTIONS":
            return _handshake(opened, headers)
        if scope["method"] != "POST":
            allowed = [(b"allow", b"POST, OPTIONS"), *_JSON]
            return Response(405, allowed, b'{"message":"Webhooks are sent with POST"}')
        try:
            body = await read_body(receive, limit=MAX_BYTES, timeout_s=self._body_s)
        except BodyTooLarge:
            raise RequestTooLarge(f"A webhook may have {MAX_BYTES} bytes") from None
        except BodyTooSlow:
            return Response(408, _JSON, b'{"message":"The body did not arrive in time"}')
        arrival = Arrival(
            headers=headers,
            body=body,
            origin_of=lambda account, event: self._origin(scope, account, event),
            as_http=lambda: self._as_http(scope, opened, body),
        )
        return _printed(await self._receiver.take(opened, arrival))

    def _origin(self, scope: Scope, account: str, event: Event | None) -> Origin:
        """Strangers are believed only where they bring what the platform has signed."""
        headers = dict(scope["headers"])
        if event is not None:
            headers |= trace_headers(event)
        return self._monitor.recognise(headers, None, account, trusted=False)

    def _as_http(self, scope: Scope, opened: OpenHook, body: bytes) -> bytes:
        client = scope["client"]
        headers = dict(scope["headers"])
        request = UrlRequest(
            method=scope["method"],
            path="/",
            query=scope["query_string"].decode("latin-1"),
            headers=scope["headers"],
            body=body,
            source_ip=client[0] if client else "",
            protocol=f"HTTP/{scope['http_version']}",
        )
        return request_event(
            request,
            url_id=opened.hook.name,
            domain=headers.get(b"host", b"").decode("latin-1"),
            request_id="",
            now=self._clock.now(),
            caller=None,
        )


def _joined(headers: Headers) -> dict[str, str]:
    """By lower-case name; repeated ones joined by commas."""
    found: dict[str, str] = {}
    for raw, value in headers:
        name, text = raw.decode("latin-1").lower(), value.decode("latin-1")
        found[name] = f"{found[name]},{text}" if name in found else text
    return found


def _handshake(opened: OpenHook, headers: dict[str, str]) -> Response:
    """What CloudEvents' senders ask before they send, so that nobody is flooded who does not want it."""
    origin = headers.get("webhook-request-origin", "")
    if not origin or len(origin) > 256 or not origin.isascii() or not origin.isprintable():
        raise InvalidInput("The header WebHook-Request-Origin is missing or not acceptable")
    per_minute = max(1, int(opened.hook.rate_per_s * 60))
    return Response(
        200,
        [
            (b"webhook-allowed-origin", origin.encode()),
            (b"webhook-allowed-rate", str(per_minute).encode()),
            (b"allow", b"POST, OPTIONS"),
        ],
    )


def _printed(receipt: Receipt) -> Response:
    if receipt.reply is not None:
        return Response(200, _JSON, msgspec.json.encode(receipt.reply))
    body = {"Id": receipt.id, "Messages": receipt.messages, "Duplicate": receipt.duplicate}
    return Response(200 if receipt.duplicate else 202, _JSON, msgspec.json.encode(body))


def _refusal(error: ForerunError) -> Response:
    headers = list(_JSON)
    if isinstance(error, Throttled):
        wait = str(max(1, math.ceil(error.retry_after_s)))
        headers.append((b"retry-after", wait.encode()))
    if isinstance(error, Conflict):
        headers.append((b"retry-after", b"1"))
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 503)
    return Response(status, headers, msgspec.json.encode({"message": error.message}))


_JSON = [(b"content-type", b"application/json")]
_STATUSES: tuple[tuple[type[ForerunError], int], ...] = (
    (NotFound, 404),
    (AccessDenied, 401),
    (Unsupported, 415),
    (RequestTooLarge, 413),
    (Throttled, 429),
    (Conflict, 409),
    (InvalidInput, 400),
)
