"""What is believed of what a sandbox says it imported."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.model import Import
from forerun.sandbox.imports import believable, read_imports

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(JSON)
def test_anything_can_be_said(told: object) -> None:
    for one in read_imports(json.loads(json.dumps(told))):
        assert one.name
        assert one.ms >= 0


@pytest.mark.parametrize(
    "entry",
    [
        ["a b", "standard", 1],
        ["a..b", "standard", 1],
        ["os; import x", "standard", 1],
        ["x" * 101, "standard", 1],
        ["../etc", "standard", 1],
        ["a", "elsewhere", 1],
        ["a", ["standard"], 1],
        ["a", "standard", -1],
        ["a", "standard", float("nan")],
        ["a", "standard", float("inf")],
        ["a", "standard", 10**400],
        ["a", "standard", True],
        ["a", "standard", "1"],
        ["a", "standard"],
        "abc",
        7,
    ],
    ids=str,
)
def test_what_makes_no_sense_is_left_out(entry: object) -> None:
    assert read_imports([entry, ["json", "standard", 1.5]]) == [Import("json", "standard", 1.5)]


def test_each_name_counts_once_and_64_at_most() -> None:
    assert len(read_imports([["a", "package", 1.0]] * 3)) == 1
    assert len(read_imports([[f"a{number}", "package", 1] for number in range(100)])) == 64


def test_nothing_took_longer_than_init() -> None:
    told = [Import("a", "standard", 60.0), Import("b", "sdk", 50.0), Import("c", "standard", 30.0)]
    mine = [Import("numpy", "package", 90.0), Import("huge", "layer", 101.0)]
    assert believable([*told, *mine], 100.0) == [told[0], told[2], mine[0]]
