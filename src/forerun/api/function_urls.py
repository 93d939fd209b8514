"""Function URLs: plain HTTP in, an invocation, plain HTTP out.

A URL's function may be open to all (its resource policy says so) or ask for signed requests of its own; the result is
answered whole, or streamed as the handler writes it.
"""

import os
from collections.abc import Callable

import msgspec

from forerun.aio import Clock, Send
from forerun.api.caller import Caller
from forerun.api.lambda_.invoke import EXECUTION_ID, SYNC_BYTES, timing_headers
from forerun.api.response import Headers, Response
from forerun.api.url_events import (
    MAX_PRELUDE,
    PRELUDE_END,
    PRELUDE_TYPE,
    BadHandlerResponse,
    HttpRequest,
    buffered_response,
    cors_headers,
    request_event,
    response_head,
)
from forerun.control.authorization import Authorizer
from forerun.control.invoke import Invocation, Invoker
from forerun.control.monitoring import Monitor
from forerun.control.once import given_id
from forerun.control.registry import Registry, Resolved
from forerun.control.urls import FunctionUrl, FunctionUrls
from forerun.errors import AccessDenied, ForerunError, NotFound, RequestTooLarge, Throttled

Authenticate = Callable[[], Caller]


class UrlRoutes:
    """Serves requests to function URLs."""

    def __init__(
        self,
        *,
        urls: FunctionUrls,
        registry: Registry,
        authorizer: Authorizer,
        invoker: Invoker,
        monitor: Monitor,
        clock: Clock,
    ) -> None:
        self._urls = urls
        self._registry = registry
        self._authorizer = authorizer
        self._invoker = invoker
        self._monitor = monitor
        self._clock = clock

    async def serve(
        self,
        url_id: str,
        request: HttpRequest,
        request_id: str,
        authenticate: Authenticate,
        send: Send,
    ) -> Response | None:
        """Answer one request; ``authenticate`` verifies its signature when the URL asks for one.

        ``None`` when the response was streamed.
        """
        origin = next((v.decode("latin-1") for k, v in request.headers if k == b"origin"), None)
        try:
            url = await self._urls.by_id(url_id)
        except NotFound:
            return _plain(404, "Not Found")
        if request.method == "OPTIONS" and url.cors and origin:
            return Response(200, cors_headers(url.cors, origin, preflight=True))
        cors = cors_headers(url.cors, origin, preflight=False)
        try:
            return await self._invoke(url, request, request_id, authenticate, send, cors)
        except ForerunError as error:
            return _refusal(error, cors)

    async def _invoke(
        self,
        url: FunctionUrl,
        request: HttpRequest,
        request_id: str,
        authenticate: Authenticate,
        send: Send,
        cors: Headers,
    ) -> Response | None:
        if len(request.body) > SYNC_BYTES:
            raise RequestTooLarge(f"Request must be smaller than {SYNC_BYTES} bytes")
        pick = int.from_bytes(os.urandom(4), "big") / 2**32
        resolved = await self._registry.resolve(url.account, url.name, url.qualifier, pick)
        caller = self._admit(url, resolved, authenticate)
        now = self._clock.now()
        event = request_event(
            request,
            url_id=url.id,
            domain=url.domain,
            request_id=request_id,
            now=now,
            caller=caller,
        )
        sink = _HttpStream(send, cors) if url.streams else None
        headers_by_name = dict(request.headers)
        origin = self._monitor.recognise(
            headers_by_name,
            caller.access_key_id if caller else None,
            url.account,
            trusted=caller is not None,
            caller=caller.account if caller else "",
        )
        invocation = Invocation(
            request_id=request_id, payload=event, received=now, origin=origin, sink=sink
        )
        if (named := headers_by_name.get(EXECUTION_ID)) is not None:
            signed_by = caller.account if caller else ""
            invocation.execution_id = given_id(named, signed_by, url.account)
        reply = await self._invoker.run(resolved, invocation)
        if sink is not None and sink.started:
            await sink.end()
            return None
        headers = [*cors, *timing_headers(reply), (b"x-amzn-requestid", request_id.encode())]
        if reply.error is not None:
            return _plain(502, "Internal Server Error", headers)
        try:
            response = buffered_response(reply.payload)
        except BadHandlerResponse:
            return _plain(502, "Internal Server Error", headers)
        return Response(response.status, response.headers + headers, response.body)

    def _admit(
        self, url: FunctionUrl, resolved: Resolved, authenticate: Authenticate
    ) -> Caller | None:
        if url.auth_type == "NONE":
            self._authorizer.require_public(
                "lambda:InvokeFunctionUrl",
                resolved.invoked_arn,
                resource_policy=resolved.policy,
                context={"lambda:FunctionUrlAuthType": "NONE"},
            )
            return None
        caller = authenticate()
        self._authorizer.require(
            caller,
            "lambda:InvokeFunctionUrl",
            resolved.invoked_arn,
            resource_policy=resolved.policy,
            context={"lambda:FunctionUrlAuthType": "AWS_IAM"},
        )
        return caller


class _HttpStream:
    """Sends a streamed result; a prelude, when the handler wrote one, gives status and headers."""

    def __init__(self, send: Send, headers: Headers) -> None:
        self._send = send
        self._headers = headers
        self._prelude: bytes | None = None
        self.started = False

    async def start(self, content_type: str) -> None:
        if content_type == PRELUDE_TYPE:
            self._prelude = b""
            return
        await self._begin(200, [(b"content-type", content_type.encode("latin-1", "replace"))])

    async def write(self, chunk: bytes) -> None:
        if self._prelude is not None:
            self._prelude += chunk
            head, end, rest = self._prelude.partition(PRELUDE_END)
            if not end:
                if len(self._prelude) > MAX_PRELUDE:
                    raise BadHandlerResponse("the stream's prelude has no end")
                return
            self._prelude, chunk = None, rest
            try:
                status, headers = response_head(msgspec.json.decode(head, type=dict))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadHandlerResponse):
                status, headers = 502, []
            await self._begin(status, headers)
        if chunk:
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def _begin(self, status: int, headers: Headers) -> None:
        self.started = True
        await self._send(
            {"type": "http.response.start", "status": status, "headers": headers + self._headers}
        )


def _refusal(error: ForerunError, headers: Headers) -> Response:
    if isinstance(error, AccessDenied):
        return _plain(403, "Forbidden", headers)
    if isinstance(error, RequestTooLarge):
        return _plain(413, error.message, headers)
    if isinstance(error, Throttled):
        retry = (b"retry-after", str(max(1, round(error.retry_after_s))).encode())
        return _plain(429, "Rate Exceeded.", [*headers, retry])
    return _plain(502, "Internal Server Error", headers)


def _plain(status: int, message: str, headers: Headers | None = None) -> Response:
    body = msgspec.json.encode({"Message": message})
    return Response(status, [*(headers or []), (b"content-type", b"application/json")], body)
