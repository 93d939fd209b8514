"""Runs named cases from the command line: what every set of measurements offers alike."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from case import Run
from quiet import machine
from results import Line, as_json, show

Case = Callable[[Run], Iterator[Line]]


def measure(cases: Mapping[str, Case], names: Iterable[str], *, quick: bool) -> list[Line]:
    """Run the cases; one that breaks is a line that says so."""
    lines: list[Line] = []
    for name in names:
        run, began = Run(name, quick=quick), time.monotonic()
        found: list[Line] = []
        try:
            found.extend(cases[name](run))
        except Exception as error:  # noqa: BLE001 the other cases still count
            found.append(Line(name, "the case broke", None, "", 0, note=repr(error)[:300]))
        lines += found
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return lines


def main(doc: str | None, title: str, cases: Mapping[str, Case]) -> int:
    """Measure what the arguments name, or everything; the exit code. ``doc`` is the text of ``--help``."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="less of everything, in minutes")
    parser.add_argument(
        "--only", action="append", choices=list(cases), help="this case; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    arguments = parser.parse_args()
    began = time.monotonic()
    lines = measure(cases, arguments.only or list(cases), quick=arguments.quick)
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
        show(lines, title)
    return 0
