"""Calls of a function that has a sandbox: one after the other, and many at once."""

from collections.abc import Iterator

from case import Run
from client import sequential
from load import load
from results import Line
from server import Server


def warm(run: Run) -> Iterator[Line]:
    """Sequential calls over one connection: the whole, and what the platform adds to the handler's own time."""
    with Server() as server:
        target = server.create("hello")
        rounds = [sequential(target, run.size(1000, 300)) for _ in run.rounds(7, 3)]
    note = f"{sum(each.errors for each in rounds)} errors in {sum(len(each.seconds) for each in rounds)} calls"
    whole = [(each.ms(0.5), each.ms(0.99)) for each in rounds]
    added = [(each.added_ms(0.5), each.added_ms(0.99)) for each in rounds]
    yield run.median("whole call, p50", [each[0] for each in whole], "ms", note=note)
    yield run.median("whole call, p99", [each[1] for each in whole], "ms")
    yield run.median("added by the platform, p50", [each[0] for each in added], "ms", 0.5)
    yield run.median("added by the platform, p99", [each[1] for each in added], "ms", 2.0)


def throughput(run: Run) -> Iterator[Line]:
    """Calls a second at 1, 8 and 32 connections, the load tool on the same cores."""
    with Server() as server:
        target = server.create("hello")
        for connections in (1, 8, 32):
            load(target, connections, 1)
            rounds = [load(target, connections, run.size(4, 2)) for _ in run.rounds(3)]
            at_32 = connections == 32
            what = f"{connections} connections"
            yield run.median(
                what,
                [each.rate for each in rounds],
                "calls/s",
                5000 if at_32 else None,
                at_least=True,
                note=f"{rounds[0].engine}; {rounds[0].note}".strip("; "),
            )
            yield run.median(
                f"{what}, p99",
                [each.p99_ms for each in rounds],
                "ms",
                20 if at_32 else None,
            )
            errors = float(sum(each.errors for each in rounds))
            yield run.line(f"{what}, errors", errors, "calls", 0 if at_32 else None)
