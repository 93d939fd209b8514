"""What stands in a file or a folder, on the disk for good."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """One file, or the names in one folder, are on disk when this returns. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
