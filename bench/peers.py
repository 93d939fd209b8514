"""Forerun and named peers side by side: in one run, in turns, as ratios.

    .venv/bin/python bench/peers.py [--quick] [--only PEER]... [--json] [--out FILE]

Each peer installs itself once into ~/.cache/forerun-bench, listens on loopback, and is ended by its process group. One
that cannot be installed is a line that says why. Ours runs with all it does by default: jailed, every request signed.
A ratio is ours over theirs: below 1 we are faster, for calls a second above 1.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import newcomer
from case import PYTHON, Run
from client import sequential
from load import load
from peer import CannotInstall, Peer, one_call
from peer_javascript import PEERS as JAVASCRIPT_PEERS
from peer_python import PEERS as PYTHON_PEERS
from peer_python import ministack_from_nothing
from quiet import machine
from results import Line, as_json, show
from server import HELLO, HELLO_NODE, Server

PEERS = {peer.name: peer for peer in (*JAVASCRIPT_PEERS, *PYTHON_PEERS)}


class Pair:
    """The same measured of us and of a peer, round by round."""

    def __init__(self, what: str, unit: str, *, more_is_better: bool = False) -> None:
        self.what, self.unit, self.more_is_better = what, unit, more_is_better
        self.ours: list[float] = []
        self.theirs: list[float] = []

    def line(self, peer: Peer, run: Run, note: str) -> Line:
        """The ratio of the medians, with both in the note."""
        if not self.ours or not self.theirs:
            return Line(peer.name, self.what, None, "ratio", note=note or "not measured")
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        told = f"ours {ours:.4g} {self.unit}, theirs {theirs:.4g} {self.unit}"
        ratio = ours / theirs if theirs else float("nan")
        return Line(
            peer.name, self.what, ratio, "ratio", 1.0, at_least=self.more_is_better,
            others_cpu=run.disturbed, note=f"{told}; {note}".strip("; ")
        )  # fmt: skip


def _measure(peer: Peer, run: Run, server: Server, ours) -> list[Line]:
    warm, slow = Pair("warm, p50", "ms"), Pair("warm, p99", "ms")
    cold = Pair("cold start, p50", "ms")
    rates = {} if peer.one_only else {
        count: Pair(f"{count} connections", "calls/s", more_is_better=True) for count in (8, 32)
    }  # fmt: skip
    runtime = ours.runtime
    with peer.running(peer.folder) as theirs:
        for _ in run.rounds(5, 2):
            for target, (middle, tail) in (
                (ours.warm, (warm.ours, slow.ours)),
                (theirs.warm, (warm.theirs, slow.theirs)),
            ):
                samples = sequential(target, run.size(300, 100))
                middle.append(samples.ms(0.5))
                tail.append(samples.ms(0.99))
        for index in range(run.size(15, 5)):
            server.wait_for_pool(runtime)
            time.sleep(0.02)
            cold.ours.append(one_call(ours.cold.pop()) * 1000)
            cold.theirs.append(theirs.cold(index) * 1000)
        for connections, pair in rates.items():
            for target in (ours.warm, theirs.warm):
                load(target, connections, run.size(2, 1))
            for _ in run.rounds(3):
                for target, found in ((ours.warm, pair.ours), (theirs.warm, pair.theirs)):
                    got = load(target, connections, run.size(3, 1))
                    found.append(got.rate if not got.errors else 0.0)
    note = f"{peer.isolation}; ours {runtime}"
    lines = [pair.line(peer, run, note) for pair in (warm, slow, cold, *rates.values())]
    if peer.one_only:
        lines.append(
            Line(peer.name, "8 connections", None, "ratio", note="serves one call at a time")
        )
    return lines


class Ours:
    """Our functions for one peer: one that is warm, others that never ran."""

    def __init__(self, server: Server, runtime: str, count: int) -> None:
        source = HELLO_NODE if runtime.startswith("nodejs") else HELLO
        self.runtime = runtime
        made = time.monotonic_ns()
        warm = server.create(f"warm-{made}", source, runtime=runtime)
        self.warm = replace(warm, expect=b"true")
        self.cold = [
            server.create(f"cold-{made}-{each}", source, runtime=runtime) for each in range(count)
        ]
        one_call(self.warm)


def compare(names: list[str], *, quick: bool) -> list[Line]:
    lines: list[Line] = []
    with Server() as server:
        nodes = [each for each in sorted(server.status()["runtimes"]) if each.startswith("nodejs")]
        runtimes = {"python": PYTHON, "nodejs": nodes[-1] if nodes else PYTHON}
        for name in names:
            peer, run = PEERS[name], Run(name, quick=quick)
            began = time.monotonic()
            try:
                peer.install(peer.folder)
                ours = Ours(server, runtimes[peer.versus], run.size(15, 5))
                found = _measure(peer, run, server, ours)
            except CannotInstall as error:
                found = [Line(name, "not installed", None, "", note=str(error))]
            except Exception as error:  # noqa: BLE001 the other peers still count
                found = [Line(name, "broke", None, "", note=repr(error)[:200])]
            lines += found
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return lines


def from_nothing(run: Run) -> list[Line]:
    """Ours and MiniStack's way from nothing to the first answer, in turns."""
    peer, pair = PEERS["MiniStack"], Pair("from nothing to the first answer", "s")
    laps = {"ours": "", "theirs": ""}
    with tempfile.TemporaryDirectory(prefix="forerun-bench-") as built:
        wheel = newcomer.build_wheel(Path(built))
        for _ in run.rounds(3):
            for measure, whose in (
                (lambda folder: newcomer.steps_of(wheel, folder), "ours"),
                (ministack_from_nothing, "theirs"),
            ):
                with tempfile.TemporaryDirectory(prefix="forerun-bench-") as folder:
                    steps = measure(Path(folder))
                (pair.ours if whose == "ours" else pair.theirs).append(sum(steps.values()))
                laps[whose] = ", ".join(f"{name} {took:.1f}" for name, took in steps.items())
    return [pair.line(peer, run, f"ours: {laps['ours']}; theirs: {laps['theirs']}")]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument(
        "--only", action="append", choices=[*PEERS, "from nothing"], help="may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    arguments = parser.parse_args()
    wanted = arguments.only or [*PEERS, "from nothing"]
    lines = compare([name for name in wanted if name in PEERS], quick=arguments.quick)
    if "from nothing" in wanted:
        lines += from_nothing(Run("MiniStack", quick=arguments.quick))
    text = as_json(lines, machine=machine(), quick=arguments.quick)
    if arguments.out:
        arguments.out.write_text(text)
    print(text) if arguments.json else show(
        lines, "Ours over theirs, medians of the same run, in turns"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
