"""Watches ``http.client``, and with it urllib, urllib3, requests and botocore, over TLS as well.

A call begins when the head of its request is complete (``endheaders``), whoever put it together; it ends when the
response was read to its end or closed, and with its headers if neither happens.
"""

from __future__ import annotations

from forerun.runtime import calls
from forerun.runtime.calls import HEADERS, Call, Execution, inside, quietly
from forerun.runtime.instrument import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_CALL = "_forerun_call"
_READS = ("read", "readinto", "read1", "readline")


def change_client(module: Any) -> None:
    """``http.client``"""
    connection, response = module.HTTPConnection, module.HTTPResponse
    replace(connection, "endheaders", _endheaders)
    replace(connection, "send", _send)
    replace(connection, "getresponse", _getresponse)
    replace(connection, "close", _close)
    replace(response, "_close_conn", _close_conn)
    for name in _READS:
        replace(response, name, _read)


def change_urllib3(module: Any) -> None:
    """``urllib3.response``: it reads chunks itself."""
    replace(module.HTTPResponse, "_update_chunk_length", _update_chunk_length)


def _endheaders(usual: Callable[..., Any]) -> Callable[..., Any]:
    def endheaders(self: Any, *args: Any, **kwargs: Any) -> Any:
        execution = calls.current
        if execution is None or execution.within():
            return usual(self, *args, **kwargs)
        call = quietly(_begin, execution, self)
        if call is None:
            return usual(self, *args, **kwargs)
        token = inside.set(call)
        try:
            return usual(self, *args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            quietly(inside.reset, token)

    return endheaders


def _begin(execution: Execution, connection: Any) -> Call | None:
    """Add what the request is to carry to its head; nothing for what is no request, or for a proxy."""
    lines: list[bytes] = connection._buffer  # noqa: SLF001  where all clients put the head together
    method, target = lines[0].decode("latin-1").split(" ")[:2]
    if method == "CONNECT":
        return None
    given = {}
    for line in lines[1:]:
        raw, _, value = line.partition(b":")
        name = raw.decode("latin-1").lower()
        if name in HEADERS:
            given[name] = value.strip().decode("latin-1")
    host, target = _address(connection, target)
    call = execution.request(method, host, target, given)
    opening = _opening(execution, connection.sock)
    if opening is not None:
        call.follow(opening)
    taken, added = call.edit(given)
    kept = [
        line for line in lines[1:] if line.partition(b":")[0].decode("latin-1").lower() not in taken
    ]
    kept += [("%s: %s" % header).encode("ascii") for header in added]
    connection.__dict__[_CALL] = call
    lines[1:] = kept
    call.tell()
    return call


def _address(connection: Any, target: str) -> tuple[str, str]:
    """``name:port`` and path: of the server that is meant, not of a proxy."""
    if connection._tunnel_host:  # noqa: SLF001
        port = connection._tunnel_port or connection.default_port  # noqa: SLF001
        return "%s:%s" % (connection._tunnel_host, port), target  # noqa: SLF001
    scheme, separator, rest = target.partition("://")
    if separator and "/" not in scheme:
        host, slash, path = rest.partition("/")
        host = host.rpartition("@")[2]
        named = host if ":" in host.rpartition("]")[2] else host + ":80"
        return named, slash + path
    host = connection.host
    if ":" in host:
        host = "[%s]" % host
    return "%s:%s" % (host, connection.port), target


def _opening(execution: Execution, sock: Any) -> Call | None:
    """The connection that was opened beforehand for this request."""
    return execution.opened.pop(sock.fileno(), None) if sock is not None else None


def _send(usual: Callable[..., Any]) -> Callable[..., Any]:
    def send(self: Any, data: Any) -> Any:
        call = self.__dict__.get(_CALL) if calls.current is not None else None
        # Within it the head for a proxy may be sent.
        if call is None or call.busy:
            return usual(self, data)
        call.busy = True
        try:
            quietly(_sent, call, data)
            return usual(self, data)
        except BrokenPipeError as error:
            # There may be a response nevertheless.
            call.error = type(error).__name__
            raise
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            call.busy = False

    return send


def _sent(call: Call, data: Any) -> None:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        return
    if call.unsent_head:
        # Some clients send a short body along with it.
        call.unsent_head = False
        data = bytes(data).partition(b"\r\n\r\n")[2]
    else:
        data = _unchunked(bytes(data))
    if data:
        call.body(data)


def _unchunked(data: bytes) -> bytes:
    """What a chunk holds; anything else as it is."""
    if not data.endswith(b"\r\n"):
        return data
    size = data[:32].partition(b"\r\n")[0]
    try:
        length = int(size, 16)
    except ValueError:
        return data
    start = len(size) + 2
    return data[start:-2] if length == max(0, len(data) - start - 2) else data


def _getresponse(usual: Callable[..., Any]) -> Callable[..., Any]:
    def getresponse(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = self.__dict__.pop(_CALL, None) if calls.current is not None else None
        if call is None:
            return usual(self, *args, **kwargs)
        quietly(call.measure, self.sock)
        try:
            response = usual(self, *args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        quietly(_answered, call, response)
        return response

    return getresponse


def _answered(call: Call, response: Any) -> None:
    call.answer(response.status)
    if response.isclosed() or response.length == 0:
        call.end()
    else:
        response.__dict__[_CALL] = call


def _close(usual: Callable[..., Any]) -> Callable[..., Any]:
    def close(self: Any) -> Any:
        # Nobody waited for the response.
        call = self.__dict__.pop(_CALL, None)
        if call is not None and not call.busy:
            call.end()
        return usual(self)

    return close


def _close_conn(usual: Callable[..., Any]) -> Callable[..., Any]:
    def _close_conn(self: Any) -> Any:
        call = self.__dict__.get(_CALL)
        if call is not None:
            if call.busy:
                call.closing = True
            else:
                call.end()
        return usual(self)

    return _close_conn


def _read(usual: Callable[..., Any]) -> Callable[..., Any]:
    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = self.__dict__.get(_CALL)
        # These methods call each other.
        if call is None or call.busy:
            return usual(self, *args, **kwargs)
        call.busy = True
        try:
            got = usual(self, *args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            call.busy = False
        call.received += got if isinstance(got, int) else len(got)
        # Whoever reads line by line up to the end does not close it.
        if call.closing or self.length == 0:
            call.end()
        return got

    return read


def _update_chunk_length(usual: Callable[..., Any]) -> Callable[..., Any]:
    def _update_chunk_length(self: Any) -> Any:
        begun = self.chunk_left is None
        result = usual(self)
        call = getattr(self._fp, _CALL, None) if begun else None
        if call is not None:
            call.received += self.chunk_left or 0
        return result

    return _update_chunk_length
