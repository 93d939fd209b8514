"""How often findings are right: precision and recall per kind, on functions whose faults are known.

    .venv/bin/python bench/findings.py [--seeds N] [--executions N,N,...] [--trace FOLDER] [--json]

Method. bench/labelled_*.py describe functions with a fault, and functions that nearly have it (calls that need each other's
answers, equal calls far apart, loops over different hosts, noise, ...). Each is run with several seeds and numbers of
executions; its profile is computed from the events; every finding about it is then one of

- **true**: of a kind that its label names (counted once per kind and run);
- **false**: of a kind that its label does not name; or
- left aside: of a kind that is also true of it, though not what the case is about.

Precision is true / (true + false); recall is runs in which a true kind was found / runs in which there was one. Findings whose
confidence is ``low`` say themselves that they depend on what cannot be seen; they are counted apart, as candidates, and what
was found only as a candidate counts for the recall of candidates.

The cases are our own, and thresholds were chosen with them in view: the figures say how findings fare against the mistakes we
could think of, not how often they are right elsewhere. One mistake cannot be avoided: following links looks like a loop.

With ``--trace`` profiles are computed of recorded services as well (see bench/recording.py). What is true of them is not
recorded, so their findings are listed, to be judged by people, with their numbers per kind.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from exact import exact_profiles
from labelled import PLATFORM, SCENARIOS, events_of
from recorded_events import events_of_trees
from recording import read
from results import Line, as_json, show
from rich.console import Console

from forerun.profiles.findings import Confidence, Finding, Kind, findings


def score(
    seeds: int, sizes: Iterable[int]
) -> tuple[Counter[tuple[Kind, str]], dict[str, Counter[str]]]:
    """Counts by kind and verdict (``true``, ``false``, ``missed``, and the same of candidates), and mistakes by scenario."""
    counts: Counter[tuple[Kind, str]] = Counter()
    mistakes: dict[str, Counter[str]] = {}
    for one in SCENARIOS:
        for seed in range(seeds):
            for size in sizes:
                profiles = exact_profiles(events_of(one, seed, size), PLATFORM)
                found = findings(profiles["A"], profiles)
                for kind, verdict in judge(found, one.true, one.also):
                    counts[kind, verdict] += 1
                    if verdict.startswith(("false", "missed")):
                        mistakes.setdefault(one.name, Counter())[f"{verdict}: {kind}"] += 1
    return counts, mistakes


def judge(
    found: list[Finding], true: frozenset[Kind], also: frozenset[Kind]
) -> Iterator[tuple[Kind, str]]:
    """What each kind of finding was in one run, and what was missed."""
    sure = {each.kind for each in found if each.confidence is not Confidence.LOW}
    guessed = {each.kind for each in found} - sure
    for kind in sorted((sure | guessed | true) - also):
        if kind not in true:
            yield kind, "false" if kind in sure else "false candidate"
        elif kind in sure:
            yield kind, "true"
        else:
            yield kind, "candidate" if kind in guessed else "missed"


def lines_of(counts: Counter[tuple[Kind, str]]) -> Iterator[Line]:
    """Precision and recall of each kind, and of all together."""
    for kind in (*Kind, None):
        got = Counter(
            {
                verdict: sum(
                    amount
                    for (of, was), amount in counts.items()
                    if was == verdict and kind in (of, None)
                )
                for verdict in ("true", "false", "missed", "candidate", "false candidate")
            }
        )
        name = kind or "all together"
        there = got["true"] + got["candidate"] + got["missed"]
        yield _share(name, "precision", got["true"], got["true"] + got["false"])
        yield _share(name, "recall", got["true"] + got["candidate"], there)
        if candidates := got["candidate"] + got["false candidate"]:
            yield _share(name, "candidates that are true", got["candidate"], candidates)


def _share(name: str, what: str, part: int, whole: int) -> Line:
    value = 100 * part / whole if whole else None
    return Line(name, what, value, "%", note=f"{part} of {whole}")


def recorded(folder: Path) -> list[Finding]:
    """What is found in the services of a recording."""
    profiles = exact_profiles(events_of_trees(read(folder).trees), PLATFORM)
    return [each for profile in profiles.values() for each in findings(profile, profiles)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--executions", default="30,200,1000")
    parser.add_argument("--trace", type=Path, help="folder with recorded spans")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    counts, mistakes = score(options.seeds, [int(each) for each in options.executions.split(",")])
    lines = list(lines_of(counts))
    found = recorded(options.trace) if options.trace else []
    for kind, amount in Counter(each.kind for each in found).items():
        lines.append(Line("recorded", kind, amount, "findings"))
    if options.json:
        print(as_json(lines, mistakes=mistakes, recorded=[each.title for each in found]))
        return 0
    show(lines, "Findings on functions whose faults are known")
    out = Console(soft_wrap=True)
    for name, counted in mistakes.items():
        out.print(f"{name}: {dict(counted)}")
    for each in found:
        out.print(
            f"[{each.kind}, {each.confidence}] {each.title} ({each.gain.amount:.0f} {each.gain.unit})",
            markup=False,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
