"""What of a rule's criteria holds, after an event or at a moment; and when to look again.

All that criteria remember is one ``State``, a value that can be stored. Times are epoch seconds; the clock may jump.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from forerun.metaevents.criteria import Absent, Criteria, Every, InOrder, Leaf, Measured, Node, Not
from forerun.metaevents.expressions import Bound
from forerun.metaevents.facts import Fact
from forerun.metaevents.windows import Window

# No moment is looked at again sooner: sums of fractions must not turn into a busy loop.
SOONEST_S = 0.01

Matched = Mapping[int, bool | str]
"""By number of a leaf or sequence, of those that an event concerns: whether it matches, or why that cannot be said."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Whether one node holds, and because of what: a measure, the seconds since something was seen, or a reason."""

    held: bool
    value: float | str | None = None


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """``parts`` are those of ``Criteria.nodes``. ``rose``: the criteria hold and did not before."""

    held: bool
    parts: tuple[Part, ...]
    rose: bool = False


class State(msgspec.Struct, kw_only=True):
    """What a rule remembers, by the numbers of its nodes. ``since`` is when it was registered, or enabled again.

    ``seen``: when the event of an absence happened last. ``steps``: when a sequence began that has come as far as each of its
    steps, 0 for none. ``held``: what the criteria did when they were judged last.
    """

    since: float
    held: bool = False
    held_since: float = 0.0
    seen: dict[int, float] = {}
    windows: dict[int, Window] = {}
    steps: dict[int, list[float]] = {}


def observe(
    criteria: Criteria, state: State, fact: Fact, bound: Callable[[], Bound], now: float
) -> Judgement | None:
    """Take notice of an event; ``None`` where it concerns none of the criteria. ``bound`` binds its fields when asked."""
    matched: dict[int, bool | str] = {}
    for leaf in criteria.leaves:
        if leaf.concerns(fact):
            matched[leaf.number] = leaf.where is None or leaf.where.holds(bound())
    if not matched:
        return None
    at = min(fact.at, now)
    if state.held and not _judge(criteria, state, now, {}).held:
        state.held = False
    for node in criteria.nodes:
        _remember(node, state, fact, at, matched)
    judgement = _risen(state, _judge(criteria, state, now, matched), now)
    if judgement.held and criteria.momentary:
        # An event holds for its moment: what holds after it is another question.
        state.held = _judge(criteria, state, now, {}).held
    return judgement


def advance(criteria: Criteria, state: State, now: float) -> Judgement:
    """Judge at a moment at which nothing happened."""
    _turn_back(state, now)
    return _risen(state, _judge(criteria, state, now, {}), now)


def next_moment(criteria: Criteria, state: State, now: float) -> float | None:
    """When the criteria may come to hold, or cease to, by time alone; ``None`` when only events can do that."""
    if not criteria.by_time:
        return None
    moments = [
        moment for node in criteria.nodes for moment in _moments(node, state) if moment > now
    ]
    return max(min(moments), now + SOONEST_S) if moments else None


def judge(criteria: Criteria, state: State, now: float) -> Judgement:
    """What holds now; changes nothing that matters."""
    return _judge(criteria, state, now, {})


def catch_up(criteria: Criteria, state: State, fact: Fact, bound: Callable[[], Bound]) -> bool:
    """An event of the past comes to light: absences end by it, windows do not count it. Whether it was news."""
    news = False
    for node in criteria.nodes:
        if not isinstance(node, Absent) or not node.of.concerns(fact):
            continue
        if fact.at <= state.seen.get(node.number, state.since):
            continue
        if node.of.where is None or node.of.where.holds(bound()) is True:
            state.seen[node.number] = fact.at
            # It was over for a moment at least; whether it holds again is found at the next look.
            state.held = False
            news = True
    return news


def looks_back(criteria: Criteria, state: State, now: float) -> float:
    """Since when what is judged ``now`` can have happened: the earliest of what windows, absences and sequences look at."""
    return min((_since(node, state, now) for node in criteria.nodes), default=now)


def looks_ahead(criteria: Criteria) -> float:
    """Seconds after an event until time alone changes nothing more of what it led to."""
    lengths = [_length(node) for node in criteria.nodes]
    return max(lengths, default=0.0)


def _length(node: Node) -> float:
    if isinstance(node, Measured):
        return node.over
    return node.within if isinstance(node, Absent | InOrder) else 0.0


def _since(node: Node, state: State, now: float) -> float:
    if isinstance(node, Absent):
        return max(state.since, state.seen.get(node.number, 0.0))
    if isinstance(node, Measured):
        return max(state.since, now - node.over)
    return max(state.since, now - node.within) if isinstance(node, InOrder) else now


def _risen(state: State, judgement: Judgement, now: float) -> Judgement:
    rose = judgement.held and not state.held
    if rose:
        state.held_since = now
    state.held = judgement.held
    return msgspec.structs.replace(judgement, rose=True) if rose else judgement


