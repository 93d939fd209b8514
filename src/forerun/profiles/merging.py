"""Tallies of parts make the tally of the whole."""

import msgspec

from forerun.profiles.sketch import Sketch
from forerun.profiles.tally import (
    MOST_RUNS,
    CalleeTally,
    Counts,
    RunTally,
    Tally,
    callee_in,
    count,
    relation_in,
)

_DIFFERENT = ("since", "until", "configured_mb", "callees", "relations")


def merge(into: Tally, other: Tally) -> None:
    """Count everything in ``into`` that ``other`` has counted; ``other`` stays as it is."""
    if other.until >= into.until and other.configured_mb:
        into.configured_mb = other.configured_mb
    if other.since and (other.since < into.since or not into.since):
        into.since = other.since
    into.until = max(into.until, other.until)
    add_all(into, other, _DIFFERENT)
    for key, callee in other.callees.items():
        _merge_callee(callee_in(into, callee.kind, callee.name, callee.via, key), callee)
    for one, others in other.relations.items():
        for two, relation in others.items():
            target = relation_in(into, one, two)
            if target is not None:
                add_all(target, relation, ())


def _merge_callee(into: CalleeTally, other: CalleeTally) -> None:
    add_all(into, other, ("kind", "name", "via", "runs"))
    for template, run in other.runs.items():
        if template in into.runs or len(into.runs) < MOST_RUNS:
            add_all(into.runs.setdefault(template, RunTally()), run, ())


def add_all(into: msgspec.Struct, other: msgspec.Struct, without: tuple[str, ...]) -> None:
    """Add every number, count and sketch of ``other`` but the fields ``without``; there is no other kind of field."""
    for name in into.__struct_fields__:
        if name in without:
            continue
        mine, more = getattr(into, name), getattr(other, name)
        if isinstance(mine, Sketch):
            mine.merge(more)
        elif isinstance(mine, dict):
            _add_counts(mine, more)
        else:
            setattr(into, name, mine + more)


def _add_counts(into: Counts, other: Counts) -> None:
    for name, amount in other.items():
        count(into, name, amount)
