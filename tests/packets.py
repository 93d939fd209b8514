"""Carries packets from hosts to where they belong later than they were sent, or never: what ``tc netem`` does, where the kernel has it.

A host whose packets are to be late has a TUN device as its way out. What it sends there is kept here for a while and
handed to the network behind it through another one. All packets of a host arrive in order.
"""

import errno
import fcntl
import heapq
import os
import random
import selectors
import socket
import struct
import threading
import time
from contextlib import suppress

_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_MTU = 65536
_MOST_HELD = 20_000


def open_tun(name: str) -> int:
    """A TUN device in the network of this thread; it goes with its descriptor."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(fd)
        raise
    return fd


class Path:
    """From one host to one destination: ``delay_s`` and ``loss`` (0 to 1)."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.loss = 0.0


class Way:
    """The way out of one host: its ends, and paths by the destination's address (``b""``: to everybody else)."""

    def __init__(self, near: int, far: int) -> None:
        self.near = near
        self.far = far
        self.paths: dict[bytes, Path] = {b"": Path()}
        self.latest = 0.0

    def path(self, address: str) -> Path:
        """The path to an address; empty for all that have no path of their own."""
        return self.paths.setdefault(socket.inet_aton(address) if address else b"", Path())


class Carrier:
    """The thread that carries packets of all ways."""

    def __init__(self, seed: int = 0) -> None:
        self._selector = selectors.DefaultSelector()
        self._held: list[tuple[float, int, Way, bytes]] = []
        self._chance = random.Random(seed)
        self._number = 0
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._ways: list[Way] = []
        self._over = False
        self._thread = threading.Thread(target=self._work, name="packets", daemon=True)
        self._thread.start()

    def add(self, way: Way) -> None:
        """Carry what comes this way, too."""
        self._ways.append(way)
        self._selector.register(way.near, selectors.EVENT_READ, way)
        os.write(self._waker, b".")

    def close(self) -> None:
        """End; what is held is lost."""
        self._over = True
        os.write(self._waker, b".")
        self._thread.join(10)
        self._selector.close()
        for way in self._ways:
            os.close(way.near)
            os.close(way.far)
        os.close(self._woken)
        os.close(self._waker)

    def _work(self) -> None:
        while not self._over:
            wait = max(0.0, self._held[0][0] - time.monotonic()) if self._held else None
            for key, _ in self._selector.select(wait):
                if key.data is None:
                    with suppress(BlockingIOError):
                        os.read(self._woken, 4096)
                else:
                    self._take(key.data)
            now = time.monotonic()
            while self._held and self._held[0][0] <= now:
                _, _, way, packet = heapq.heappop(self._held)
                with suppress(OSError):
                    os.write(way.far, packet)

    def _take(self, way: Way) -> None:
        for _ in range(64):
            try:
                packet = os.read(way.near, _MTU)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EIO):
                    self._selector.unregister(way.near)
                return
            if packet[0] >> 4 != 4 or len(self._held) >= _MOST_HELD:
                continue
            path = way.paths.get(packet[16:20]) or way.paths[b""]
            if path.loss and self._chance.random() < path.loss:
                continue
            self._number += 1
            due = time.monotonic() + path.delay_s
            heapq.heappush(self._held, (due, self._number, way, packet))
