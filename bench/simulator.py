"""How fast the simulator is: the engine alone on a recording, and a day of very many functions on very many hosts.

    python bench/simulator.py [--trace FOLDER] [--functions 1000000 --hosts 1000] [--sample HOSTS] [--policy NAME ...] [--jobs N]

Functions are made by chance (seeded by host) with Azure-like rates: most are called a few times a day, a heavy tail every
minute; every fifth is called at regular times. With ``--sample`` only so many of the hosts are replayed, spread evenly, and
``estimated_s`` says what all of them would take: hosts know nothing of each other. Prints JSON.
"""

import argparse
import json
import math
import os
import random
import resource
import time
from pathlib import Path
from typing import NamedTuple

from forerun.cli.recordings import read_folder
from forerun.cli.replaying import in_processes, merged
from forerun.prediction.replay import (
    About,
    ByMinutes,
    Calls,
    Host,
    Run,
    Score,
    Setting,
    make_policy,
    spread,
)
from forerun.prediction.replay.minutes import MinuteReplay

DAY = 1440
# Calls a minute: log-normal around four a day; one in fifty is called every minute.
MEDIAN, SPREAD = 4.0 / DAY, 2.8
PERIODS = ((1440, 45), (60, 35), (15, 10), (5, 7), (1, 3))
REGULAR = 0.2


class Made(NamedTuple):
    """One host's functions, made where they are replayed."""

    seed: int
    functions: int
    train: int = 120

    def run(self, names, _clock) -> list[Run]:
        # CPU time: what others do on the machine meanwhile is in the seconds of the whole.
        clock = time.process_time
        began = clock()
        functions = made(random.Random(self.seed), self.functions)
        making = Run("making", Score(), clock() - began)
        runs = Host(functions, 0, DAY, self.train).run(names, clock)
        # Not what the host held, but what its replay took.
        making.score.peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return [*runs, making]


def made(chance: random.Random, count: int) -> list[Calls]:
    """Functions of one host with the calls of a day."""
    functions = []
    for number in range(count):
        regular = chance.random() < REGULAR
        megabytes = min(4096.0, chance.lognormvariate(math.log(150.0), 0.7))
        about = About(f"f{number}", number // 4, "timer" if regular else "call", megabytes, 1000.0)
        calls = Calls(about)
        if regular:
            (period,) = chance.choices([each for each, _ in PERIODS], [each for _, each in PERIODS])
            for minute in range(chance.randrange(period), DAY, period):
                calls.add(minute, 1)
        else:
            _by_chance(calls, chance, chance.lognormvariate(math.log(MEDIAN), SPREAD))
        functions.append(calls)
    return functions


def _by_chance(calls: Calls, chance: random.Random, rate: float) -> None:
    if rate > 20.0:
        for minute in range(DAY):
            calls.add(minute, max(1, round(chance.gauss(rate, math.sqrt(rate)))))
        return
    at = chance.expovariate(rate)
    while at < DAY:
        minute, count = int(at), 0
        while int(at) == minute:
            count += 1
            at += chance.expovariate(rate)
        calls.add(minute, count)


class Nothing:
    """A policy that costs nothing: what is left is the engine's own time."""

    def observe(self, function, at, count=1):
        return ()

    def advance(self, now):
        return ()

    def windows(self, function, now):
        return ()


def engine(recording: ByMinutes, names: list[str], rounds: int) -> dict:
    """Calls per second of one core, by CPU time: the best of some rounds."""
    calls = sum(sum(each.counts) for each in recording.functions)
    cells = sum(len(each.minutes) for each in recording.functions)
    (host,) = spread(recording, 1, train=0)
    abouts = [each.about for each in recording.functions]
    arrivals = {
        place: [minute * 60.0 for minute in each.minutes]
        for place, each in enumerate(recording.functions)
    }
    found = {}
    for name in ["nothing", *names]:
        best = math.inf
        for _ in range(rounds):
            setting = Setting(abouts, 60.0, 5000.0, lambda: arrivals)
            policy = Nothing() if name == "nothing" else make_policy(name, setting)
            began = time.process_time()
            MinuteReplay(
                host.functions, policy, first=host.first, end=host.end, count_from=host.count_from
            ).run()
            best = min(best, time.process_time() - began)
        found[name] = {
            "calls_per_s": round(calls / best),
            "us_per_minute_with_calls": round(best / cells * 1e6, 2),
        }
    return {"calls": calls, "minutes_with_calls": cells, "policies": found}


def day(arguments) -> dict:
    """All hosts, or a sample of them, on all cores."""
    each = arguments.functions // arguments.hosts
    sample = arguments.sample or arguments.hosts
    seeds = [number * arguments.hosts // sample for number in range(sample)]
    names = arguments.policy
    jobs = arguments.jobs or len(os.sched_getaffinity(0))
    began = time.perf_counter()
    runs = in_processes(((Made(seed, each), names) for seed in seeds), jobs)
    results = merged([*names, "making"], runs, lambda _: None)
    seconds = time.perf_counter() - began
    *results, making = results
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "functions": each * sample,
        "hosts": sample,
        "jobs": jobs,
        "seconds": round(seconds, 1),
        "estimated_s": round(seconds * arguments.hosts / sample, 1),
        "making_cpu_s": making.seconds,
        "peak_mb": {"parent": round(own), "largest_worker": round(making.peak_host_gb * 1024)},
        "policies": {
            result.name: {
                "calls": result.invocations,
                "cold_starts": result.cold_starts,
                "wasted_gb_minutes": result.wasted_gb_minutes,
                "q75": result.q75,
                "cpu_s": result.seconds,
            }
            for result in results
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trace", type=Path, help="also measure the engine on this recording")
    parser.add_argument("--functions", type=int, default=1_000_000)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--policy", nargs="*", default=["fixed-10"])
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    found = {}
    if arguments.trace:
        recording = read_folder(arguments.trace, memory_mb=128.0, start_ms=1000.0)
        names = ["fixed-10", "hybrid", "greedy-dual", "clairvoyant", "forerun"]
        found["engine"] = engine(recording, names, arguments.rounds)
    if arguments.functions:
        found["day"] = day(arguments)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
