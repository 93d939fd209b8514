"""How long B takes to start when A calls it, in nine of ten runs, and B has no sandbox: loaded ahead, beside warm and cold.

    .venv/bin/python bench/preload.py [--quick] [--out FILE]

Whom A calls is learned first, with foresight off, so that nothing is known of when B is called. Before each run that
counts B is made anew. A start is from when the call of B was let in to the first line
of its handler. Prints JSON.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator

from case import Run
from quiet import machine
from results import Line, as_json
from server import Server

LIKELIHOOD = 0.9
TRAINING = 60
# How long A runs before it calls B.
AFTER_S = 0.6
LOAD_S = 0.2
TARGET = 1.5
B = f"""
import time
import decimal, email.message, sqlite3, xml.dom.minidom
time.sleep({LOAD_S})
def handler(event, context):
    return 1
"""
A = """
import time
import boto3
client = boto3.client("lambda")
def handler(event, context):
    time.sleep(event["after"])
    if event["call"]:
        client.invoke(FunctionName="b", Payload=b"{}")["Payload"].read()
"""
OPTIONS = {"Tags": {"forerun:monitoring": "on"}, "Timeout": 20, "MemorySize": 256}
WATCHED = {"monitoring_function_per_s": 1000, "monitoring_total_per_s": 1000}


def call(server: Server, *, after: float = AFTER_S, calls: bool = True) -> None:
    event = json.dumps({"after": after, "call": calls})
    reply = server.api().invoke(FunctionName="a", Payload=event)
    assert "FunctionError" not in reply, reply["Payload"].read()


def renew(server: Server) -> None:
    """Make B anew: no sandbox of it is left, and nothing is known of when it is called."""
    server.api().delete_function(FunctionName="b")
    wait(
        lambda: "b" not in {each["name"] for each in server.ask("/forerun/sandboxes")["Sandboxes"]}
    )
    server.create("b", B, **OPTIONS)


def started(server: Server, since: float) -> tuple[float, str]:
    """Milliseconds of the start of B's call since then, and its start type."""

    def found():
        records = server.ask("/forerun/invocations?FunctionName=b&MaxItems=5")["Invocations"]
        return [each for each in records if each["timings"]["received"] >= since]

    record = wait(found)[0]
    timings = record["timings"]
    return (timings["started"] - timings["admitted"]) * 1000, record["start_type"]


def wait(probe, within: float = 20.0):
    deadline = time.monotonic() + within
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise RuntimeError("it did not come about in time")
        time.sleep(0.02)
    return found


def start_of(server: Server, types: Counter[str]) -> float:
    """Milliseconds of B's start in one run of A; how it was come by is counted."""
    since = time.time()
    call(server)
    took_ms, start_type = started(server, since)
    types[start_type] += 1
    return took_ms


def learned(server: Server) -> bool:
    profile = server.ask("/forerun/profile?FunctionName=a")
    return profile is not None and profile["Profile"]["sampled"] >= TRAINING


def at(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


def preload(run: Run) -> Iterator[Line]:
    """Without foresight; then with it, each run without a sandbox followed by one that finds it warm."""
    types: dict[str, Counter[str]] = {"cold": Counter(), "ahead": Counter(), "warm": Counter()}
    cold: list[float] = []
    ahead: list[list[float]] = []
    warm: list[list[float]] = []
    with Server(foresight_enabled="false", **WATCHED) as server:
        server.create("a", A, **OPTIONS)
        server.create("b", B, **OPTIONS)
        for number in range(TRAINING):
            call(server, after=0.05, calls=number % 10 < 10 * LIKELIHOOD)
        wait(lambda: learned(server))
        for _ in range(run.size(20, 10)):
            renew(server)
            cold.append(start_of(server, types["cold"]))
        server.stop()
        server.settings["FORERUN_FORESIGHT_ENABLED"] = "true"
        server.start()
        call(server)
        for _ in run.rounds(7, 2):
            ahead.append([])
            warm.append([])
            for _ in range(run.size(40, 20)):
                renew(server)
                ahead[-1].append(start_of(server, types["ahead"]))
                warm[-1].append(start_of(server, types["warm"]))
    notes = {
        name: ", ".join(f"{n} {each}" for each, n in found.items()) for name, found in types.items()
    }
    yield run.line("without foresight, p50", at(cold, 0.5), "ms", note=notes["cold"])
    for what, times in (("ahead", ahead), ("warm", warm)):
        shown = "loaded ahead" if what == "ahead" else what
        for share in (0.5, 0.95):
            values = [at(each, share) for each in times]
            note = notes[what] if share == 0.5 else ""
            yield run.median(f"{shown}, p{share * 100:.0f}", values, "ms", note=note)
    pairs = list(zip(ahead, warm, strict=True))
    for share, target in ((0.5, None), (0.95, TARGET)):
        ratios = [at(one, share) / at(two, share) for one, two in pairs]
        yield run.median(f"p{share * 100:.0f} loaded ahead over warm", ratios, "ratio", target)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--out", help="also write the JSON to this file")
    asked = parser.parse_args()
    text = as_json(
        list(preload(Run("preload", quick=asked.quick))), machine=machine(), quick=asked.quick
    )
    if asked.out:
        with open(asked.out, "w", encoding="utf-8") as file:
            file.write(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
