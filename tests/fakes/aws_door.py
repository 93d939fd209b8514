"""boto3 clients whose requests go through the protocol engine to handlers of this process: no socket, no signature."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from forerun.api.caller import Caller
from forerun.api.errors import api_error
from forerun.api.protocol import (
    ApiError,
    HttpRequest,
    Models,
    Parser,
    Router,
    Serializer,
    error_reply,
)
from forerun.errors import ForerunError

Handler = Callable[[Caller, Any], Awaitable[dict[str, Any]]]


class Door:
    """``await door("iam", "get_role", RoleName="r")`` runs the call; errors are boto3's."""

    def __init__(self, operations: Mapping[str, Mapping[str, Handler]], caller: Caller) -> None:
        self.caller = caller
        self._operations = operations
        self._router = Router(Models(), tuple(operations))
        self._parser = Parser()
        self._serializer = Serializer()
        self._clients: dict[str, Any] = {}
        self._loop = asyncio.get_running_loop()

    async def __call__(self, service: str, method: str, **arguments: Any) -> dict[str, Any]:
        client = self._clients.get(service)
        if client is None:
            client = self._clients[service] = await asyncio.to_thread(self._client, service)
        answer = await asyncio.to_thread(getattr(client, method), **arguments)
        answer.pop("ResponseMetadata")
        return answer

    def _client(self, service: str) -> Any:
        client = boto3.client(
            service,
            region_name="us-home-1",
            endpoint_url="http://127.0.0.1:1",
            aws_access_key_id="AKIATEST",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        )
        client.meta.events.register(f"before-send.{service}.*", self._send)
        return client

    def _send(self, request: Any, **_: Any) -> AWSResponse:
        future = asyncio.run_coroutine_threadsafe(self._serve(request), self._loop)
        return future.result(30)

    async def _serve(self, request: Any) -> AWSResponse:
        url = urlsplit(request.url)
        body = request.body or b""
        headers = [
            (name.lower().encode(), value if isinstance(value, bytes) else str(value).encode())
            for name, value in request.headers.items()
        ]
        body = body.encode() if isinstance(body, str) else body
        asked = HttpRequest(request.method, url.path.encode(), url.query.encode(), headers, body)
        route = self._router.route(asked)
        operation = route.operation
        try:
            parsed = self._parser.parse(route, asked)
            handler = self._operations[operation.model.name][operation.name]
            values = await handler(self.caller, parsed)
            reply = self._serializer.reply(operation, values, self.caller.request_id)
        except ForerunError as error:
            reply = error_reply(operation.model, api_error(operation.model.name, error), "r")
        except ApiError as error:
            reply = error_reply(operation.model, error, "r")
        printed = {name.decode(): value.decode() for name, value in reply.headers}
        return AWSResponse(request.url, reply.status, _Headers(printed), _Raw(reply.body))


class _Headers(dict[str, str]):
    """Names without regard to case, as botocore's transport gives them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__({name.lower(): value for name, value in values.items()})

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())


class _Raw:
    """A body as urllib3 gives it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> list[bytes]:
        return [self._body]
