"""How long placement takes, and what the view weighs, with many hosts and many versions: ``python -m bench.placement [--hosts 1000]``.

Each host has its share of the idle sandboxes, trees and measured services; calls are of versions drawn as real ones are, few of them
often. Nothing is sent: what is timed is what a control plane does before a call leaves it, and when a beat comes.
"""

import argparse
import json
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

from forerun.cluster import Beat
from forerun.control.fleet.view import View
from forerun.host import HostStats
from forerun.model import ChannelQuality, HostInfo, Likely
from forerun.scheduling import Ask, Rule, place

RUNTIMES = ("python3.11", "python3.12", "nodejs20.x", "provided.al2023")
SERVICES = 50
BEAT_S = 0.5


def resident_mb() -> float:
    """What the process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def quantiles(values: list[float]) -> dict[str, float]:
    """Microseconds of the processor."""
    values.sort()
    at = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    found = {
        name: round(values[int(part * (len(values) - 1))] * 1e6, 1) for name, part in at.items()
    }
    return found | {"mean": round(sum(values) / len(values) * 1e6, 1)}


def stats_of(name: str, busy: int, idle: int) -> HostStats:
    """A host at some moment."""
    return HostStats(
        name=name,
        isolation="jail",
        memory_mb=65_536,
        booked_mb=busy * 256 + idle * 16,
        states={"busy": busy, "idle": idle, "pooled": 8},
        pools={runtime: (2, 2) for runtime in RUNTIMES},
        waiting=0,
        starts={},
        destroyed=0,
        failed=0,
    )


def beat_of(name: str, chance: random.Random, versions: int, idle: int, trees: int) -> Beat:
    """A host's first beat."""
    kept = {f"111111111111:f{chance.randrange(versions)}:{'c' * 16}": 1 for _ in range(idle)}
    return Beat(
        sequence=1,
        sent=0.0,
        whole=True,
        stats=stats_of(name, chance.randrange(64), idle),
        idle=kept,
        trees={f"{chance.randrange(versions):064x}": True for _ in range(trees)},
        channels={
            f"s{number}:443": ChannelQuality(chance.uniform(0.5, 80.0), 0.0, 0.0, 0.0, 20)
            for number in range(SERVICES)
        },
    )


def change_of(name: str, chance: random.Random, versions: int) -> Beat:
    """A later one: a few versions came and went, a few qualities were measured."""
    return Beat(
        sequence=2,
        sent=1.0,
        whole=False,
        stats=stats_of(name, chance.randrange(64), 1000),
        idle={
            f"111111111111:f{chance.randrange(versions)}:{'c' * 16}": turn % 2 for turn in range(20)
        },
        channels={
            f"s{chance.randrange(SERVICES)}:443": ChannelQuality(
                chance.uniform(0.5, 80.0), samples=21
            )
            for _ in range(5)
        },
    )


def timed(count: int, do: Callable[[], object]) -> list[float]:
    """Seconds of the processor for each: what others do on this machine at the same time does not count."""
    found = []
    for _ in range(count):
        began = time.thread_time()
        do()
        found.append(time.thread_time() - began)
    return found


def main() -> None:
    """Measure, and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--versions", type=int, default=1_000_000)
    parser.add_argument("--idle", type=int, default=1000, help="idle sandboxes of each host")
    parser.add_argument("--trees", type=int, default=500, help="trees of each host")
    parser.add_argument("--calls", type=int, default=20_000)
    about = parser.parse_args()
    chance = random.Random(3)
    rule = Rule()
    view = View(rule, dead_s=3.0)
    before = resident_mb()
    infos = [
        HostInfo(
            name=f"host-{number}",
            address=f"10.0.0.1:{number}",
            incarnation="1",
            version="1",
            protocols=(1, 1),
            isolation="jail",
            memory_mb=65_536,
            cpus=32,
            runtimes=RUNTIMES,
        )
        for number in range(about.hosts)
    ]
    for info in infos:
        view.told(info, beat_of(info.name, chance, about.versions, about.idle, about.trees), 0.0)
    weight = resident_mb() - before
    now = 1.0

    def ask_of() -> Ask:
        # Few versions are called often.
        version = int(about.versions ** chance.random())
        return Ask(
            key=f"111111111111:f{version}:{'c' * 16}",
            runtime=chance.choice(RUNTIMES),
            memory_mb=chance.choice((128, 256, 1024)),
            pools=("python3.11+sdk@111111111111", "python3.11+sdk", "python3.11"),
            trees=(f"{version:064x}",),
        )

    asks = [ask_of() for _ in range(2000)]

    def decide(services: int, allowed: dict[str, None] | None = None) -> None:
        nonlocal now
        now += 1e-4
        ask = chance.choice(asks)
        likely = [
            Likely(f"s{chance.randrange(SERVICES)}:443", 0.9, 1.0, 100) for _ in range(services)
        ]
        drawn = chance.random()
        found = view.candidates(ask, services=likely, allowed=allowed, chance=drawn)
        placed = place(ask, found, rule, services=likely, allowed=allowed, chance=drawn)
        if placed is not None:
            state = view.get(placed.hosts[0])
            if state is not None:
                warm = view.sent(state, ask, now)
                view.ended(state, ask, now, idle=warm, freed_mb=0 if warm else ask.memory_mb)

    share = dict.fromkeys(chance.sample([info.name for info in infos], min(200, about.hosts)))
    few = dict.fromkeys(list(share)[:3])
    for number in range(SERVICES):
        # Found once, then kept by ``refresh``.
        view.candidates(asks[0], services=[Likely(f"s{number}:443", 0.9)])
    changes = [(info, change_of(info.name, chance, about.versions)) for info in infos]
    beats = iter(changes)

    def beat() -> None:
        info, change = next(beats)
        view.told(info, change, now)

    print(
        json.dumps(
            {
                "hosts": about.hosts,
                "versions": about.versions,
                "idle_sandboxes": about.hosts * about.idle,
                "view_mb": round(weight, 1),
                "place_us": quantiles(timed(about.calls, lambda: decide(0))),
                "place_1_service_us": quantiles(timed(about.calls, lambda: decide(1))),
                "place_3_services_us": quantiles(timed(about.calls, lambda: decide(3))),
                "place_set_of_3_us": quantiles(timed(about.calls, lambda: decide(0, few))),
                "place_set_of_200_us": quantiles(timed(about.calls, lambda: decide(0, share))),
                "beat_us": quantiles(timed(about.hosts, beat)),
                "refresh_us": quantiles(timed(20, view.refresh)),
                "beats_per_s": about.hosts / BEAT_S,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
