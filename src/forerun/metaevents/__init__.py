"""Rules over what the platform knows of itself: criteria, windows, absences, and what of them holds. Pure.

``parse_criteria`` reads what users write and refuses what is wrong or could run long. ``observe`` and ``advance`` say what
holds after an event and at a moment, ``next_moment`` when to look again: all they remember is a ``State``, which can be
stored. ``refusal`` keeps jobs within bounds; ``explain`` says in words why nothing happens; ``rehearse`` tries criteria on
given events.
"""

from forerun.metaevents.criteria import Criteria, Leaf, span
from forerun.metaevents.evaluating import (
    Judgement,
    Part,
    State,
    advance,
    catch_up,
    judge,
    looks_ahead,
    looks_back,
    next_moment,
    observe,
)
from forerun.metaevents.expressions import Bound, bind
from forerun.metaevents.facts import (
    COMMON,
    KINDS,
    MOST_OUTPUT,
    OUTPUT,
    Fact,
    Value,
    bindings,
    fields_of,
)
from forerun.metaevents.firing import Allowance, Limits, refusal
from forerun.metaevents.reading import parse_criteria, parse_span
from forerun.metaevents.rehearsal import Step, rehearse
from forerun.metaevents.schema import criteria_schema
from forerun.metaevents.words import explain, label

__all__ = [
    "COMMON",
    "KINDS",
    "MOST_OUTPUT",
    "OUTPUT",
    "Allowance",
    "Bound",
    "Criteria",
    "Fact",
    "Judgement",
    "Leaf",
    "Limits",
    "Part",
    "State",
    "Step",
    "Value",
    "advance",
    "bind",
    "bindings",
    "catch_up",
    "criteria_schema",
    "explain",
    "fields_of",
    "judge",
    "label",
    "looks_ahead",
    "looks_back",
    "next_moment",
    "observe",
    "parse_criteria",
    "parse_span",
    "refusal",
    "rehearse",
    "span",
]
