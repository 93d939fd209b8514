"""First calls: from the warming pool, from a zygote, of many functions at once, and in other languages."""

import time
from collections.abc import Iterator

from case import PYTHON, Run
from client import Samples, at_once, first_calls
from results import Line
from server import HELLO_NODE, Server

# The platform answers its own status in between; what that leaves to do is over by then.
SETTLE_S = 0.02


def _note(rounds: list[Samples]) -> str:
    starts = sum((each.starts for each in rounds), start=type(rounds[0].starts)())
    errors = sum(each.errors for each in rounds)
    last = next((each.last_error for each in rounds if each.last_error), "")
    seen = ", ".join(f"{count} {name}" for name, count in starts.items())
    return f"{seen}; {errors} errors {last}; ms until {rounds[0].spent()}"


def _from_pool(server: Server, runtime: str, source: str, count: int) -> Samples:
    options = {"source": source} if source else {}
    first_calls([server.create("first", runtime=runtime, **options)])
    targets = [server.create(f"f{index}", runtime=runtime, **options) for index in range(count)]

    def until_full(_: int) -> None:
        server.wait_for_pool(runtime)
        time.sleep(SETTLE_S)

    return first_calls(targets, until_full)


def pool_hit(run: Run) -> Iterator[Line]:
    """Functions deployed before, called for the first time, with the pool full before each call."""
    rounds = []
    for _ in run.rounds(3):
        with Server() as server:
            rounds.append(_from_pool(server, PYTHON, "", run.size(100, 40)))
    note = _note(rounds)
    yield run.median("pool hit, p50", [each.ms(0.5) for each in rounds], "ms", 3, note=note)
    yield run.median("pool hit, p99", [each.ms(0.99) for each in rounds], "ms", 10)


def node_pool_hit(run: Run) -> Iterator[Line]:
    """The same for the newest Node.js that is installed."""
    rounds = []
    for _ in run.rounds(2):
        with Server() as server:
            nodes = sorted(
                each for each in server.status()["runtimes"] if each.startswith("nodejs")
            )
            if not nodes:
                yield run.line(
                    "nodejs, pool hit, p50",
                    None,
                    "ms",
                    25,
                    note="no Node.js is installed",
                )
                return
            rounds.append(_from_pool(server, nodes[-1], HELLO_NODE, run.size(30, 10)))
    note = f"{nodes[-1]}; {_note(rounds)}"
    yield run.median(
        "nodejs, pool hit, p50", [each.ms(0.5) for each in rounds], "ms", 25, note=note
    )
    yield run.median("nodejs, pool hit, p99", [each.ms(0.99) for each in rounds], "ms")


def from_zygote(run: Run) -> Iterator[Line]:
    """No sandbox waits, but the interpreter is there to be forked."""
    rounds = []
    for _ in run.rounds(3):
        with Server(host_pool_min=0, host_pool_max=0) as server:
            first_calls([server.create("first")])
            targets = [server.create(f"f{index}") for index in range(run.size(80, 30))]
            rounds.append(first_calls(targets, lambda _: time.sleep(SETTLE_S)))
    note = _note(rounds)
    yield run.median("pool empty, p50", [each.ms(0.5) for each in rounds], "ms", 8, note=note)
    yield run.median("pool empty, p99", [each.ms(0.99) for each in rounds], "ms")


def burst(run: Run) -> Iterator[Line]:
    """200 calls at once to 200 functions that never ran, with default settings."""
    rounds = []
    for _ in run.rounds(3):
        with Server() as server:
            first_calls([server.create("first")])
            targets = [server.create(f"f{index}") for index in range(200)]
            server.wait_for_pool(PYTHON)
            rounds.append(at_once(targets))
    note = _note(rounds)
    errors = float(sum(each.errors for each in rounds))
    yield run.median(
        "200 functions, last answer", [each.wall for each in rounds], "s", 2, note=note
    )
    yield run.median("200 functions, p50", [each.ms(0.5) / 1000 for each in rounds], "s")
    yield run.line("errors", errors, "calls", 0)
