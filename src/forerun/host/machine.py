"""What the machine has, as far as sandboxes are concerned."""

import os

SHARE = 0.8


def sandbox_memory_mb() -> int:
    """MiB that sandboxes may book together by default: 80 % of the machine; the rest is the system's and ours."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * SHARE) >> 20
