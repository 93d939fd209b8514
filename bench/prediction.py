"""What the predictor costs: a call observed, and the memory of very many functions.

    .venv/bin/python bench/prediction.py [--functions 100000] [--out FILE]

Functions are called with Azure-like frequencies: most a few times a day, a few every second. Prints JSON: microseconds for an
observed call with what must be asked again because of it, and bytes for a function.
"""

import argparse
import heapq
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from case import Run
from quiet import machine
from results import Line, as_json

from forerun.model import Qualified
from forerun.prediction import Cost, Predictor

BEGIN = 1_700_000_000.0
COST = Cost(memory_mb=64.0, start_ms=20.0)
DAY_S = 86_400.0
ROUNDS, CALLS = 5, 20_000


def rate(chance: random.Random) -> float:
    """Calls per second of a function: log-normal around one an hour, as in Azure's functions."""
    return min(20.0, chance.lognormvariate(-8.2, 2.8))


def per_call(chance: random.Random) -> list[float]:
    """Microseconds per observed call, in rounds, over 1,000 functions that are called often."""
    predictor: Predictor[Qualified] = Predictor(
        cost=lambda _: COST, group=lambda each: each.account
    )
    functions = [Qualified("123456789012", f"function-{number}") for number in range(1000)]
    weights = [rate(chance) for _ in functions]
    at, found = BEGIN, []
    for _ in range(ROUNDS):
        calls = chance.choices(functions, weights, k=CALLS)
        began = time.perf_counter()
        for function in calls:
            at += chance.expovariate(50.0)
            for changed in (*predictor.advance(at), *predictor.observe(function, at)):
                predictor.windows(changed, at)
        found.append((time.perf_counter() - began) / CALLS * 1e6)
    return found


def memory(functions: int, chance: random.Random) -> dict[str, float]:
    """Bytes for a function with what it has done in a day, its name included; frequent ones are called less than they would be.

    What is remembered of one is bounded: more calls than these change nothing in its size.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    predictor: Predictor[Qualified] = Predictor(
        cost=lambda _: COST, group=lambda each: each.account
    )
    began = time.perf_counter()
    waiting = []
    for number in range(functions):
        per_s = min(rate(chance), 1 / 900.0)
        function = Qualified(f"{number % 1000:012d}", f"function-{number}")
        waiting.append((BEGIN + chance.uniform(0.0, DAY_S), number, per_s, function))
    heapq.heapify(waiting)
    calls = 0
    while waiting[0][0] < BEGIN + DAY_S:
        at, number, per_s, function = waiting[0]
        list(predictor.advance(at))
        list(predictor.observe(function, at))
        calls += 1
        heapq.heapreplace(waiting, (at + chance.expovariate(per_s), number, per_s, function))
    # The heap is the benchmark's own.
    own_kib = functions * 0.14
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    per_function = (after - before - own_kib) * 1024 / functions
    return {
        "functions": functions,
        "calls": calls,
        "bytes_per_function": round(per_function),
        "gib_per_million": round(per_function * 1e6 / 2**30, 2),
        "seconds": round(time.perf_counter() - began, 1),
    }


def prediction(run: Run, functions: int) -> Iterator[Line]:
    """Both figures beside their targets."""
    chance = random.Random(1)
    found: list[float] = []
    for _ in run.rounds(1):
        found = per_call(chance)
    yield run.median("a call, observed and looked ahead from", found, "us", 50.0)
    for _ in run.rounds(1):
        known = memory(functions, chance)
    note = f"{functions:,} functions, {known['calls']:,} calls"
    yield run.line(
        "a million functions in memory", known["gib_per_million"], "GiB", 1.86, note=note
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--functions", type=int, default=100_000)
    parser.add_argument("--out", type=Path, help="write the JSON here, too")
    asked = parser.parse_args()
    lines = list(prediction(Run("prediction"), asked.functions))
    text = as_json(lines, machine=machine())
    if asked.out:
        asked.out.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
