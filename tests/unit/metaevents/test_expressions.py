"""Expressions: checked when they are registered, and never able to run long."""

import time

import pytest
from tests.unit.metaevents.made import ENDED, fact

from forerun.errors import InvalidInput
from forerun.metaevents.expressions import LONGEST, bind, compile_expression
from forerun.metaevents.facts import bindings

SEEN = fact(
    9.0,
    ENDED,
    status="error",
    error_type="ValueError",
    duration_ms=300.5,
    attempt=2,
    cold=True,
    output="it's X; " + "a" * 60_000,
)


def judge(text):
    expression = compile_expression(text, ENDED, "where")
    return expression.holds(bind(ENDED, bindings(SEEN)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("event.duration_ms > 300", True),
        ("event.duration_ms > 300.5", False),
        ("event.duration_ms <= 300.5 && event.attempt >= 1.5", True),
        ("event.attempt < 2", False),
        ("event.status == 'error' || event.cold", True),
        ("!event.cold", False),
        ("event.status < 'f'", True),
        ("event.error_type in ['KeyError', 'ValueError']", True),
        ("event.function.startsWith('f') && event.at > 8", True),
        ("event.output.contains('X')", True),
        ("event.output.matches('^it.s X')", True),
        (r"event.output.matches(r'\d')", False),
        ("event.output.size() > 60000", True),
        ("event.status == 'error' // a remark, with 'quotes", True),
        ("'all(x)' == event.status", False),
        ("event.attempt / 0 == 1", "divide by zero"),
    ],
)
def test_what_holds(text, expected):
    assert judge(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("1 to 1000 characters",)),
        ("   ", ("1 to 1000 characters",)),
        ("true || " * 125 + "true", (str(LONGEST),)),
        ("event.status ==", ("line 1, column 16", "Syntax error")),
        ("true &&\n  event.nothing", ("line 2, column 8", "undeclared reference", "event.nothing")),
        ("nothing", ("undeclared reference to 'nothing'",)),
        ("event.status > 1", ("no matching overload", "(string, int)")),
        ("event.duration_ms == 'a'", ("no matching overload",)),
        ("event.attempt", ("must be true or false", "int")),
        ("event.attempt > 99999999999999999999", ("invalid int literal",)),
        ("\ud800 == 1", ("surrogates",)),
        ("\x00", ("Syntax error",)),
        ("(" * 60 + "true" + ")" * 60, ("recursion limit",)),
        ("[1, 2].all(x, x > 0)", ("macro 'all'",)),
        ("[[1]].map(x, x.map(y, y)) == []", ("macro 'map'",)),
        ("[1].exists_one (x, true)", ("macro 'exists_one'",)),
        ("event.output.matches(event.output)", ("one text in quotes",)),
        ("event.output.matches('a' + 'b')", ("one text in quotes",)),
        ("matches(event.output, 'a')", ("one text in quotes",)),
        ("event.output.matches(//\n event.output)", ("one text in quotes",)),
        ("// '''\nevent.output.matches(event.output) // '''", ("one text in quotes",)),
        (
            r"r'\' == event.output || event.output.matches(event.output) || r'\' == ''",
            ("one text",),
        ),
        ("event.output.matches('(a?){500}a{500}')", ("no '{'",)),
        (r"event.output.matches('a\x7b500}')", ("no '{'",)),
        (r"event.output.matches('a\u007b500}')", ("no '{'",)),
        (r"event.output.matches('a\173500}')", ("no '{'",)),
        ("event.output.matches('" + "a" * 200 + "')", ("200 characters",)),
        ("event.output.matches('(')", ("invalid regular expression",)),
        ("event.`status` == ''", ("'`'",)),
        (5, ("1 to 1000 characters",)),
        (None, ("1 to 1000 characters",)),
        (["true"], ("1 to 1000 characters",)),
    ],
)
def test_what_is_refused_is_named(text, words):
    with pytest.raises(InvalidInput) as caught:
        compile_expression(text, ENDED, "When.where")
    assert caught.value.message.startswith("When.where")
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize(
    "pattern",
    ["(a*)*(a*)*(a*)*b", "a?" * 60 + "a" * 60 + "b", "(.*a.*a.*a.*a.*a.*a.*a)*[^a]$", "(x+x+)+y"],
    ids=["stars", "options", "classes", "nested"],
)
def test_patterns_that_take_others_years_take_milliseconds(pattern):
    expression = compile_expression(f"event.output.matches('{pattern}')", ENDED, "where")
    bound = bind(ENDED, bindings(SEEN))
    spent = []
    for _ in range(5):
        began = time.process_time()
        expression.holds(bound)
        spent.append(time.process_time() - began)
    assert min(spent) < 0.05


def test_joined_texts_take_milliseconds():
    text = " + ".join(["event.output"] * 30)
    expression = compile_expression(f"({text}).contains('b')", ENDED, "where")
    began = time.process_time()
    assert expression.holds(bind(ENDED, bindings(SEEN))) is False
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize(
    ("text", "reads"),
    [("event.output.contains('a')", True), ("event.status == 'output'", False)],
    ids=["output", "a text"],
)
def test_it_is_known_who_reads_what_was_answered(text, reads):
    assert compile_expression(text, ENDED, "where").reads_output is reads
