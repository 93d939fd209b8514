"""The server's process: its log, its claim on the data directory, its loop, and a clean end."""

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec
import uvloop

from forerun.app.sockets import listen
from forerun.errors import ForerunError, StorageFailed
from forerun.settings import Settings

log = logging.getLogger("forerun")

EXIT_FAILED = 1


def serve(settings: Settings) -> int:
    """Run the platform until SIGTERM or SIGINT; the exit status. Says on stderr why it did not start."""
    set_up_log(json_lines=settings.server.json_logs)
    raise_file_limit()
    try:
        with claimed(settings.server.data_dir):
            uvloop.run(_run(settings))
    except ForerunError as error:
        log.error("%s", error.message)  # noqa: TRY400 the sentence says what to do, a traceback does not
        return EXIT_FAILED
    return 0


class Server(Protocol):
    """What runs until it is told to stop; ``summary`` is for the ready line, once it has started."""

    endpoint: str

    @property
    def summary(self) -> str: ...  # noqa: D102

    async def start(self) -> None: ...  # noqa: D102

    async def close(self) -> None: ...  # noqa: D102


def _server(settings: Settings, listener: socket.socket) -> Server:
    # Late: who has one machine needs neither PostgreSQL's client nor the engine, and an agent neither of the two.
    if settings.cluster.database:
        from forerun.app.control_plane import ControlPlane  # noqa: PLC0415

        return ControlPlane(settings, listener)
    from forerun.app.standalone import Standalone  # noqa: PLC0415

    return Standalone(settings, listener)


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    listener = listen(settings.server.host, settings.server.port)
    server = _server(settings, listener)
    try:
        await server.start()
        gc.collect()
        gc.freeze()
        sys.stdout.write(f"ready {server.endpoint} ({server.summary})\n")
        sys.stdout.flush()
        await stop.wait()
        log.info("stopping: calls in flight have %.0f s to finish", settings.server.drain_s)
    finally:
        await server.close()


@contextlib.contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Hold the data directory for this process alone."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFailed(
            f"cannot write to {directory}: {error.strerror}. Choose another with --data DIR"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StorageFailed(
            f"another server uses {directory}. Stop it first, or choose another with --data DIR"
        ) from error
    else:
        yield
    finally:
        os.close(descriptor)


def raise_file_limit() -> None:
    """A sandbox needs a handful of descriptors; the soft limit of a shell is too low for hundreds of them."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def set_up_log(*, json_lines: bool) -> None:
    """The process's log on stderr, as text or as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonLines()
        if json_lines
        else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # What strangers send is answered, not written down line by line.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
