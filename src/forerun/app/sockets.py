"""Sockets that a process opens before anything is served on them: listening ones, and the one for X-Ray's daemon."""

import asyncio
import socket
from collections.abc import Callable

from forerun.errors import ForerunError

_DATAGRAM = 65536
_AT_ONCE = 64


def listen(host: str, port: int, *, option: str = "--listen") -> socket.socket:
    """A listening address that is ours; port 0 takes a free one. ``option`` chooses another. Raises ``ForerunError``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ForerunError(
            f"cannot listen on {host}:{port}: {error.strerror}. Choose another with {option} HOST:PORT"
        ) from error
    return listener


class DaemonSocket:
    """Where functions that are not in a network of their own find X-Ray's daemon.

    What comes is given to ``take``: whose it is, the socket does not tell.
    """

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take
        self._socket: socket.socket | None = None

    def open(self) -> str:
        """Its address, ``HOST:PORT``."""
        sock = self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(0)
        sock.bind(("127.0.0.1", 0))
        asyncio.get_running_loop().add_reader(sock, self._read, sock)
        host, port = sock.getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        """Take no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    def _read(self, sock: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = sock.recv(_DATAGRAM)
            except OSError:
                return
            self._take(data)