def _remember(
    node: Node, state: State, fact: Fact, at: float, matched: dict[int, bool | str]
) -> None:
    if isinstance(node, Absent):
        if matched.get(node.of.number) is True:
            state.seen[node.number] = max(at, state.seen.get(node.number, 0.0))
    elif isinstance(node, Measured):
        if matched.get(node.of.number) is True:
            _window(node, state).add(at, _value(node, fact))
    elif isinstance(node, InOrder):
        _step(node, state, at, matched)


def _step(node: InOrder, state: State, at: float, matched: dict[int, bool | str]) -> None:
    """Come one step further, the last steps first, so that one event is one step only."""
    begun = state.steps.setdefault(node.number, [0.0] * len(node.steps))
    last = len(node.steps) - 1
    for place in range(last, -1, -1):
        if matched.get(node.steps[place].number) is not True:
            continue
        since = begun[place - 1] if place else at
        if not since or at - since > node.within:
            continue
        if place == last:
            matched[node.number] = True
            begun[:] = [0.0] * len(begun)
            return
        begun[place] = max(begun[place], since)


def _value(node: Measured, fact: Fact) -> float:
    return float(fact.fields.get(node.field, 0.0)) if node.field else 1.0


def _window(node: Measured, state: State) -> Window:
    window = state.windows.get(node.number)
    if window is None:
        window = state.windows[node.number] = Window(node.over, node.measure == "quantile")
    return window


def _judge(criteria: Criteria, state: State, now: float, matched: Matched) -> Judgement:
    parts: list[Part] = []
    held = _part(criteria.root, state, now, matched, parts)
    return Judgement(held=held, parts=tuple(parts))


def _part(node: Node, state: State, now: float, matched: Matched, parts: list[Part]) -> bool:
    """Judge one node; its part goes before those of the nodes below it."""
    if isinstance(node, Every | Not):
        place = len(parts)
        parts.append(Part(held=False))
        below = [_part(each, state, now, matched, parts) for each in _below(node)]
        held = not below[0] if isinstance(node, Not) else _joined(node, below)
        parts[place] = Part(held)
        return held
    part = _PARTS[type(node)](node, state, now, matched)
    parts.append(part)
    return part.held


def _below(node: Every | Not) -> Sequence[Node]:
    return node.parts if isinstance(node, Every) else (node.part,)


def _joined(node: Every, below: Sequence[bool]) -> bool:
    return all(below) if node.word == "all" else any(below)


def _of_leaf(node: Leaf, _state: State, _now: float, matched: Matched) -> Part:
    found = matched.get(node.number)
    if isinstance(found, str):
        return Part(held=False, value=found)
    return Part(found is True, "its condition does not hold" if found is False else None)


def _of_sequence(node: InOrder, state: State, now: float, matched: Matched) -> Part:
    if matched.get(node.number) is True:
        return Part(held=True, value=float(len(node.steps)))
    begun = state.steps.get(node.number, ())
    come = [place + 1 for place, at in enumerate(begun) if at and now - at <= node.within]
    return Part(held=False, value=float(max(come, default=0)))


def _of_absence(node: Absent, state: State, now: float, _matched: Matched) -> Part:
    since = max(state.since, state.seen.get(node.number, 0.0))
    # As ``_moments`` computes it, so that what is due then is due here.
    return Part(now >= since + node.within, now - since)


def _of_measure(node: Measured, state: State, now: float, _matched: Matched) -> Part:
    window = _window(node, state)
    window.expire(now)
    value = _measure(node, window)
    ready = not node.bounds.upper or now >= state.since + node.over
    return Part(ready and node.bounds.hold(value), value)


def _measure(node: Measured, window: Window) -> float | None:
    if node.measure == "quantile":
        return window.quantile(node.p)
    if node.measure == "sum":
        return window.total()
    return float(window.count()) / (node.over if node.measure == "rate" else 1.0)


_PARTS: dict[type, Callable[..., Part]] = {
    Leaf: _of_leaf,
    InOrder: _of_sequence,
    Absent: _of_absence,
    Measured: _of_measure,
}


def _moments(node: Node, state: State) -> list[float]:
    if isinstance(node, Absent):
        return [max(state.since, state.seen.get(node.number, 0.0)) + node.within]
    if isinstance(node, Measured):
        change = _window(node, state).next_change()
        ready = [state.since + node.over] if node.bounds.upper else []
        return ready if change is None else [*ready, change]
    return []


def _turn_back(state: State, now: float) -> None:
    """The clock was set back: what would lie in the future happened now."""
    state.since = min(state.since, now)
    state.held_since = min(state.held_since, now)
    for number, at in state.seen.items():
        state.seen[number] = min(at, now)
    for begun in state.steps.values():
        begun[:] = [min(at, now) for at in begun]
