"""Criteria are read with their places named, or refused with them."""

import jsonschema
import pytest
from tests.unit.metaevents.made import ENDED, leaf

from forerun.errors import InvalidInput
from forerun.metaevents import KINDS, criteria_schema, parse_criteria, parse_span

ABSENT = {"absent": leaf(), "within": "5s"}
COUNT = {"count": leaf(ENDED, where="event.status == 'error'"), "over": 60, "at_least": 3}
GOOD = [
    leaf(),
    {"event": "host.changed", "where": "event.booked_percent > 90"},
    ABSENT,
    COUNT,
    {"rate": leaf(), "over": "5m", "more_than": 1.5, "at_most": 9},
    {"sum": leaf(ENDED), "field": "duration_ms", "over": "1h", "at_least": 1000},
    {"quantile": leaf(ENDED), "field": "duration_ms", "p": 0.95, "over": "10m", "more_than": 200},
    {"sequence": [leaf(), leaf(function="g")], "within": "1.5 m"},
    {"all": [ABSENT, {"not": COUNT}]},
    {"any": [ABSENT, {"all": [leaf(ENDED, where="event.cold"), COUNT]}]},
]
_DEEP = leaf()
for _ in range(6):
    _DEEP = {"any": [_DEEP]}


@pytest.mark.parametrize("given", GOOD, ids="+".join)
def test_what_is_read_is_what_the_schema_allows(given):
    criteria = parse_criteria(given)
    assert criteria.nodes[0] is criteria.root
    assert len({node.number for node in (*criteria.nodes, *criteria.leaves)}) >= len(
        criteria.leaves
    )
    assert all(str(node) for node in criteria.nodes)
    jsonschema.Draft202012Validator(criteria_schema()).validate(given)


BAD = {
    "nothing": (None, "When must be a JSON object"),
    "a list": ([], "When must be a JSON object"),
    "empty": ({}, "exactly one of event, count"),
    "two": ({"event": ENDED, "absent": leaf()}, "exactly one of"),
    "unknown event": (leaf("execution.gone"), "When.event must be one of execution.detected"),
    "event of a wrong type": ({"event": ["a"]}, "When.event must be one of"),
    "more": ({**leaf(), "whre": "true"}, "When has no 'whre'"),
    "function": (leaf(function="a b"), "When.function must be the name of a function"),
    "function of a host": ({"event": "host.changed", "function": "f"}, "about no function"),
    "where": (leaf(where="event.status =="), "When.where: line 1, column"),
    "field of another kind": (leaf(where="event.duration_ms > 1"), "undeclared reference"),
    "no window": ({"count": leaf(), "at_least": 1}, "When.over must be a time"),
    "window of nothing": ({"count": leaf(), "over": 0, "at_least": 1}, "When.over must be a time"),
    "window without end": ({"count": leaf(), "over": "31d", "at_least": 1}, "30 days"),
    "window of true": ({"count": leaf(), "over": True, "at_least": 1}, "When.over must be"),
    "no bound": ({"count": leaf(), "over": 1}, "must have one of at_least"),
    "two lower bounds": (
        {"count": leaf(), "over": 1, "at_least": 1, "more_than": 2},
        "one lower and one upper",
    ),
    "a text for a bound": ({"count": leaf(), "over": 1, "at_least": "3"}, "When.at_least must be"),
    "a bound without end": ({"count": leaf(), "over": 1, "at_least": 1e300}, "When.at_least"),
    "no field": ({"sum": leaf(ENDED), "over": 1, "at_least": 1}, "When.field must be a number of"),
    "field is a text": (
        {"sum": leaf(ENDED), "field": "status", "over": 1, "at_least": 1},
        "duration_ms",
    ),
    "field of a count": (
        {"count": leaf(ENDED), "field": "duration_ms", "over": 1, "at_least": 1},
        "no 'field'",
    ),
    "no p": (
        {"quantile": leaf(ENDED), "field": "duration_ms", "over": 1, "at_least": 1},
        "When.p must be",
    ),
    "p of 95": (
        {"quantile": leaf(ENDED), "field": "duration_ms", "p": 95, "over": 1, "at_least": 1},
        "When.p must be a number above 0 and up to 1",
    ),
    "a short sequence": ({"sequence": [leaf()], "within": 1}, "list of 2 to 8"),
    "a sequence of windows": (
        {"sequence": [COUNT, leaf()], "within": 1},
        "sequence[0] has no 'count'",
    ),
    "absent without within": ({"absent": leaf()}, "When.within must be a time"),
    "absent of a window": ({"absent": COUNT, "within": 1}, "When.absent has no 'count'"),
    "not of an event": ({"not": leaf()}, "use absent, or count"),
    "all of different events": ({"all": [leaf(), leaf(ENDED)]}, "never happen in the same moment"),
    "all of different functions": ({"all": [leaf(), leaf(function="g")]}, "same moment"),
    "all of none": ({"all": []}, "When.all must be a list of 1"),
    "a place below": (
        {"any": [leaf(), {"not": {"count": leaf()}}]},
        "When.any[1].not.over must be",
    ),
    "too deep": (_DEEP, "nested deeper than 6"),
    "too much": ({"any": [{"any": [leaf()] * 20}, {"any": [leaf()] * 20}]}, "at most 32 parts"),
}


@pytest.mark.parametrize(("given", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_refused_is_named(given, words):
    with pytest.raises(InvalidInput) as caught:
        parse_criteria(given)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (5, 5.0),
        (0.1, 0.1),
        ("90s", 90.0),
        ("250 ms", 0.25),
        ("1.5m", 90.0),
        ("2h", 7200.0),
        ("30d", 2_592_000.0),
    ],
)
def test_times(given, seconds):
    assert parse_span(given, "over") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "5",
        "5 weeks",
        "-5s",
        "1e3s",
        "99999999999s",
        "\u0665s",
        float("nan"),
        float("inf"),
        0.01,
        -1,
        {},
    ],
)
def test_times_that_are_none(given):
    with pytest.raises(InvalidInput, match="over must be a time"):
        parse_span(given, "over")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_looked_for(kind):
    assert parse_criteria({"event": kind, "where": "event.function == '' || event.at > 0"}).leaves
