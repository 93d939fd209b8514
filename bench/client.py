"""A load client that costs little: one keep-alive connection, raw sockets, signed headers made once.

The same client measures Forerun and its peers. A request must answer 2xx and contain ``expect``; anything else is an
error and no sample.
"""

import re
import socket
import statistics
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

now = time.perf_counter
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_STEP = re.compile(rb"(\w+);dur=([\d.]+)")
_START_TYPE = re.compile(rb"x-forerun-start-type:\s*(\w+)", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """One HTTP request that is repeated. ``credentials`` of AWS make it a signed one."""

    url: str
    body: bytes = b"{}"
    expect: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"

    def signed(self, environment: dict[str, str], service: str = "lambda") -> "Target":
        request = AWSRequest(self.method, self.url, data=self.body, headers=dict(self.headers))
        credentials = Credentials(
            environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]
        )
        SigV4Auth(credentials, service, environment["AWS_REGION"]).add_auth(request)
        return replace(self, headers=dict(request.headers.items()))


class BadAnswer(Exception):
    """Not 2xx, or without the expected bytes."""


class Connection:
    """One keep-alive connection."""

    def __init__(self, target: Target, timeout: float = 60.0) -> None:
        parts = urlsplit(target.url)
        self.aim(target)
        self._socket = socket.create_connection((parts.hostname, parts.port or 80), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.head = b""
        self.body = b""

    def aim(self, target: Target) -> None:
        """Send this request from now on, to the same server."""
        parts = urlsplit(target.url)
        self.target = target
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Host": parts.netloc, "Content-Length": str(len(target.body)), **target.headers}
        head = f"{target.method} {path} HTTP/1.1\r\n" + "".join(
            f"{k}: {v}\r\n" for k, v in headers.items()
        )
        self._request = head.encode() + b"\r\n" + target.body

    def close(self) -> None:
        self._socket.close()

    def once(self) -> float:
        """Seconds of one request and its whole answer, which ``head`` and ``body`` then hold."""
        began = now()
        self._socket.sendall(self._request)
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        body = self._body(head)
        took = now() - began
        self.head, self.body = head, body
        status = int(head.split(b" ", 2)[1])
        if (
            not 200 <= status < 300
            or self.target.expect not in body
            or b"x-amz-function-error" in head.lower()
        ):
            raise BadAnswer(f"{status} {body[:300]!r}")
        return took

    def handler_s(self) -> float:
        """Seconds the handler took in the last answer, as its ``Server-Timing`` tells; 0 where it tells none."""
        steps = self.steps_ms()
        return (steps.get("ended", 0.0) - steps.get("started", 0.0)) / 1000

    def steps_ms(self) -> dict[str, float]:
        """When each step of the last answer was reached, milliseconds after the platform received the call."""
        return {name.decode(): float(at) for name, at in _STEP.findall(self.head.lower())}

    def start_type(self) -> str:
        """How the sandbox of the last answer was come by."""
        match = _START_TYPE.search(self.head)
        return match[1].decode() if match else ""

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
    """Latencies in seconds, what of each the handler did not take, start types, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    starts: Counter[str] = field(default_factory=Counter)
    steps: list[dict[str, float]] = field(default_factory=list)
    errors: int = 0
    last_error: str = ""
    wall: float = 0.0

    def ms(self, quantile: float) -> float:
        """A quantile (0 to 1) in milliseconds, by linear interpolation."""
        return _quantile(self.seconds, quantile) * 1000

    def added_ms(self, quantile: float) -> float:
        """The same of what was added to the handler's own time."""
        return _quantile(self.added, quantile) * 1000

    @property
    def rate(self) -> float:
        return len(self.seconds) / self.wall if self.wall else float("nan")

    def take(self, took: float, connection: Connection) -> None:
        """One good answer."""
        self.seconds.append(took)
        self.added.append(took - connection.handler_s())
        self.starts[connection.start_type()] += 1
        self.steps.append(connection.steps_ms())

    def spent(self) -> str:
        """Median milliseconds of each step, as text: where the time of a call goes."""
        spent: dict[str, list[float]] = {}
        for steps in self.steps:
            before = 0.0
            for name, at in steps.items():
                spent.setdefault(name, []).append(at - before)
                before = at
        return ", ".join(f"{name} {statistics.median(took):.2f}" for name, took in spent.items())

    def fail(self, error: Exception) -> None:
        self.errors += 1
        self.last_error = repr(error)[:300]


def _quantile(values: list[float], quantile: float) -> float:
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    place = (len(ordered) - 1) * quantile
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


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
            samples.take(took, connection)
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
            samples.take(connection.once(), connection)
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
            samples.take(connection.once(), connection)
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
