"""What the machine has, as far as sandboxes are concerned."""

import os
from pathlib import Path

SHARE = 0.8
MEMINFO = Path("/proc/meminfo")


def machine_memory_mb() -> int:
    """MiB of memory this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def sandbox_memory_mb() -> int:
    """MiB that sandboxes may book together by default: 80 % of the machine; the rest is the system's and ours."""
    return int(machine_memory_mb() * SHARE)


def available_memory_mb() -> int | None:
    """MiB that could be used now without swapping, as the kernel estimates it; ``None`` where it does not say."""
    try:
        text = MEMINFO.read_bytes()
        return int(text.partition(b"MemAvailable:")[2].split(None, 1)[0]) >> 10
    except (OSError, ValueError, IndexError):
        return None
