"""Invoke and InvokeWithResponseStream: the one path of the API that is read by hand, because it is the hot one.

Everything an invocation carries stands in headers, path and query; the payload goes through untouched.
"""

import base64
import binascii
from collections.abc import Mapping
from random import Random

import msgspec

from forerun.aio import Clock, Send
from forerun.api.caller import Caller
from forerun.api.protocol import ApiError
from forerun.api.protocol.eventstream import invoke_complete, payload_chunks
from forerun.api.response import Response
from forerun.control.asynchronous import EventInvoker
from forerun.control.authorization import Authorizer
from forerun.control.deferring import LATEST_START, patience_s
from forerun.control.invoke import Invocation, Invoker, Reply
from forerun.control.monitoring import Monitor
from forerun.control.once import given_id
from forerun.control.registry import Registry, Resolved
from forerun.errors import InvalidInput, RequestTooLarge, Unsupported
from forerun.model import LogLine, Origin, parse_function_ref

SYNC_BYTES = 6 * 1024 * 1024
EVENT_BYTES = 1024 * 1024
TAIL_BYTES = 4096
CLIENT_CONTEXT_BYTES = 3583
_LATEST_START = LATEST_START.lower().encode()
EXECUTION_ID = b"x-forerun-execution-id"

_RAW = msgspec.json.Decoder(msgspec.Raw)


