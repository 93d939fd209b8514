"""First calls from full warming pools, before zygotes have learned what functions import and after.

    .venv/bin/python bench/zygotes.py [--quick] [--out FILE]

Functions of three kinds: with slow modules of the standard library, with these and the AWS SDK, and with next to nothing. One
server has learning switched off. On the other each kind is started a few times, until its zygote is there and its pool
full; then functions that never ran are called, one after the other. Prints JSON.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from case import PYTHON, Run
from client import Samples, first_calls
from quiet import machine
from results import Line, as_json
from server import Server, package

SLOW = "import asyncio, sqlite3, unittest.mock, xml.dom.minidom\n"
HANDLER = "def handler(event, context):\n    return 7\n"
KINDS = {
    "slow modules": (SLOW + HANDLER, PYTHON),
    "slow modules and the SDK": (SLOW + "import boto3\n" + HANDLER, f"{PYTHON}+sdk"),
    "next to nothing": (HANDLER, PYTHON),
}
STARTS = 4
LEARN_S = 30.0
LOOK_S = 0.5


def pool_of(server: Server, name: str) -> str:
    """Where sandboxes of a function come from that was started."""
    return server.ask(f"/forerun/zygotes?FunctionName={name}")["Functions"][0]["zygote"]


def until(probe: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LEARN_S
    while not probe():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not in time: {what}")
        time.sleep(0.1)


def kind_on(server: Server, kind: str, count: int, *, learns: bool) -> tuple[Samples, str]:
    """First calls of new functions of a kind, and the pool that they came from."""
    source, usual = KINDS[kind]
    zipped = package("app.py", source)
    word = kind.replace(" ", "-")
    names = [f"{word}-{number}" for number in range(STARTS + count)]
    targets = [server.create(name, zip=zipped) for name in names]
    first_calls(targets[:STARTS], lambda _: server.wait_for_pool(usual))
    if learns and kind != "next to nothing":
        until(lambda: pool_of(server, names[0]) != usual, f"a zygote for {kind}")
    pool = pool_of(server, names[0])
    samples = first_calls(targets[STARTS:], lambda _: server.wait_for_pool(pool))
    return samples, pool


def measure(run: Run) -> list[Line]:
    lines: list[Line] = []
    count = run.size(60, 15)
    found: dict[tuple[str, bool], list[Samples]] = {}
    notes: dict[tuple[str, bool], str] = {}
    for _ in run.rounds(3):
        for learns in (False, True):
            settings = {
                "sandbox_zygotes": 4 if learns else 0,
                "sandbox_zygote_look_s": LOOK_S,
                "foresight_enabled": "false",
            }
            with Server(**settings) as server:
                for kind in KINDS:
                    samples, pool = kind_on(server, kind, count, learns=learns)
                    found.setdefault((kind, learns), []).append(samples)
                    notes[kind, learns] = pool
                if learns:
                    sprouts = [
                        each for each in server.ask("/forerun/zygotes")["Zygotes"] if each["parent"]
                    ]
    for (kind, learns), rounds in found.items():
        when = "after learning" if learns else "before"
        errors = sum(each.errors for each in rounds)
        note = f"{notes[kind, learns]}; {dict(rounds[-1].starts)}; {errors} errors"
        for quantile in (0.5, 0.99):
            what = f"{kind}, {when}, p{quantile * 100:g}"
            lines.append(run.median(what, [each.ms(quantile) for each in rounds], "ms", note=note))
    lines += [run.line(f"own memory of {one['name']}", one["own_mb"], "MB") for one in sprouts]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="measure less of everything")
    parser.add_argument("--out", type=Path, help="write the JSON here, too")
    options = parser.parse_args()
    text = as_json(measure(Run("zygotes", quick=options.quick)), machine=machine())
    if options.out:
        options.out.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
