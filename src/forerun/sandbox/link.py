"""The host's end of a sandbox's wire and output pipe.

Plain non-blocking descriptors watched by the event loop: no stream objects, no task. Everything that was printed
before a frame was sent is in ``output`` before that frame is handed on.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable

from forerun.runtime.wire import MAX_FRAME, SPAN
from forerun.sandbox.output import Output

_LENGTH = struct.Struct("!I")
_READ = 65536
_LARGE_READ = 1 << 20
_OUTPUT_READS = 64
_LAST_READS = 16
_MAX_FDS = 4

OnFrame = Callable[[int, bytes, list[int]], None]


class Link:
    """Reads frames to ``on_frame(kind, body, descriptors)`` until ``on_closed()``, which is called once.

    A frame of impossible length closes the link: what is inside cannot be trusted to speak any more.
    """

    def __init__(
        self,
        sock: socket.socket,
        output_fd: int,
        output: Output,
        on_frame: OnFrame,
        on_closed: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._output_fd = output_fd
        self.output = output
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._buffer = bytearray()
        self._unsent: list[bytes] = []
        self._takes_fds = True
        self._open = True
        sock.settimeout(0)
        os.set_blocking(output_fd, False)
        self._loop.add_reader(sock, self._readable)
        self._loop.add_reader(output_fd, self._printed)

    def send(self, frame: bytes, fds: list[int] | None = None) -> None:
        """Write a frame; what the sandbox has no room for yet is sent when it has. Ignored once closed."""
        if not self._open:
            return
        if self._unsent:
            self._unsent.append(frame)
            return
        try:
            sent = socket.send_fds(self._sock, [frame], fds) if fds else self._sock.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the reader sees the end, too
        if sent < len(frame):
            self._unsent.append(frame[sent:])
            self._loop.add_writer(self._sock, self._writable)

    def no_more_descriptors(self) -> None:
        """From now on frames bring none: reading is cheaper, and the kernel drops what is sent nevertheless."""
        self._takes_fds = False

    def close(self) -> None:
        """Stop reading and close both descriptors."""
        if self._open:
            self._open = False
            self._drain()
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._loop.remove_reader(self._output_fd)
            self._sock.close()
            os.close(self._output_fd)

    def finish(self) -> None:
        """Take in what is still in the buffers of a sandbox that ended, then close."""
        for _ in range(_LAST_READS):
            if not self._open:
                break
            self._readable()
        self._end()

    def _readable(self) -> None:
        fds: list[int] = []
        try:
            if self._takes_fds:
                data, fds, _, _ = socket.recv_fds(self._sock, _READ, _MAX_FDS)
            else:
                data = self._sock.recv(_LARGE_READ if self._buffer else _READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        self._buffer += data
        self._handle(fds)

    def _handle(self, fds: list[int]) -> None:
        drained = False
        while self._open and len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if not 1 <= length <= MAX_FRAME:
                self._end()
                break
            if len(self._buffer) < _LENGTH.size + length:
                break
            kind = self._buffer[4]
            # What is printed has its place before what ends or begins something; a call has a time of its own.
            if kind != SPAN and not drained:
                self._drain()
                drained = True
            body = bytes(memoryview(self._buffer)[5 : 4 + length])
            del self._buffer[: 4 + length]
            self._on_frame(kind, body, fds)
            fds = []
        for fd in fds:
            os.close(fd)

    def _writable(self) -> None:
        while self._unsent:
            try:
                sent = self._sock.send(self._unsent[0])
            except BlockingIOError:
                return
            except OSError:
                self._unsent.clear()
                break
            if sent < len(self._unsent[0]):
                self._unsent[0] = self._unsent[0][sent:]
            else:
                self._unsent.pop(0)
        self._loop.remove_writer(self._sock)

    def _printed(self) -> None:
        if not self._drain(once=True):
            # All writers are gone; without this the loop would report it for ever.
            self._loop.remove_reader(self._output_fd)

    def drain(self) -> None:
        """Take in what was printed so far."""
        if self._open:
            self._drain()

    def _drain(self, *, once: bool = False) -> bool:
        """Move printed bytes into ``output``; false at the end of the pipe."""
        with contextlib.suppress(BlockingIOError):
            for _ in range(1 if once else _OUTPUT_READS):
                data = os.read(self._output_fd, _READ)
                if not data:
                    return False
                self.output.feed(data)
        return True

    def _end(self) -> None:
        if self._open:
            self.close()
            self._on_closed()
