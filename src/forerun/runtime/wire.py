"""The frames between a host and the Python runtime in a sandbox.

A frame on the stream::

    +----------------+---------+------------------+
    | length: u32 BE | kind: u8| body             |     length counts kind and body
    +----------------+---------+------------------+

INVOKE and RESULT bodies are ``u32 BE`` length of a JSON head, the head, then the payload as it is.
"""

from __future__ import annotations

import socket
import struct
from json import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

ASSIGN, INVOKE, RESTORE = 1, 2, 3
READY, INITED, RESULT, LOG, FAILED, EXITED, SPAN = 16, 17, 18, 19, 20, 21, 22
MAX_FRAME = 64 * 1024 * 1024
_READ = 65536
_MAX_FDS = 8

_HEAD = struct.Struct("!IB")
_U32 = struct.Struct("!I")
_HEADED = struct.Struct("!IBI")
_LOG = struct.Struct("!IBQ")


class WireClosed(Exception):
    """The other side is gone, or sent what is no frame."""


def pack(kind: int, body: bytes = b"") -> bytes:
    """One frame as bytes."""
    return _HEAD.pack(len(body) + 1, kind) + body


def pack_headed(kind: int, head: Mapping[str, Any], payload: bytes) -> bytes:
    """A frame whose body is a JSON head and a payload."""
    return pack_encoded(kind, dumps(head).encode(), payload)


def pack_encoded(kind: int, head: bytes, payload: bytes) -> bytes:
    """``pack_headed`` for a head that is JSON already."""
    return _HEADED.pack(5 + len(head) + len(payload), kind, len(head)) + head + payload


def split_headed(body: bytes) -> tuple[dict[str, Any], bytes]:
    """The head and payload of an INVOKE or RESULT body; ``WireClosed`` when it is neither."""
    try:
        (size,) = _U32.unpack_from(body)
        head = loads(body[4 : 4 + size])
    except (struct.error, ValueError) as error:
        raise WireClosed("head: %s" % error) from None
    if not isinstance(head, dict) or 4 + size > len(body):
        raise WireClosed("head of %d bytes in a body of %d" % (size, len(body)))
    return head, body[4 + size :]


def pack_log(time_ms: int, text: str) -> bytes:
    """One log event as a LOG frame; lone surrogates become question marks, oversized text is cut."""
    body = text.encode("utf-8", "replace")[: MAX_FRAME - 9]
    return _LOG.pack(len(body) + 9, LOG, time_ms) + body


def split_log(body: bytes) -> tuple[int, str]:
    """Epoch milliseconds and text of a LOG body; ``WireClosed`` when it is none."""
    if len(body) < 8:
        raise WireClosed("log of %d bytes" % len(body))
    return int.from_bytes(body[:8], "big"), body[8:].decode("utf-8", "replace")


class Stream:
    """Blocking reader and writer of frames over a socket; collects passed file descriptors."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fds: list[int] = []
        self._buffer = bytearray()

    def receive(self, *, with_fds: bool = True) -> tuple[int, bytes]:
        """The next ``(kind, body)``; descriptors that came with it are appended to ``fds``.

        ``with_fds=False`` is for the frames that bring none: it is cheaper, and the kernel discards what comes.
        Raises ``WireClosed`` at the end of the stream or for a length that no frame has.
        """
        while True:
            buffered = len(self._buffer)
            need = _READ
            if buffered >= 4:
                (length,) = _U32.unpack_from(self._buffer)
                if not 1 <= length <= MAX_FRAME:
                    raise WireClosed("frame of %d bytes" % length)
                if buffered >= 4 + length:
                    return self._take(length)
                need = max(_READ, 4 + length - buffered)
            self._buffer += self._read(min(need, 1 << 20), with_fds=with_fds)

    def _take(self, length: int) -> tuple[int, bytes]:
        kind = self._buffer[4]
        body = bytes(self._buffer[5 : 4 + length])
        del self._buffer[: 4 + length]
        return kind, body

    def _read(self, size: int, *, with_fds: bool) -> bytes:
        try:
            if with_fds:
                data, fds, _flags, _address = socket.recv_fds(self.sock, size, _MAX_FDS)
                self.fds.extend(fds)
            else:
                data = self.sock.recv(size)
        except ConnectionError as error:
            raise WireClosed(str(error)) from None
        if not data:
            raise WireClosed("closed")
        return data

    def send(self, frame: bytes) -> None:
        """Write one packed frame whole; ``WireClosed`` when nobody reads any more."""
        try:
            self.sock.sendall(frame)
        except ConnectionError as error:
            raise WireClosed(str(error)) from None
