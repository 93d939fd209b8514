"""What else the machine was doing: numbers of a machine that works for others mean little without it."""

import contextlib
import os
import platform
import time
from pathlib import Path

from server import tree

_TICKS_OF_TREE = slice(11, 15)


def _ticks() -> tuple[int, int, int]:
    """CPU ticks: used by all, used by us and those we started, and all there were."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    ours = 0
    for pid in tree(os.getpid()):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ours += sum(int(each) for each in stat[_TICKS_OF_TREE])
    return sum(fields) - fields[3] - fields[4], ours, sum(fields)


class Others:
    """Percent of all cores that others used since this was made. Processes that lost their parent count as others'."""

    def __init__(self) -> None:
        self._before = _ticks()

    def percent(self) -> float:
        used, ours, total = (
            after - before for before, after in zip(self._before, _ticks(), strict=True)
        )
        return max(0.0, 100 * (used - ours) / max(1, total))


def wait_for_quiet(patience_s: float, percent: float = 15.0) -> None:
    """Until others use less than ``percent`` of the CPU, at most ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while True:
        others = Others()
        time.sleep(0.3)
        if others.percent() < percent or time.monotonic() > deadline:
            return


def machine() -> dict[str, object]:
    """Where this was measured."""
    memory = Path("/proc/meminfo").read_text().split("\n", 1)[0].split()[1]
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory) / 1024**2, 1),
        "kernel": platform.release(),
        "system": release,
        "python": platform.python_version(),
    }
