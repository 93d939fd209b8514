"""Ends an agent that hangs: what it runs would go on beyond the leases that it runs by, since nobody would end it.

A process of its own, forked before anything else begins. It looks at a moment in shared memory that the agent puts off while it lives;
when that has come it kills the agent, and with it the kernel ends all its sandboxes. It ends when the agent ends.
"""

import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable

_LOOK_S = 0.1
_MOMENT = struct.Struct("d")


def watch_over() -> Callable[[float], None]:
    """Begin; what is returned is told again and again after how many seconds the process shall be killed if it says nothing more.

    Call it while the process has one thread and no event loop.
    """
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    agent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        try:
            _watch(shared, agent)
        finally:
            os._exit(0)

    def pulse(limit_s: float) -> None:
        # The clock of both processes; what is measured is this very process.
        _MOMENT.pack_into(shared, 0, time.monotonic() + limit_s)  # noqa: TID251

    return pulse


def _watch(shared: mmap.mmap, agent: int) -> None:
    # It is told to end with the agent's group, and must not end before it.
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.closerange(3, 1024)
    while os.getppid() == agent:
        time.sleep(_LOOK_S)
        (moment,) = _MOMENT.unpack_from(shared, 0)
        if moment and time.monotonic() > moment and os.getppid() == agent:  # noqa: TID251
            os.kill(agent, signal.SIGKILL)
            return
