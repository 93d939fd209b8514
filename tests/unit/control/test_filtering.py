"""Filters of mappings: patterns over what a source offers; text is read where a pattern looks inside of it."""

import json

import pytest

from forerun.control.delivery.filtering import compile_filters
from forerun.errors import InvalidInput
from forerun.sources import Pulled


def of(body, **more):
    fields = json.dumps({"body": body, "messageAttributes": {}} | more)
    return Pulled(id="m", receipt="r", record=b"{}", body=fields.encode())


def wants(*patterns):
    return compile_filters({"Filters": [{"Pattern": json.dumps(each)} for each in patterns]})


def test_without_filters_everything_is_wanted():
    assert compile_filters(None) is None
    assert compile_filters({}) is None
    assert compile_filters({"Filters": []}) is None


@pytest.mark.parametrize(
    ("pattern", "body", "wanted"),
    [
        ({"body": {"a": [1]}}, '{"a": 1, "b": 2}', True),
        ({"body": {"a": [1]}}, '{"a": 2}', False),
        ({"body": {"a": [1]}}, "a text", False),
        ({"body": {"a": [1]}}, "[1]", False),
        ({"body": {"a": {"b": [{"numeric": [">", 5]}]}}}, '{"a": {"b": 6}}', True),
        ({"body": ["go"]}, "go", True),
        ({"body": ["go"]}, "stop", False),
        ({"body": [{"prefix": "{"}]}, '{"a": 1}', False),
        ({"body": [{"prefix": "g"}]}, "going", True),
    ],
    ids=str,
)
def test_the_body_is_compared_as_the_pattern_means_it(pattern, body, wanted):
    assert wants(pattern)(of(body)) is wanted


def test_one_of_several_is_enough_each_by_its_own_reading():
    either = wants({"body": ["go"]}, {"body": {"a": [1]}})
    assert either(of("go"))
    assert either(of('{"a": 1}'))
    assert not either(of('{"a": 2}'))


def test_other_members_can_be_asked_for():
    wanted = wants({"messageAttributes": {"kind": {"stringValue": ["x"]}}})
    assert wanted(of("text", messageAttributes={"kind": {"stringValue": "x"}}))
    assert not wanted(of("text"))


def test_what_is_no_json_is_not_wanted():
    message = Pulled(id="m", receipt="r", record=b"{}", body=b"\xff{")
    assert wants({"body": ["x"]})(message) is False


@pytest.mark.parametrize(
    "text", ["", "no json", "[1]", "{}", '{"body": 1}', '{"body": {"a": "x"}}']
)
def test_patterns_that_are_none_are_refused(text):
    with pytest.raises(InvalidInput, match="Invalid filter pattern definition"):
        compile_filters({"Filters": [{"Pattern": text}]})


def test_ten_are_the_most():
    with pytest.raises(InvalidInput, match="at most 10"):
        wants(*({"body": [str(number)]} for number in range(11)))
