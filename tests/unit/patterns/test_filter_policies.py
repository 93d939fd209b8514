"""Filter policies of subscriptions: the operators over attributes and bodies, the limits, and a naive model."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.patterns.filter_policies import (
    FilterScope,
    InvalidFilterPolicy,
    compile_filter_policy,
)

ATTRIBUTES, BODY = FilterScope.ATTRIBUTES, FilterScope.BODY


def by_attributes(policy: dict[str, Any], attributes: dict[str, list[Any]]) -> bool:
    return compile_filter_policy(json.dumps(policy), ATTRIBUTES).wants(attributes, None)


def by_body(policy: dict[str, Any], body: Any) -> bool:
    return compile_filter_policy(json.dumps(policy), BODY).wants({}, body)


@pytest.mark.parametrize(
    ("conditions", "fitting", "others"),
    [
        (["rugby"], [["rugby"], ["golf", "rugby"]], [["golf"], [], None, ["Rugby"]]),
        ([{"anything-but": ["rugby", "tennis"]}], [["golf"], ["rugby", "golf"]], [["rugby"], None]),
        ([{"anything-but": {"prefix": "order-"}}], [["data-entry"]], [["order-cancelled"]]),
        ([{"prefix": "bas"}], [["baseball"], ["basketball"]], [["rugby"], ["abas"]]),
        ([{"suffix": "ball"}], [["baseball"]], [["rugby"], ["ballad"]]),
        ([{"equals-ignore-case": "tennis"}], [["TENNIS"], ["Tennis"]], [["Tennis "]]),
        ([{"cidr": "10.0.0.0/24"}], [["10.0.0.255"]], [["10.0.1.0"], ["::1"], ["x"]]),
        ([{"exists": True}], [["fans"], [1]], [None, []]),
        ([{"exists": False}], [None], [["fans"]]),
        (["a", {"exists": False}], [None, ["a"]], [["b"]]),
        ([301.5], [[301.5], [3.015e2]], [[301.4], ["301.5"], [True]]),
        ([{"numeric": ["=", 3.015e2]}], [[301.5]], [[300]]),
        ([{"numeric": [">", 0, "<=", 150]}], [[150], [0.1]], [[0], [151], ["50"]]),
        ([{"wildcard": "*-2023-*"}], [["a-2023-b"]], [["a-2024-b"]]),
        ([None, True], [[None], [True]], [[False], ["null"], [1]]),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_conditions_over_attributes(conditions: Any, fitting: Any, others: Any) -> None:
    for values in fitting:
        assert by_attributes({"k": conditions}, {} if values is None else {"k": values}), values
    for values in others:
        assert not by_attributes({"k": conditions}, {} if values is None else {"k": values}), values


def test_names_are_joined_by_and_and_alternatives_by_or() -> None:
    policy = {"store": ["a"], "$or": [{"size": [1]}, {"colour": ["red"]}]}
    assert by_attributes(policy, {"store": ["a"], "size": [1]})
    assert by_attributes(policy, {"store": ["a"], "colour": ["red"]})
    assert not by_attributes(policy, {"store": ["a"], "colour": ["blue"]})
    assert not by_attributes(policy, {"store": ["b"], "size": [1]})


def test_nested_bodies_and_arrays_of_objects() -> None:
    policy = {"Records": {"s3": {"object": {"key": [{"prefix": "auto-"}]}}, "eventName": ["Put"]}}
    record = {"eventName": "Put", "s3": {"object": {"key": "auto-0001"}}}
    other = {"eventName": "Delete", "s3": {"object": {"key": "auto-0002"}}}
    assert by_body(policy, {"Records": [other, record]})
    mixed = [{**record, "eventName": "Delete"}, {**other, "eventName": "Put", "s3": {}}]
    assert not by_body(policy, {"Records": mixed}), "one element must fit as a whole"
    assert not by_body(policy, {"Records": [other]})
    for nothing in ({}, {"Records": []}, {"Records": "x"}, [], "text", None, 1):
        assert not by_body(policy, nothing), nothing


def test_what_is_absent_in_a_nested_body() -> None:
    policy = {"a": {"b": [{"exists": False}]}}
    for body in ({}, {"a": {}}, {"a": {"c": 1}}, {"a": None}):
        assert by_body(policy, body), body
    assert not by_body(policy, {"a": {"b": 1}})


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("{", "failed to parse JSON"),
        ("[]", "failed to parse JSON"),
        ('{"a": "b"}', '"a" must be an object or an array'),
        ('{"a": []}', "Empty arrays are not allowed"),
        ('{"a": {"b": ["c"]}}', "does not support nested filter policy"),
        ('{"a": [["b"]]}', "Match value must be String, number, true, false, or null"),
        ('{"a": [{"exists": null}]}', "exists match pattern must be either true or false."),
        ('{"a": [{"like": "b"}]}', "Unrecognized match type like"),
        (json.dumps({str(n): ["x"] for n in range(6)}), "can not have more than 5 keys"),
        (json.dumps({"a": [str(n) for n in range(151)]}), "Filter policy is too complex"),
        (json.dumps({"a": ["x" * 300_000]}), "too long"),
        ("[" * 100_000, "failed to parse JSON"),
    ],
    ids=lambda value: value[:24],
)
def test_what_is_refused(policy: str, words: str) -> None:
    with pytest.raises(InvalidFilterPolicy, match=words.replace(".", r"\.")):
        compile_filter_policy(policy, ATTRIBUTES)


def test_combinations_multiply_with_depth_in_bodies() -> None:
    values = [str(n) for n in range(5)]
    allowed = {"a": {"b": {"c": values}}, "d": {"e": values}}  # 5 * 3 * 5 * 2 = 150
    compile_filter_policy(json.dumps(allowed), BODY)
    with pytest.raises(InvalidFilterPolicy, match="too complex"):
        compile_filter_policy(json.dumps({**allowed, "f": ["x", "y"]}), BODY)
    deep: Any = ["x"]
    for _ in range(200):
        deep = {"a": deep}
    with pytest.raises(InvalidFilterPolicy, match="too complex"):
        compile_filter_policy(json.dumps(deep), BODY)


TEXTS = st.sampled_from(["", "a", "ab", "b", "ba"])
VALUES = st.one_of(TEXTS, st.integers(-2, 2), st.booleans(), st.none())
CONDITIONS = st.one_of(
    VALUES,
    TEXTS.map(lambda text: {"prefix": text}),
    TEXTS.map(lambda text: {"anything-but": text}),
    st.integers(-2, 2).map(lambda number: {"numeric": [">=", number]}),
    st.booleans().map(lambda wanted: {"exists": wanted}),
)
NAMES = st.sampled_from("pqr")


def naive(condition: Any, values: list[Any] | None) -> bool:
    if isinstance(condition, dict):
        [(kind, operand)] = condition.items()
        if kind == "exists":
            return bool(values) is operand
        checks = {
            "prefix": lambda value: isinstance(value, str) and value[: len(operand)] == operand,
            "anything-but": lambda value: value != operand,
            "numeric": lambda value: type(value) is int and value >= operand[1],
        }
        return any(checks[kind](value) for value in values or ())
    return any(type(value) is type(condition) and value == condition for value in values or ())


@given(
    st.dictionaries(NAMES, st.lists(CONDITIONS, min_size=1, max_size=3), min_size=1),
    st.dictionaries(NAMES, st.lists(VALUES, max_size=3)),
)
def test_against_a_naive_model(
    policy: dict[str, list[Any]], attributes: dict[str, list[Any]]
) -> None:
    wanted = all(
        any(naive(condition, attributes.get(name)) for condition in conditions)
        for name, conditions in policy.items()
    )
    assert by_attributes(policy, attributes) is wanted
    # A body of the same fields is judged alike.
    assert by_body(policy, attributes) is wanted


@given(st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_no_policy_and_no_body_break_anything(anything: Any) -> None:
    for scope in FilterScope:
        try:
            policy = compile_filter_policy(json.dumps(anything), scope)
        except InvalidFilterPolicy:
            continue
        assert policy.wants({}, anything) in (True, False)
