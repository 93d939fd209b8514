"""Which zygotes are chosen: worth their memory, within the budget, and not another each time."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forerun.prediction import (
    ROOTS,
    SDK,
    ImportTally,
    Modules,
    StartImports,
    Uses,
    ZygoteCosts,
    best_zygote,
    choose_zygotes,
    ending_of,
    trusted,
    zygote_tree,
    zygotes_worth,
)

STANDARD = frozenset(("xml", "sqlite3", "asyncio", "test", "antigravity", "_ssl", "concurrent"))
OF_SDK = frozenset(("boto3", "botocore"))
COSTS = ZygoteCosts(budget_mb=256.0, most=4)
NAMES = ["asyncio", "sqlite3", "xml.dom.minidom", "fractions", "http.server", SDK]

USES = st.lists(
    st.builds(
        Uses,
        st.integers(0, 30),
        st.floats(0.1, 5000),
        st.dictionaries(st.sampled_from(NAMES), st.floats(0.3, 500), min_size=1),
        st.sampled_from(list(ROOTS)),
    ),
    max_size=12,
)
SETS = st.lists(st.frozensets(st.sampled_from(NAMES), min_size=1), max_size=6)
ANY_COSTS = st.builds(
    ZygoteCosts,
    budget_mb=st.floats(0, 300),
    most=st.integers(0, 6),
    price=st.floats(0.01, 50),
    pool_mb=st.floats(0, 30),
    carry_ms=st.floats(0, 1),
    module_mb=st.floats(0, 5),
    known_mb=st.dictionaries(st.sampled_from(NAMES), st.floats(0, 60)),
)


def one(saves: dict[str, float], per_hour: float = 60.0, usual: str = "") -> Uses[str]:
    return Uses("f", per_hour, saves, usual)


@given(USES, SETS, ANY_COSTS)
@settings(max_examples=150, deadline=None)
def test_never_worse_than_the_roots_within_the_budget_and_stable(
    uses: Sequence[Uses[int]], present: Sequence[Modules], costs: ZygoteCosts
) -> None:
    chosen = choose_zygotes(uses, present, costs)
    assert zygotes_worth(uses, chosen, costs) >= 0
    assert len(chosen) == len(set(chosen)) <= costs.most
    assert sum(each.mb for each in zygote_tree(chosen, costs)) <= costs.budget_mb
    assert not set(chosen) & set(ROOTS.values())
    assert choose_zygotes(uses, chosen, costs) == chosen
    assert choose_zygotes(list(reversed(uses)), present, costs) == chosen


@given(USES, SETS, ANY_COSTS)
@settings(max_examples=100, deadline=None)
def test_each_function_is_placed_where_it_is_spared_no_less_than_before(
    uses: Sequence[Uses[int]], present: Sequence[Modules], costs: ZygoteCosts
) -> None:
    planned = zygote_tree(choose_zygotes(uses, present, costs), costs)
    for each in uses:
        ending, more_ms = best_zygote(each, planned, costs)
        assert more_ms >= 0
        assert ending in {*ROOTS, *(zygote.ending for zygote in planned)}
        assert best_zygote(each, planned, costs, ending) == (ending, more_ms)


@given(SETS)
def test_a_tree_has_parents_first_and_parts_of_their_children(sets: Sequence[Modules]) -> None:
    known = dict(ROOTS)
    for each in zygote_tree(sets, COSTS):
        assert known[each.parent] < each.modules
        assert each.mb >= COSTS.pool_mb
        known[each.ending] = each.modules
    assert len(known) == len(set(sets) | set(ROOTS.values()))


def test_what_functions_share_is_a_zygote_and_what_they_do_not_share_a_sprout_of_it() -> None:
    shared = {"asyncio": 60.0, "sqlite3": 10.0}
    uses = [
        one(shared, 600),
        one({**shared, "xml.dom.minidom": 80.0}, 300),
        one({"fractions": 0.5}),
    ]
    costs = COSTS._replace(known_mb={"xml.dom.minidom": 20.0})
    tree = zygote_tree(choose_zygotes(uses, (), costs), costs)
    assert [(each.parent, each.modules) for each in tree] == [
        ("", frozenset(shared)),
        (ending_of(frozenset(shared)), frozenset((*shared, "xml.dom.minidom"))),
    ]
    assert best_zygote(uses[1], tree, costs) == (tree[1].ending, pytest.approx(150, abs=2))
    assert best_zygote(uses[2], tree, costs) == ("", 0.0)


def test_functions_of_the_sdk_get_sprouts_of_the_root_that_has_it() -> None:
    uses = [one({SDK: 120.0, "sqlite3": 30.0, "asyncio": 40.0}, 60, "+sdk")]
    (zygote,) = zygote_tree(choose_zygotes(uses, (), COSTS), COSTS)
    assert zygote.parent == "+sdk"
    assert best_zygote(uses[0], [zygote], COSTS) == (zygote.ending, pytest.approx(70, abs=1))


def test_who_imports_the_sdk_unforeseen_is_placed_with_it() -> None:
    uses = [one({SDK: 120.0}, 600)]
    assert choose_zygotes(uses, (), COSTS) == ()
    assert best_zygote(uses[0], (), COSTS) == (
        "+sdk",
        pytest.approx(120, abs=2),
    )


def test_rare_or_short_imports_are_worth_no_zygote() -> None:
    assert choose_zygotes([one({"asyncio": 60.0}, 0.5)], (), COSTS) == ()
    assert choose_zygotes([one({"fractions": 0.5}, 60)], (), COSTS) == ()


def test_a_little_better_is_no_reason_to_change_and_much_better_is() -> None:
    now = (frozenset(("asyncio",)),)
    budget = ZygoteCosts(budget_mb=120.0, most=4, known_mb={"asyncio": 100.0, "sqlite3": 100.0})
    old, little, much = ({"asyncio": 50.0}, {"sqlite3": 55.0}, {"sqlite3": 90.0})
    assert choose_zygotes([one(old), one(little)], now, budget) == now
    assert choose_zygotes([one(old), one(much)], now, budget) == (frozenset(("sqlite3",)),)


def test_what_nobody_uses_is_given_up() -> None:
    now = (frozenset(("asyncio",)),)
    assert choose_zygotes([], now, COSTS) == ()
    assert choose_zygotes([one({"sqlite3": 60.0})], now, COSTS) == (frozenset(("sqlite3",)),)


def test_a_smaller_budget_leaves_the_best() -> None:
    uses = [one({"asyncio": 60.0}, 600), one({"sqlite3": 60.0}, 60)]
    costs = COSTS._replace(known_mb={"asyncio": 60.0, "sqlite3": 60.0})
    now = choose_zygotes(uses, (), costs)
    assert len(now) == 2
    smaller = costs._replace(budget_mb=80.0)
    assert choose_zygotes(uses, now, smaller) == (frozenset(("asyncio",)),)


@pytest.mark.parametrize(
    ("name", "is_trusted"),
    [
        ("sqlite3", True),
        ("xml.dom.minidom", True),
        ("botocore.session", True),
        ("numpy", False),
        ("_ssl", False),
        ("antigravity", False),
        ("test.support", False),
        ("xml.__main__", False),
        ("sqlite3.test.dbapi", False),
        ("", False),
    ],
)
def test_only_the_runtimes_own_is_trusted(name: str, is_trusted: bool) -> None:
    assert trusted(name, STANDARD, OF_SDK) is is_trusted


class TestTally:
    def start(
        self, at: float, had: Sequence[str] = (), usual: str = "", **ms: float
    ) -> StartImports:
        return StartImports(at, ms, frozenset(had), usual)

    def test_what_a_zygote_had_is_remembered(self) -> None:
        tally = ImportTally[str](memory_s=3600)
        tally.note("f", self.start(0, asyncio=50.0, sqlite3=10.0))
        assert tally.uses(0) == []
        tally.note("f", self.start(1, had=["asyncio"], sqlite3=10.0))
        (uses,) = tally.uses(1)
        assert uses.saves == {"asyncio": 50.0, "sqlite3": 10.0}
        assert uses.starts_per_hour == pytest.approx(2, rel=0.01)

    def test_what_is_not_imported_any_more_fades(self) -> None:
        tally = ImportTally[str](memory_s=3600)
        tally.note("f", self.start(0, asyncio=50.0, sqlite3=1.0))
        for at in range(3):
            tally.note("f", self.start(at, asyncio=50.0))
        assert tally.uses(3)[0].saves == {"asyncio": 50.0}

    def test_what_is_imported_all_the_same_is_no_saving(self) -> None:
        tally = ImportTally[str](memory_s=3600)
        tally.note("f", self.start(0, asyncio=50.0, sqlite3=10.0))
        tally.note("f", self.start(1, had=["asyncio", "sqlite3"], asyncio=50.0))
        tally.note("f", self.start(2, asyncio=50.0, sqlite3=10.0))
        assert tally.uses(2)[0].saves == {"sqlite3": 10.0}

    def test_a_barred_module_is_no_saving(self) -> None:
        tally = ImportTally[str](memory_s=3600)
        tally.note("f", self.start(0, asyncio=50.0, sqlite3=10.0))
        tally.bar("asyncio")
        tally.note("f", self.start(1, asyncio=50.0, sqlite3=10.0))
        tally.note("g", self.start(1, asyncio=50.0, sqlite3=10.0))
        tally.note("g", self.start(1, asyncio=50.0, sqlite3=10.0))
        assert [each.saves for each in tally.uses(1)] == [{"sqlite3": 10.0}] * 2

    def test_the_sdk_that_is_always_there_counts(self) -> None:
        tally = ImportTally[str](memory_s=3600)
        for at in range(2):
            tally.note("f", self.start(at, had=[SDK], usual="+sdk", sqlite3=10.0))
        assert tally.uses(2)[0].saves == {SDK: 100.0, "sqlite3": 10.0}

    def test_rates_fade_and_are_forgotten(self) -> None:
        tally = ImportTally[str](memory_s=10)
        for at in range(3):
            tally.note("f", self.start(at, asyncio=50.0))
        fresh = tally.uses(2)[0].starts_per_hour
        assert tally.uses(12)[0].starts_per_hour == pytest.approx(fresh / 3, rel=0.01)
        assert tally.uses(100) == []
        assert tally.uses(0) == []

    def test_at_most_so_many_functions_are_remembered(self) -> None:
        tally = ImportTally[int](memory_s=10, most=3)
        for at in range(20):
            tally.note(at % 5, self.start(0, asyncio=50.0))
        assert len(tally.uses(0)) <= 3

    def test_at_most_64_modules_of_each(self) -> None:
        tally = ImportTally[str](memory_s=10)
        for at in range(2):
            tally.note("f", self.start(at, **{f"m{number}": 1.0 + number for number in range(100)}))
        assert len(tally.uses(0)[0].saves) == 64
