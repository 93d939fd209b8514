"""The policies of a cluster with many hosts, in virtual time: what a decision costs, what beats cost, how good placement is, what a death does.

    .venv/bin/python -m bench.fleet_scale [--trace FOLDER] [--hosts 1000] [--functions 1000000] [--rate 100000] [--seconds 4]
    .venv/bin/python -m bench.fleet_scale --compare --hosts 100 --functions 100000 --rate 10000    # other ways to place
    .venv/bin/python -m bench.fleet_scale --fail --hosts 100 --functions 100000 --rate 10000 --seconds 20
    .venv/bin/python -m bench.fleet_scale --parts [--trace FOLDER]                # what the ring costs, and telling the holder of the duties of calls

View, placement, ring, shares, leases and beats are the product's own; hosts are a model (``fleet_host``). ``--trace`` names a recording
in the schema of Azure Functions 2019, from which popularity, durations and memory are drawn.
"""

import argparse
import json
import statistics
import sys
import time
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.fleet_call import Plan
from bench.fleet_choices import CHOICES, fill
from bench.fleet_parts import churn, relaying, remembering
from bench.fleet_traffic import Row, Traffic, recorded
from bench.fleet_world import Choose, World


def quantiles(values: Iterable[float], unit: float = 1e6) -> dict[str, float]:
    """Median, 99 % and mean; microseconds of seconds."""
    found = sorted(values)
    if not found:
        return {}
    at = {name: found[int(part * (len(found) - 1))] for name, part in (("p50", 0.5), ("p99", 0.99))}
    return {name: round(value * unit, 1) for name, value in at.items()} | {
        "mean": round(statistics.fmean(found) * unit, 1)
    }


def evenness(world: World) -> dict[str, float]:
    """How load lies: calls and memory of the fullest host, and of the one that 99 of 100 are below, over the mean."""
    living = [host for host in world.hosts.values() if not (host.dead or host.cut)]
    found = {}
    for what, values in (
        ("calls", [host.running for host in living]),
        ("memory", [host.booked_mb for host in living]),
    ):
        values.sort()
        mean = max(1e-9, statistics.fmean(values))
        found[f"{what}, fullest over mean"] = round(values[-1] / mean, 2)
        found[f"{what}, p99 over mean"] = round(values[int(0.99 * (len(values) - 1))] / mean, 2)
    found["memory in use"] = round(
        sum(host.booked_mb for host in living) / sum(host.memory_mb for host in living), 2
    )
    return found


def rates(world: World) -> dict[str, float]:
    """Parts of the calls that were counted."""
    counts = world.counts
    ran = max(1, counts["warm"] + counts["pool"] + counts["fork"])
    counted = max(1, counts["counted"])
    looked = counts["looked at"]
    return {
        "cold starts": round((counts["pool"] + counts["fork"]) / ran, 5),
        "of these beside an idle sandbox": round(counts["beside an idle one"] / looked, 3)
        if looked
        else 0.0,
        "sent on": round(counts["sent on"] / counted, 5),
        "refusals for memory": round(counts["refused: full"] / counted, 5),
        "refusals for want of an idle sandbox": round(counts["refused: not idle"] / counted, 5),
        "refusals by share": round(counts["refused: share"] / counted, 5),
        "shares grown": round(counts["grown"] / counted, 6),
        "waited for room": round(counts["waited for room"] / counted, 5),
        "refused": round((counts["at its limit"] + counts["no room in time"]) / counted, 5),
    }


def costs(world: World, seconds: float) -> dict[str, Any]:
    """What a control plane pays: for decisions, for beats; and what a host pays for telling."""
    decided: array[float] = array("d")
    heard: array[float] = array("d")
    for plane in world.planes:
        decided.extend(plane.decided)
        heard.extend(plane.heard)
    planes = world.planes
    beats = sum(plane.beats for plane in planes)
    a_plane = beats / len(planes) / seconds
    beat_us = quantiles(heard)
    return {
        "decision_us": quantiles(decided),
        "decisions_per_s_and_core": round(len(decided) / max(1e-9, sum(decided))),
        "beat_us": beat_us,
        "of_that_reading_us": round(sum(plane.read_s for plane in planes) / max(1, beats) * 1e6, 1),
        "told_by_host_us": round(world.telling_s / max(1, beats) * 1e6, 1),
        "beat_bytes": round(sum(plane.beat_bytes for plane in planes) / max(1, beats)),
        "beats_per_s_and_plane": round(a_plane),
        "beat_kb_per_s_and_plane": round(
            sum(plane.beat_bytes for plane in planes) / len(planes) / seconds / 1024
        ),
        "core_for_beats": round(a_plane * beat_us["mean"] / 1e6, 3),
    }


