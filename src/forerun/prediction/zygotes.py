"""Which zygotes there shall be, and which of them suits a function: chosen from what functions import. Pure.

Functions start sooner from a zygote that has imported what they are about to import; each zygote costs memory, its own
and that of the sandboxes that wait in its pool. ``choose_zygotes`` finds the sets of modules that save most,
``zygote_tree`` makes zygotes of them, which share the memory of those that they have sprouted from. Two roots are always
there, the plain interpreter and the one with the AWS SDK; what they save counts as nothing here.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from forerun.prediction.imports import ROOTS, SDK, Modules, Uses
from forerun.prediction.policy import F

GROUPS_MAX = 64
SEEDS_MAX = 8
ROUNDS_MAX = 8
# A new choice must be so many times as good as the one that holds.
BETTER = 1.25
# What is to be added must be worth so many times its cost; what is there stays while it is worth its cost.
WORTH = 2.0
SDK_MB = 25.0


class ZygoteCosts(NamedTuple):
    """What zygotes cost. Memory in MB: of modules, of the sandboxes that wait in a pool, of all zygotes and pools at most.

    ``price`` is how many milliseconds of starts a megabyte must save in an hour; ``most`` is how many zygotes there may
    be beside the roots. ``carry_ms`` is what a megabyte that is in a zygote costs each start from it. A module whose
    memory is not known is taken to need ``module_mb``.
    """

    budget_mb: float
    most: int
    price: float = 2.0
    pool_mb: float = 16.0
    carry_ms: float = 0.05
    module_mb: float = 1.0
    known_mb: Mapping[str, float] = {}

    def of(self, modules: Collection[str]) -> float:
        """MB of these modules."""
        known = self.known_mb
        return sum(
            known.get(module, SDK_MB if module == SDK else self.module_mb) for module in modules
        )

    def spared_ms(self, saves: Mapping[str, float], modules: Modules) -> float:
        """By how much sooner a start ends from a zygote that has imported ``modules``."""
        saved = sum(saves[module] for module in saves if module in modules)
        return saved - self.carry_ms * self.of(modules)


class PlannedZygote(NamedTuple):
    """A zygote there shall be: all its ``modules``, those of its parent among them, and the MB that it adds to these."""

    ending: str
    parent: str
    modules: Modules
    mb: float


def ending_of(modules: Modules) -> str:
    """What the pool of a zygote with these modules is called behind its runtime; always the same for the same ones."""
    for root, its in ROOTS.items():
        if modules == its:
            return root
    return "+" + hashlib.sha256(",".join(sorted(modules)).encode()).hexdigest()[:6]


def zygote_tree(sets: Collection[Modules], costs: ZygoteCosts) -> list[PlannedZygote]:
    """The zygotes of these sets, each after its parent, which is the largest of which it has all modules."""
    return [
        PlannedZygote(ending_of(modules), ending_of(parent), modules, mb)
        for modules, parent, mb in _branches(sets, costs)
    ]


def _branches(
    sets: Collection[Modules], costs: ZygoteCosts
) -> Iterator[tuple[Modules, Modules, float]]:
    """Each set with its parent and the MB that it adds."""
    known = list(ROOTS.values())
    for modules in sorted(set(sets) - set(known), key=lambda each: (len(each), sorted(each))):
        parent = min(
            (one for one in known if one < modules),
            key=lambda one: (costs.of(modules - one), len(one), sorted(one)),
        )
        known.append(modules)
        yield modules, parent, costs.of(modules - parent) + costs.pool_mb


class _Group(NamedTuple):
    """Functions that import the same."""

    per_hour: float
    saves: Mapping[str, float]
    usual: Modules

    @property
    def weight(self) -> float:
        """Milliseconds an hour that all its modules take."""
        return self.per_hour * sum(self.saves.values())


class _Measure:
    """The one measure of choices: milliseconds saved an hour beyond the roots, less the price of the memory."""

    def __init__(self, groups: Sequence[_Group], costs: ZygoteCosts) -> None:
        self.groups = groups
        self.costs = costs
        self._saved: dict[Modules, list[float]] = {}
        roots = [self.saved(modules) for modules in ROOTS.values()]
        self._floor: list[float] = [max(each) for each in zip(*roots, strict=True)]

    def saved(self, modules: Modules) -> list[float]:
        """By group."""
        found = self._saved.get(modules)
        if found is None:
            found = self._saved[modules] = [
                group.per_hour * self.costs.spared_ms(group.saves, modules) for group in self.groups
            ]
        return found

    def best(self, sets: Collection[Modules]) -> list[float]:
        """What the best of them, or of the roots, saves in an hour, by group."""
        best = self._floor
        for modules in sets:
            best = list(map(max, best, self.saved(modules)))
        return best

    def gain(self, sets: Collection[Modules]) -> float:
        """Milliseconds an hour beyond what the roots save."""
        return sum(self.best(sets)) - sum(self._floor)

    def mb(self, sets: Collection[Modules]) -> float:
        """What they need together."""
        return sum(mb for _, _, mb in _branches(sets, self.costs))

    def value(self, sets: Collection[Modules]) -> float:
        """The gain beyond the price."""
        return self.gain(sets) - self.costs.price * self.mb(sets)

    def allows(self, sets: Collection[Modules]) -> bool:
        """Whether they keep to number and memory."""
        return len(sets) <= self.costs.most and self.mb(sets) <= self.costs.budget_mb


def choose_zygotes(
    uses: Sequence[Uses[F]], present: Collection[Modules], costs: ZygoteCosts
) -> tuple[Modules, ...]:
    """The sets of modules of the zygotes there shall be beside the roots, in an order of their own.

    ``present`` are those there are: they stay unless something much better can be had, or they are not worth their
    memory any more.
    """
    groups = _groups(uses)
    measure = _Measure(groups, costs)
    seeds = _seeds(groups)
    kept = _settle(_allowed(present, measure), seeds, measure)
    fresh = _settle((), seeds, measure)
    worth = measure.value(kept)
    best = fresh if worth < 0 or measure.value(fresh) > BETTER * worth else kept
    return tuple(sorted(best, key=sorted))


def zygotes_worth(uses: Sequence[Uses[F]], sets: Collection[Modules], costs: ZygoteCosts) -> float:
    """What a choice is worth by the measure of ``choose_zygotes``; the roots alone are worth nothing."""
    return _Measure(_groups(uses), costs).value(sets)


def best_zygote(
    uses: Uses[F],
    planned: Sequence[PlannedZygote],
    costs: ZygoteCosts,
    now: str | None = None,
    *,
    least_ms: float = 1.0,
) -> tuple[str, float]:
    """The ending of the pool that spares this function most, and by how many milliseconds more than its usual one.

    ``now`` is where it is: it stays there unless another is better by ``least_ms`` and a tenth.
    """
    options = {**ROOTS, **{one.ending: one.modules for one in planned}}
    spared = {ending: costs.spared_ms(uses.saves, options[ending]) for ending in options}
    usual = spared[uses.usual]
    here = now if now in spared and spared[now] >= usual else uses.usual
    best = min(spared, key=lambda ending: (-spared[ending], len(options[ending]), ending))
    if spared[best] < spared[here] * 1.1 + least_ms:
        best = here
    return best, spared[best] - usual


def _groups(uses: Sequence[Uses[F]]) -> list[_Group]:
    """Functions with the same modules together, the most worth while first, and not too many."""
    rates: dict[tuple[Modules, str], float] = {}
    totals: dict[tuple[Modules, str], dict[str, float]] = {}
    for one in uses:
        key = frozenset(one.saves), one.usual
        rates[key] = rates.get(key, 0.0) + one.starts_per_hour
        total = totals.setdefault(key, dict.fromkeys(one.saves, 0.0))
        for module, ms in one.saves.items():
            total[module] += ms * one.starts_per_hour
    groups = [
        _Group(rate, {module: ms / rate for module, ms in totals[key].items()}, ROOTS[key[1]])
        for key, rate in rates.items()
        if rate > 0
    ]
    groups.sort(key=lambda one: (-one.weight, sorted(one.saves), sorted(one.usual)))
    return groups[:GROUPS_MAX]


def _seeds(groups: Sequence[_Group]) -> list[Modules]:
    """Sets worth a look: what the groups import, what two of them do, and what both of two do."""
    own = list(dict.fromkeys(frozenset(group.saves) for group in groups[:SEEDS_MAX]))
    seeds = dict.fromkeys(own)
    for one, other in combinations(own, 2):
        seeds[one | other] = seeds[one & other] = None
    seeds[frozenset[str]().union(*own)] = None
    return [seed for seed in seeds if seed not in ROOTS.values()]


def _allowed(present: Collection[Modules], measure: _Measure) -> tuple[Modules, ...]:
    """Those of the present ones that the costs still allow, the best kept."""
    kept = tuple(sorted(set(present) - set(ROOTS.values()), key=sorted))
    while kept and not measure.allows(kept):
        kept = max((_without(kept, one) for one in kept), key=measure.value)
    return kept


def _settle(
    start: tuple[Modules, ...], seeds: Sequence[Modules], measure: _Measure
) -> tuple[Modules, ...]:
    """Drop what is not worth its memory and add what is, until neither is left."""
    sets = start
    for _ in range(ROUNDS_MAX):
        before = sets
        sets = _prune(sets, measure)
        while (more := _best_addition(sets, seeds, measure)) is not None:
            sets = (*sets, more)
        if sets == before:
            break
    return _prune(sets, measure)


def _prune(sets: tuple[Modules, ...], measure: _Measure) -> tuple[Modules, ...]:
    while sets:
        lesser = max((_without(sets, one) for one in sets), key=measure.value)
        if measure.value(lesser) <= measure.value(sets):
            break
        sets = lesser
    return sets


def _best_addition(
    sets: tuple[Modules, ...], seeds: Sequence[Modules], measure: _Measure
) -> Modules | None:
    held, mb = measure.best(sets), measure.mb(sets)
    found: Modules | None = None
    most = 0.0
    for seed in seeds:
        added = sum(max(0.0, new - old) for new, old in zip(measure.saved(seed), held, strict=True))
        if added <= most or seed in sets:
            continue
        with_it = (*sets, seed)
        cost = measure.costs.price * (measure.mb(with_it) - mb)
        if added > WORTH * cost and added - cost > most and measure.allows(with_it):
            found, most = seed, added - cost
    return found


def _without(sets: tuple[Modules, ...], one: Modules) -> tuple[Modules, ...]:
    return tuple(each for each in sets if each != one)
