"""Which events a pattern wants: a table of cases, bad patterns, and a second matcher that is written plainly."""

import json
import time
from typing import Any

import pytest

from forerun.errors import InvalidInput
from forerun.patterns import InvalidPattern, parse_pattern

EC2 = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "account": "111122223333",
    "time": "2017-12-22T18:43:48Z",
    "region": "us-west-1",
    "resources": ["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],
    "detail": {"instance-id": "i-1234567890abcdef0", "state": "terminated"},
}
LIMITS = {
    "detail": {"c-count": 3, "d-count": 12, "x-limit": 301.8, "ip": "10.0.0.123", "note": None}
}
ITEMS = {"detail": {"items": [{"kind": "disk", "size": 10}, {"kind": "net", "size": 20}]}}


def field(*values: Any) -> dict[str, Any]:
    return {"detail": {"f": list(values)}}


def having(value: Any) -> dict[str, Any]:
    return {"detail": {"f": value}}


CASES: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    ("source", {"source": ["aws.ec2"]}, EC2, True),
    ("other source", {"source": ["aws.s3"]}, EC2, False),
    ("one of several", {"source": ["aws.s3", "aws.ec2"]}, EC2, True),
    ("nested", {"detail": {"state": ["terminated"]}}, EC2, True),
    ("both must", {"source": ["aws.ec2"], "detail": {"state": ["running"]}}, EC2, False),
    ("three fields", {"source": ["aws.ec2"], "region": ["us-west-1"], "detail": {"state": ["terminated"]}}, EC2, True),
    ("in an array", {"resources": ["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"]}, EC2, True),
    ("missing field", {"detail": {"nothing": ["x"]}}, EC2, False),
    ("case matters", {"source": ["AWS.EC2"]}, EC2, False),
    # Values
    ("empty text", field(""), having(""), True),
    ("empty text is not null", field(""), having(None), False),
    ("null", field(None), having(None), True),
    ("null is not absent", field(None), {"detail": {}}, False),
    ("null is not false", field(None), having(False), False),
    ("true", field(True), having(True), True),
    ("true is not 1", field(True), having(1), False),
    ("1 is not true", field(1), having(True), False),
    ("0 is not false", field(0), having(False), False),
    ("false beside numbers", field(0, False), having(False), True),
    ("number", field(300), having(300), True),
    ("number by value", field(300), having(300.0), True),
    ("number by value, small", field(3.0e2), having(300), True),
    ("number is not text", field(300), having("300"), False),
    ("text is not number", field("300"), having(300), False),
    ("large account number", field(123456789012), having(123456789012), True),
    ("text of an object", field("x"), having({"x": 1}), False),
    # Arrays
    ("any element", field("b"), having(["a", "b"]), True),
    ("no element", field("c"), having(["a", "b"]), False),
    ("empty array", field("c"), having([]), False),
    ("arrays in arrays", field("c"), having([["a"], [["c"]]]), True),
    ("objects in the array do not matter", field("c"), having([{"x": 1}, "c"]), True),
    ("objects alone have no value", field({"exists": True}), having([{"x": 1}]), False),
    ("same element", {"detail": {"items": {"kind": ["disk"], "size": [10]}}}, ITEMS, True),
    ("different elements", {"detail": {"items": {"kind": ["disk"], "size": [20]}}}, ITEMS, False),
    ("different elements, or", {"detail": {"items": {"kind": ["disk"]}, "$or": [{"items": {"size": [20]}}, {"none": [1]}]}}, ITEMS, False),
    ("same element, or", {"detail": {"items": {"kind": ["disk"]}, "$or": [{"items": {"size": [10]}}, {"none": [1]}]}}, ITEMS, True),
    # Prefix, suffix
    ("prefix", {"time": [{"prefix": "2017-12-22"}]}, EC2, True),
    ("no prefix", {"time": [{"prefix": "2018"}]}, EC2, False),
    ("empty prefix", field({"prefix": ""}), having("x"), True),
    ("prefix of a number", field({"prefix": "3"}), having(300), False),
    ("prefix in any case", field({"prefix": {"equals-ignore-case": "EventB"}}), having("eventbridge"), True),
    ("suffix", field({"suffix": ".png"}), having("a.png"), True),
    ("no suffix", field({"suffix": ".png"}), having("a.jpg"), False),
    ("suffix in any case", field({"suffix": {"equals-ignore-case": ".png"}}), having("a.PNG"), True),
    ("any case", field({"equals-ignore-case": "Alice"}), having("aLICE"), True),
    ("any case, other", field({"equals-ignore-case": "Alice"}), having("bob"), False),
    # Wildcards
    ("wildcard", field({"wildcard": "dir/*.png"}), having("dir/a/b.png"), True),
    ("wildcard, other end", field({"wildcard": "dir/*.png"}), having("dir/a/b.jpg"), False),
    ("wildcard, nothing between", field({"wildcard": "a*b"}), having("ab"), True),
    ("wildcard, no overlap", field({"wildcard": "aba*aba"}), having("ababa"), False),
    ("several stars", field({"wildcard": "*a*b*"}), having("xxaxxbxx"), True),
    ("several stars, order", field({"wildcard": "*a*b*"}), having("xxbxxaxx"), False),
    ("middle ends before the end", field({"wildcard": "a*bc*c"}), having("abc"), False),
    ("escaped star", field({"wildcard": "a\\*b"}), having("a*b"), True),
    ("escaped star is none", field({"wildcard": "a\\*b"}), having("axb"), False),
    ("escaped backslash", field({"wildcard": "a\\\\*"}), having("a\\x"), True),
    ("star alone", field({"wildcard": "*"}), having(""), True),
    ("star alone wants text", field({"wildcard": "*"}), having(1), False),
    # Anything but
    ("anything but", field({"anything-but": "initializing"}), having("running"), True),
    ("but that", field({"anything-but": "initializing"}), having("initializing"), False),
    ("anything but numbers", field({"anything-but": 123}), having(456), True),
    ("anything but that number", field({"anything-but": 123}), having(123.0), False),
    ("a text is anything but a number", field({"anything-but": 123}), having("123"), True),
    ("true is anything but 1", field({"anything-but": 1}), having(True), True),
    ("anything but a list", field({"anything-but": ["stopped", "overloaded"]}), having("overloaded"), False),
    ("anything but, absent", field({"anything-but": "x"}), {"detail": {}}, False),
    ("anything but, null", field({"anything-but": "x"}), having(None), True),
    ("anything but, any element", field({"anything-but": "a"}), having(["a", "b"]), True),
    ("anything but, all elements", field({"anything-but": ["a", "b"]}), having(["a", "b"]), False),
    ("anything but a prefix", field({"anything-but": {"prefix": "init"}}), having("initializing"), False),
    ("anything but prefixes", field({"anything-but": {"prefix": ["a", "b"]}}), having("cab"), True),
    ("anything but a suffix", field({"anything-but": {"suffix": ".txt"}}), having("a.txt"), False),
    ("anything but any case", field({"anything-but": {"equals-ignore-case": ["initializing", "stopped"]}}), having("STOPPED"), False),
    ("anything but a wildcard", field({"anything-but": {"wildcard": "*/lib/*"}}), having("a/lib/b"), False),
    ("anything but wildcards", field({"anything-but": {"wildcard": ["*/lib/*", "*/bin/*"]}}), having("a/src/b"), True),
    # Numbers
    ("range", {"detail": {"c-count": [{"numeric": [">", 0, "<=", 5]}]}}, LIMITS, True),
    ("range, end open", {"detail": {"c-count": [{"numeric": [">", 0, "<", 3]}]}}, LIMITS, False),
    ("range, end closed", {"detail": {"c-count": [{"numeric": [">=", 3, "<", 5]}]}}, LIMITS, True),
    ("less", {"detail": {"d-count": [{"numeric": ["<", 10]}]}}, LIMITS, False),
    ("equals", {"detail": {"x-limit": [{"numeric": ["=", 3.018e2]}]}}, LIMITS, True),
    ("numeric of a text", field({"numeric": [">", 0]}), having("5"), False),
    ("numeric of true", field({"numeric": [">", 0]}), having(True), False),
    ("too large", field({"numeric": [">", 0]}), having(6e9), False),
    # Addresses
    ("cidr", {"detail": {"ip": [{"cidr": "10.0.0.0/24"}]}}, LIMITS, True),
    ("cidr, outside", {"detail": {"ip": [{"cidr": "10.0.1.0/24"}]}}, LIMITS, False),
    ("cidr 6", field({"cidr": "2001:db8::/32"}), having("2001:0db8:0000::1"), True),
    ("cidr 6, version 4", field({"cidr": "::/0"}), having("10.0.0.1"), False),
    ("cidr, no address", field({"cidr": "10.0.0.0/8"}), having("10.0.0"), False),
    # Existence
    ("exists", {"detail": {"c-count": [{"exists": True}]}}, LIMITS, True),
    ("null exists", {"detail": {"note": [{"exists": True}]}}, LIMITS, True),
    ("does not exist", {"detail": {"none": [{"exists": True}]}}, LIMITS, False),
    ("an object is no leaf", {"detail": [{"exists": True}]}, LIMITS, False),
    ("absent", {"detail": {"none": [{"exists": False}]}}, LIMITS, True),
    ("not absent", {"detail": {"note": [{"exists": False}]}}, LIMITS, False),
    ("absent or that", field({"exists": False}, "x"), having("x"), True),
    ("absent or that, neither", field({"exists": False}, "x"), having("y"), False),
    ("absent with its object", {"none": {"f": [{"exists": False}]}}, LIMITS, True),
    ("empty array is absent", field({"exists": False}), having([]), True),
    ("empty array does not exist", field({"exists": True}), having([]), False),
    ("absent from all elements", {"detail": {"items": {"size": [{"exists": False}]}}}, {"detail": {"items": [{"kind": "a"}, {"size": 1}]}}, False),
    ("absent from this element", {"detail": {"items": {"kind": ["a"], "size": [{"exists": False}]}}}, {"detail": {"items": [{"kind": "a"}, {"size": 1}]}}, True),
    ("absent, or in an element", {"detail": {"items": {"size": [{"exists": False}, 1]}}}, {"detail": {"items": [{"size": 2}, {"kind": "a"}]}}, False),
    # Alternatives
    ("or, first", {"detail": {"$or": [{"c-count": [3]}, {"d-count": [0]}]}}, LIMITS, True),
    ("or, none", {"detail": {"$or": [{"c-count": [0]}, {"d-count": [0]}]}}, LIMITS, False),
    ("or of fields", {"$or": [{"source": ["aws.s3"]}, {"source": ["aws.ec2"], "detail": {"state": ["terminated"]}}]}, EC2, True),
    ("or within or", {"$or": [{"$or": [{"source": ["a"]}, {"source": ["aws.ec2"]}]}, {"source": ["b"]}]}, EC2, True),
    ("or and the rest", {"source": ["aws.s3"], "$or": [{"region": ["us-west-1"]}, {"account": ["1"]}]}, EC2, False),
    ("two ors", {"$or": [{"source": ["a"]}, {"source": ["aws.ec2"]}], "detail": {"$or": [{"state": ["x"]}, {"state": ["terminated"]}]}}, EC2, True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "event", "matches"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_pattern_wants_the_event_or_not(
    pattern: dict[str, Any], event: dict[str, Any], matches: bool
) -> None:
    assert parse_pattern(pattern).matches(event) is matches
    assert parse_pattern(json.dumps(pattern)).matches(json.loads(json.dumps(event))) is matches


BAD: list[tuple[str, str, str]] = [
    ("not json", "{", "not JSON"),
    ("nothing", "", "not JSON"),
    ("a list", "[]", "Filter is not an object"),
    ("a text", '"x"', "Filter is not an object"),
    ("empty", "{}", "Empty objects are not allowed"),
    ("empty inside", '{"a": {}}', "Empty objects are not allowed"),
    ("empty array", '{"a": []}', "Empty arrays are not allowed"),
    ("a plain text", '{"source": "aws.ec2"}', '"source" must be an object or an array'),
    ("a plain number", '{"source": 1}', '"source" must be an object or an array'),
    ("array in array", '{"a": [["x"]]}', "Match value must be"),
    ("unknown", '{"a": [{"like": "x"}]}', "Unrecognized match type like"),
    ("two kinds", '{"a": [{"prefix": "x", "suffix": "y"}]}', "Only one key"),
    ("no kind", '{"a": [{}]}', "Match expression name not found"),
    ("prefix of a number", '{"a": [{"prefix": 1}]}', "prefix match pattern must be a string"),
    ("prefix of an object", '{"a": [{"prefix": {"wildcard": "x"}}]}', "Unsupported prefix"),
    ("exists text", '{"a": [{"exists": "true"}]}', "either true or false"),
    ("numeric no list", '{"a": [{"numeric": 1}]}', "must be an array"),
    ("numeric empty", '{"a": [{"numeric": []}]}', "Invalid member"),
    ("numeric operator", '{"a": [{"numeric": ["!=", 1]}]}', "Unrecognized numeric range operator"),
    ("numeric text", '{"a": [{"numeric": [">", "1"]}]}', "Value of > must be numeric"),
    ("numeric true", '{"a": [{"numeric": [">", true]}]}', "Value of > must be numeric"),
    ("numeric nothing", '{"a": [{"numeric": [">"]}]}', "Value of > must be numeric"),
    ("numeric after =", '{"a": [{"numeric": ["=", 1, "<", 2]}]}', "Too many elements"),
    ("numeric upside down", '{"a": [{"numeric": [">", 5, "<", 2]}]}', "Bottom must be less"),
    ("numeric range operator", '{"a": [{"numeric": [">", 1, ">", 2]}]}', "Bad numeric range"),
    ("numeric long", '{"a": [{"numeric": [">", 1, "<", 2, "<"]}]}', "Too many terms"),
    ("numeric too large", '{"a": [{"numeric": [">", 5000000001]}]}', "Value must be between"),
    ("cidr", '{"a": [{"cidr": "10.0.0.0/33"}]}', "Malformed CIDR"),
    ("cidr number", '{"a": [{"cidr": 10}]}', "cidr match pattern must be a string"),
    ("two stars", '{"a": [{"wildcard": "a**b"}]}', "Consecutive wildcard characters at pos 1"),
    ("escape", '{"a": [{"wildcard": "a\\\\b"}]}', "Invalid escape character at pos 1"),
    ("wildcard number", '{"a": [{"wildcard": 1}]}', "wildcard match pattern must be a string"),
    ("but mixed", '{"a": [{"anything-but": ["a", 1]}]}', "mixed type"),
    ("but nothing", '{"a": [{"anything-but": []}]}', "mixed type"),
    ("but true", '{"a": [{"anything-but": true}]}', "array or single string/number"),
    ("but null", '{"a": [{"anything-but": [null]}]}', "null|boolean is not supported"),
    ("but exists", '{"a": [{"anything-but": {"exists": true}}]}', "Unsupported anything-but"),
    ("but empty prefix", '{"a": [{"anything-but": {"prefix": ""}}]}', "Null prefix/suffix"),
    ("but prefix number", '{"a": [{"anything-but": {"prefix": [1]}}]}', "only strings"),
    ("or object", '{"$or": {"a": [1]}}', "must be an Array"),
    ("or alone", '{"$or": [{"a": [1]}]}', "at least 2"),
    ("or texts", '{"$or": ["a", "b"]}', "Only JSON object"),
    ("or reserved", '{"$or": [{"prefix": ["a"]}, {"b": [1]}]}', "reserved fieldName"),
    ("deep", '{"a":' * 150 + "[1]" + "}" * 150, "deeper than"),
    ("very deep", '{"a":' * 800 + "[1]" + "}" * 800, "characters|deeper"),
    ("long", json.dumps({"a": ["x" * 5000]}), "at most 4096 characters"),
    ("many or", json.dumps({name: {"$or": [{f"{n}": [1]} for n in range(11)]} for name in "abc"}), "combinations"),
    ("or and fields", json.dumps({"$or": [{f"{n}": [1]} for n in range(100)]} | {f"f{n}": [1] for n in range(150)}), "10000 fields"),
    ("or of or and fields", json.dumps({f"f{n}": [1] for n in range(100)} | {name: {"$or": [{f"{n}": [1]} for n in range(11)]} for name in "ab"}), "10000 fields"),
    ("many stars", json.dumps({"a": [{"wildcard": "*a" * 101}]}), "too complex"),
    ("lone surrogate", '{"a": ["\ud800"]}', "not JSON"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "says"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_a_bad_pattern_is_refused_with_the_reason(source: str, says: str) -> None:
    with pytest.raises(InvalidPattern, match=says.replace("|", "|")) as caught:
        parse_pattern(source)
    assert caught.value.message.startswith("Event pattern is not valid. Reason: ")
    assert isinstance(caught.value, InvalidInput)


def test_a_deeply_nested_pattern_given_as_bytes_is_refused_before_it_is_read() -> None:
    with pytest.raises(InvalidPattern):
        parse_pattern(b'{"a":' * 100_000)


# What would run long elsewhere


@pytest.mark.parametrize(
    ("pattern", "event"),
    [
        pytest.param(
            {"f": [{"wildcard": "*a" * 100 + "b"}]}, {"f": "a" * 200_000}, id="many stars"
        ),
        pytest.param(
            {"f": [{"anything-but": {"wildcard": ["*" + "a*" * 90 + "b"]}}, "x"]},
            {"f": ["a" * 1000] * 200},
            id="stars over an array",
        ),
    ],
)
def test_wildcards_do_not_backtrack(pattern: dict[str, Any], event: dict[str, Any]) -> None:
    compiled = parse_pattern(pattern)
    began = time.process_time()
    compiled.matches(event)
    assert time.process_time() - began < 0.5


def test_nested_arrays_are_walked_once() -> None:
    pattern: dict[str, Any] = {"a": ["x", {"exists": False}]}
    event: dict[str, Any] = {"a": "y"}
    for _ in range(60):
        pattern = {"a": pattern}
        event = {"a": [event]}
    began = time.process_time()
    assert not parse_pattern(pattern).matches(event)
    assert time.process_time() - began < 0.5


def test_an_event_that_is_nested_deeply_is_no_danger() -> None:
    value: Any = "x"
    for _ in range(50_000):
        value = [value]
    assert parse_pattern({"f": ["x"]}).matches({"f": value})
    while isinstance(value, list):  # taken apart by hand: releasing it as a whole would recurse
        value = value.pop()
