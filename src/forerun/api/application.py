"""The front door: one port for every service, as an ASGI application.

Order of things: health, function URLs, then everything that is signed: read, verify, route, parse, authorise, handle,
print. Invocations take a shorter way through the same steps. Whatever goes wrong is answered in the form of the service
that was asked, with a request id; a fault of ours is logged under that id and answered as an internal failure.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from forerun.aio import App, BodyTooLarge, BodyTooSlow, Receive, Scope, Send, read_body
from forerun.api.authentication import Authenticator
from forerun.api.caller import Caller
from forerun.api.errors import api_error
from forerun.api.function_urls import UrlRoutes
from forerun.api.handlers import Handler
from forerun.api.lambda_.invoke import Invocations
from forerun.api.otlp import PATH as OTLP
from forerun.api.packages import PREFIX as PACKAGES
from forerun.api.packages import PackageLinks
from forerun.api.platform import PlatformRoutes
from forerun.api.protocol import (
    ApiError,
    HttpRequest,
    Models,
    Parser,
    Router,
    Serializer,
    ServiceModel,
    error_reply,
)
from forerun.api.protocol.router import NoRoute, scope_service
from forerun.api.request_ids import request_id as name_of
from forerun.api.resources import action_of, resource_of
from forerun.api.response import Response, send_response
from forerun.api.s3.addressing import is_signed
from forerun.api.s3.door import S3Door, S3Service
from forerun.api.url_events import HttpRequest as UrlRequest
from forerun.control.authorization import Authorizer
from forerun.errors import ForerunError
from forerun.model import Origin

log = logging.getLogger("forerun.api")

INVOKE = b"/2015-03-31/functions/"
STREAM = b"/2021-11-15/functions/"
PLATFORM = b"/forerun/"
URLS = b"/lambda-url/"
HEALTH = b"/health"
CONSOLE = b"/console"
BESIDE = (HEALTH, CONSOLE, OTLP)
# What these services are asked for can cause executions.
CAUSING = frozenset({"sqs", "sns", "events", "s3", "scheduler"})
HASH_OFF_LOOP_BYTES = 256 * 1024
PAYLOAD_BYTES = 8 * 1024 * 1024
STRANGERS_BYTES = 1024 * 1024


class Limits(NamedTuple):
    """Bounds on one request: bytes of a body, seconds for it to arrive."""

    body_bytes: int
    body_s: float


class Routes(NamedTuple):
    """Everything the application can answer; ``operations`` is service name to operation name to handler.

    ``origin_of`` tells the execution behind a caller and the headers of its request. ``console`` serves what is below ``/console``, ``otlp`` takes OpenTelemetry's spans.
    ``doors`` serve what is not signed as on AWS, by the beginning of the path; ``linked`` are operations that links without a
    signature may ask for. ``policies`` tell the resource policies of a service's resources, ``None`` or ``NotFound`` for none.
    """

    operations: Mapping[str, Mapping[str, Handler]]
    invocations: Invocations
    urls: UrlRoutes
    platform: PlatformRoutes
    packages: PackageLinks
    origin_of: Callable[[Caller, Mapping[bytes, bytes]], Origin]
    console: App | None = None
    otlp: App | None = None
    doors: Mapping[bytes, App] = {}
    linked: Mapping[str, Mapping[str, Handler]] = {}
    policies: Mapping[str, Callable[[str], Awaitable[str | None]]] = {}
    s3: S3Service | None = None


class Application:
    """The ASGI application of the platform."""

    def __init__(
        self,
        routes: Routes,
        *,
        authenticator: Authenticator,
        authorizer: Authorizer,
        limits: Limits,
        health: Callable[[], bytes],
    ) -> None:
        self._routes = routes
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._limits = limits
        self._health = health
        self._models = Models()
        self._router = Router(self._models, tuple(routes.operations))
        self._parser = Parser()
        self._serializer = Serializer()
        self._s3 = (
            S3Door(
                routes.s3,
                models=self._models,
                authenticator=authenticator,
                origin_of=routes.origin_of,
            )
            if routes.s3 is not None
            else None
        )
        self._beside_paths = BESIDE + tuple(routes.doors)
        self._url_suffix = f".lambda-url.{authenticator.region}.".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path: bytes = scope["raw_path"]
        app = await self._door(scope, path)
        if app is not None:
            await app(scope, receive, send)
            return
        request_id = name_of(scope)
        limit = self._body_limit(scope, path)
        try:
            body = await read_body(receive, limit=limit, timeout_s=self._limits.body_s)
        except BodyTooLarge:
            message = f"The request body must be at most {limit} bytes"
            if limit == STRANGERS_BYTES:
                message += ", unless it is signed with a known key and not for /forerun/"
            refusal = ApiError("RequestEntityTooLargeException", message, 413)
            await self._refuse(scope, None, refusal, request_id, send)
            return
        except BodyTooSlow:
            refusal = ApiError("RequestTimeout", "The request body did not arrive in time", 408)
            await self._refuse(scope, None, refusal, request_id, send)
            return
        request = HttpRequest(scope["method"], path, scope["query_string"], scope["headers"], body)
        try:
            response = await self._serve(scope, request, request_id, receive, send)
        except ApiError as error:
            await self._refuse(scope, request, error, request_id, send)
        except ForerunError as error:
            known = api_error(scope_service(request) or "lambda", error)
            await self._refuse(scope, request, known, request_id, send)
        except Exception:
            log.exception("request %s failed: %s %s", request_id, request.method, path)
            message = f"The request {request_id} failed inside the server."
            fault = ApiError("InternalFailure", message, 500)
            await self._refuse(scope, request, fault, request_id, send)
        else:
            if response is not None:
                await send_response(send, response)

    async def refuse(self, scope: Scope, error: ApiError, send: Send) -> None:
        """Answer with an error before anything of the body is read, in the form of the service that is asked."""
        parts = scope["method"], scope["raw_path"], scope["query_string"], scope["headers"]
        await self._refuse(scope, HttpRequest(*parts), error, name_of(scope), send)

    async def _door(self, scope: Scope, path: bytes) -> App | None:
        """What serves a request that goes another way from the beginning."""
        signed_for_s3 = is_signed(scope)
        if signed_for_s3 and self._s3 is not None:
            return self._serve_s3
        if path.startswith(self._beside_paths) and (app := self._beside(scope, path)) is not None:
            return app
        if signed_for_s3 is None and self._s3 is not None and await self._is_public(scope, path):
            return self._serve_s3
        return None

    async def _is_public(self, scope: Scope, path: bytes) -> bool:
        """Whether an unsigned request is for a bucket that may be open to everybody."""
        host = dict(scope["headers"]).get(b"host", b"")
        if path.startswith((PLATFORM, PACKAGES)) or self._is_function_url(path, host):
            return False
        return self._s3 is not None and await self._s3.public(scope)

    async def _serve_s3(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._s3 is not None
        await self._s3.serve(scope, receive, send, name_of(scope))

    def _beside(self, scope: Scope, path: bytes) -> App | None:
        """What serves a request that is not signed for a service: the health check, the console, spans, other doors."""
        if path == HEALTH:
            return self._tell_health
        headers = dict(scope["headers"])
        if path == OTLP:
            app = self._routes.otlp
        elif path == CONSOLE or path.startswith(CONSOLE + b"/"):
            app = self._routes.console
        else:
            asked = HttpRequest(scope["method"], path, scope["query_string"], scope["headers"])
            if scope_service(asked) is not None:
                return None  # a bucket may be called as a door is
            doors = self._routes.doors.items()
            app = next((door for prefix, door in doors if path.startswith(prefix)), None)
        return None if self._is_function_url(path, headers.get(b"host", b"")) else app

    async def _tell_health(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_response(send, Response(200, _JSON, self._health()))

    def _is_function_url(self, path: bytes, host: bytes) -> bool:
        """Whether a request is for a function's URL, by its path form or its host form."""
        return path.startswith(URLS) or self._url_suffix in host

    def _body_limit(self, scope: Scope, path: bytes) -> int:
        """Bytes that are read of a body before its signature can be checked."""
        if path.startswith((INVOKE, STREAM)) and path.endswith(b"invocations"):
            return PAYLOAD_BYTES
        if self._is_function_url(path, dict(scope["headers"]).get(b"host", b"")):
            return PAYLOAD_BYTES
        if path.startswith(PLATFORM) or not self._authenticator.knows(scope):
            return STRANGERS_BYTES
        return self._limits.body_bytes

    async def _serve(
        self, scope: Scope, request: HttpRequest, request_id: str, receive: Receive, send: Send
    ) -> Response | None:
        path = request.path
        if self._is_function_url(path, request.header.get(b"host", b"")):
            return await self._function_url(scope, request, request_id, send)
        if path.startswith(PACKAGES) and request.method == "GET":
            query = dict(request.query_pairs)
            return await self._routes.packages.serve(path[len(PACKAGES) :].decode(), query)
        if path == b"/" and request.method == "GET" and request.query.startswith(b"Action="):
            response = await self._by_link(scope, request, request_id)
            if response is not None:
                return response
        digest = None
        if len(request.body) > HASH_OFF_LOOP_BYTES:
            digest = await asyncio.to_thread(_sha256, request.body)
        caller = self._authenticator.caller(scope, request, request_id, digest)
        if request.method == "POST" and path.startswith((INVOKE, STREAM)):
            name, _, tail = path[len(INVOKE) :].partition(b"/")
            if tail in (b"invocations", b"response-streaming-invocations"):
                return await self._invoke(caller, name, tail, request, send)
        if path.startswith(PLATFORM):
            return await self._platform(caller, path[len(PLATFORM) :].decode(), request)
        return await self._operation(caller, request, receive)

    async def _invoke(
        self, caller: Caller, name: bytes, tail: bytes, request: HttpRequest, send: Send
    ) -> Response | None:
        function = unquote(name.decode("latin-1"))
        qualifier = None
        if request.query:
            qualifier = dict(request.query_pairs).get("Qualifier")
        invocations = self._routes.invocations
        if tail == b"invocations":
            return await invocations.invoke(
                caller, function, qualifier, request.header, request.body
            )
        return await invocations.stream(
            caller, function, qualifier, request.header, request.body, send
        )

    async def _platform(self, caller: Caller, name: str, request: HttpRequest) -> Response:
        platform = self._routes.platform
        if request.method == "POST":
            return await platform.do(self._with_origin(caller, request), name, request.body)
        return await platform.serve(caller, name, dict(request.query_pairs))

    def _with_origin(
        self, caller: Caller, request: HttpRequest, receive: Receive | None = None
    ) -> Caller:
        """The caller, with the execution that sent the request."""
        origin = self._routes.origin_of(caller, request.header)
        return msgspec.structs.replace(caller, origin=origin, receive=receive)

    async def _operation(self, caller: Caller, request: HttpRequest, receive: Receive) -> Response:
        route = self._router.route(request)
        operation = route.operation
        service = operation.model.name
        if service in CAUSING:
            caller = self._with_origin(caller, request, receive)
        handler = self._routes.operations[service].get(operation.name)
        if handler is None:
            message = f"The operation {operation.name} of {service} is not served here yet"
            raise NoRoute("UnknownOperationException", message, 404, operation.model)
        parsed = self._parser.parse(route, request)
        resource = resource_of(service, caller, parsed)
        self._authorizer.require(
            caller,
            f"{operation.model.signing_name}:{action_of(service, operation.name)}",
            resource,
            resource_policy=await self._policy(service, resource),
        )
        if service == "lambda" and (role := getattr(parsed, "Role", None)):
            self._authorizer.require_pass_role(caller, role, "lambda.amazonaws.com")
        values = await handler(caller, parsed)
        reply = self._serializer.reply(operation, values, caller.request_id)
        return Response(reply.status, reply.headers, reply.body)

    async def _policy(self, service: str, resource: str) -> str | None:
        """What the resource's own policy says; who has no resource of that name learns nothing of it here."""
        policy = self._routes.policies.get(service)
        if policy is None or resource == "*":
            return None
        try:
            return await policy(resource)
        except ForerunError:
            return None

    async def _by_link(
        self, scope: Scope, request: HttpRequest, request_id: str
    ) -> Response | None:
        """Answer a link that the platform sent to somebody, who signs nothing; ``None`` for what is no such link."""
        if scope_service(request) is not None:
            return None
        route = self._router.route(request)
        operation = route.operation
        service = operation.model.name
        handler = self._routes.linked.get(service, {}).get(operation.name)
        if handler is None:
            return None
        client = scope["client"]
        caller = Caller(
            account="",
            region=self._authenticator.region,
            principal_arn="",
            access_key_id="",
            request_id=request_id,
            source_ip=client[0] if client else "",
        )
        try:
            values = await handler(caller, self._parser.parse(route, request))
        except ForerunError as error:
            raise api_error(service, error) from None
        reply = self._serializer.reply(operation, values, request_id)
        return Response(reply.status, reply.headers, reply.body)

    async def _function_url(
        self, scope: Scope, request: HttpRequest, request_id: str, send: Send
    ) -> Response | None:
        if request.path.startswith(URLS):
            url_id, _, rest = request.path[len(URLS) :].partition(b"/")
            path = b"/" + rest
        else:
            url_id, path = request.header[b"host"].partition(b".")[0], request.path
        client = scope["client"]
        received = UrlRequest(
            method=request.method,
            path=path.decode("latin-1"),
            query=request.query.decode("latin-1"),
            headers=list(request.headers),
            body=request.body,
            source_ip=client[0] if client else "",
            protocol=f"HTTP/{scope['http_version']}",
        )
        return await self._routes.urls.serve(
            url_id.decode("latin-1"),
            received,
            request_id,
            lambda: self._authenticator.caller(scope, request, request_id, None),
            send,
        )

    async def _refuse(
        self,
        scope: Scope,
        request: HttpRequest | None,
        error: ApiError,
        request_id: str,
        send: Send,
    ) -> None:
        """Print an error in the form of the service that was asked."""
        model = error.model if isinstance(error, NoRoute) else None
        if model is None and request is not None:
            model = self._asked(request)
        reply = error_reply(model, error, request_id)
        if scope["method"] == "HEAD":
            reply.body = b""
        await send_response(send, Response(reply.status, reply.headers, reply.body))

    def _asked(self, request: HttpRequest) -> ServiceModel | None:
        try:
            return self._router.route(request).operation.model
        except NoRoute as error:
            return error.model


_JSON = [(b"content-type", b"application/json")]


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
