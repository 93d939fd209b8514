"""Watches the connection pools of ``httpcore``, which are beneath ``httpx``: the blocking and the asynchronous one.

The request gets headers for the time of the call only: who sends it again sends what he made.
"""

from __future__ import annotations

from forerun.runtime import calls
from forerun.runtime.calls import HEADERS, Call, Execution, inside, quietly
from forerun.runtime.instrument import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_BODILESS = (204, 304)


def change_pool(module: Any) -> None:
    """``httpcore._sync.connection_pool``"""
    replace(module.ConnectionPool, "handle_request", _handle_request)


def change_async_pool(module: Any) -> None:
    """``httpcore._async.connection_pool``"""
    replace(module.AsyncConnectionPool, "handle_async_request", _handle_async_request)


def _handle_request(usual: Callable[..., Any]) -> Callable[..., Any]:
    def handle_request(self: Any, request: Any) -> Any:
        execution = calls.current
        watch = None if execution is None else quietly(_watch, execution, request)
        if watch is None:
            return usual(self, request)
        try:
            response = usual(self, request)
        except BaseException as error:
            watch.call.fail(error)
            raise
        finally:
            quietly(watch.restore)
        return watch.answered(response, _Response)

    return handle_request


def _handle_async_request(usual: Callable[..., Any]) -> Callable[..., Any]:
    async def handle_async_request(self: Any, request: Any) -> Any:
        execution = calls.current
        watch = None if execution is None else quietly(_watch, execution, request)
        if watch is None:
            return await usual(self, request)
        try:
            response = await usual(self, request)
        except BaseException as error:
            watch.call.fail(error)
            raise
        finally:
            quietly(watch.restore)
        return watch.answered(response, _AsyncResponse)

    return handle_async_request


def _watch(execution: Execution, request: Any) -> _Watch | None:
    if execution.within() or request.method == b"CONNECT":
        return None
    return _Watch(execution, request)


class _Watch:
    """One request on its way."""

    def __init__(self, execution: Execution, request: Any) -> None:
        self._request = request
        self._headers, self._body = request.headers, request.stream
        given = {}
        for raw, value in self._headers:
            name = raw.lower().decode("latin-1")
            if name in HEADERS:
                given[name] = value.decode("latin-1")
        method = request.method.decode("latin-1")
        host, target = _address(request.url)
        self.call = call = execution.request(method, host, target, given)
        taken, added = call.edit(given)
        request.headers = [
            pair for pair in self._headers if pair[0].lower().decode("latin-1") not in taken
        ] + [(name.encode("ascii"), value.encode("ascii")) for name, value in added]
        request.stream = _Body(call, self._body)
        self._token = inside.set(call)
        call.tell()

    def restore(self) -> None:
        """Give the request back as it was."""
        self._request.headers, self._request.stream = self._headers, self._body
        inside.reset(self._token)

    def answered(self, response: Any, wrapper: Callable[[Call, Any], Any]) -> Any:
        """``response``, whose end will be noticed."""
        quietly(self._answered, response, wrapper)
        return response

    def _answered(self, response: Any, wrapper: Callable[[Call, Any], Any]) -> None:
        self.call.answer(response.status)
        if self.call.method == "HEAD" or response.status in _BODILESS:
            self.call.end()
        else:
            response.stream = wrapper(self.call, response.stream)


def _address(url: Any) -> tuple[str, str]:
    host = url.host.decode("latin-1")
    port = url.port or _PORTS.get(url.scheme.decode("latin-1"), 0)
    return "%s:%s" % ("[%s]" % host if ":" in host else host, port), url.target.decode("latin-1")


class _Body:
    """The body of a request, counted as it is sent."""

    def __init__(self, call: Call, stream: Any) -> None:
        self._call = call
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            quietly(self._call.body, chunk)
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            quietly(self._call.body, chunk)
            yield chunk


class _Response:
    """The body of a response; its end is that of the call."""

    def __init__(self, call: Call, stream: Any) -> None:
        self._call = call
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        call = self._call
        try:
            for chunk in self._stream:
                call.received += len(chunk)
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            call.fail(error)
            raise
        call.end()

    def close(self) -> None:
        self._call.end()
        if hasattr(self._stream, "close"):
            self._stream.close()


class _AsyncResponse:
    """`_Response` for asynchronous clients."""

    def __init__(self, call: Call, stream: Any) -> None:
        self._call = call
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        call = self._call
        try:
            async for chunk in self._stream:
                call.received += len(chunk)
                yield chunk
        except GeneratorExit:
            raise
        except BaseException as error:
            call.fail(error)
            raise
        call.end()

    async def aclose(self) -> None:
        self._call.end()
        if hasattr(self._stream, "aclose"):
            await self._stream.aclose()
