"""JSON Schema of criteria, for editors and other programs; what it cannot say (CEL, sums of nodes) the reader checks."""

from typing import Any

from forerun.metaevents.facts import KINDS
from forerun.metaevents.reading import MOST_NODES, MOST_STEPS

_SPAN = {
    "description": "seconds, or a text as 90s, 5m, 2h, 1d",
    "anyOf": [
        {"type": "number", "minimum": 0.1, "maximum": 2_592_000},
        {"type": "string", "pattern": r"^\s*[0-9]{1,9}(\.[0-9]{1,6})? ?(ms|s|m|h|d)\s*$"},
    ],
}
_NODE = {"$ref": "#/$defs/node"}
_EVENT = {"$ref": "#/$defs/event"}
_BOUNDS = {name: {"type": "number"} for name in ("at_least", "more_than", "at_most", "less_than")}


def criteria_schema() -> dict[str, Any]:
    """The schema, draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Criteria of a metaevent",
        **_NODE,
        "$defs": {
            "node": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in _definitions()]},
            **_definitions(),
        },
    }


def _definitions() -> dict[str, Any]:
    number = {"field": {"type": "string", "description": "a number of the event"}}
    share = {"p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}}
    return {
        "event": _object(
            "An event, in the moment it happens.",
            {
                "event": {"enum": list(KINDS)},
                "function": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"},
                "where": {
                    "type": "string",
                    "maxLength": 1000,
                    "description": "CEL over event.FIELD",
                },
            },
            ["event"],
        ),
        "count": _measured("count", "How many events there were.", {}),
        "rate": _measured("rate", "How many events there were per second.", {}),
        "sum": _measured("sum", "The sum of a field of the events.", number),
        "quantile": _measured(
            "quantile", "A quantile of a field of the events.", {**number, **share}
        ),
        "all": _object("All parts hold.", {"all": _parts()}, ["all"]),
        "any": _object("At least one part holds.", {"any": _parts()}, ["any"]),
        "not": _object("The part does not hold.", {"not": _NODE}, ["not"]),
        "sequence": _object(
            "Events in this order, the last within so long of the first.",
            {
                "sequence": {
                    "type": "array",
                    "items": _EVENT,
                    "minItems": 2,
                    "maxItems": MOST_STEPS,
                },
                "within": _SPAN,
            },
            ["sequence", "within"],
        ),
        "absent": _object(
            "No such event within so long.",
            {"absent": _EVENT, "within": _SPAN},
            ["absent", "within"],
        ),
    }


def _measured(name: str, meaning: str, more: dict[str, Any]) -> dict[str, Any]:
    properties = {name: _EVENT, "over": _SPAN, **more, **_BOUNDS}
    schema = _object(
        f"{meaning} Compared with one or two bounds.", properties, [name, "over", *more]
    )
    return {**schema, "anyOf": [{"required": [bound]} for bound in _BOUNDS]}


def _parts() -> dict[str, Any]:
    return {"type": "array", "items": _NODE, "minItems": 1, "maxItems": MOST_NODES}


def _object(meaning: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "description": meaning,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
