"""Sees to it that zygotes have imported what functions import: learns it from their starts, chooses, grows and retires.

What it knows is in memory alone: after a restart it is learned anew, from the second start of a function on.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from forerun.aio import Clock, TaskOwner
from forerun.errors import SetupFailed
from forerun.model import WITH_SDK, Import, InitReport, SandboxSpec
from forerun.prediction import (
    ROOTS,
    SDK,
    ImportTally,
    Modules,
    PlannedZygote,
    StartImports,
    Uses,
    ZygoteCosts,
    best_zygote,
    choose_zygotes,
    trusted,
    zygote_tree,
)
from forerun.sandbox import SDK_PACKAGES, SDK_PRELOAD, STANDARD_MODULES, Nursery, Unfit
from forerun.settings import SandboxSettings

log = logging.getLogger("forerun.zygotes")

# Rates fade by themselves: what holds is looked at again even if nothing was started.
AGAIN_LOOKS = 12
RETRY_LOOKS = 12
FUNCTIONS_MAX = 10_000
MODULES_MAX = 64
NAMES_MAX = 16
ENDINGS_MAX = 1000
# Sandboxes that wait in a pool are booked with so much.
POOLED_MB = 8
_OWN = ("standard", "sdk")

HoldPool = Callable[[str, int], None]
Prefer = Callable[[Callable[[SandboxSpec], str]], None]


class Placed(NamedTuple):
    """Where a function's sandboxes come from, how much sooner they are ready by it, and how often that is."""

    ending: str
    spared_ms: float
    per_hour: float


@dataclass
class Known:
    """Code as its starts have shown it: the functions it is of (name -> version), and the last that is known of each import."""

    account: str
    runtime: str
    usual: str
    names: dict[str, str] = field(default_factory=dict)
    imports: dict[str, Import] = field(default_factory=dict)


@dataclass
class Grove:
    """The zygotes of one runtime. ``wanted`` are those that were chosen last, and ``trouble`` why one could not be grown."""

    tally: ImportTally[str]
    wanted: list[PlannedZygote] = field(default_factory=list)
    placed: dict[str, Placed] = field(default_factory=dict)
    known_mb: dict[str, float] = field(default_factory=dict)
    trouble: str = ""
    changed: bool = False
    rest: int = 0


