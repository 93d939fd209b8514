"""S3's own door: the head of a request is verified, routed and allowed before anything of its body is read.

Bodies of objects stream to the disk and from it, at the pace of the slower side; a client that leaves ends the work.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from forerun.aio import Receive, Scope, Send, TaskOwner
from forerun.api.authentication import Authenticator
from forerun.api.caller import Caller
from forerun.api.errors import api_error
from forerun.api.protocol import (
    ApiError,
    HttpRequest,
    Models,
    NoRoute,
    Operation,
    Parser,
    Router,
    Serializer,
    error_reply,
)
from forerun.api.protocol.serializer import identity_headers
from forerun.api.response import Response, send_response
from forerun.api.s3.addressing import Place, bucket_of_host, is_signed, place_of
from forerun.api.s3.asking import Answer, Asked, Handler
from forerun.api.s3.body import RequestBody
from forerun.api.s3.conditions import not_implemented
from forerun.api.s3.rights import Rights, action_of
from forerun.errors import AccessDenied, ForerunError
from forerun.model import Origin
from forerun.sources.buckets import Bucket, Buckets, errors, may_be_name

log = logging.getLogger("forerun.s3")

# A list of 10,000 parts with checksums, or of 1,000 keys of 1,024 bytes, and what surrounds them.
DOCUMENT_BYTES = 8 * 1024 * 1024
# A body that nobody wants is read to its end, unkept, as long as it is no longer than this.
DRAINED_BYTES = 16 * 1024 * 1024
STALL_S = 120.0
# Their bodies are objects; each is read by its handler.
_STREAMED = frozenset({"PutObject", "UploadPart"})
_LONG = frozenset({"ListObjects", "ListObjectsV2", "ListObjectVersions", "ListParts"})
# They are about no bucket, or about one that need not be.
_UNBOUND = frozenset({"ListBuckets", "CreateBucket"})
# Whatever a policy says: who may change it decides about everything, and is of the bucket's account.
_OWNERS = frozenset({"PutBucketPolicy", "GetBucketPolicy", "DeleteBucketPolicy"})
# Each key is asked about by itself.
_BY_KEY = frozenset({"DeleteObjects"})


class S3Service(NamedTuple):
    """What is behind the door: handlers by operation, the buckets, and who may do what."""

    handlers: Mapping[str, Handler]
    buckets: Buckets
    rights: Rights


class S3Door:
    """Serves S3 as an ASGI application does, once it was asked whether a request is one of its own."""

    def __init__(
        self,
        service: S3Service,
        *,
        models: Models,
        authenticator: Authenticator,
        origin_of: Callable[[Caller, Mapping[bytes, bytes]], Origin],
        hosts: Collection[bytes] = (b"localhost",),
    ) -> None:
        self._service = service
        self._models = models
        self._router = Router(models, ("s3",))
        self._parser = Parser()
        self._serializer = Serializer()
        self._authenticator = authenticator
        self._origin_of = origin_of
        self._hosts = hosts
        self._owner = TaskOwner("s3")

    async def public(self, scope: Scope) -> bool:
        """Whether an unsigned request is for a bucket whose policy may let everybody in."""
        host = dict(scope["headers"]).get(b"host", b"")
        try:
            place = place_of(scope["raw_path"], bucket_of_host(host, self._hosts))
            if not may_be_name(place.bucket):
                return False
            bucket = await self._service.buckets.find(place.bucket)
        except (ApiError, ForerunError):
            return False
        return bool(bucket.config.policy)

    async def serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """Answer one request."""
        begun = _Begun(receive)
        try:
            answer = await self._answer(scope, begun, request_id)
        except ApiError as error:
            answer = self._refusal(scope, error, request_id)
        except ForerunError as known:
            answer = self._refusal(scope, api_error("s3", known), request_id)
        except Exception:
            log.exception("request %s failed: %s %s", request_id, scope["method"], scope["path"])
            text = "We encountered an internal error. Please try again."
            fault = ApiError("InternalError", text, 500)
            answer = self._refusal(scope, fault, request_id)
        if not begun.at_all and _has_more(scope):
            # A body that is held back will not come any more, and a long one is not worth waiting for its end.
            answer = answer._replace(headers=[*answer.headers, (b"connection", b"close")])
        if isinstance(answer, Response):
            await send_response(send, answer)
        else:
            await self._send(answer, request_id, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> Response | Answer:
        request = HttpRequest(
            scope["method"], scope["raw_path"], scope["query_string"], scope["headers"]
        )
        host = bucket_of_host(request.header.get(b"host", b""), self._hosts)
        place = place_of(request.path, host)
        signed = is_signed(scope)
        if signed is None:
            caller, head = self._nobody(scope, request, request_id), None
        else:
            caller, head = self._authenticator.head(scope, request, place.path, request_id)
            origin = self._origin_of(caller, request.header)
            caller = msgspec.structs.replace(caller, origin=origin)
        asked_path = HttpRequest(request.method, place.path, request.query, request.headers)
        route = self._router.route_in("s3", asked_path)
        operation = route.operation
        handler = self._service.handlers.get(operation.name)
        if handler is None:
            raise not_implemented(f"The operation {operation.name} of s3 is not served here")
        bucket = await self._bucket(operation, place)
        body = RequestBody(receive, request.header, head)
        self._allow(operation, caller, bucket or place.bucket, place.key, request)
        if operation.name not in _STREAMED and operation.input and operation.input.payload:
            asked_path.body = await body.whole(DOCUMENT_BYTES)
        asked = Asked(
            caller=caller,
            request=self._parser.parse(route, asked_path),
            header=request.header,
            body=body,
            own=bucket,
            key=place.key,
            anonymous=signed is None,
        )
        values = await handler(asked)
        if isinstance(values, Answer):
            return values
        if operation.name in _LONG:
            # A thousand rows are some milliseconds of work, for which the loop is needed elsewhere.
            reply = await asyncio.to_thread(self._serializer.reply, operation, values, request_id)
        else:
            reply = self._serializer.reply(operation, values, request_id)
        return Response(reply.status, reply.headers, reply.body)

    async def _bucket(self, operation: Operation, place: Place) -> Bucket | None:
        if operation.name in _UNBOUND:
            return None
        if not may_be_name(place.bucket):
            raise errors.BadName
        return await self._service.buckets.find(place.bucket)

    def _allow(
        self,
        operation: Operation,
        caller: Caller,
        bucket: Bucket | str,
        key: str,
        request: HttpRequest,
    ) -> None:
        expected = request.header.get(b"x-amz-expected-bucket-owner")
        if isinstance(bucket, Bucket) and expected not in (None, bucket.account.encode()):
            raise AccessDenied("Access Denied")
        if operation.name in _BY_KEY:
            return
        if not caller.account and operation.name in _UNBOUND:
            raise AccessDenied("Access Denied")
        context: dict[str, str] = {}
        if operation.name.startswith("ListObject"):
            given = dict(request.query_pairs)
            names = {"s3:prefix": "prefix", "s3:delimiter": "delimiter", "s3:max-keys": "max-keys"}
            context = {key: given[name] for key, name in names.items() if name in given}
        self._service.rights.require(
            caller, action_of(operation.name), bucket, key, context or None
        )
        if (
            operation.name in _OWNERS
            and isinstance(bucket, Bucket)
            and bucket.account != caller.account
        ):
            text = "The specified method is not allowed against this resource."
            raise ApiError("MethodNotAllowed", text, 405)

    def _nobody(self, scope: Scope, request: HttpRequest, request_id: str) -> Caller:
        client = scope["client"]
        return Caller(
            account="",
            region=self._authenticator.region,
            principal_arn="",
            access_key_id="",
            request_id=request_id,
            source_ip=client[0] if client else "",
            user_agent=request.header.get(b"user-agent", b"").decode("latin-1"),
        )

    def _refusal(self, scope: Scope, error: ApiError, request_id: str) -> Response:
        model = error.model if isinstance(error, NoRoute) else None
        reply = error_reply(model or self._models.load("s3"), error, request_id)
        headers = reply.headers
        if "Region" in error.members:
            headers.append((b"x-amz-bucket-region", str(error.members["Region"]).encode()))
        body = b"" if scope["method"] == "HEAD" else reply.body
        return Response(reply.status, headers, body)

    async def _send(self, answer: Answer, request_id: str, receive: Receive, send: Send) -> None:
        headers = [*identity_headers(self._models.load("s3"), request_id), *answer.headers]
        if answer.length is not None and answer.status != 304:
            headers.append((b"content-length", str(answer.length).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if answer.content is None:
            await send({"type": "http.response.body", "body": b""})
            return
        gone = asyncio.Event()
        watch = self._owner.spawn(_watch(receive, gone), name="watch")
        try:
            await self._stream(answer.content, send, gone)
        except (ForerunError, TimeoutError) as error:
            # The status is sent; what is left is to end the connection before its time.
            log.warning("request %s was not answered to its end: %s", request_id, error)
        finally:
            watch.cancel()

    async def _stream(self, content: Any, send: Send, gone: asyncio.Event) -> None:
        async with aclosing(content):
            async for part in content:
                if gone.is_set():
                    return
                async with asyncio.timeout(STALL_S):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _has_more(scope: Scope) -> bool:
    """Whether something follows the head that hinders the next request on this connection."""
    for name, value in scope["headers"]:
        if name == b"expect":
            return True
        if name == b"content-length" and value.isdigit() and int(value) > DRAINED_BYTES:
            return True
    return False


class _Begun:
    """``receive``, and whether it was ever asked."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.at_all = False

    async def __call__(self) -> dict[str, Any]:
        self.at_all = True
        return await self._receive()


async def _watch(receive: Receive, gone: asyncio.Event) -> None:
    """Until the client leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()
