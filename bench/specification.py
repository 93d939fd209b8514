"""Writes what was measured into docs/specification.md: the tables between marks, the rest of the page is left alone.

    .venv/bin/python bench/main_job.py --out main.json
    .venv/bin/python bench/peers.py --out peers.json
    .venv/bin/python bench/specification.py main.json peers.json monitoring.json traces.json profiles.json

Several runs may be given. Each case, and each peer, is taken from the run in which others used the least CPU; never
line by line, so that no line is chosen for its value. Cases that are in none of the runs stay as they are.
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

from peers import PEERS
from results import Line, number, target_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "specification.md"
VERDICTS = {True: "yes", False: "**no**", None: ""}
NOISY_PERCENT = 15
# The cases of monitoring.py, traces.py and profiles.py.
WATCHING = ("monitoring", "traces", "profiles")
# The cases of foresight.py, prediction.py, preload.py, zygotes.py and packaging.py.
AHEAD = ("foresight", "prediction", "preload", "zygotes", "packaging")
# The cases of queues.py, matching.py, metaevents.py and events_chaos.py.
EVENTS = ("queues", "matching", "metaevents", "events_chaos")
# The cases of cluster.py.
CLUSTER = (
    "cluster-remote",
    "cluster-database",
    "cluster-placement",
    "cluster-death",
    "cluster-rerun",
    "cluster-join",
    "cluster-cores",
)


def lines_of(run: dict) -> list[Line]:
    """The lines of a run's JSON."""
    return [
        Line(**{name: value for name, value in each.items() if name not in ("met", "best")})
        for each in run["lines"]
    ]


def quietest(runs: Iterable[list[Line]]) -> dict[str, list[Line]]:
    """Case -> its lines in the run that others disturbed least."""
    found: dict[str, list[Line]] = {}
    for run in runs:
        cases: dict[str, list[Line]] = {}
        for line in run:
            cases.setdefault(line.case, []).append(line)
        for case, lines in cases.items():
            if case not in found or _disturbed(lines) < _disturbed(found[case]):
                found[case] = lines
    return found


def _disturbed(lines: list[Line]) -> float:
    """Percent of the CPU; a run in which the case broke comes last."""
    if any(line.value is None for line in lines):
        return 1000.0
    return statistics.fmean(line.others_cpu for line in lines)


def cases_table(cases: dict[str, list[Line]]) -> str:
    rows = [
        "| case | what | measured | best round | target | met | others' CPU |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in (line for lines in cases.values() for line in lines):
        told = (
            f"not measured: {line.note}"
            if line.value is None
            else f"{number(line.value)} {line.unit}"
        )
        best = number(line.best) if len(line.rounds) > 1 else ""
        others = f"{line.others_cpu:.0f} %"
        noisy = " (noisy)" if line.others_cpu > NOISY_PERCENT else ""
        cells = (
            f"`{line.case}`",
            line.what,
            told.strip(),
            best,
            target_of(line),
            VERDICTS[line.met],
            others + noisy,
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def peers_table(cases: dict[str, list[Line]]) -> str:
    rows = [
        "| peer | its isolation | what | ours | theirs | ours over theirs | ahead |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in (line for lines in cases.values() for line in lines):
        isolation = PEERS[line.case].isolation
        both = re.match(r"ours ([\d.e+-]+ [\w/]+), theirs ([\d.e+-]+ [\w/]+)", line.note)
        if line.value is None or both is None:
            why = "its module could not be had" if line.what == "not installed" else line.note
            rows.append(f"| {line.case} | {isolation} | {line.what} | | | | {why} |")
            continue
        ours, theirs = (_shortened(each) for each in both.groups())
        cells = (
            line.case,
            isolation,
            line.what,
            ours,
            theirs,
            number(line.value),
            VERDICTS[line.met],
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _shortened(measured: str) -> str:
    value, unit = measured.split(" ")
    return f"{number(float(value))} {unit}"


def filled(page: str, name: str, table: str) -> str:
    """``page`` with the table's cases in that of this name; ``ValueError`` when it has no such marks."""
    begin, end = f"<!-- {name}: made by bench/specification.py -->", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    old, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"there is no place for the table {name!r}")
    head, cases = _by_case(table)
    kept = _by_case(old)[1] | cases
    rows = "\n".join(row for rows in (head, *kept.values()) for row in rows)
    return f"{before}{begin}\n{rows}\n{end}{after}"


def _by_case(table: str) -> tuple[list[str], dict[str, list[str]]]:
    """The head of a table, and its rows by what stands in their first cell."""
    lines = table.strip().splitlines()
    cases: dict[str, list[str]] = {}
    for row in lines[2:]:
        cases.setdefault(row.split("|")[1], []).append(row)
    return lines[:2], cases


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, help="files written with --out")
    runs = [lines_of(json.loads(path.read_text())) for path in parser.parse_args().runs]
    cases = quietest(runs)
    theirs = {case: lines for case, lines in cases.items() if case in PEERS}
    watched = {case: lines for case, lines in cases.items() if case in WATCHING}
    ahead = {case: lines for case, lines in cases.items() if case in AHEAD}
    evented = {case: lines for case, lines in cases.items() if case in EVENTS}
    clustered = {case: lines for case, lines in cases.items() if case in CLUSTER}
    others = {*PEERS, *WATCHING, *AHEAD, *EVENTS, *CLUSTER}
    ours = {case: lines for case, lines in cases.items() if case not in others}
    page = PAGE.read_text()
    if ours:
        page = filled(page, "main job", cases_table(ours))
    if watched:
        page = filled(page, "monitoring", cases_table(watched))
    if ahead:
        page = filled(page, "foresight", cases_table(ahead))
    if evented:
        page = filled(page, "events", cases_table(evented))
    if clustered:
        page = filled(page, "cluster", cases_table(clustered))
    if theirs:
        page = filled(page, "peers", peers_table(theirs))
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
