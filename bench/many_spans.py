"""What the benchmarks with millions of spans have in common: their options, a folder of their own, and how they tell."""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import uvloop
from case import Run
from quiet import machine
from results import Line, as_json, show


class Bench(Protocol):
    """One benchmark on a folder with so many spans."""

    async def lines(self) -> list[Line]: ...


def main(doc: str, case: str, make: Callable[[Path, Run, int], Bench], *, quick_spans: int) -> int:
    """Read the options, measure, print; the exit status."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spans", type=int, default=10_000_000, help="how many there shall be")
    parser.add_argument("--quick", action="store_true", help=f"{quick_spans:,} spans")
    parser.add_argument("--folder", type=Path, help="where the database is made; 2 GB and more")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, help="also write the JSON to this file")
    given = parser.parse_args()
    spans = quick_spans if given.quick else given.spans
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix=f"forerun-{case}-", dir=given.folder) as made,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        lines = runner.run(make(Path(made), Run(case, quick=given.quick), spans).lines())
    about = {
        "machine": machine(),
        "quick": given.quick,
        "spans": spans,
        "took_s": round(time.monotonic() - began, 1),
    }
    text = as_json(lines, **about)
    if given.out:
        given.out.write_text(text)
    print(text) if given.json else show(lines, f"{case.capitalize()}, {spans:,} spans")
    return 0
