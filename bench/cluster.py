"""Measures what a cluster costs and promises, against real clusters on this machine: PostgreSQL, a control plane, hosts, the engine.

    .venv/bin/python bench/cluster.py [--quick] [--only CASE]... [--json] [--out FILE]

Each process has an address of its own on the loopback interface or a port of its own; sandboxes are jailed where that can be, and everything ends by its process id.
"Single" is ``forerun up`` without a cluster: SQLite, the host in the same process. With fewer cores than processes a hop costs
more than on machines of their own: two more processes have to be woken for each call.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# The cluster is that of the tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from case import Run
from cluster_calls import compared, cores, remote_host
from cluster_hosts import death, joining, placement, rerun
from quiet import machine
from results import Line, as_json, show

CASES: dict[str, Callable[[Run], Iterator[Line]]] = {
    "cluster-remote": remote_host,
    "cluster-database": compared,
    "cluster-placement": placement,
    "cluster-death": death,
    "cluster-rerun": rerun,
    "cluster-join": joining,
    "cluster-cores": cores,
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
    parser.add_argument("--quick", action="store_true", help="less of everything")
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
        show(lines, "A cluster: measured here, medians of the quieter rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
