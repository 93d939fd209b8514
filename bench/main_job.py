"""Measures what the platform promises of its main job, against real servers of its own, and says what is met.

    .venv/bin/python bench/main_job.py [--quick] [--only CASE]... [--json] [--out FILE]

Every case starts a server on a free loopback port with a data directory of its own, and ends it by its process id.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from case import Run
from cold import burst, from_zygote, node_pool_hit, pool_hit
from events import events
from footprint import idle_platform, idle_sandboxes
from heavy import heavy_imports
from newcomer import newcomer
from quiet import machine
from results import Line, as_json, show
from stored import stored_functions
from warm import throughput, warm

CASES: dict[str, Callable[[Run], Iterator[Line]]] = {
    "warm": warm,
    "load": throughput,
    "cold-pool": pool_hit,
    "cold-zygote": from_zygote,
    "burst": burst,
    "heavy": heavy_imports,
    "cold-node": node_pool_hit,
    "idle-platform": idle_platform,
    "idle-sandboxes": idle_sandboxes,
    "events": events,
    "stored": stored_functions,
    "newcomer": newcomer,
}


def measure(names: list[str], *, quick: bool) -> list[Line]:
    """Run the cases; one that breaks is a line that says so."""
    lines: list[Line] = []
    for name in names:
        run, began = Run(name, quick=quick), time.monotonic()
        found: list[Line] = []
        try:
            found.extend(CASES[name](run))
        except Exception as error:  # noqa: BLE001 the other cases still count
            found.append(Line(name, "the case broke", None, "", 0, note=repr(error)[:300]))
        lines += found
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="less of everything, in about two minutes"
    )
    parser.add_argument(
        "--only", action="append", choices=list(CASES), help="this case; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    arguments = parser.parse_args()
    began = time.monotonic()
    lines = measure(arguments.only or list(CASES), quick=arguments.quick)
    about = {
        "machine": machine(),
        "quick": arguments.quick,
        "took_s": round(time.monotonic() - began, 1),
    }
    text = as_json(lines, **about)
    if arguments.out:
        arguments.out.write_text(text)
    if arguments.json:
        print(text)
    else:
        show(lines, "The main job: measured here, medians of the quieter rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
