"""What is worth changing in a function, found in its profile: one rule per file, numbers for every claim.

``findings`` is pure: the same profiles give the same findings. Thresholds are constants beside the rules, with their
reasons; they are set so that what is said is rather true than complete.
"""

from collections.abc import Mapping, Sequence

from forerun.profiles.findings.always import always_called
from forerun.profiles.findings.cycles import cycles as found_cycles
from forerun.profiles.findings.cycles import cycles_in
from forerun.profiles.findings.failures import callee_errors, timeouts
from forerun.profiles.findings.finding import (
    AT_LEAST,
    Confidence,
    Finding,
    Gain,
    Kind,
    Known,
    Measure,
    Rule,
    rank,
)
from forerun.profiles.findings.initialisation import slow_init
from forerun.profiles.findings.loops import call_loops
from forerun.profiles.findings.memory import memory_too_large, memory_too_small
from forerun.profiles.findings.repeated import repeated_calls
from forerun.profiles.findings.retries import retry_storms
from forerun.profiles.findings.sequential import sequential_calls
from forerun.profiles.findings.waiting import waiting
from forerun.profiles.profile import Profile

__all__ = [
    "AT_LEAST",
    "RULES",
    "Confidence",
    "Finding",
    "Gain",
    "Kind",
    "Measure",
    "all_findings",
    "cycles_in",
    "findings",
    "rank",
    "turned",
]

RULES: tuple[Rule, ...] = (
    sequential_calls,
    repeated_calls,
    call_loops,
    waiting,
    memory_too_large,
    memory_too_small,
    slow_init,
    retry_storms,
    found_cycles,
    always_called,
    callee_errors,
    timeouts,
)


def findings(
    profile: Profile,
    callees: Mapping[str, Profile] | None = None,
    cycles: Sequence[Sequence[str]] = (),
    *,
    at_least: int = AT_LEAST,
) -> list[Finding]:
    """Everything worth changing in one function, surest and largest first.

    ``callees`` are profiles of the functions it calls, by name; ``cycles`` chains of functions that begin with it and lead back
    to it. Nothing is said that fewer than ``at_least`` watched executions show, but for cycles.
    """
    known = Known(profile=profile, callees=callees or {}, cycles=cycles, at_least=at_least)
    return sorted((found for rule in RULES for found in rule(known)), key=rank)


def all_findings(profiles: Sequence[Profile], known: Mapping[str, Profile]) -> list[Finding]:
    """Findings of all of them, surest and largest first; ``known`` are the profiles of the account by function."""
    cycles = cycles_in(known)
    found = [
        each
        for profile in profiles
        for each in findings(profile, known, turned(cycles, profile.function))
    ]
    return sorted(found, key=rank)


def turned(cycles: Sequence[Sequence[str]], name: str) -> list[list[str]]:
    """The cycles that ``name`` is part of, told so that they begin with it."""
    there = ((list(chain), list(chain).index(name)) for chain in cycles if name in chain)
    return [[*chain[place:], *chain[:place]] for chain, place in there]
