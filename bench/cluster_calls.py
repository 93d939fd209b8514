"""Calls to a cluster beside calls to a single machine, in turns; and how much two hosts do that have a core each."""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack

import uvloop
from case import PYTHON, Run
from client import Samples, sequential
from cluster_running import cluster, inside, processor_group, target, transactions, until
from load import load
from results import Line
from server import HELLO, Server
from tests.planes import Cluster, Joined
from wire import hop

ADDED_MS = 0.6
DATABASE_RATIO = 1.2
# Records of calls are written in batches behind them.
ENOUGH = 0.2
TWICE = 1.7
BURN = """
import time
def handler(event, context):
    until = time.process_time() + {seconds}
    while time.process_time() < until:
        pass
"""
BURN_S = 0.04
AT_ONCE = 4
# Connections, and of a processor, for each host.
QUOTA = 0.4


def remote_host(run: Run) -> Iterator[Line]:
    """The same function on a single machine and on a host of a cluster, in turns: what the hop adds."""
    with Server() as single, cluster("h1") as fleet:
        plane = fleet.first
        here = single.create("hello")
        there = target(plane, plane.function(HELLO, runtime=PYTHON))
        rounds = [_both(here, there, run) for _ in run.rounds(7, 3)]
    added = [far.ms(0.5) - near.ms(0.5) for near, far in rounds]
    errors = sum(near.errors + far.errors for near, far in rounds)
    yield run.median("single, p50", [near.ms(0.5) for near, _ in rounds], "ms")
    yield run.median("a host of a cluster, p50", [far.ms(0.5) for _, far in rounds], "ms")
    yield run.median("a host of a cluster, p99", [far.ms(0.99) for _, far in rounds], "ms")
    yield run.median("added by the remote host, p50", added, "ms", ADDED_MS)
    yield run.line("errors", float(errors), "calls", 0, note=rounds[-1][1].last_error)


def _both(here, there, run: Run) -> tuple[Samples, Samples]:
    count = run.size(1000, 300)
    return sequential(here, count), sequential(there, count)


def compared(run: Run) -> Iterator[Line]:
    """The mode with PostgreSQL beside the one with SQLite: warm, and at 32 connections; and what of a call the database sees."""
    count = run.size(1000, 300)
    with Server() as single, cluster("h1") as fleet:
        plane = fleet.first
        here = single.create("hello")
        there = target(plane, plane.function(HELLO, runtime=PYTHON))
        warm, hops, calls, ended = [], [], [], 0
        for _ in run.rounds(5, 2):
            near = sequential(here, count)
            before, began = transactions(fleet.database), time.monotonic()
            far = sequential(there, count)
            ended = transactions(fleet.database) - before
            idle_s = time.monotonic() - began
            warm.append((near.ms(0.5), far.ms(0.5)))
            inside, outside, _, _ = uvloop.run(hop(count, "jail"))
            hops.append(statistics.median(outside) - statistics.median(inside))
        before = transactions(fleet.database)
        time.sleep(min(idle_s, 5.0))
        quiet = (transactions(fleet.database) - before) / min(idle_s, 5.0) * idle_s
        yield run.median("warm p50, over single", [far / near for near, far in warm], "ratio")
        yield run.median("the hop alone, p50", hops, "ms", note="bench/wire.py, in the same rounds")
        yield run.median(
            "warm p50 without the hop, over single",
            [(far - added) / near for (near, far), added in zip(warm, hops, strict=True)],
            "ratio",
            DATABASE_RATIO,
        )
        yield run.line(
            "transactions of the database for each warm call",
            max(0.0, ended - quiet) / count,
            "transactions",
            ENOUGH,
            note="beyond those that there are without calls; records are written in batches",
        )
        for _ in run.rounds(3, 1):
            near_load = load(here, 32, run.size(4, 2))
            far_load = load(there, 32, run.size(4, 2))
            calls.append((near_load, far_load))
        yield run.median("single, 32 connections", [one.rate for one, _ in calls], "calls/s")
        yield run.median("PostgreSQL, 32 connections", [far.rate for _, far in calls], "calls/s")
        yield run.median(
            "32 connections, over single",
            [far.rate / one.rate for one, far in calls],
            "ratio",
            note="control plane, agent and load share the cores",
        )
        errors = sum(one.errors + far.errors for one, far in calls)
        yield run.line("errors", float(errors), "calls", 0)


def cores(run: Run) -> Iterator[Line]:
    """Work of the processor with one host and with two, each of which may use so much of a processor and no more.

    So the second one has something of its own also where all processes share two cores.
    """
    rates = []
    with ExitStack() as ending:
        groups = [ending.enter_context(processor_group(QUOTA)) for _ in range(2)]
        if None in groups:
            why = "no control groups of version 1 here"
            yield run.line("a second host, over one", None, "ratio", TWICE, note=why)
            return
        # In jails sandboxes would be in control groups of their own.
        more = {"FORERUN_HOST_MEMORY_MB": "4096", "FORERUN_SANDBOX_MODE": "process"}
        fleet, work = ending.enter_context(cluster(**more)), None
        plane = fleet.first
        for number, group in enumerate(groups):
            with inside(group):
                joined = Joined(fleet, f"h{number}", "process")
            fleet.hosts.append(joined)
            joined.ready()
            until(lambda number=number: len(_there(fleet)) > number, "connected")
            if work is None:
                work = target(plane, plane.function(BURN.format(seconds=BURN_S), runtime=PYTHON))
            load(work, AT_ONCE * (number + 1), 3)
            rates.append(
                [load(work, AT_ONCE * (number + 1), run.size(10, 6)) for _ in run.rounds(3, 1)]
            )
    one, two = ([each.rate for each in found] for found in rates)
    yield run.median("one host", one, "calls/s", note=f"{QUOTA:.0%} of a processor each")
    yield run.median("two hosts", two, "calls/s")
    yield run.median(
        "a second host, over one",
        [after / before for before, after in zip(one, two, strict=True)],
        "ratio",
        TWICE,
        at_least=True,
        note=f"calls of {BURN_S * 1000:.0f} ms of the processor; all else shares the two cores",
    )
    errors = sum(each.errors for found in rates for each in found)
    yield run.line("errors", float(errors), "calls", 0)


def _there(fleet: Cluster) -> list[str]:
    return [each["Name"] for each in fleet.told("hosts")["Hosts"] if each["Alive"]]
