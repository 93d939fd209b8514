import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.control.log_filter import compile_filter
from forerun.errors import InvalidInput


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("", "anything", True),
        ("ERROR", "an ERROR here", True),
        ("ERROR", "an error here", False),
        ("ERROR 42", "42 is an ERROR", True),
        ("ERROR 42", "an ERROR", False),
        ('"an ERROR"', "here an ERROR is", True),
        ('"an ERROR"', "ERROR an", False),
        ('"say \\"hi\\""', 'they say "hi"', True),
        ("?ERROR ?WARN", "a WARN", True),
        ("?ERROR ?WARN", "an INFO", False),
        ("ERROR -ignored", "ERROR ignored", False),
        ("ERROR -ignored", "ERROR kept", True),
        ('-"not this"', "but that", True),
        ('{ $.level = "ERROR" }', '{"level": "ERROR"}', True),
        ('{ $.level = "ERROR" }', '{"level": "INFO"}', False),
        ('{ $.level = "ERROR" }', 'level = "ERROR"', False),
        ('{ $.level = "ERROR" }', '{"level": 1, broken', False),
        ('{ $.level = "E*R" }', '{"level": "ERROR"}', True),
        ("{ $.level = ERROR }", '{"level": "ERROR"}', True),
        ('{ $.level != "ERROR" }', '{"level": "INFO"}', True),
        ('{ $.level != "ERROR" }', "{}", False),
        ("{ $.ms > 5 }", '{"ms": 5.5}', True),
        ("{ $.ms > 5 }", '{"ms": "6"}', False),
        ("{ $.ms <= -1e2 }", '{"ms": -100}', True),
        ("{ $.a.b[1].c = 3 }", '{"a": {"b": [0, {"c": 3}]}}', True),
        ("{ $.a.b[7].c = 3 }", '{"a": {"b": []}}', False),
        ("{ $.a IS NULL }", '{"a": null}', True),
        ("{ $.a IS TRUE && $.b IS FALSE }", '{"a": true, "b": false}', True),
        ("{ $.a NOT EXISTS }", '{"b": 1}', True),
        ("{ ($.a = 1 || $.a = 2) && $.b = 3 }", '{"a": 2, "b": 3}', True),
        ("{ $.a = 1 || $.a = 2 && $.b = 3 }", '{"a": 1, "b": 0}', True),
    ],
)
def test_patterns(pattern, text, matches):
    assert compile_filter(pattern)(text) is matches


@pytest.mark.parametrize(
    "pattern",
    [
        '"open',
        '""',
        "[a, b]",
        "%re%",
        "{ $.a = ",
        "{ $.a }",
        "{ a = 1 }",
        "{ $.a > x }",
        "{ $.a IS MAYBE }",
        "{ ($.a = 1 }",
        "{ $.a = 1 ) }",
        "{ $.a = 1",
        "{ $.a = %x% }",
        "{ $.a ? 1 }",
        "{}",
        "{" + "(" * 500 + "}",
        "x" * 1025,
    ],
)
def test_bad_patterns_are_explained(pattern):
    with pytest.raises(InvalidInput, match="pattern"):
        compile_filter(pattern)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_pattern_compiles_or_is_refused(pattern, text):
    try:
        matches = compile_filter(pattern)
    except InvalidInput:
        return
    assert matches(text) in (True, False)


def test_stars_do_not_occupy_the_server():
    matches = compile_filter('{ $.a = "' + "*a" * 100 + '*b" }')
    started = time.perf_counter()
    assert not matches('{"a": "' + "a" * 5_000 + '"}')
    assert time.perf_counter() - started < 1.0


def test_a_line_that_is_nested_without_end_matches_nothing_and_fails_nobody():
    assert not compile_filter('{ $.a = "x" }')('{"a":' * 100_000)
