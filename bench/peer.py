"""What a named peer is to a comparison: installed outside the repository, started on loopback, called like we are."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client import BadAnswer, Connection, Target

CACHE = Path.home() / ".cache" / "forerun-bench"
INSTALL_S = 300
START_S = 60.0


class CannotInstall(Exception):
    """The peer is not to be had here; the message says why, and the report says it, too."""


@dataclass
class Running:
    """A started peer: the request of its warm function, and one cold start, in seconds, for each number."""

    warm: Target
    cold: Callable[[int], float]


@dataclass(frozen=True)
class Peer:
    """``versus`` is the runtime of ours it is compared with; ``one_only`` peers serve one call at a time."""

    name: str
    versus: str
    isolation: str
    install: Callable[[Path], None]
    running: Callable[[Path], contextlib.AbstractContextManager[Running]]
    one_only: bool = False

    @property
    def folder(self) -> Path:
        return CACHE / self.name.replace(" ", "-")


def install(folder: Path, *commands: list[object], env: dict[str, str] | None = None) -> None:
    """Run the commands in the folder, once; ``CannotInstall`` with the end of what they said."""
    if (folder / ".complete").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for command in commands:
        words = [str(word) for word in command]
        try:
            done = subprocess.run(
                words, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False,
                env={**os.environ, **(env or {})},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CannotInstall(f"{words[0]}: {error}") from error
        if done.returncode:
            said = " ".join((done.stdout + done.stderr).split())
            raise CannotInstall(f"{' '.join(words[:3])}: ...{said[-160:]}")
    (folder / ".complete").touch()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def first_good(target: Target, deadline_s: float = START_S) -> None:
    """Ask until the answer is good; ``TimeoutError`` with the last reason."""
    deadline, last = time.monotonic() + deadline_s, None
    while time.monotonic() < deadline:
        try:
            connection = Connection(target)
        except OSError as error:
            last = error
            time.sleep(0.001)
            continue
        try:
            connection.once()
        except (BadAnswer, OSError) as error:
            last = error
            time.sleep(0.001)
        else:
            return
        finally:
            connection.close()
    raise TimeoutError(f"no good answer: {last!r}")


def one_call(target: Target) -> float:
    """Seconds of one call over a connection of its own, which is there before."""
    connection = Connection(target)
    try:
        return connection.once()
    finally:
        connection.close()


@contextmanager
def process(
    command: list[object], folder: Path, env: dict[str, str] | None = None
) -> Iterator[None]:
    """A process group of its own, ended by its number; its output goes to ``peer.log`` in the folder."""
    with (folder / "peer.log").open("wb") as log:
        started = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            for sign in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(started.pid, sign)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    started.wait(5)


def whole_start(
    command: list[object], folder: Path, target: Target, env: dict[str, str] | None = None
) -> float:
    """Seconds from starting a process to its first good answer."""
    began = time.perf_counter()
    with process(command, folder, env):
        first_good(target)
        return time.perf_counter() - began
