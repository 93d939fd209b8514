"""Plays recorded call trees through deployed functions, and says how far what the platform shows agrees with them.

    .venv/bin/python bench/replay.py [--trace FOLDER] [--sample N] [--scale X] [--at-once N] [--outside] [--sampled] [--json]

FOLDER holds spans as bench/recording.py describes; without it trees are made. Each service becomes a function of its own
name. Every execution is watched, unless ``--sampled`` leaves the choice to the platform: then there are no whole
trees to compare, and likelihoods alone are. ``--outside`` plays statements to databases as requests to an outside HTTP server
(in processes without isolation: jailed functions do not reach this machine's loopback).

Ground truth is computed from the trees that were played, never from what the platform says.
"""

import argparse
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from agreement import Agreement, compare, observed
from quiet import Others, machine
from recording import DATABASE, Node, made, read, truth
from replaying import Played, Player, deploy, services_of
from results import Line, as_json, show
from server import Server

ALL = {"monitoring_function_per_s": 1e6, "monitoring_total_per_s": 1e6}
SEEN_S = 30.0


class Outside(BaseHTTPRequestHandler):
    """An outside service that answers after ``ms``."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query)
        time.sleep(float(asked.get("ms", ["0"])[0]) / 1000)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


def play_all(server: Server, trees: list[Node], at_once: int, **replay) -> list[Played]:
    """Every tree once, so many of them at a time."""
    player = Player(server.api(), **replay)
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(player.play, trees))


def compare_traces(
    server: Server, trees: list[Node], played: list[Played], scale: float, outside: dict[str, str]
) -> Agreement:
    """Ask for every trace, until it is complete or time is over."""
    agreement, deadline = Agreement(), time.monotonic() + SEEN_S
    for index, (tree, one) in enumerate(zip(trees, played, strict=True)):
        if index == len(trees) // 2:
            # Until now sandboxes were started; from here on time is what it will be.
            agreement.stretch.clear()
        roots: list[Node] = []
        while True:
            trace = server.ask(f"/forerun/trace?TraceId={one.trace_id}")
            if trace and trace["executions"] >= one.executions:
                break
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        if trace:
            roots = observed(trace, outside=outside)
        compare(tree, roots[0] if len(roots) == 1 else None, agreement, scale)
    return agreement


def trace_lines(agreement: Agreement) -> Iterator[Line]:
    """How far trees came back."""

    def share(what: str, part: int, whole: int, target: float | None) -> Line:
        value = 100 * part / whole if whole else float("nan")
        return Line("trees", what, value, "%", target, at_least=True, note=f"{part} of {whole}")

    yield share("trees equal", agreement.trees_equal, agreement.trees, 100)
    yield share("executions seen", agreement.executions_seen, agreement.executions, 100)
    yield share("calls seen", agreement.calls_seen, agreement.calls, 100)
    yield share("order kept", agreement.sequences_kept, agreement.sequences, 100)
    if agreement.overlaps:
        yield share("overlap kept", agreement.overlaps_kept, agreement.overlaps, None)
    yield Line("trees", "calls that were never made", agreement.calls_foreign, "calls", 0)
    late = [took - ideal for took, ideal in agreement.stretch]
    if len(late) > 1:
        below = [took - ideal for took, ideal in agreement.stretch if ideal > 0]
        yield Line(
            "timing", "execution longer than recorded, median", statistics.median(below), "ms"
        )
        yield Line(
            "timing", "the same, 95th percentile", statistics.quantiles(late, n=20)[18], "ms"
        )
        whole = sum(took for took, _ in agreement.stretch) / sum(it for _, it in agreement.stretch)
        yield Line("timing", "all executions together", whole, "times")


def profile_lines(
    server: Server, trees: list[Node], names: dict[str, str], *, sampled: bool
) -> Iterator[Line]:
    """How far likelihoods and calls per execution of profiles agree with the trees; ``names`` of callees to services."""
    wrong, counted, missing, foreign, worst = [], [], 0, 0, ""
    for service, known in truth(trees).items():
        profile = settled(server, service, 1 if sampled else known.executions)
        told = {names.get(each["name"], each["name"]): each for each in profile.get("callees", [])}
        told = {name: each for name, each in told.items() if not each.get("via")}
        foreign += len(set(told) - set(known.calls))
        for callee in known.calls:
            if callee not in told:
                missing += 1
                continue
            off = abs(told[callee]["likelihood"]["value"] - known.likelihood(callee)) * 100
            if off >= max(wrong, default=0):
                worst = f"{service} -> {callee}, {known.executions} executions"
            wrong.append(off)
            calls = told[callee]["calls"] / max(1, profile["executions"])
            counted.append(abs(calls - known.calls[callee] / known.executions))
    target = None if sampled else 2.0
    yield Line("profiles", "callees compared", len(wrong), "edges")
    yield Line("profiles", "callees missing", missing, "edges", None if sampled else 0)
    yield Line("profiles", "callees that were never called", foreign, "edges", 0)
    if wrong:
        yield Line("profiles", "likelihood off, worst", max(wrong), "points", target, note=worst)
        yield Line("profiles", "likelihood off, mean", statistics.fmean(wrong), "points")
        yield Line("profiles", "calls per execution off, worst", max(counted), "calls")


def settled(server: Server, service: str, executions: int) -> dict:
    """The profile, once it has as many executions, or what there is of it in time."""
    deadline = time.monotonic() + SEEN_S
    while True:
        page = server.ask(f"/forerun/profile?FunctionName={service}") or {}
        profile = page.get("Profile", page)
        if profile.get("sampled", 0) >= executions or time.monotonic() > deadline:
            return profile
        time.sleep(0.1)


def measure(trees: list[Node], options: argparse.Namespace) -> list[Line]:
    """Play and compare."""
    settings = {} if options.sampled else ALL
    outside = ThreadingHTTPServer(("127.0.0.1", 0), Outside)
    threading.Thread(target=outside.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{outside.server_port}"
    mode = "process" if options.outside else options.sandbox
    try:
        with Server(sandbox=mode, **settings) as server:
            deploy(server.api(), server.role, services_of(trees))
            replay = {"scale": options.scale, "outside_url": f"http://{address}"}
            others, began = Others(), time.monotonic()
            played = play_all(server, trees, options.at_once, **replay)
            wall, used = time.monotonic() - began, others.percent()
            names = {address: DATABASE}
            lines = [
                Line("played", "trees", len(played), ""),
                Line("played", "executions", sum(one.executions for one in played), ""),
                Line("played", "failed calls", sum(one.failed for one in played), "calls", 0),
                Line("played", "in", wall, "s"),
            ]
            if not options.sampled:
                agreement = compare_traces(server, trees, played, options.scale, names)
                lines += trace_lines(agreement)
            lines += profile_lines(server, trees, names, sampled=options.sampled)
    finally:
        outside.shutdown()
        outside.server_close()
    for line in lines:
        line.others_cpu = used
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trace", type=Path, help="folder with recorded spans")
    parser.add_argument("--sample", type=int, default=100, help="trees to play, 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of all durations")
    parser.add_argument("--at-once", type=int, default=1, help="trees played at a time")
    parser.add_argument("--outside", action="store_true", help="play calls of outside services")
    parser.add_argument(
        "--sampled", action="store_true", help="the platform chooses what it watches"
    )
    parser.add_argument("--sandbox", default="auto")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    recording = read(options.trace) if options.trace else None
    trees = recording.trees if recording else made(options.sample or 100, options.seed)
    if recording and recording.skipped:
        print(f"left out of the recording: {dict(recording.skipped)}", file=sys.stderr)
    if options.sample and options.sample < len(trees):
        trees = random.Random(options.seed).sample(trees, options.sample)
    if not options.outside:
        trees = [tree.without_outside() for tree in trees]
    lines = measure(trees, options)
    about = {"trace": str(options.trace or "made"), "scale": options.scale, "machine": machine()}
    if options.json:
        print(as_json(lines, **about))
    else:
        show(lines, f"Played {about['trace']}, durations x {options.scale:g}")
    return 0 if all(line.met is not False for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
