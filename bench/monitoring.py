"""What monitoring costs a function that calls nobody: a server that monitors by default beside one that does not, in turns.

    .venv/bin/python bench/monitoring.py [--quick] [--json] [--out FILE]

Two servers run at once; one is called while the other idles. Each round gives the ratio of the two, in both orders, so
that what the machine does meanwhile meets both.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from case import Run
from client import Target, sequential
from load import load
from quiet import machine
from results import Line, as_json, show
from server import Server

WORST = 1.03
Measure = Callable[[Target], float]


def in_turns(run: Run, count: int, measure: Measure, on: Target, off: Target) -> list[float]:
    """For each round what ``on`` gives over what ``off`` gives; who is first changes."""
    ratios = []
    for index in run.rounds(count, 6):
        first, second = (on, off) if index % 2 else (off, on)
        values = {id(first): measure(first), id(second): measure(second)}
        ratios.append(values[id(on)] / values[id(off)])
    return ratios


def monitoring(run: Run) -> Iterator[Line]:
    """Warm calls one after the other, then 32 connections: rates vary by a tenth here, CPU time for a call hardly."""
    calls, seconds = run.size(600, 300), run.size(2, 1)
    with (
        Server(monitoring_enabled="true") as watched,
        Server(monitoring_enabled="false") as unwatched,
    ):
        on, off = watched.create("hello"), unwatched.create("hello")
        for target in (on, off):
            sequential(target, 300)
        ratios = in_turns(run, 30, lambda target: sequential(target, calls).ms(0.5), on, off)
        yield run.median("warm p50, monitored over not", ratios, "ratio", WORST)
        for target in (on, off):
            load(target, 32, 1)
        busy = {id(on): watched.process.pid, id(off): unwatched.process.pid}
        costs: list[tuple[bool, float]] = []

        def rate(target: Target) -> float:
            before = cpu_us(busy[id(target)])
            found = load(target, 32, seconds)
            spent = cpu_us(busy[id(target)]) - before
            costs.append((target is on, spent / max(1, found.answered)))
            return found.rate

        ratios = in_turns(run, 24, rate, on, off)
        yield run.median(
            "32 connections, monitored over not", ratios, "ratio", 1 / WORST, at_least=True
        )
        pairs = zip(costs[::2], costs[1::2], strict=True)
        shares = [
            first[1] / second[1] if first[0] else second[1] / first[1] for first, second in pairs
        ]
        yield run.median("the server's CPU for each, monitored over not", shares, "ratio", WORST)


def cpu_us(pid: int) -> float:
    """CPU time that a process has used, in microseconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


def as_command(
    case: str, measure: Callable[[Run], Iterable[Line]], title: str, description: str | None
) -> int:
    """Measure as the arguments of the process say, and show it."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", help="also write the JSON to this file")
    asked = parser.parse_args()
    lines = list(measure(Run(case, quick=asked.quick)))
    text = as_json(lines, machine=machine(), quick=asked.quick)
    if asked.out:
        with open(asked.out, "w", encoding="utf-8") as file:
            file.write(text)
    if asked.json:
        print(text)
    else:
        show(lines, title)
    return 0


if __name__ == "__main__":
    sys.exit(as_command("monitoring", monitoring, "What monitoring costs a call", __doc__))
