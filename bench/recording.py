"""Recorded spans as call trees, and what a perfect observer would say of them.

A recording is a folder of ``*.csv`` or ``*.csv.gz`` files with the columns TraceID, SpanID, ParentID (``root`` on top),
PodName, OperationName, StartTimeUnixNano, EndTimeUnixNano. A span whose parent belongs to another service, or that
has none, is an **execution** of its service; spans of the same service below it are work inside of it. Statements sent to
a database are calls of the outside service ``database``. What cannot be read is left out and counted.
"""

import csv
import gzip
import io
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

DATABASE = "database"
DEEPEST = 40

_POD = re.compile(r"-(?=[a-z0-9]*\d)[a-z0-9]{6,10}-[a-z0-9]{5}$|-\d+$")
_STATEMENT = re.compile(r"(SELECT|INSERT|UPDATE|DELETE) |sql\.|Transaction\.commit$")
_UNUSABLE = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Step:
    """One call of an execution: when it began and ended, in milliseconds after the execution began."""

    at_ms: float
    end_ms: float
    node: "Node"


@dataclass(frozen=True, slots=True)
class Node:
    """One execution of a service, or one call of an outside service (``outside``)."""

    service: str
    operation: str
    duration_ms: float
    steps: tuple[Step, ...] = ()
    outside: bool = False

    def executions(self) -> "Iterator[Node]":
        """It and all executions below it; no outside services."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if not node.outside:
                yield node
                waiting.extend(step.node for step in node.steps)

    def without_outside(self) -> "Node":
        """The same tree where calls of outside services are time that passes."""
        steps = tuple(
            Step(step.at_ms, step.end_ms, step.node.without_outside())
            for step in self.steps
            if not step.node.outside
        )
        return Node(self.service, self.operation, self.duration_ms, steps, self.outside)


@dataclass(frozen=True, slots=True)
class Recording:
    """Call trees in the order in which they began, and how many rows were left out, by reason."""

    trees: list[Node]
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Span:
    id: str
    parent: str
    service: str
    operation: str
    start: int
    end: int


def read(folder: Path) -> Recording:
    """All recordings of a folder as one, file by file."""
    trees: list[Node] = []
    skipped: Counter[str] = Counter()
    for path in sorted((*folder.glob("*.csv"), *folder.glob("*.csv.gz"))):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found = parse(csv.DictReader(io.StringIO(content.decode(errors="replace"))))
        trees += found.trees
        skipped += found.skipped
    return Recording(trees, skipped)


def parse(rows: Iterable[Mapping[str, str | None]]) -> Recording:
    """Rows of a recording, in any order, as call trees."""
    traces: dict[str, dict[str, _Span]] = defaultdict(dict)
    skipped: Counter[str] = Counter()
    for row in rows:
        span = _span(row)
        trace = row.get("TraceID")
        if span is None or not trace:
            skipped["malformed"] += 1
        elif span.id in traces[trace]:
            skipped["duplicate"] += 1
        else:
            traces[trace][span.id] = span
    found: list[tuple[int, Node]] = []
    for spans in traces.values():
        below: dict[str, list[_Span]] = defaultdict(list)
        for span in spans.values():
            below[span.parent].append(span)
        taken = 0
        for root in below.get("root", []):
            node, size = _execution(root, below, 0)
            found.append((root.start, node))
            taken += size
        if len(spans) > taken:
            skipped["not below a root"] += len(spans) - taken
    found.sort(key=lambda pair: pair[0])
    return Recording([node for _, node in found], skipped)


def service_of(pod: str) -> str:
    """The service a pod belongs to, in characters that a function's name may have; at most 40 of them."""
    return _UNUSABLE.sub("-", _POD.sub("", pod)).strip("-")[:40] or "unnamed"


def _span(row: Mapping[str, str | None]) -> _Span | None:
    try:
        start, end = int(row["StartTimeUnixNano"] or ""), int(row["EndTimeUnixNano"] or "")
        span_id, parent, pod = row["SpanID"], row["ParentID"], row["PodName"]
    except (KeyError, ValueError):
        return None
    if not (span_id and parent and pod) or span_id == "root" or not 0 <= start <= end:
        return None
    return _Span(span_id, parent, service_of(pod), row.get("OperationName") or "", start, end)


def _execution(top: _Span, below: Mapping[str, list[_Span]], depth: int) -> tuple[Node, int]:
    """The execution that begins with ``top``, and how many spans it and those below it have."""
    steps: list[Step] = []
    size, waiting = 1, [top]
    while waiting:
        span = waiting.pop()
        for child in below.get(span.id, []):
            if child.service == top.service:
                size += 1
                waiting.append(child)
                if child.id not in below and _STATEMENT.match(child.operation):
                    ms = (child.end - child.start) / 1e6
                    node = Node(DATABASE, child.operation, ms, outside=True)
                    steps.append(_step(top, child, node))
            elif depth < DEEPEST:
                node, more = _execution(child, below, depth + 1)
                size += more
                # The caller's own span of a call is on the caller's clock.
                alone = span is not top and len(below[span.id]) == 1
                steps.append(_step(top, span if alone else child, node))
    steps.sort(key=lambda step: (step.at_ms, step.end_ms))
    ms = (top.end - top.start) / 1e6
    return Node(top.service, top.operation, ms, tuple(steps)), size


def _step(top: _Span, seen: _Span, node: Node) -> Step:
    at, end = (max(0.0, (time - top.start) / 1e6) for time in (seen.start, seen.end))
    return Step(at, end, node)


@dataclass(slots=True)
class Truth:
    """What is true of one service in a recording: executions, those that called each callee, and all such calls."""

    executions: int = 0
    calling: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)

    def likelihood(self, callee: str) -> float:
        """The share of executions that called it; absences count."""
        return self.calling[callee] / self.executions


def truth(trees: Iterable[Node]) -> dict[str, Truth]:
    """What a perfect observer of these trees would say, by service."""
    known: dict[str, Truth] = defaultdict(Truth)
    for tree in trees:
        for node in tree.executions():
            called = Counter(step.node.service for step in node.steps)
            one = known[node.service]
            one.executions += 1
            one.calls.update(called)
            one.calling.update(called.keys())
    return dict(known)


def made(count: int, seed: int = 1) -> list[Node]:
    """Trees of a shop that does not exist, for where there is no recording: loops, choices, calls at once."""
    chance = random.Random(seed)

    def leaf(service: str, ms: float) -> Node:
        return Node(service, "get", chance.uniform(0.5, 1.5) * ms)

    def after(steps: list[Step], node: Node, at_ms: float) -> float:
        steps.append(Step(at_ms, at_ms + node.duration_ms + 1, node))
        return steps[-1].end_ms

    def visit() -> Node:
        steps: list[Step] = []
        end = after(steps, leaf("session", 5), 2.0)
        for _ in range(chance.randrange(7)):
            end = after(steps, leaf("stock", 4), end + 0.5)
        if chance.random() < 0.6:
            begins = end + 1
            end = max(after(steps, leaf(name, 12), begins) for name in ("prices", "reviews"))
        if chance.random() < 0.25:
            below: list[Step] = []
            done = after(below, leaf("stock", 4), 3.0)
            if chance.random() < 0.5:
                done = after(below, leaf("payment", 20), done + 1)
            end = after(steps, Node("checkout", "order", done + 5, tuple(below)), end + 1)
        return Node("shop", "visit", end + 3, tuple(steps))

    return [visit() for _ in range(count)]
