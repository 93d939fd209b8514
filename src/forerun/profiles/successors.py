"""Whom executions of a function call, as it is told to what acts ahead of calls. Pure, made of tallies."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from forerun.model import Qualified, Successor
from forerun.profiles.fold import CALL, RELATED
from forerun.profiles.linking import Version
from forerun.profiles.profile import FUNCTION
from forerun.profiles.sketch import Sketch
from forerun.profiles.tally import MOST_RELATIONS, CalleeTally, Counts, Tally

Name = tuple[str, str]

LATEST = "$LATEST"
# How unlikely it must be that two callees of which each is called so often never met by chance.
BY_CHANCE = 0.05
MOST_NEWS = 10_000


class News:
    """Which functions' profiles have changed since it was last asked, and by which of their versions."""

    def __init__(self) -> None:
        self._changed: dict[Name, Version | None] = {}
        self.begun = False

    def changed(self, version: Version) -> None:
        """An execution of that version was counted."""
        name = version[:2]
        if name in self._changed or len(self._changed) < MOST_NEWS:
            self._changed[name] = version

    def forgotten(self, account: str, name: str) -> None:
        """Nothing is known of the function any more."""
        self._changed[account, name] = None

    def take(self) -> dict[Name, Version | None]:
        """The version watched last of each; ``None`` for functions that were forgotten."""
        taken, self._changed = self._changed, {}
        self.begun = True
        return taken


def successors_of(parts: Sequence[Tally], account: str) -> list[Successor]:
    """The functions that the executions counted in ``parts`` call, of the same account: others act for themselves.

    A callee that is reached in several ways is one successor; ways are taken to be independent.
    """
    executions = sum(part.executions for part in parts)
    if not executions:
        return []
    callees: dict[str, list[CalleeTally]] = {}
    for part in parts:
        for key, callee in part.callees.items():
            if callee.kind == FUNCTION and ":" not in callee.name:
                callees.setdefault(key, []).append(callee)
    names: dict[str, list[str]] = {}
    for key, each in callees.items():
        names.setdefault(each[0].name, []).append(key)
    functions = {
        name: Qualified(account, name, _qualifier([one for key in keys for one in callees[key]]))
        for name, keys in names.items()
    }
    sampled = sum(part.sampled for part in parts)
    apart = _apart(parts, callees, sampled)
    found = []
    for name, keys in names.items():
        missed = 1.0
        for key in keys:
            share = sum(callee.executions for callee in callees[key]) / executions
            missed *= 1 - min(1.0, share)
        tallies = [callee for key in keys for callee in callees[key]]
        delay = _merged([callee.delay for callee in tallies]).quantiles((0.5, 0.95))
        found.append(
            Successor(
                function=functions[name],
                likelihood=1 - missed,
                samples=sampled,
                calls=_at_once(tallies),
                delay_p50_s=delay[0] / 1000,
                delay_p95_s=delay[1] / 1000,
                outlives=_outlives(tallies),
                excludes=frozenset(functions[each] for each in apart.get(name, ())),
            )
        )
    return sorted(found, key=lambda each: (-each.likelihood, each.function))


def _qualifier(callees: Sequence[CalleeTally]) -> str:
    """What the function is mostly asked for with; where that was not seen, the version that was mostly reached."""
    asked = _sum([callee.qualifiers for callee in callees])
    seen = sum(
        min(callee.operations.get("Invoke", 0), callee.channels.get(CALL, 0)) for callee in callees
    )
    if seen:
        asked[""] = asked.get("", 0) + seen - sum(asked.values())
        return max(asked, key=lambda each: (asked[each], each))
    reached = _sum([callee.versions for callee in callees])
    mostly = max(reached, key=lambda each: (reached[each], each), default="")
    return "" if mostly == LATEST else mostly


def _at_once(callees: Sequence[CalleeTally]) -> int:
    """How many calls are under way at once in all but few executions; of those only seen arriving, how many there are."""
    most = 1
    for callee in callees:
        known = callee.at_once if callee.at_once.count else callee.per_execution
        most = max(most, round(known.quantiles((0.95,))[0]))
    return most


def _outlives(callees: Sequence[CalleeTally]) -> bool:
    """Whether most calls are not such that the caller waits for."""
    calls = sum(callee.calls for callee in callees)
    awaited = sum(callee.latency.count - callee.asynchronous for callee in callees)
    return awaited * 2 < calls


def _apart(
    parts: Sequence[Tally], callees: Mapping[str, Sequence[CalleeTally]], sampled: int
) -> dict[str, set[str]]:
    """Which callees, by name, never occurred in one execution, though by chance they would have."""
    if any(len(part.callees) > RELATED or _relations(part) >= MOST_RELATIONS for part in parts):
        # Not all pairs were counted.
        return {}
    found: dict[str, set[str]] = {}
    direct = {
        key: sum(callee.sampled for callee in each)
        for key, each in callees.items()
        if all(CALL in callee.channels for callee in each)
    }
    for one, two in combinations(sorted(direct), 2):
        chance = min(1.0, direct[one] / sampled) * min(1.0, direct[two] / sampled)
        if (1 - chance) ** sampled <= BY_CHANCE and not _together(parts, one, two):
            first, second = callees[one][0].name, callees[two][0].name
            found.setdefault(first, set()).add(second)
            found.setdefault(second, set()).add(first)
    return found


def _together(parts: Sequence[Tally], one: str, two: str) -> int:
    known = (part.relations.get(one, {}).get(two) for part in parts)
    return sum(relation.sampled for relation in known if relation is not None)


def _relations(tally: Tally) -> int:
    return sum(map(len, tally.relations.values()))


def _sum(counts: Sequence[Counts]) -> Counts:
    whole: Counts = {}
    for each in counts:
        for name, amount in each.items():
            whole[name] = whole.get(name, 0) + amount
    return whole


def _merged(sketches: Sequence[Sketch]) -> Sketch:
    if len(sketches) == 1:
        return sketches[0]
    whole = Sketch()
    for sketch in sketches:
        whole.merge(sketch)
    return whole
