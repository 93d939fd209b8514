"""What it costs to do nothing: memory and start of the platform, memory of sandboxes that wait."""

import time
from collections.abc import Iterator
from pathlib import Path

from case import PYTHON, Run
from client import first_calls
from results import Line
from server import Server, children, pss_mb, tree

SANDBOXES = 1000


def _pss(server: Server) -> float:
    return sum(pss_mb(pid) for pid in tree(server.process.pid))


def _available_mb() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/meminfo tells no MemAvailable")


def _settled(server: Server) -> float:
    """PSS once it stays the same: what a start leaves to do is over."""
    before, deadline = _pss(server), time.monotonic() + 10
    while time.monotonic() < deadline:
        time.sleep(0.5)
        after = _pss(server)
        if abs(after - before) < 0.5:
            break
        before = after
    return after


def idle_platform(run: Run) -> Iterator[Line]:
    """Start to the ready line; memory of the server alone, then with a zygote, then with its sandboxes, too."""
    ready, alone, with_zygote, everything = [], [], [], []
    for _ in run.rounds(5, 3):
        with Server() as server:
            ready.append(server.ready_s)
            alone.append(_settled(server))
            first_calls([server.create("hello")])
            everything.append(_settled(server))
            with_zygote.append(
                sum(pss_mb(pid) for pid in (server.process.pid, *children(server.process.pid)))
            )
    yield run.median("start to ready", ready, "s", 1.5)
    yield run.median("memory (PSS), fresh", alone, "MiB", 90)
    note = "server and the zygote of one Python"
    yield run.median("memory (PSS), after a call", with_zygote, "MiB", 90, note=note)
    note = "the function's sandbox and the warming pool, too"
    yield run.median("memory (PSS), all processes", everything, "MiB", note=note)


def idle_sandboxes(run: Run) -> Iterator[Line]:
    """1,000 unassigned Python sandboxes at once; and sandboxes that ran a function and wait for the next call."""
    used_count, count = run.size(100, 40), run.size(SANDBOXES, 200)
    for _ in run.rounds(1):
        with Server(host_pool_min=0, host_pool_max=0) as server:
            first_calls([server.create("first")])
            before = _settled(server)
            used = first_calls([server.create(f"f{index}") for index in range(used_count)])
            after_use = (_settled(server) - before) / used_count
        free = _available_mb()
        with Server(
            host_pool_min=count, host_pool_max=count, host_max_sandboxes=count + 100
        ) as server:
            began = time.monotonic()
            target = server.create("hello")
            filled = server.wait_for_pool(PYTHON, 180)
            took = time.monotonic() - began
            waiting = (_settled(server) - before) / filled
            machine = (free - _available_mb()) / filled
            call = first_calls([target])
    note = f"{filled} at once, made in {took:.1f} s"
    yield run.line(
        "Python sandboxes that wait",
        float(filled),
        "",
        count,
        at_least=True,
        note=note,
    )
    yield run.line("memory of one (PSS), unassigned", waiting, "MiB", 4)
    note = f"{used_count} sandboxes; {used.errors} errors"
    yield run.line("memory of one (PSS), after a call", after_use, "MiB", 4, note=note)
    note = "with the kernel's own; others' use included"
    yield run.line("memory the machine lost for each", machine, "MiB", note=note)
    yield run.line("first call among them", call.ms(0.5), "ms", note=call.last_error)
