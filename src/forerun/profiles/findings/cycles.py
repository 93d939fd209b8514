"""Functions that call themselves, alone or through others."""

from collections.abc import Iterator, Mapping, Sequence

from forerun.profiles.findings.finding import (
    Confidence,
    Finding,
    Kind,
    Known,
    Measure,
    ms,
    share_measure,
)
from forerun.profiles.profile import FUNCTION, Profile

# A chain that calls on with less than this is soon over, and its gain is shown as it is.
ENDLESS = 0.99
# Functions of one account that are looked at for cycles; an account has no more but by mistake.
MOST = 200


def cycles(known: Known) -> Iterator[Finding]:
    """Each cycle once, the shortest first. Few executions suffice: a cycle that was seen is there."""
    told: set[tuple[str, ...]] = set()
    for chain in sorted((*_short(known), *map(tuple, known.cycles)), key=len):
        if chain and chain[0] == known.profile.function and chain not in told:
            told.add(chain)
            yield _told(known, chain)


def _short(known: Known) -> Iterator[tuple[str, ...]]:
    """Cycles of one and of two functions."""
    me = known.profile.function
    for name in _called(known.profile):
        if name == me:
            yield (me,)
        elif name in known.callees and me in _called(known.callees[name]):
            yield (me, name)


def cycles_in(profiles: Mapping[str, Profile]) -> list[list[str]]:
    """For each function that calls itself through others, the shortest way around; each cycle once.

    ``profiles`` are those of an account, by function. The way begins with its first function in alphabetical order.
    """
    calls = _without_ends({name: set(_called(each)) for name, each in profiles.items()})
    found: dict[tuple[str, ...], None] = {}
    for name in sorted(calls)[:MOST]:
        if way := _around(name, calls):
            first = way.index(min(way))
            found[(*way[first:], *way[:first])] = None
    return [list(way) for way in found]


def _without_ends(calls: dict[str, set[str]]) -> dict[str, set[str]]:
    """The part of the graph in which everybody calls somebody of it, and is called by somebody of it."""
    while True:
        called = set().union(*calls.values()) & calls.keys()
        kept = {name: to & called for name, to in calls.items() if name in called and to & called}
        if len(kept) == len(calls):
            return kept
        calls = kept


def _around(name: str, calls: Mapping[str, set[str]]) -> list[str]:
    """The shortest chain from a function back to itself, without the end; empty when there is none."""
    came: dict[str, str] = {}
    at = [name]
    while at:
        following: list[str] = []
        for one in at:
            for to in sorted(calls.get(one, ())):
                if to == name:
                    way = [one]
                    while way[-1] != name:
                        way.append(came[way[-1]])
                    return way[::-1]
                if to not in came:
                    came[to] = one
                    following.append(to)
        at = following
    return []


def _called(profile: Profile) -> list[str]:
    return list(dict.fromkeys(each.name for each in profile.callees if each.kind == FUNCTION))


def _told(known: Known, chain: Sequence[str]) -> Finding:
    profile = known.profile
    around = 1.0
    for place, name in enumerate(chain):
        whose = profile if place == 0 else known.callees.get(name)
        around *= _calls_on(whose, chain[(place + 1) % len(chain)])
    further = around / (1 - around) if around < ENDLESS else 0.0
    lost = further * profile.duration_ms.mean
    shown = " calls ".join([*chain, chain[0]])
    ends = (
        f"Each execution brings {further:.2f} further ones."
        if around < ENDLESS
        else "By these numbers the chain does not end by itself."
    )
    return known.finding(
        Kind.CYCLE,
        f"{shown}: a cycle",
        Confidence.HIGH,
        [
            Measure("further calls of itself that an execution brings about", around, "calls"),
            share_measure("executions caused by another execution", _caused(profile)),
            Measure("functions in the cycle", len(chain)),
        ],
        known.saves_ms(
            lost if around < ENDLESS else profile.duration_ms.mean,
            "the further executions that one brings about, times the mean duration; at most one duration is counted",
        ),
        callees=[f"{FUNCTION}:{name}" for name in chain[1:] or chain],
        advice=f"{ends} Make sure that every way around has an end (a counter in the event), and set a reserved "
        f"concurrency as a stop; a loop in one function is cheaper: {ms(profile.duration_ms.mean)} for each round.",
        condition="It is not meant, or not sure to end.",
    )


def _calls_on(profile: Profile | None, name: str) -> float:
    """How many calls of ``name`` an execution makes on average; one where that is not known."""
    if profile is None or profile.executions <= 0:
        return 1.0
    calls = sum(
        each.calls for each in profile.callees if each.kind == FUNCTION and each.name == name
    )
    return calls / profile.executions


def _caused(profile: Profile) -> float:
    """The share of executions whose cause is an execution."""
    known = sum(profile.channels.values())
    linked = sum(
        profile.channels.get(each, 0.0) for each in ("header", "credential", "destination")
    )
    return linked / known if known > 0 else 0.0
