"""Watches connections that are opened by other means than HTTP: sockets, event loops, and how names were looked up.

Only streams count: what is sent as datagrams has no connection. A connection that is opened without waiting, by other
means than asyncio's, counts as opened when that was asked for.
"""

from __future__ import annotations

from forerun.runtime import calls
from forerun.runtime.calls import Call, Execution, inside, quietly
from forerun.runtime.instrument import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_STREAMS = (1, 5)  # SOCK_STREAM and SOCK_SEQPACKET
_MAX_NAMES = 1024
_MAX_OPENED = 1024
_names: dict[str, str] = {}


def change_socket(module: Any) -> None:
    """``socket``"""
    replace(module.socket, "connect", _connect)
    replace(module.socket, "connect_ex", _connect_ex)
    replace(module, "create_connection", _create_connection)
    replace(module, "getaddrinfo", _getaddrinfo)
    replace(module, "gethostbyname", _gethostbyname)


def change_urllib3(module: Any) -> None:
    """``urllib3.util.connection``"""
    replace(module, "create_connection", _create_connection)


def change_event_loop(module: Any) -> None:
    """``asyncio.base_events``"""
    replace(module.BaseEventLoop, "create_connection", _loop_create_connection)


def _getaddrinfo(usual: Callable[..., Any]) -> Callable[..., Any]:
    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        found = usual(host, *args, **kwargs)
        if calls.current is not None:
            quietly(_remember, host, [entry[4][0] for entry in found])
        return found

    return getaddrinfo


def _gethostbyname(usual: Callable[..., Any]) -> Callable[..., Any]:
    def gethostbyname(hostname: Any) -> Any:
        found = usual(hostname)
        if calls.current is not None:
            quietly(_remember, hostname, [found])
        return found

    return gethostbyname


def _remember(host: Any, addresses: list[str]) -> None:
    name = host.decode("ascii") if isinstance(host, bytes) else host
    if not isinstance(name, str) or not name or name in addresses:
        return
    if len(_names) >= _MAX_NAMES:
        _names.clear()
    for address in addresses:
        _names[address] = name


def _connect(usual: Callable[..., Any]) -> Callable[..., Any]:
    def connect(self: Any, address: Any) -> Any:
        execution = calls.current
        if execution is None or execution.within():
            return usual(self, address)
        call = quietly(_begin, execution, address, self.type)
        if call is None:
            return usual(self, address)
        try:
            result = usual(self, address)
        except BlockingIOError:
            quietly(_opened, execution, call, self)
            raise
        except BaseException as error:
            call.fail(error)
            raise
        quietly(_opened, execution, call, self)
        return result

    return connect


def _connect_ex(usual: Callable[..., Any]) -> Callable[..., Any]:
    def connect_ex(self: Any, address: Any) -> Any:
        execution = calls.current
        if execution is None or execution.within():
            return usual(self, address)
        call = quietly(_begin, execution, address, self.type)
        if call is None:
            return usual(self, address)
        try:
            code = usual(self, address)
        except BaseException as error:
            call.fail(error)
            raise
        # With a number it becomes an object of the class that the number has.
        refusal = OSError(code, "")
        if code and not isinstance(refusal, BlockingIOError):
            call.fail(refusal)
            return code
        quietly(_opened, execution, call, self)
        return code

    return connect_ex


def _create_connection(usual: Callable[..., Any]) -> Callable[..., Any]:
    def create_connection(address: Any, *args: Any, **kwargs: Any) -> Any:
        execution = calls.current
        if execution is None or execution.within():
            return usual(address, *args, **kwargs)
        call = quietly(_begin, execution, address)
        if call is None:
            return usual(address, *args, **kwargs)
        token = inside.set(call)
        try:
            sock = usual(address, *args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            quietly(inside.reset, token)
        quietly(_opened, execution, call, sock)
        return sock

    return create_connection


def _loop_create_connection(usual: Callable[..., Any]) -> Callable[..., Any]:
    async def create_connection(
        self: Any, protocol_factory: Any, host: Any = None, port: Any = None, **kwargs: Any
    ) -> Any:
        execution = calls.current
        call = None
        if execution is not None and host is not None and not execution.within():
            call = quietly(_begin, execution, (host, port))
        if call is None:
            return await usual(self, protocol_factory, host, port, **kwargs)
        token = inside.set(call)
        try:
            made = await usual(self, protocol_factory, host, port, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            quietly(inside.reset, token)
        call.end()
        return made

    return create_connection


def _begin(execution: Execution, address: Any, kind: int = 1) -> Call | None:
    return execution.connection(_name(address)) if kind in _STREAMS else None


def _name(address: Any) -> str:
    """``name:port`` with the name that was looked up, or ``unix:PATH``."""
    if isinstance(address, (str, bytes)):
        path = address.decode("utf-8", "replace") if isinstance(address, bytes) else address
        return "unix:" + path.replace("\0", "@")
    host, port = address[0], address[1]
    if isinstance(host, bytes):
        host = host.decode("ascii")
    name = _names.get(host, host)
    return "%s:%s" % ("[%s]" % name if ":" in name else name, port)


def _opened(execution: Execution, call: Call, sock: Any) -> None:
    quietly(call.measure, sock)
    call.end()
    if len(execution.opened) >= _MAX_OPENED:
        execution.opened.clear()
    execution.opened[sock.fileno()] = call
