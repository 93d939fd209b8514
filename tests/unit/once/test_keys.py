"""Execution ids: from headers, and from events by JMESPath."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.control.once.key import check_key, derived_id, given_id, shown_id
from forerun.errors import InvalidInput

OWNER, OTHER = "1" * 12, "2" * 12
EVENT = {"id": "a-1", "n": 7, "none": None, "deep": {"list": [{"x": 1}, {"x": 2}]}, "text": "é"}


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("id", "a-1"),
        ("n", "7"),
        ("deep.list[1].x", "2"),
        ("[id, n]", '["a-1",7]'),
        ("{b: n, a: id}", '{"a":"a-1","b":7}'),
        ("[id, none]", '["a-1",null]'),
        ("join('/', [id, text])", "a-1/é"),
        ("deep.list[?x > `1`] | [0].x", "2"),
        ("`false`", "false"),
    ],
)
def test_an_event_is_named_by_what_the_expression_finds(key, found):
    check_key(key)
    assert derived_id(key, json.dumps(EVENT).encode()) == (found, "")


@pytest.mark.parametrize(
    "key", ["none", "missing", "[none, missing]", "{a: none}", "deep.list[9]", "''"]
)
def test_nothing_names_no_event_and_that_is_said(key):
    check_key(key)
    assert derived_id(key, json.dumps(EVENT).encode()) == ("", f"Key {key} is null in this event")


def test_what_fails_in_an_event_names_none():
    check_key("length(n)")
    found, why = derived_id("length(n)", json.dumps(EVENT).encode())
    assert found == ""
    assert why.startswith("Key length(n) could not be found in this event: In function length()")
    assert derived_id("id", b"[" * 100_000)[0] == ""
    assert derived_id("id", b"") == ("", "Key id is null in this event")


def test_long_names_and_those_that_cannot_be_printed_are_hashed_and_stay_different():
    names = {
        derived_id("id", json.dumps({"id": text}).encode())[0]
        for text in ("x" * 257, "x" * 258, "a\nb")
    }
    assert len(names) == 3
    assert all(name.startswith("sha256:") and len(name) == 71 for name in names)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("a.b[", "at position 5, before 'the end'"),
        ("a b", "Unexpected token: b at position 3, before 'b'"),
        ("`1", "at position 1, before '`1'"),
        ("a[?b==]", "at position 7, before ']'"),
        ("", "must not be empty"),
        ("nosuch(a)", "nosuch(), which is no function"),
        ("length(a, b)", "length() with 2 arguments; it takes 1"),
        ("not_null()", "it takes at least"),
        ("a" * 1025, "at most 1024 characters"),
        ("(" * 500 + "a" + ")" * 500, "nested too deeply"),
        ("[" + ",".join("a" * 1 for _ in range(201)) + "]", "parts"),
        ("|".join(["[@,@]"] * 7), "could hold parts of the event 128 times; at most 64"),
        ("[@,@,@,@].{a: @, b: @}[] | map(&[@,@,@,@,@,@,@,@,@], @)", "could hold parts"),
        ("|".join(["[to_string(@)]"] * 7), "could hold parts"),
    ],
    ids=lambda value: value[:20] or "empty",
)
def test_expressions_that_do_not_parse_or_could_cost_too_much_are_refused(key, said):
    with pytest.raises(InvalidInput) as raised:
        check_key(key)
    assert said in raised.value.message


@given(st.text(max_size=40))
def test_any_text_is_taken_or_refused_with_a_reason(text):
    try:
        check_key(text)
    except InvalidInput:
        return
    found, why = derived_id(text, json.dumps(EVENT).encode())
    assert bool(found) != bool(why)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_name_is_short_and_the_same_again(value):
    event = json.dumps({"v": value}).encode()
    found, why = derived_id("v", event)
    assert bool(found) != bool(why)
    assert len(found) <= 256
    assert derived_id("v", json.dumps({"z": 1, "v": value}, indent=1).encode())[0] == found


def test_callers_of_other_accounts_name_other_executions():
    names = [given_id(b"x", caller, OWNER) for caller in (OWNER, OTHER, "")]
    assert len(set(names)) == 3
    assert [shown_id(name) for name in names] == [
        "x",
        f"x (of {OTHER})",
        "x (of a caller without signature)",
    ]


@pytest.mark.parametrize("header", [b"", b"x" * 257, b"a\tb", b"\xe9", b"a\x7f"], ids=repr)
def test_headers_that_name_nothing_are_refused(header):
    with pytest.raises(InvalidInput, match="1 to 256 printable ASCII characters"):
        given_id(header, OWNER, OWNER)
