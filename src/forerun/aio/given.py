"""What a process reads on its standard input, all of it there before it starts.

A pipe breaks when the process ends without having read it, and then event loops differ in what they raise.
"""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def given(data: bytes) -> Iterator[int]:
    """A descriptor for ``stdin=`` that no disk sees, at the beginning of ``data``; open until the block ends."""
    descriptor = os.memfd_create("given", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
