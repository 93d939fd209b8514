"""Watches the client of ``aiohttp``: a call begins when a connection is asked for, each redirect is a call of its own."""

from __future__ import annotations

import sys

from forerun.runtime import calls
from forerun.runtime.calls import HEADERS, Call, Execution, inside, quietly
from forerun.runtime.instrument import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CALL, _ADDED = "_forerun_call", "_forerun_added"
# What the client's own deadlines and the function's raise while a response is read.
_GIVEN_UP = frozenset(
    ("CancelledError", "TimeoutError", "ServerTimeoutError", "SocketTimeoutError")
)


def change_connector(module: Any) -> None:
    """``aiohttp.connector``"""
    replace(module.BaseConnector, "connect", _connect)


def change_messages(module: Any) -> None:
    """``aiohttp.client_reqrep``"""
    replace(module.ClientRequest, "send", _send)
    response = module.ClientResponse
    replace(response, "start", _start)
    for name in ("_response_eof", "release", "close"):
        replace(response, name, _finish)


def _connect(usual: Callable[..., Any]) -> Callable[..., Any]:
    async def connect(self: Any, req: Any, *args: Any, **kwargs: Any) -> Any:
        execution = calls.current
        call = None if execution is None else quietly(_begin, execution, req)
        if call is None:
            return await usual(self, req, *args, **kwargs)
        token = inside.set(call)
        try:
            return await usual(self, req, *args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            quietly(inside.reset, token)

    return connect


def _begin(execution: Execution, request: Any) -> Call | None:
    if execution.within() or request.method == "CONNECT":
        return None
    # A middleware may send one request several times.
    for name in getattr(request, _ADDED, ()):
        request.headers.popall(name, None)
    given = {}
    for name, value in request.headers.items():
        if name.lower() in HEADERS:
            given[name.lower()] = value
    url = request.url
    host = url.raw_host or ""
    host = "%s:%s" % ("[%s]" % host if ":" in host else host, url.port)
    call = execution.request(request.method, host, url.raw_path_qs, given)
    taken, added = call.edit(given)
    for name in taken:
        request.headers.popall(name, None)
    for name, value in added:
        request.headers[name] = value
    body = getattr(request.body, "_value", request.body)
    if isinstance(body, (bytes, bytearray)):
        call.body(bytes(body))
    elif given.get("content-length", "").isdigit():
        call.sent = int(given["content-length"])
    setattr(request, _ADDED, [name for name, _ in added])
    setattr(request, _CALL, call)
    call.tell()
    return call


def _send(usual: Callable[..., Any]) -> Callable[..., Any]:
    async def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = getattr(self, _CALL, None)
        if call is None:
            return await usual(self, *args, **kwargs)
        try:
            response = await usual(self, *args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        quietly(setattr, response, _CALL, call)
        return response

    return send


def _start(usual: Callable[..., Any]) -> Callable[..., Any]:
    async def start(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = getattr(self, _CALL, None)
        if call is None:
            return await usual(self, *args, **kwargs)
        try:
            started = await usual(self, *args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        quietly(_answered, call, self)
        return started

    return start


def _answered(call: Call, response: Any) -> None:
    call.answer(response.status)
    if response.closed:
        # There is no body to come.
        _note_end(call, response)


def _finish(usual: Callable[..., Any]) -> Callable[..., Any]:
    def finish(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = getattr(self, _CALL, None)
        if call is not None and call.answered and not call.ended:
            quietly(_note_end, call, self)
        return usual(self, *args, **kwargs)

    return finish


def _note_end(call: Call, response: Any) -> None:
    """The response was read, or given up: what it holds then is what went wrong while it was read."""
    content = response.content
    whole = content.is_eof() or getattr(content, "_eof", False)
    length = response.headers.get("Content-Length", "")
    # What is counted there was decompressed.
    call.received = (
        int(length) if whole and length.isdigit() else getattr(content, "total_bytes", 0)
    )
    error = None if whole else content.exception() or sys.exc_info()[1]
    if error is not None and (content.exception() or type(error).__name__ in _GIVEN_UP):
        call.fail(error)
    else:
        call.end()
