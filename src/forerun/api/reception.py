"""The front door of one of several control planes: what it answers by itself, and what the one with the duties answers.

By itself, with what it remembers or reads of the configuration: invocations, function URLs, who somebody is (STS), its health, and
how the cluster is. Everything else changes the configuration, or tells of what only the holder knows: that is passed on.
"""

import logging
from collections.abc import Awaitable, Callable

from forerun.aio import App, Receive, Scope, Send
from forerun.api.application import HEALTH, INVOKE, STREAM, URLS, Application
from forerun.api.protocol import ApiError
from forerun.api.response import Response, send_response
from forerun.errors import ForerunError

log = logging.getLogger("forerun.api")

CLUSTER = b"/forerun/cluster"
RETRY_AFTER_S = 2


class NoHolder(ForerunError):
    """No control plane has the duties at the moment, or the one that has them cannot be reached."""


class Reception:
    """``here`` answers what this control plane answers, ``elsewhere`` has the rest answered; it raises ``NoHolder``.

    ``ready`` is awaited before anything is answered here: it sees to it that who may do what is known as it is now.
    """

    def __init__(
        self,
        here: Application,
        elsewhere: App,
        *,
        region: str,
        ready: Callable[[], Awaitable[None] | None],
    ) -> None:
        self._here = here
        self._elsewhere = elsewhere
        self._ready = ready
        self._url_suffix = f".lambda-url.{region}.".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["raw_path"] == HEALTH:
            await self._here(scope, receive, send)
        elif is_answered_here(scope, self._url_suffix):
            try:
                waiting = self._ready()
                if waiting is not None:
                    await waiting
            except ForerunError as error:
                await self._refuse(scope, send, f"Configuration cannot be read: {error.message}")
            else:
                await self._here(scope, receive, send)
        else:
            try:
                await self._elsewhere(scope, receive, send)
            except NoHolder as error:
                await self._refuse(scope, send, error.message)

    async def _refuse(self, scope: Scope, send: Send, message: str) -> None:
        """A refusal in the form of the service that was asked, which says when to come again."""

        async def with_retry(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                assert isinstance(headers, list)
                headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
            await send(message)

        if scope["raw_path"].startswith(b"/console"):
            await send_response(with_retry, Response(503, _TEXT, message.encode()))
            return
        error = ApiError("ServiceUnavailable", f"{message} Try again.", 503)
        await self._here.refuse(scope, error, with_retry)


_TEXT = [(b"content-type", b"text/plain; charset=utf-8")]


def is_answered_here(scope: Scope, url_suffix: bytes) -> bool:
    """Whether any control plane answers it; ``url_suffix`` is what hosts of function URLs have behind their id and before the rest."""
    path: bytes = scope["raw_path"]
    signed = host = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            signed = value
        elif name == b"host":
            host = value
    if path.startswith(URLS) or url_suffix in host:
        return True
    if path.startswith((INVOKE, STREAM)):
        # A bucket may be called as an API is.
        foreign = b"/s3/aws4_request" in signed or b"%2Fs3%2F" in scope["query_string"]
        return scope["method"] == "POST" and path.endswith(b"invocations") and not foreign
    if path == CLUSTER:
        return True
    return path == b"/" and b"/sts/aws4_request" in signed
