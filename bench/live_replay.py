"""Plays recorded calls live, in less time than they took, and says how far the simulator agrees about cold starts.

    .venv/bin/python bench/live_replay.py --trace FOLDER [--minutes N] [--seed N] [--out FILE]

FOLDER holds calls one by one (app, func, end_timestamp, duration: the schema that Azure published in 2021). Every recorded
function becomes a real one in a jail, whose init imports modules and waits 50 to 150 ms; times and durations are scaled so
that the last call begins after ``--minutes``. The server is one of its own, with foresight at its defaults. Afterwards the
simulator replays the same calls with the same policy, given what starts were measured to cost. Prints JSON.
"""

import argparse
import json
import sys
from pathlib import Path

from live_calls import accelerated, compared, costs, deploy, play
from quiet import Others, machine
from server import Server

from forerun.cli.recordings import read_folder
from forerun.prediction.replay import USUAL_MEMORY_MB, USUAL_START_MS, ByCalls

WITHIN = 0.1


def read(folder: Path) -> ByCalls:
    """The calls of a folder. Raises ``SystemExit`` for one that holds none one by one."""
    recording = read_folder(folder, memory_mb=USUAL_MEMORY_MB, start_ms=USUAL_START_MS)
    if not isinstance(recording, ByCalls):
        raise SystemExit(f"{folder} tells calls per minute; they are needed one by one")
    return recording


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trace", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1, help="of how long inits take")
    parser.add_argument(
        "--calls", type=Path, help="write each call and what starts cost to this file"
    )
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    asked = parser.parse_args()
    recorded = read(asked.trace)
    span_s = recorded.calls[-1].begin - recorded.first_s
    factor = span_s / (60.0 * asked.minutes)
    recording = accelerated(recorded, factor)
    others = Others()
    with Server() as server:
        deploy(server.api(), server.role, len(recording.functions), asked.seed)
        played = play(recording, server.endpoint, server.environment)
        functions = costs(server.ask, recording.functions, played[0].at)
        found = compared(recording, played, functions, server.ask)
    agrees = found["ratio"] is not None and abs(found["ratio"] - 1.0) <= WITHIN
    result = {
        "acceleration": round(factor, 3),
        "agrees": agrees,
        **found,
        "others_cpu": round(others.percent(), 1),
        "machine": machine(),
    }
    if asked.calls:
        told = {"functions": functions, "calls": [vars(each) for each in played]}
        asked.calls.write_text(json.dumps(told), encoding="utf-8")
    text = json.dumps(result, indent=1)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    print(text)
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