def simulated(
    about: argparse.Namespace, rows: list[Row] | None, plan: Plan, **how: Any
) -> dict[str, Any]:
    """One fleet for some seconds."""
    began = time.monotonic()
    traffic = Traffic(how.pop("functions"), how.pop("rate"), seed=about.seed, rows=rows)
    choose: Choose | None = how.pop("choose", None)
    world = World(traffic, plan, choose=choose, count_from=about.seconds / 4)
    fill(world)
    world.begin()
    even: dict[str, float] = {}
    # Late, and before what is under way ends.
    world.at(0.98 * about.seconds, lambda: even.update(evenness(world)))
    failing: bool = how.pop("failing", False)
    if failing:
        fail(world, about.seconds)
    world.run(about.seconds, drain=failing)
    found: dict[str, Any] = {
        "hosts": plan.hosts,
        "planes": plan.planes,
        "functions": traffic.functions,
        "rate": traffic.rate,
        "calls": world.counts["came"],
        **rates(world),
        "start_ms": quantiles(world.waited_ms, 1.0),
        **even,
        "twice at once": world.counts["twice at once"],
    }
    if choose is None:
        found |= costs(world, world.now)
        found["idle_sandboxes"] = sum(sum(host.idle.values()) for host in world.hosts.values())
        if plan.planes == 1:
            found["view_mb"] = round(world.view_mb, 1)
    if failing:
        found["missing"] = world.under_way
        lost = ("lost with a host", "told lost", "run again")
        found |= {name: world.counts[name] for name in lost}
        found["noticed_s"] = quantiles(world.noticed, 1.0)
    found["took_s"] = round(time.monotonic() - began, 1)
    print(f"{plan}: {found['took_s']} s", file=sys.stderr)
    return found


def fail(world: World, seconds: float) -> None:
    """In a hundred hosts one is killed, one is cut off for good, one is cut off for a while, and one joins."""
    names = list(world.hosts)
    for number in range(max(1, len(names) // 100)):
        killed, gone, away = names[3 * number : 3 * number + 3]
        world.at(0.3 * seconds, world.kill, killed)
        world.at(0.3 * seconds + 0.01 * number, world.cut_off, gone)
        world.at(0.35 * seconds, world.cut_off, away, 8.0)
        world.at(0.5 * seconds, world.join, f"new-{number}")


def sizes(about: argparse.Namespace, rows: list[Row] | None) -> list[dict[str, Any]]:
    """The same load for each host, with 10, 100, ... hosts."""
    found = []
    hosts = 10
    while hosts <= about.hosts:
        part = hosts / about.hosts
        plan = Plan(hosts, about.planes, about.memory_mb, step=about.step)
        found.append(
            simulated(
                about, rows, plan,
                functions=int(about.functions * part), rate=about.rate * part, failing=about.fail,
            )
        )  # fmt: skip
        hosts *= 10
    return found


def compared(about: argparse.Namespace, rows: list[Row] | None) -> dict[str, dict[str, Any]]:
    """The same calls placed in several ways."""
    base = Plan(about.hosts, 1, about.memory_mb, step=about.step)
    plans: dict[str, tuple[Plan, Choose | None]] = {
        "1 control plane, limits": (base, None),
        "5 control planes, limits": (base._replace(planes=5), None),
        "25 control planes, limits": (base._replace(planes=25), None),
        "1 control plane, steps of 10": (base._replace(step=10), None),
        "1 control plane, no limits": (base._replace(step=0), None),
        "5 control planes, no limits": (base._replace(planes=5, step=0), None),
    }
    plans |= {name: (base, choose) for name, choose in CHOICES.items()}
    return {
        name: simulated(
            about, rows, plan, functions=about.functions, rate=about.rate, choose=choose
        )
        for name, (plan, choose) in plans.items()
    }


def main() -> None:
    """Measure, and print it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trace", type=Path, help="folder of a recording (2019)")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--functions", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=100_000)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--planes", type=int, default=1)
    parser.add_argument("--memory-mb", type=int, default=24_576, help="of each host")
    parser.add_argument("--step", type=int, default=50, help="cluster.share; 0: no limits")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="store_true", help="this number of hosts, not fewer, too")
    parser.add_argument("--compare", action="store_true", help="with other ways to place")
    parser.add_argument("--fail", action="store_true", help="hosts die, are cut off, and join")
    parser.add_argument("--parts", action="store_true", help="the ring, and what calls are told of")
    about = parser.parse_args()
    rows = recorded(about.trace) if about.trace else None
    found: object
    if about.parts:
        found = {f"ring of {hosts}": churn(hosts) for hosts in (10, 100, 1000)} | {
            "a call told to the holder of the duties": relaying(),
            "calls of functions that are remembered": remembering(
                Traffic(about.functions, about.rate, seed=about.seed, rows=rows)
            ),
        }
    elif about.compare:
        found = compared(about, rows)
    elif about.only:
        plan = Plan(about.hosts, about.planes, about.memory_mb, step=about.step)
        found = simulated(
            about, rows, plan, functions=about.functions, rate=about.rate, failing=about.fail
        )
    else:
        found = sizes(about, rows)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
