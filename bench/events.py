"""Event invocations: how many a second are accepted (on disk before their 202), and how fast the queue runs empty."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

from case import Run
from client import first_calls
from load import load
from results import Line
from server import Server

CONNECTIONS = 32
DRAIN_S = 120.0


def _queued(server: Server) -> int:
    """Events not yet finished, from the database itself, which only such reading leaves undisturbed."""
    with closing(
        sqlite3.connect(f"file:{server.data / 'forerun.db'}?mode=ro", uri=True, timeout=10)
    ) as db:
        return db.execute("SELECT count(*) FROM event_queue").fetchone()[0]


def events(run: Run) -> Iterator[Line]:
    """Many connections send events for some seconds; then the queue is watched until it is empty."""
    accepted, drained, whole, left = [], [], [], []
    errors = 0
    for _ in run.rounds(3):
        with Server() as server:
            first_calls([server.create("hello")])
            target = server.target("hello", X_Amz_Invocation_Type="Event")
            began = time.monotonic()
            sent = load(target, CONNECTIONS, run.size(5, 3))
            stopped, waiting = time.monotonic(), _queued(server)
            deadline = stopped + DRAIN_S
            while (rest := _queued(server)) and time.monotonic() < deadline:
                time.sleep(0.05)
            emptied = time.monotonic()
        accepted.append(sent.rate)
        drained.append((waiting - rest) / (emptied - stopped))
        whole.append((sent.answered - rest) / (emptied - began))
        left.append(waiting)
        errors += sent.errors
    note = f"{sent.engine}, {CONNECTIONS} connections; {errors} errors"
    yield run.median("accepted, on disk", accepted, "events/s", 2000, at_least=True, note=note)
    note = f"queued when accepting ended: {', '.join(map(str, left))}"
    yield run.median("drained", drained, "events/s", 1000, at_least=True, note=note)
    yield run.median("accepted and run, whole", whole, "events/s", at_least=True)
    yield run.line("errors", float(errors), "calls", 0)
