"""What looking ahead costs a warm call: a server that does beside one that does not, in turns.

    .venv/bin/python bench/foresight.py [--quick] [--json] [--out FILE]

One function that is called all the time, then many that are called in turn, which is the most that there is to look at.
Two servers run at once; one is called while the other idles. Each round gives the ratio of the two, in both orders.
"""

import itertools
import sys
from collections.abc import Iterator, Sequence

from case import Run
from client import Connection, Target, sequential
from load import load
from monitoring import as_command, cpu_us, in_turns
from results import Line
from server import Server

WORST = 1.03
FUNCTIONS = 50


def foresight(run: Run) -> Iterator[Line]:
    """Medians of ratios; CPU time for a call varies least."""
    calls, seconds = run.size(600, 300), run.size(2, 1)
    with Server(foresight_enabled="true") as looking, Server(foresight_enabled="false") as plain:
        busy = {}

        def cpu_of_rounds(
            on: Sequence[Target], off: Sequence[Target], rounds: int
        ) -> Iterator[float]:
            for index in run.rounds(rounds, 6):
                first, second = (on, off) if index % 2 else (off, on)
                spent = {}
                for targets in (first, second):
                    before = cpu_us(busy[id(targets[0])])
                    done = (
                        called(targets, calls)
                        if len(targets) > 1
                        else under_load(targets[0], seconds)
                    )
                    spent[id(targets)] = (cpu_us(busy[id(targets[0])]) - before) / done
                yield spent[id(on)] / spent[id(off)]

        on, off = looking.create("hello"), plain.create("hello")
        many_on = [looking.create(f"hello-{number}") for number in range(FUNCTIONS)]
        many_off = [plain.create(f"hello-{number}") for number in range(FUNCTIONS)]
        for server, targets in ((looking, [on, *many_on]), (plain, [off, *many_off])):
            for target in targets:
                busy[id(target)] = server.process.pid
                sequential(target, 20)
        for target in (on, off):
            sequential(target, 300)
        ratios = in_turns(run, 30, lambda target: sequential(target, calls).ms(0.5), on, off)
        yield run.median("warm p50, looking ahead over not", ratios, "ratio", WORST)
        for target in (on, off):
            load(target, 32, 1)
        shares = list(cpu_of_rounds([on], [off], 24))
        yield run.median("CPU for each call of one function", shares, "ratio", WORST)
        shares = list(cpu_of_rounds(many_on, many_off, 24))
        yield run.median(f"CPU for each call, {FUNCTIONS} functions in turn", shares, "ratio", 1.1)


def under_load(target: Target, seconds: int) -> int:
    return max(1, load(target, 32, seconds).answered)


def called(targets: Sequence[Target], count: int) -> int:
    """So many calls, each of another function, one after the other."""
    connection = Connection(targets[0])
    try:
        for target in itertools.islice(itertools.cycle(targets), count):
            connection.aim(target)
            connection.once()
    finally:
        connection.close()
    return count


if __name__ == "__main__":
    sys.exit(as_command("foresight", foresight, "What looking ahead costs a call", __doc__))
