"""Starts a program that outlives whoever asked for it. Run as a script of its own: it forks, and a big process should not.

Reads one JSON object from its input: ``argv``; ``set`` and ``drop`` (a list of prefixes) for the environment; ``out`` and ``log``, the
files for what the program prints and for its errors; ``pid``, the file that gets ``PID STARTTIME``. Ends with 0 when the
program is on its way; it does so in a session of its own, so no signal to a group and no end of a parent reaches it.
"""

import json
import os
import sys

APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
FRESH = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def start_time(pid: int) -> str:
    """When a process was started, in ticks of the machine: with its id it names a process for good. Empty when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as file:  # noqa: PTH123 a plain script
            # The name may hold blanks and brackets.
            state, *rest = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else rest[18]


def _launch(order: dict[str, object]) -> None:
    os.setsid()
    if os.fork():
        os._exit(0)
    drop = tuple(str(prefix) for prefix in order["drop"])  # type: ignore[attr-defined]
    kept = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 it is handed on, not read
        if not (drop and name.startswith(drop))
    }
    kept.update(order["set"])  # type: ignore[call-overload]
    nothing = os.open(os.devnull, os.O_RDONLY)
    out = os.open(str(order["out"]), FRESH, 0o600)
    errors = os.open(str(order["log"]), APPEND, 0o600)
    for number, descriptor in enumerate((nothing, out, errors)):
        os.dup2(descriptor, number)
    os.closerange(3, 256)
    path, half = str(order["pid"]), f"{order['pid']}.half"
    with open(half, "w", encoding="ascii") as file:  # noqa: PTH123 a plain script
        file.write(f"{os.getpid()} {start_time(os.getpid())}")
    os.rename(half, path)  # noqa: PTH104 a plain script
    argv = [str(part) for part in order["argv"]]  # type: ignore[attr-defined]
    try:
        os.execve(argv[0], argv, kept)  # noqa: S606 that is what it is for
    except OSError as error:
        os.write(2, f"{argv[0]} cannot be started: {error.strerror}\n".encode())
        os._exit(127)


if __name__ == "__main__":
    _launch(json.load(sys.stdin))
