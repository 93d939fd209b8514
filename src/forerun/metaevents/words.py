"""Why a rule did or did not fire, for people: what each part of its criteria says now."""

from forerun.metaevents.criteria import (
    Absent,
    Criteria,
    Every,
    InOrder,
    Leaf,
    Measured,
    Node,
    Not,
    span,
)
from forerun.metaevents.evaluating import Judgement, Part, State


def explain(criteria: Criteria, state: State, judgement: Judgement, now: float) -> list[str]:
    """A sentence on the whole, and one on each part that decides, as they are at ``now`` (epoch seconds)."""
    if judgement.held:
        length = _length(max(0.0, now - state.held_since)) if state.held else "a moment"
        whole = f"The criteria have held for {length}; the job runs when they come to hold anew, so they must cease first."
    else:
        whole = "The criteria do not hold now."
    return [
        whole,
        *(
            f"{node.path}: {said}"
            for node, part in zip(criteria.nodes, judgement.parts, strict=True)
            if (said := _said(node, part, state, now))
        ),
    ]


def label(node: Node) -> str:
    """A node in a few words."""
    return str(node)


def _said(node: Node, part: Part, state: State, now: float) -> str:
    if isinstance(node, Every | Not):
        return ""
    if isinstance(node, Leaf):
        return f"{node} holds in the moment of such an event only"
    if isinstance(node, InOrder):
        return f"{_number(part)} of {len(node.steps)} steps of {node} have come"
    if isinstance(node, Absent):
        return _of_absence(node, part, state)
    return _of_measure(node, part, state, now)


def _of_absence(node: Absent, part: Part, state: State) -> str:
    ago = float(part.value) if isinstance(part.value, float) else 0.0
    seen = state.seen.get(node.number, 0.0) >= state.since
    what = (
        f"({node.of}) was seen {_ago(ago)}"
        if seen
        else f"({node.of}) was not seen since the rule began {_ago(ago)}"
    )
    if part.held:
        return f"{what}: it is absent, {span(node.within)} are over"
    return f"{what}: it is absent in {_length(node.within - ago)}, unless it is seen before"


def _of_measure(node: Measured, part: Part, state: State, now: float) -> str:
    value = "unknown, there was none" if part.value is None else f"{part.value:.6g}"
    said = f"{node}: it is {value}"
    if node.bounds.upper and now < state.since + node.over:
        return f"{said}, and counts from {_length(state.since + node.over - now)} from now on"
    return said


def _number(part: Part) -> str:
    return f"{part.value:g}" if isinstance(part.value, float) else "0"


def _ago(seconds: float) -> str:
    return f"{_length(seconds)} ago"


def _length(seconds: float) -> str:
    return span(round(seconds, 1)) if seconds < 600 else span(float(round(seconds)))