class Invocations:
    """Answers the two invoke operations."""

    def __init__(
        self,
        *,
        registry: Registry,
        authorizer: Authorizer,
        invoker: Invoker,
        events: EventInvoker,
        monitor: Monitor,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._authorizer = authorizer
        self._invoker = invoker
        self._events = events
        self._monitor = monitor
        self._clock = clock
        # Chooses versions; nothing depends on its being unguessable.
        self._random = Random()  # noqa: S311

    async def invoke(
        self,
        caller: Caller,
        function: str,
        qualifier: str | None,
        headers: Mapping[bytes, bytes],
        body: bytes,
    ) -> Response:
        """One Invoke request; raises ``ForerunError`` for everything but the function's own failure."""
        kind = headers.get(b"x-amz-invocation-type", b"RequestResponse")
        invocation = self._read(caller, headers, body, kind)
        resolved = await self._resolve(caller, function, qualifier)
        invocation.origin = self._origin(caller, resolved, headers)
        if (named := headers.get(EXECUTION_ID)) is not None:
            owner = resolved.function.account
            invocation.execution_id = given_id(named, caller.account, owner)
        answer = [(b"x-amzn-requestid", caller.request_id.encode())]
        if kind == b"Event":
            return await self._accept(resolved, invocation, headers, answer)
        if kind == b"DryRun":
            return Response(204, answer)
        reply = await self._invoker.run(resolved, invocation)
        answer += [
            (b"content-type", b"application/json"),
            (b"x-amz-executed-version", reply.record.version.encode()),
            (b"x-amzn-trace-id", reply.record.trace_id.encode()),
            *timing_headers(reply),
        ]
        if reply.error is not None:
            answer.append((b"x-amz-function-error", reply.error.encode()))
        if headers.get(b"x-amz-log-type") == b"Tail":
            answer.append((b"x-amz-log-result", tail(reply.log())))
        return Response(200, answer, reply.payload)

    async def _accept(
        self,
        resolved: Resolved,
        invocation: Invocation,
        headers: Mapping[bytes, bytes],
        answer: list[tuple[bytes, bytes]],
    ) -> Response:
        asked = headers.get(_LATEST_START)
        patience = patience_s(resolved, None if asked is None else asked.decode("latin-1"))
        invocation.invocation_type = "Event"
        await self._events.accept(resolved, invocation, patience_s=patience)
        if patience:
            answer.append((b"x-forerun-deferred", b"true"))
        return Response(202, answer)

    async def stream(
        self,
        caller: Caller,
        function: str,
        qualifier: str | None,
        headers: Mapping[bytes, bytes],
        body: bytes,
        send: Send,
    ) -> Response | None:
        """One InvokeWithResponseStream request; ``None`` when the answer was sent as a stream of events."""
        kind = headers.get(b"x-amz-invocation-type", b"RequestResponse")
        if kind == b"Event":
            raise InvalidInput("InvocationType Event cannot stream a response; use Invoke")
        invocation = self._read(caller, headers, body, kind)
        resolved = await self._resolve(caller, function, qualifier)
        if kind == b"DryRun":
            return Response(204, [(b"x-amzn-requestid", caller.request_id.encode())])
        invocation.origin = self._origin(caller, resolved, headers)
        if (named := headers.get(EXECUTION_ID)) is not None:
            owner = resolved.function.account
            invocation.execution_id = given_id(named, caller.account, owner)
        sink = _EventStream(send, caller.request_id, resolved.function.version)
        invocation.sink = sink
        reply = await self._invoker.run(resolved, invocation)
        error_code = error_details = None
        if reply.error is not None:
            error_code = reply.error_type or reply.error
            error_details = reply.payload.decode("utf-8", "replace")
        elif not reply.streamed:
            await sink.start(reply.content_type)
            await sink.write(reply.payload)
        log = tail(reply.log()).decode() if headers.get(b"x-amz-log-type") == b"Tail" else None
        await sink.end(
            invoke_complete(error_code=error_code, error_details=error_details, log_result=log)
        )
        return None

    async def _resolve(self, caller: Caller, function: str, qualifier: str | None) -> Resolved:
        ref = parse_function_ref(function)
        if ref.qualifier and qualifier and ref.qualifier != qualifier:
            raise InvalidInput(
                "The derived qualifier from the function name does not match the specified qualifier."
            )
        account, qualifier = ref.account or caller.account, ref.qualifier or qualifier
        pick = self._random.random()
        resolved = self._registry.peek(account, ref.name, qualifier, pick)
        if resolved is None:
            resolved = await self._registry.resolve(account, ref.name, qualifier, pick)
        self._authorizer.require(
            caller, "lambda:InvokeFunction", resolved.invoked_arn, resource_policy=resolved.policy
        )
        return resolved

    def _read(
        self, caller: Caller, headers: Mapping[bytes, bytes], body: bytes, kind: bytes
    ) -> Invocation:
        if kind not in (b"RequestResponse", b"Event", b"DryRun"):
            raise InvalidInput(
                f"1 validation error detected: Value '{kind.decode('latin-1')}' at 'invocationType' failed to "
                "satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]"
            )
        if b"x-amz-tenant-id" in headers:
            raise Unsupported("TenantId is not served yet; invoke the function without it")
        if b"x-amz-durable-execution-name" in headers:
            raise Unsupported(
                "Durable executions are not served yet; invoke without DurableExecutionName"
            )
        if _LATEST_START in headers and kind == b"RequestResponse":
            raise InvalidInput(
                f"{LATEST_START} is for InvocationType Event: nobody waits for those"
            )
        limit = EVENT_BYTES if kind == b"Event" else SYNC_BYTES
        if len(body) > limit:
            raise RequestTooLarge(
                f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
            )
        if body:
            try:
                _RAW.decode(body)
                if not body.isascii():
                    body.decode()
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise ApiError(
                    "InvalidRequestContentException",
                    f"Could not parse request body into json: {error}",
                ) from error
        return Invocation(
            request_id=caller.request_id,
            payload=body,
            received=self._clock.now(),
            client_context=_client_context(headers.get(b"x-amz-client-context")),
        )

    def _origin(self, caller: Caller, resolved: Resolved, headers: Mapping[bytes, bytes]) -> Origin:
        return self._monitor.recognise(
            headers,
            caller.access_key_id,
            resolved.function.account,
            trusted=True,
            caller=caller.account,
        )


def _client_context(header: bytes | None) -> str | None:
    if header is None:
        return None
    if len(header) > CLIENT_CONTEXT_BYTES:
        raise InvalidInput(f"Client context must be at most {CLIENT_CONTEXT_BYTES} bytes in Base64")
    try:
        text = base64.b64decode(header, validate=True)
        _RAW.decode(text)
        return text.decode()
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("Client context must be a valid Base64-encoded JSON object.") from error


def tail(lines: list[LogLine]) -> bytes:
    """The last 4 KB of a log, Base64."""
    text = "".join(f"{line.text}\n" for line in lines).encode()
    return base64.b64encode(text[-TAIL_BYTES:])


def timing_headers(reply: Reply) -> list[tuple[bytes, bytes]]:
    """How the call was served: start type, duration, and each step as ``Server-Timing`` (milliseconds since receipt).

    Where there are several hosts, on which one. Where somebody asked for that: whether it was executed, and whether the result of that time is still known.
    """
    record = reply.record
    timings = record.timings
    began = timings.received
    steps = "admitted", "acquired", "loaded", "started", "ended", "answered"
    timing = ",".join(
        f"{step};dur={(at - began) * 1000:.2f}"
        for step in steps
        if (at := getattr(timings, step)) > 0
    )
    headers = [
        (b"x-forerun-start-type", (record.start_type or "").encode()),
        (b"x-forerun-duration-ms", f"{record.duration_ms:.2f}".encode()),
        (b"server-timing", timing.encode()),
    ]
    if record.placed is not None:
        headers.append((b"x-forerun-host", record.placed.host.encode()))
    if reply.executed is not None:
        headers.append((b"x-forerun-executed", b"true" if reply.executed else b"false"))
        if not reply.result_kept:
            headers.append((b"x-forerun-result", b"not-kept"))
    return headers


class _EventStream:
    """Sends a function's response as ``application/vnd.amazon.eventstream``."""

    def __init__(self, send: Send, request_id: str, version: str) -> None:
        self._send = send
        self._request_id = request_id
        self._version = version
        self._started = False

    async def start(self, content_type: str) -> None:
        if self._started:
            return
        self._started = True
        headers = [
            (b"x-amzn-requestid", self._request_id.encode()),
            (b"content-type", b"application/vnd.amazon.eventstream"),
            (b"x-amzn-remapped-content-type", content_type.encode("latin-1", "replace")),
            (b"x-amz-executed-version", self._version.encode()),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def write(self, chunk: bytes) -> None:
        await self._send(
            {"type": "http.response.body", "body": payload_chunks(chunk), "more_body": True}
        )

    async def end(self, complete: bytes) -> None:
        await self.start("application/octet-stream")
        await self._send({"type": "http.response.body", "body": complete})
