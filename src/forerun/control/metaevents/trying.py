"""Criteria tried on given events: nothing is kept, and nothing is run."""

from collections.abc import Mapping
from typing import Any

from forerun.control.metaevents.views import parts
from forerun.errors import InvalidInput
from forerun.metaevents import (
    KINDS,
    Fact,
    Value,
    fields_of,
    looks_ahead,
    parse_criteria,
    parse_span,
    rehearse,
)

MOST_EVENTS = 1_000
LATEST = 1e11
_GIVEN = {"When", "Events", "Since", "Until", "Cooldown"}


def try_criteria(given: Mapping[str, Any]) -> dict[str, Any]:
    """What ``test-metaevent`` answers. ``InvalidInput`` names the field."""
    if unknown := given.keys() - _GIVEN:
        raise InvalidInput(f"There is no {min(unknown)}; there are {', '.join(sorted(_GIVEN))}")
    criteria = parse_criteria(given.get("When"))
    events = given.get("Events", [])
    if not isinstance(events, list) or len(events) > MOST_EVENTS:
        raise InvalidInput(f"Events must be a list of at most {MOST_EVENTS} events")
    facts = [_fact(each, f"Events[{place}]") for place, each in enumerate(events)]
    moments = [fact.at for fact in facts]
    since = _time(given.get("Since", min(moments, default=0.0)), "Since")
    latest = max([since, *moments]) + looks_ahead(criteria)
    until = _time(given.get("Until", latest), "Until")
    cooldown = parse_span(given["Cooldown"], "Cooldown") if given.get("Cooldown") else 0.0
    if min([until, *moments]) < since or until > LATEST:
        raise InvalidInput("Until and the times of Events must not be before Since")
    steps = rehearse(criteria, facts, since=since, until=until, cooldown_s=cooldown)
    return {
        "Since": since,
        "Until": until,
        "Fires": [step.at for step in steps if step.fires],
        "Steps": [
            {
                "At": step.at,
                "Event": step.event,
                "Held": step.judgement.held,
                "Fires": step.fires,
                "Parts": parts(criteria, step.judgement.parts),
            }
            for step in steps
        ],
    }


def _fact(given: object, path: str) -> Fact:
    if not isinstance(given, dict) or given.get("event") not in KINDS:
        raise InvalidInput(f"{path} must be an object whose 'event' is one of {', '.join(KINDS)}")
    known = fields_of(given["event"])
    if unknown := given.keys() - known.keys() - {"event"}:
        raise InvalidInput(f"{path}: {given['event']} has no {min(unknown)!r}")
    fields: dict[str, Value] = {
        name: _value(given.get(name, field.type()), field.type, f"{path}.{name}")
        for name, field in known.items()
        if name not in ("at", "function")
    }
    return Fact(
        kind=given["event"],
        account="",
        function=str(_value(given.get("function", ""), str, f"{path}.function")),
        at=_time(given.get("at", 0.0), f"{path}.at"),
        fields=fields,
    )


def _value(given: object, kind: type, path: str) -> Value:
    if kind is float and isinstance(given, int) and not isinstance(given, bool):
        given = float(given)
    if not isinstance(given, kind) or (kind is int and isinstance(given, bool)):
        raise InvalidInput(f"{path} must be a {kind.__name__}")
    if isinstance(given, int) and not -(1 << 63) <= given < 1 << 63:
        raise InvalidInput(f"{path} is beyond 64 bits")
    return given  # type: ignore[return-value]


def _time(given: object, path: str) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= LATEST:
        raise InvalidInput(f"{path} must be a time in seconds, from 0 to {LATEST:.0f}")
    return float(given)
