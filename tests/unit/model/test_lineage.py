"""Lineages: what a chain of executions counts, within its bound."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from forerun.model import extended, occurrences
from forerun.model.lineage import MOST_FUNCTIONS

FUNCTIONS = st.tuples(st.sampled_from(["1" * 12, "2" * 12]), st.sampled_from("abcdefgh"))


@given(st.lists(FUNCTIONS, max_size=60))
def test_every_function_of_a_chain_is_counted(chain):
    lineage = ""
    for account, name in chain:
        lineage = extended(lineage, account, name)
    for (account, name), count in Counter(chain).items():
        assert occurrences(lineage, account, name) == count
    assert occurrences(lineage, "3" * 12, "a") == 0


def test_a_chain_of_many_functions_stays_small_and_keeps_those_that_come_again():
    lineage = ""
    for number in range(1000):
        lineage = extended(lineage, "1" * 12, f"f{number}")
        lineage = extended(lineage, "1" * 12, "loop")
    assert lineage.count("|") < MOST_FUNCTIONS
    assert len(lineage) < 2048
    assert occurrences(lineage, "1" * 12, "loop") == 1000


@given(st.text(alphabet="abc:|0189-²", max_size=40))
def test_what_is_no_lineage_counts_nothing_and_breaks_nothing(text):
    assert occurrences(text, "1" * 12, "f") == 0
    assert occurrences(extended(text, "1" * 12, "f"), "1" * 12, "f") == 1
