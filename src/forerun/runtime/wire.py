"""The frames between a host and the Python runtime in a sandbox.

A frame on the stream::

    +----------------+---------+------------------+
    | length: u32 BE | kind: u8| body             |     length counts kind and body
    +----------------+---------+------------------+

INVOKE and RESULT bodies are ``u32 BE`` length of a JSON head, the head, then the payload as it is.
"""

import json
import socket
import struct

ASSIGN, INVOKE, RESTORE = 1, 2, 3
READY, INITED, RESULT, LOG = 16, 17, 18, 19
MAX_FRAME = 64 * 1024 * 1024

_HEAD = struct.Struct("!IB")
_U32 = struct.Struct("!I")


class WireClosed(Exception):
    """The other side is gone, or sent what is no frame."""


def pack(kind, body=b""):
    """One frame as bytes."""
    return _HEAD.pack(len(body) + 1, kind) + body


def pack_headed(kind, head, payload):
    """A frame whose body is a JSON head (a dict) and a payload (bytes)."""
    text = json.dumps(head).encode()
    return b"".join(
        (_HEAD.pack(1 + 4 + len(text) + len(payload), kind), _U32.pack(len(text)), text, payload)
    )


def split_headed(body):
    """The head (dict) and payload (bytes) of an INVOKE or RESULT body."""
    (size,) = _U32.unpack_from(body)
    return json.loads(body[4 : 4 + size]), bytes(body[4 + size :])


class Stream:
    """Blocking reader and writer of frames over a socket; collects passed file descriptors."""

    def __init__(self, sock):
        self.sock = sock
        self.fds = []
        self._buffer = bytearray()

    def receive(self):
        """The next ``(kind, body)``; descriptors that came with it are appended to ``fds``."""
        while True:
            if len(self._buffer) >= 4:
                (length,) = _U32.unpack_from(self._buffer)
                if not 1 <= length <= MAX_FRAME:
                    raise WireClosed("frame of %d bytes" % length)
                if len(self._buffer) >= 4 + length:
                    kind = self._buffer[4]
                    body = bytes(self._buffer[5 : 4 + length])
                    del self._buffer[: 4 + length]
                    return kind, body
            data, fds, _flags, _address = socket.recv_fds(self.sock, 262144, 4)
            self.fds.extend(fds)
            if not data:
                raise WireClosed("closed")
            self._buffer += data

    def send(self, frame):
        """Write one packed frame whole."""
        self.sock.sendall(frame)
