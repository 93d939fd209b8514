"""A load client that costs little: one keep-alive connection, raw sockets, signed headers made once.

The same client measures Forerun and its peers. A request must answer 2xx and contain ``expect``; anything else is an
error and no sample.
"""

import re
import socket
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

now = time.perf_counter
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """One HTTP request that is repeated. ``credentials`` of AWS make it a signed one."""

    url: str
    body: bytes = b"{}"
    expect: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    def signed(self, environment: dict[str, str], service: str = "lambda") -> "Target":
        request = AWSRequest("POST", self.url, data=self.body, headers=dict(self.headers))
        credentials = Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
        SigV4Auth(credentials, service, environment["AWS_REGION"]).add_auth(request)
        return Target(self.url, self.body, self.expect, dict(request.headers.items()))


class BadAnswer(Exception):
    """Not 2xx, or without the expected bytes."""


class Connection:
    """One keep-alive connection."""

    def __init__(self, target: Target, timeout: float = 60.0) -> None:
        parts = urlsplit(target.url)
        self.target = target
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Host": parts.netloc, "Content-Length": str(len(target.body)), **target.headers}
        head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        self._request = head.encode() + b"\r\n" + target.body
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def close(self) -> None:
        self._socket.close()

    def once(self) -> float:
        """Seconds of one request and its whole answer."""
        began = now()
        self._socket.sendall(self._request)
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        body = self._body(head)
        took = now() - began
        status = int(head.split(b" ", 2)[1])
        if not 200 <= status < 300 or self.target.expect not in body or b"x-amz-function-error" in head.lower():
            raise BadAnswer(f"{status} {body[:300]!r}")
        return took

    def _body(self, head: bytes) -> bytes:
        match = _LENGTH.search(head)
        if match:
            length = int(match[1])
            while len(self._buffer) < length:
                self._more()
            body, self._buffer = self._buffer[:length], self._buffer[length:]
            return body
        body = b""
        while True:
            while b"\r\n" not in self._buffer:
                self._more()
            line, self._buffer = self._buffer.split(b"\r\n", 1)
            size = int(line.split(b";")[0], 16)
            while len(self._buffer) < size + 2:
                self._more()
            body, self._buffer = body + self._buffer[:size], self._buffer[size + 2 :]
            if size == 0:
                return body

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("closed by the server")
        self._buffer += data


@dataclass
class Samples:
    """Latencies in seconds, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0
    last_error: str = ""
    wall: float = 0.0

    def ms(self, quantile: float) -> float:
        """A quantile (0 to 1) in milliseconds, by linear interpolation."""
        ordered = sorted(self.seconds)
        if not ordered:
            return float("nan")
        place = (len(ordered) - 1) * quantile
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return (ordered[low] + (ordered[high] - ordered[low]) * (place - low)) * 1000

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.wall if self.wall else float("nan")

    def fail(self, error: Exception) -> None:
        self.errors += 1
        self.last_error = repr(error)[:300]


def sequential(target: Target, count: int, warmup: int = 50) -> Samples:
    """One connection, one request after the other."""
    samples = Samples()
    connection = Connection(target)
    began = now()
    for index in range(count + warmup):
        try:
            took = connection.once()
        except (BadAnswer, OSError) as error:
            samples.fail(error)
            connection.close()
            connection = Connection(target)
            if samples.errors > 20:
                break
            continue
        if index >= warmup:
            samples.seconds.append(took)
    samples.wall = now() - began
    connection.close()
    return samples


def first_calls(targets: list[Target], before=lambda index: None) -> Samples:
    """One request to each target over a new connection; ``before`` runs untimed ahead of each."""
    samples = Samples()
    for index, target in enumerate(targets):
        before(index)
        connection = Connection(target)
        try:
            samples.seconds.append(connection.once())
        except (BadAnswer, OSError) as error:
            samples.fail(error)
        connection.close()
    return samples


def at_once(targets: list[Target]) -> Samples:
    """All targets at the same moment, a thread and a connection each; ``wall`` is until the last answer."""
    samples = Samples()
    connections = [Connection(target) for target in targets]
    gate = threading.Barrier(len(targets) + 1)

    def call(connection: Connection) -> None:
        gate.wait()
        try:
            samples.seconds.append(connection.once())
        except (BadAnswer, OSError) as error:
            samples.fail(error)

    threads = [threading.Thread(target=call, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()
    gate.wait()
    began = now()
    for thread in threads:
        thread.join(120)
    samples.wall = now() - began
    for connection in connections:
        connection.close()
    return samples
