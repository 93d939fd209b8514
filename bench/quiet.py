"""What else the machine was doing: numbers of a machine that works for others mean little without it."""

import os
import platform
import time
from pathlib import Path


def _cpu() -> tuple[int, int]:
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def busy(seconds: float = 0.3) -> float:
    """Percent of all cores in use over the next moments; called while we ourselves are idle."""
    used, total = _cpu()
    time.sleep(seconds)
    used_after, total_after = _cpu()
    return 100 * (used_after - used) / max(1, total_after - total)


def wait_for_quiet(patience_s: float, percent: float = 15.0) -> float:
    """Until less than ``percent`` of the CPU is used, at most ``patience_s``; what was used at the end."""
    deadline = time.monotonic() + patience_s
    while (now := busy()) > percent and time.monotonic() < deadline:
        pass
    return now


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
