"""What matching events costs: one pattern, and a bus with a thousand rules.

    .venv/bin/python bench/matching.py [--rules 1000] [--quick] [--json] [--out FILE]

A pattern of four fields is asked about an event that it wants. Then the rules of one bus are asked about events of 500 bytes:
events that no rule wants, where rules are told apart by source, by a field of the detail, by prefixes, or by nothing that can
be looked up; and events that ten rules want, with the messages that are made for their targets. Nothing is written anywhere.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from case import Run
from quiet import machine
from results import Line, as_json, show

from forerun.patterns import parse_pattern
from forerun.sources.buses import Place
from forerun.sources.buses.envelope import Event
from forerun.sources.buses.matching import Book, compile_book
from forerun.storage.buses import RuleConfig, StoredRule, StoredTarget

MATCH_US, RULES_US = 3.0, 50.0
ACCOUNT = "123456789012"
DETAIL: dict[str, Any] = {
    "order": "o-4711",
    "state": "paid",
    "sum": 250,
    "items": [{"sku": f"s-{number}", "count": number} for number in range(10)],
    "customer": {"id": "c-1", "address": {"city": "Berlin", "street": "x" * 100}},
}


def event(source: str = "shop") -> Event:
    return Event(
        id="6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        detail_type="Order Changed",
        source=source,
        account=ACCOUNT,
        time="2026-01-02T03:04:05Z",
        region="us-home-1",
        resources=[],
        detail=msgspec.json.encode(DETAIL),
    )


def per_call(call: Callable[[], object], rounds: int, calls: int) -> list[float]:
    """Microseconds for a call, in rounds."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(calls):
            call()
        found.append((time.perf_counter() - began) / calls * 1e6)
    return found


def book(patterns: Mapping[int, dict[str, Any]]) -> Book:
    """A bus with these rules, each with one function as its target."""
    rules, targets = [], {}
    arn = f"arn:aws:lambda:us-home-1:{ACCOUNT}:function:f"
    for number, pattern in patterns.items():
        config = RuleConfig(pattern=msgspec.json.encode(pattern).decode())
        rules.append(
            StoredRule(id=number, account=ACCOUNT, bus="default", name=f"r{number}", config=config)
        )
        targets[number] = [StoredTarget(id="t", arn=arn, given={"Id": "t", "Arn": arn})]
    return compile_book(None, rules, targets, Place("us-home-1", ACCOUNT))


def matching(run: Run, rules: int) -> Iterator[Line]:
    """All figures beside their targets."""
    one = parse_pattern(
        {
            "source": ["shop"],
            "detail-type": ["Order Changed"],
            "detail": {"state": ["paid", "sent"], "sum": [{"numeric": [">", 100]}]},
        }
    )
    values = event().values()
    assert one.matches(values)
    rounds, calls = run.size(5, 3), run.size(50_000, 5_000)
    found: list[float] = []
    for _ in run.rounds(1):
        found = per_call(lambda: one.matches(values), rounds, calls)
    yield run.median("a pattern of four fields", found, "us", MATCH_US)

    numbers = range(rules)
    by_source = {n: {"source": [f"s{n}"], "detail": {"state": ["paid"]}} for n in numbers}
    by_detail = {n: {"source": ["shop"], "detail": {"order": [f"o{n}"]}} for n in numbers}
    by_prefix = {n: {"source": [{"prefix": f"s{n}"}]} for n in numbers}
    by_number = {n: {"detail": {"sum": [{"numeric": [">", 1000 + n]}]}} for n in numbers}
    some = by_source | {n: {"source": ["shop"]} for n in range(10)}
    for what, patterns, wanted, target in (
        ("rules told apart by source, none wants it", by_source, 0, RULES_US),
        ("rules told apart by a detail, none wants it", by_detail, 0, RULES_US),
        ("rules told apart by prefixes, none wants it", by_prefix, 0, RULES_US),
        ("rules with bounds of numbers, none wants it", by_number, 0, None),
        ("rules, ten want it: messages made", some, 10, None),
    ):
        rows, put = book(patterns), event()

        def ask(rows: Book = rows, put: Event = put) -> int:
            return len(list(rows.messages(put, account=ACCOUNT, now=0.0)))

        assert ask() == wanted
        for _ in run.rounds(1):
            found = per_call(ask, rounds, run.size(2_000, 200))
        yield run.median(f"{rules:,} {what}", found, "us", target)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="measure less")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", help="also write the JSON to this file")
    asked = parser.parse_args()
    lines = list(matching(Run("matching", quick=asked.quick), asked.rules))
    text = as_json(lines, machine=machine(), quick=asked.quick)
    if asked.out:
        Path(asked.out).write_text(text)
    if asked.json:
        print(text)
    else:
        show(lines, "Matching events")
    return 0


if __name__ == "__main__":
    sys.exit(main())
