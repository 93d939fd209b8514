"""The page of metaevents: its examples are criteria, and what it says of the job's input is what is told."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from forerun.control.metaevents import try_criteria
from forerun.errors import InvalidInput
from forerun.metaevents import criteria_schema, parse_criteria

PAGE = (Path(__file__).parents[3] / "docs" / "metaevents.md").read_text()
EXAMPLES = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=[f"example {n}" for n in range(len(EXAMPLES))])
def test_examples_are_criteria(text):
    given = json.loads(text)
    assert parse_criteria(given).nodes
    jsonschema.Draft202012Validator(criteria_schema()).validate(given)


def test_there_are_examples_of_every_kind_of_node():
    keys = set(re.findall(r'"(\w+)":', "".join(EXAMPLES)))
    nodes = {"event", "count", "rate", "sum", "quantile", "all", "any", "not", "sequence", "absent"}
    assert nodes <= keys


def test_the_example_of_trying_fires_once_between_and_once_after():
    events = re.search(r"^ {4}(\[\{.*?\}\])$", PAGE, re.DOTALL | re.MULTILINE)
    criteria = {"absent": {"event": "execution.started", "function": "backup"}, "within": 5}
    tried = try_criteria({"When": criteria, "Events": json.loads(events[1])})
    assert tried["Fires"] == [5.0, 17.0]


BAD = {
    "unknown": ({"Evnts": []}, "There is no Evnts"),
    "no list": ({"Events": {}}, "Events must be a list"),
    "too many": ({"Events": [{}] * 1001}, "at most 1000"),
    "no event": ({"Events": [{"at": 1}]}, "Events[0] must be an object whose 'event'"),
    "field": ({"Events": [{"event": "execution.started", "color": 1}]}, "has no 'color'"),
    "type": (
        {"Events": [{"event": "execution.ended", "duration_ms": "long"}]},
        "Events[0].duration_ms must be a float",
    ),
    "true is no number": (
        {"Events": [{"event": "execution.ended", "attempt": True}]},
        "must be a int",
    ),
    "beyond": ({"Events": [{"event": "execution.ended", "attempt": 1 << 70}]}, "64 bits"),
    "time": ({"Events": [{"event": "execution.started", "at": -1}]}, "Events[0].at must be a time"),
    "until": ({"Until": 5, "Since": 6}, "must not be before Since"),
    "since": ({"Events": [{"event": "execution.started", "at": 1}], "Since": 6}, "before Since"),
    "far": ({"Until": 1e12}, "Until must be a time"),
    "when": ({"When": {}}, "When must have exactly one of"),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_tried_is_refused_by_field(change, words):
    with pytest.raises(InvalidInput) as caught:
        try_criteria({"When": {"event": "execution.started"}} | change)
    assert words in caught.value.message
