"""Who is called how often in a large installation: drawn like a recording of a real cloud, or from a distribution fitted to one.

A recording has hundreds of functions and an installation a million: each takes its rate between two functions of the recording that are
next to each other by rate, and the duration and memory of one of them. Functions belong to accounts of very different sizes.
"""

import csv
import gzip
import math
import random
from array import array
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

# Fitted to the recording of 2019: the spread of rates, and durations in milliseconds.
RATE_SIGMA = 2.9
DURATION_MEDIAN_MS = 150.0
DURATION_SIGMA = 1.5
LONGEST_MS = 60_000.0
MEMORY_MB = (128, 128, 128, 256, 256, 512, 1024)
FUNCTIONS_EACH = 100
# One function gets so much of all calls: what a recording's sample of functions leaves out.
HOT = 0.02
HOT_MS = 100.0


class Row(NamedTuple):
    """A recorded function: calls in all, mean duration, memory."""

    calls: float
    ms: float
    mb: int


def recorded(folder: Path) -> list[Row]:
    """The functions of a recording in the schema of Azure Functions 2019, by rate."""
    durations = {row["HashFunction"]: float(row["Average"]) for row in _rows(folder, "durations")}
    memory = {
        row["HashFunction"]: float(row["AverageAllocatedMb"]) for row in _rows(folder, "memory")
    }
    found = []
    for row in _rows(folder, "invocations"):
        calls = sum(int(value or 0) for name, value in row.items() if name.isdigit())
        ms = durations.get(row["HashFunction"], 0.0)
        if calls and ms > 0:
            mb = memory.get(row["HashFunction"], 128.0)
            found.append(Row(calls, min(ms, LONGEST_MS), max(128, 128 * math.ceil(mb / 128))))
    return sorted(found)


def _rows(folder: Path, name: str):
    with gzip.open(next(folder.glob(f"{name}*.gz")), "rt") as file:
        yield from csv.DictReader(file)


class Traffic:
    """``functions`` with ``rate`` calls a second together. Tables by the function's number: rates, milliseconds, MB, account."""

    def __init__(self, functions: int, rate: float, *, seed: int, rows: list[Row] | None = None):
        self.functions = functions
        self.rate = rate
        self.chance = chance = random.Random(seed)
        self.accounts = max(1, functions // FUNCTIONS_EACH)
        self.ms = array("f")
        self.mb = array("H")
        self.account = array("I")
        rates = array("d")
        for _ in range(functions):
            calls, ms, mb = self._drawn(rows) if rows else self._made()
            rates.append(calls)
            self.ms.append(ms)
            self.mb.append(mb)
            # Few accounts have many functions.
            self.account.append(int(self.accounts * chance.random() ** 2))
        if functions > FUNCTIONS_EACH:
            rates[0], self.ms[0], self.mb[0] = HOT / (1 - HOT) * sum(rates), HOT_MS, 128
        scale = rate / sum(rates)
        self.rates = array("d", (each * scale for each in rates))
        self._upto = array("d", accumulate(self.rates))

    def _drawn(self, rows: list[Row]) -> Row:
        at = self.chance.random() * (len(rows) - 1)
        low, high = rows[int(at)], rows[int(at) + 1]
        calls = math.exp(math.log(low.calls) + at % 1.0 * math.log(high.calls / low.calls))
        return Row(calls, low.ms, low.mb)

    def _made(self) -> Row:
        chance = self.chance
        ms = chance.lognormvariate(math.log(DURATION_MEDIAN_MS), DURATION_SIGMA)
        return Row(
            chance.lognormvariate(0.0, RATE_SIGMA), min(ms, LONGEST_MS), chance.choice(MEMORY_MB)
        )

    def at_once(self, function: int) -> float:
        """How many calls of it run at once on average."""
        return self.rates[function] * self.ms[function] / 1000

    def draw(self) -> int:
        """The function of the next call."""
        at = bisect_right(self._upto, self.chance.random() * self._upto[-1])
        return min(at, self.functions - 1)

    def pause(self) -> float:
        """Seconds until the next call."""
        return self.chance.expovariate(self.rate)