class Zygotes:
    """``loaded`` hears of every start; from ``start`` to ``close`` it looks from time to time.

    ``waiting`` is how many sandboxes wait in a pool.
    """

    def __init__(self, clock: Clock, settings: SandboxSettings, waiting: int) -> None:
        self.clock = clock
        self.nursery: Nursery | None = None
        self.groves: dict[str, Grove] = {}
        self.functions: OrderedDict[str, Known] = OrderedDict()
        self.starts: dict[str, int] = {}
        self._settings = settings
        self._waiting = waiting
        self._hold_pool: HoldPool
        self._prefer: Prefer
        self._modules: dict[str, Modules] = dict(ROOTS)
        self._owner = TaskOwner("zygotes")

    def start(self, nursery: Nursery | None, hold_pool: HoldPool, prefer: Prefer) -> None:
        """Begin to choose; without a ``nursery`` there is nothing to be chosen.

        ``hold_pool`` lets so many unassigned sandboxes of a pool wait; ``prefer`` is told when another choice was made:
        what answers the ending of the pool that suits a function, empty where that is the usual one.
        """
        self.nursery, self._hold_pool, self._prefer = nursery, hold_pool, prefer
        if self.nursery is not None and self._settings.zygotes:
            self._owner.spawn(self._run(), name="learn")

    async def close(self) -> None:
        """Choose no more."""
        await self._owner.close()

    def loaded(self, zygote: str, spec: SandboxSpec, report: InitReport) -> None:
        """A function was loaded into a sandbox that was forked from this zygote."""
        runtime, _, more = zygote.partition("+")
        had = self._modules.get(f"+{more}" if more else "")
        if not runtime.startswith("python") or had is None:
            return
        self.starts[zygote] = self.starts.get(zygote, 0) + 1
        usual = WITH_SDK if spec.uses_sdk else ""
        self._remember(spec, usual, report.imports)
        grove = self.groves.get(runtime)
        if grove is None:
            grove = self.groves[runtime] = Grove(ImportTally(self._settings.zygote_memory_s))
        start = StartImports(self.clock.now(), own_modules(report.imports), had, usual)
        grove.tally.note(code_key(spec), start)
        grove.changed = True

    async def _run(self) -> None:
        while True:
            await self.clock.sleep(self._settings.zygote_look_s)
            await self.look()

    async def look(self) -> None:
        """Choose again where anything was started, or nothing was for a while; end what nobody needs any more."""
        if self.nursery is None:
            return
        for runtime, grove in list(self.groves.items()):
            grove.rest -= 1
            if (grove.changed and not grove.trouble) or grove.rest <= 0:
                await self._choose(runtime, grove, self.nursery)
        await self.nursery.sweep()

    def costs(self, grove: Grove) -> ZygoteCosts:
        """What zygotes of a runtime cost, as far as that is known."""
        return ZygoteCosts(
            budget_mb=self._settings.zygote_budget_mb,
            most=self._settings.zygotes,
            pool_mb=POOLED_MB * self._waiting,
            known_mb=dict(grove.known_mb),
        )

    async def _choose(self, runtime: str, grove: Grove, nursery: Nursery) -> None:
        grove.changed, grove.trouble, grove.rest = False, "", AGAIN_LOOKS
        uses = grove.tally.uses(self.clock.now())
        here = {key: placed.ending for key, placed in grove.placed.items()}
        present = [one.modules for one in grove.wanted]
        costs = self.costs(grove)
        wanted, placed = await asyncio.to_thread(_decide, uses, present, here, costs)
        try:
            for one in wanted:
                await self._grow(runtime, grove, nursery, one)
        except SetupFailed as error:
            self._spoiled(grove, error)
            return
        gone = {one.ending for one in grove.wanted} - {one.ending for one in wanted}
        grove.wanted, grove.placed = wanted, placed
        self._prefer(self._ending)
        for ending in gone:
            log.info("%s%s is given up", runtime, ending)
            self._hold_pool(runtime + ending, 0)
            nursery.retire(runtime + ending)

    async def _grow(self, runtime: str, grove: Grove, nursery: Nursery, one: PlannedZygote) -> None:
        name = runtime + one.ending
        if nursery.has(name):
            return
        if len(self._modules) >= ENDINGS_MAX:
            self._forget_endings()
        self._modules[one.ending] = one.modules
        modules = sorted(one.modules - self._modules[one.parent])
        loaded = await nursery.grow(name, runtime + one.parent, modules)
        grove.known_mb.update({module: kb / 1024 for module, (_, kb) in loaded.modules.items()})
        for module in loaded.unfit:
            log.warning("%s cannot import %s", name, module)
            grove.tally.bar(module)
            grove.changed = True
        log.info("%s has imported %s (%d kB)", name, ", ".join(modules), loaded.kb)
        self._hold_pool(name, self._waiting)

    def _forget_endings(self) -> None:
        """Remember only zygotes that there are."""
        wanted = [one for grove in self.groves.values() for one in grove.wanted]
        self._modules = {**ROOTS, **{one.ending: one.modules for one in wanted}}
        self.starts.clear()

    def _spoiled(self, grove: Grove, error: SetupFailed) -> None:
        """A zygote could not be grown: without what it is due to it is tried at once, else after a while."""
        log.warning("no further zygote: %s", error.message)
        if isinstance(error, Unfit):
            for module in error.modules:
                grove.tally.bar(module)
            grove.changed = True
        else:
            grove.trouble, grove.rest = error.message, RETRY_LOOKS

    def _ending(self, spec: SandboxSpec) -> str:
        grove = self.groves.get(spec.runtime)
        placed = grove.placed.get(code_key(spec)) if grove is not None else None
        return placed.ending if placed is not None else ""

    def _remember(self, spec: SandboxSpec, usual: str, imports: Sequence[Import]) -> None:
        known = self.functions.pop(code_key(spec), None)
        if known is None:
            known = Known(spec.account, spec.runtime, usual)
            if len(self.functions) >= FUNCTIONS_MAX:
                self.functions.popitem(last=False)
        self.functions[code_key(spec)] = known
        if spec.name in known.names or len(known.names) < NAMES_MAX:
            known.names[spec.name] = spec.version
        known.imports.update({one.name: one for one in imports})
        if len(known.imports) > MODULES_MAX:
            longest = sorted(known.imports.values(), key=lambda one: -one.ms)[:MODULES_MAX]
            known.imports = {one.name: one for one in longest}


def code_key(spec: SandboxSpec) -> str:
    """What decides which modules are imported: the code and where it begins, of one account; whatever its configuration."""
    layers = spec.layers_dir or ""
    return ":".join((spec.account, spec.runtime, spec.handler, spec.code_dir, layers))


def own_modules(imports: Sequence[Import]) -> dict[str, float]:
    """Milliseconds of the modules that a shared zygote may import, all that the SDK's root has under one name."""
    found: dict[str, float] = {}
    for one in imports:
        if one.origin in _OWN and trusted(one.name, STANDARD_MODULES, SDK_PACKAGES):
            name = SDK if one.name in SDK_PRELOAD or one.name in SDK_PACKAGES else one.name
            found[name] = found.get(name, 0.0) + one.ms
    return found


def _decide(
    uses: Sequence[Uses[str]],
    present: Sequence[Modules],
    here: Mapping[str, str],
    costs: ZygoteCosts,
) -> tuple[list[PlannedZygote], dict[str, Placed]]:
    """The zygotes there shall be, and the functions that are not to be served from their usual pool."""
    wanted = zygote_tree(choose_zygotes(uses, present, costs), costs)
    placed = {}
    for one in uses:
        ending, spared_ms = best_zygote(one, wanted, costs, here.get(one.function))
        if ending and ending != one.usual:
            placed[one.function] = Placed(ending, spared_ms, one.starts_per_hour)
    return wanted, placed
