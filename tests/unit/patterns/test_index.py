"""Many patterns at once: the index finds what asking each of them finds, and asks few."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forerun.patterns import Pattern, PatternIndex, parse_pattern

LONG = "arn:aws:s3:::some-bucket/some/key"
VALUES = st.sampled_from(
    ["", "a", "b", "ab", "aB", "ba", "ß", LONG, LONG.upper(), 1, 1.0, True, None]
)
TEXTS = st.sampled_from(["", "a", "b", "aB", "SS", LONG[:20], LONG[-21:], LONG])
STARRED = st.sampled_from(["*", "a*", "*b", "a*b", "a", "*a*", "b*ab", LONG[:19] + "*", "\\*"])
EXPRESSIONS = st.one_of(
    st.just({"exists": True}),
    st.just({"anything-but": ["a"]}),
    st.just({"numeric": [">", 0]}),
    st.just({"numeric": ["=", 1]}),
    STARRED.map(lambda text: {"wildcard": text}),
    st.builds(
        lambda kind, text: {kind: text},
        st.sampled_from(["prefix", "suffix", "equals-ignore-case"]),
        TEXTS,
    ),
    st.builds(
        lambda kind, text: {kind: {"equals-ignore-case": text}},
        st.sampled_from(["prefix", "suffix"]),
        TEXTS,
    ),
)
WANTED = st.lists(st.one_of(VALUES, EXPRESSIONS), min_size=1, max_size=2)
PATTERNS = st.fixed_dictionaries(
    {}, optional={"source": WANTED, "kind": WANTED, "detail": st.fixed_dictionaries({"s": WANTED})}
).filter(bool)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "source": VALUES,
        "kind": st.one_of(VALUES, st.lists(VALUES, max_size=3)),
        "detail": st.one_of(
            st.fixed_dictionaries({"s": VALUES}),
            st.lists(st.fixed_dictionaries({"s": VALUES}), max_size=2),
        ),
    },
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(PATTERNS, max_size=12),
    st.lists(st.integers(0, 11), max_size=4),
    st.lists(EVENTS, max_size=4),
)
def test_it_finds_what_each_pattern_says(
    patterns: list[dict[str, Any]], gone: list[int], events: list[dict[str, Any]]
) -> None:
    index: PatternIndex[int] = PatternIndex()
    compiled = {number: parse_pattern(each) for number, each in enumerate(patterns)}
    for number, pattern in compiled.items():
        index.add(number, pattern)
    for number in gone:
        index.remove(number)
        compiled.pop(number, None)
    assert len(index) == len(compiled)
    for event in events:
        found = index.matching(event)
        assert sorted(found) == [n for n, pattern in compiled.items() if pattern.matches(event)]


def test_a_key_that_is_set_again_has_its_new_pattern_only() -> None:
    index: PatternIndex[str] = PatternIndex()
    index.add("rule", parse_pattern({"source": ["a"]}))
    index.add("rule", parse_pattern({"source": ["b"]}))
    assert index.matching({"source": "a"}) == []
    assert index.matching({"source": "b"}) == ["rule"]


@pytest.mark.parametrize(
    "expression",
    [
        lambda n: {"prefix": f"s{n}-"},
        lambda n: {"suffix": f"-{n}"},
        lambda n: {"wildcard": f"s{n}-*-{n}"},
        lambda n: {"equals-ignore-case": f"S{n}"},
        lambda n: {"prefix": "x" * (n + 1)},
        lambda n: {"numeric": ["=", n]},
    ],
    ids=["prefix", "suffix", "wildcard", "case", "lengths", "numeric"],
)
def test_rules_that_are_told_apart_by_expressions_are_not_all_asked(
    expression: Callable[[int], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    index: PatternIndex[int] = PatternIndex()
    for number in range(1000):
        index.add(number, parse_pattern({"source": [expression(number)]}))
    asked = 0
    matches = Pattern.matches

    def count(pattern: Pattern, event: Any) -> bool:
        nonlocal asked
        asked += 1
        return matches(pattern, event)

    monkeypatch.setattr(Pattern, "matches", count)
    for source in ("shop", "s7", "S7-1-7", "x" * 15, ""):
        index.matching({"source": source})
    assert asked < 50
    for number in range(1000):
        index.remove(number)
    assert index.matching({"source": "s7-1-7"}) == []


def test_a_thousand_rules_that_do_not_match_cost_little() -> None:
    """Shared sources, telling details, or the reverse: the index chooses the field that tells them apart."""
    index: PatternIndex[int] = PatternIndex()
    for number in range(500):
        index.add(number, parse_pattern({"source": ["shop"], "detail": {"order": [f"{number}"]}}))
    for number in range(500, 1000):
        index.add(number, parse_pattern({"source": [f"s{number}"], "detail": {"state": ["done"]}}))
    event = {"source": "shop", "detail-type": "x", "detail": {"order": "none", "state": "done"}}
    rounds = 200
    began = time.process_time()
    for _ in range(rounds):
        assert index.matching(event) == []
    # 50 us on a quiet machine; far less than a thousand patterns asked.
    assert (time.process_time() - began) / rounds < 250e-6
