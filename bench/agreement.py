"""What came back of a call tree that was played: who called whom, how often, in which order, and how long it took.

``observed`` makes a tree of what ``GET /forerun/trace`` answers; ``compare`` counts agreement with the recorded one.
The calls of an execution are compared service by service, the first with the first: two trees agree when every execution
made the same calls, those that followed each other in the recording do so again, and those that overlapped overlap.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

try:
    from recording import Node, Step
except ImportError:  # Imported from outside of this folder.
    from bench.recording import Node, Step


# Two recorded calls that met for less may as well not have met.
OVERLAP_MS = 1.0


@dataclass
class Agreement:
    """Counts over all trees. ``stretch`` has, of each execution, how long it took and how long it should have, in ms."""

    trees: int = 0
    trees_equal: int = 0
    executions: int = 0
    executions_seen: int = 0
    calls: int = 0
    calls_seen: int = 0
    calls_foreign: int = 0
    sequences: int = 0
    sequences_kept: int = 0
    overlaps: int = 0
    overlaps_kept: int = 0
    stretch: list[tuple[float, float]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, foreign or in another order."""
        return (
            self.trees == self.trees_equal
            and self.executions == self.executions_seen
            and self.calls == self.calls_seen
            and self.calls_foreign == 0
            and self.sequences == self.sequences_kept
        )


def observed(
    trace: Mapping[str, Any], prefix: str = "", outside: Mapping[str, str] | None = None
) -> list[Node]:
    """The executions of a trace as trees like those of a recording; ``outside`` names services by their ``host:port``."""
    return [
        _execution(node, prefix, outside or {})
        for root in trace["roots"]
        for node, _ in _executions(root, None)
    ]


def _executions(
    node: Mapping[str, Any], call: Mapping[str, Any] | None
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """The uppermost executions at or below a span, each with the call it came through."""
    if node["kind"] == "server":
        yield node, call
        return
    call = node if node["kind"] == "client" else call
    for child in node["children"]:
        yield from _executions(child, call)


def _execution(node: Mapping[str, Any], prefix: str, outside: Mapping[str, str]) -> Node:
    steps = []
    for child in node["children"]:
        found = list(_executions(child, None))
        for below, call in found:
            made = _execution(below, prefix, outside)
            steps.append(_step(node, call or below, made))
        address = (
            f"{child['attributes'].get('server.address')}:{child['attributes'].get('server.port')}"
        )
        if not found and address in outside:
            made = Node(outside[address], child["name"], child["duration_ms"] or 0.0, outside=True)
            steps.append(_step(node, child, made))
    steps.sort(key=lambda step: (step.at_ms, step.end_ms))
    service = node["service"].removeprefix(prefix)
    return Node(service, node["name"], node["duration_ms"] or 0.0, tuple(steps))


def _step(top: Mapping[str, Any], seen: Mapping[str, Any], made: Node) -> Step:
    at = (seen["started"] - top["started"]) * 1000
    return Step(at, at + (seen["duration_ms"] or 0.0), made)


def compare(recorded: Node, seen: Node | None, into: Agreement, scale: float = 1.0) -> None:
    """Count how far ``seen`` agrees with ``recorded``; ``None`` when nothing was seen."""
    into.trees += 1
    before = (into.calls, into.calls_foreign, into.sequences, into.overlaps)
    kept = (into.calls_seen, 0, into.sequences_kept, into.overlaps_kept)
    if seen is not None and seen.service != recorded.service:
        seen = None
    _compare(recorded, seen, into, scale)
    after = (into.calls, into.calls_foreign, into.sequences, into.overlaps)
    kept_after = (into.calls_seen, 0, into.sequences_kept, into.overlaps_kept)
    wanted = [now - then for now, then in zip(after, before, strict=True)]
    got = [now - then for now, then in zip(kept_after, kept, strict=True)]
    into.trees_equal += seen is not None and wanted == got


def _compare(recorded: Node, seen: Node | None, into: Agreement, scale: float) -> None:
    if not recorded.outside:
        into.executions += 1
        if seen is not None:
            into.executions_seen += 1
            into.stretch.append((seen.duration_ms, ideal_ms(recorded, scale)))
    matched = _matched(recorded, seen, into)
    for one, two in combinations(range(len(recorded.steps)), 2):
        _compare_pair(recorded.steps[one], recorded.steps[two], (matched[one], matched[two]), into)
    for step, found in zip(recorded.steps, matched, strict=True):
        _compare(step.node, found.node if found else None, into, scale)


def _matched(recorded: Node, seen: Node | None, into: Agreement) -> list[Step | None]:
    """For each recorded call the one that was seen: of the same service, the first for the first."""
    waiting: dict[str, list[Step]] = defaultdict(list)
    for step in seen.steps if seen else ():
        waiting[step.node.service].append(step)
    matched = [
        waiting[step.node.service].pop(0) if waiting[step.node.service] else None
        for step in recorded.steps
    ]
    into.calls += len(matched)
    into.calls_seen += sum(found is not None for found in matched)
    into.calls_foreign += sum(map(len, waiting.values()))
    return matched


def _compare_pair(
    one: Step, two: Step, found: tuple[Step | None, Step | None], into: Agreement
) -> None:
    first, second = found
    known = first is not None and second is not None
    if one.end_ms <= two.at_ms:
        into.sequences += 1
        into.sequences_kept += known and first.end_ms <= second.at_ms
    elif min(one.end_ms, two.end_ms) - two.at_ms >= OVERLAP_MS:
        into.overlaps += 1
        into.overlaps_kept += known and first.end_ms > second.at_ms and second.end_ms > first.at_ms


def ideal_ms(node: Node, scale: float = 1.0) -> float:
    """How long the replayer takes for a node on a machine where a call costs nothing.

    Less than what was recorded where the recorded network took its time, which is not played.
    """
    if node.outside or not node.steps:
        return node.duration_ms * scale
    ends: list[tuple[Step, float]] = []
    for step in sorted(node.steps, key=lambda each: (each.at_ms, each.end_ms)):
        before = [(other.end_ms, end) for other, end in ends if other.end_ms <= step.at_ms]
        recorded = max((end for end, _ in before), default=0.0)
        played = max((end for _, end in before), default=0.0)
        begins = played + (step.at_ms - recorded) * scale
        ends.append((step, begins + ideal_ms(step.node, scale)))
    rest = node.duration_ms - max(step.end_ms for step in node.steps)
    return max(end for _, end in ends) + max(0.0, rest) * scale
