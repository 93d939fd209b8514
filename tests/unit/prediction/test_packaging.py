"""How a package is delivered: few files when nobody shares, many when others do, and no flipping to and fro."""

import pytest

from forerun.prediction import (
    COLLECTION,
    SINGLE,
    DeliveryCosts,
    PackagePart,
    different_versions,
    plan_package,
)

MB = 1_000_000
COSTS = DeliveryCosts(bytes_per_s=100e6, file_s=0.01, cached_by_one=0.5, least_others=1)


def part(name="numpy", *, mb=50, others=0, files=100):
    return PackagePart(
        object=f"all-{name}",
        name=name,
        version="1.0",
        files=files,
        size=int(mb * MB),
        others=others,
    )


def plan(*parts, now=SINGLE, costs=COSTS, own_mb=1):
    size = sum(each.size for each in parts) + own_mb * MB
    files = sum(each.files for each in parts) + 2
    return plan_package(parts, files=files, size=size, costs=costs, now=now)


def test_what_nobody_else_uses_is_one_file():
    found = plan(part(), part("pandas"))
    assert (found.form, found.objects, found.use_rate) == (SINGLE, frozenset(), 0)
    assert [(each.files, each.size) for each in found.files] == [(202, 101 * MB)]
    assert found.expected_s == found.single_s == pytest.approx(1.02)
    assert "no other function" in found.reason


def test_popularity_flips_the_plan_and_back():
    assert plan(part(others=0)).form == SINGLE
    shared = plan(part(others=1))
    assert (shared.form, shared.objects) == (COLLECTION, {"all-numpy"})
    assert plan(part(others=0), now=COLLECTION).form == SINGLE


def test_times_are_those_of_the_rule():
    found = plan(part(others=2, mb=40))
    # A quarter of 40 MB and all of 1 MB at 100 MB/s, and two files.
    assert found.collection_s == pytest.approx(0.11 + 0.02)
    assert found.expected_s == found.collection_s
    assert found.single_s == pytest.approx(0.41 + 0.01)
    assert found.cached_share == pytest.approx(30 / 41)


def test_the_threshold_follows_the_number_of_files():
    parts = [part(f"p{number}", mb=5, others=1) for number in range(10)]
    few, many = plan(*parts[:1], part("large", mb=45, others=1)), plan(*parts)
    assert few.threshold == pytest.approx(2 * 0.01 / 0.5)
    assert many.threshold == pytest.approx(10 * 0.01 / 0.5)
    assert len(many.files) == 11


def test_small_parts_stay_with_the_rest():
    found = plan(part("large", others=3), part("small", mb=0.5, others=50))
    assert found.objects == {"all-large"}
    assert found.files[-1].size == int(1.5 * MB)
    alone = plan(part("small", mb=0.5, others=50))
    assert alone.form == SINGLE
    assert "too small" in alone.reason


def test_as_many_others_as_are_asked_for():
    costs = DeliveryCosts(least_others=3)
    assert plan(part(others=2), costs=costs).form == SINGLE
    assert plan(part(others=3), costs=costs).form == COLLECTION


def test_a_collection_stays_until_it_is_clearly_worse():
    # 1.9 MB, of which half is expected to be there, are just not worth a file of their own.
    close = part(mb=1.9, others=1)
    assert plan(close).form == SINGLE
    assert plan(close, now=COLLECTION).form == COLLECTION
    assert plan(part(mb=1.5, others=1), now=COLLECTION).form == SINGLE


@pytest.mark.parametrize("others", range(5))
def test_the_chosen_form_is_never_the_slower_one(others):
    for mb in (0.1, 1, 3, 30):
        found = plan(part(mb=mb, others=others), part("other", mb=2 * mb, others=4))
        assert (
            found.expected_s <= min(found.single_s, found.collection_s) + 1e-9
            or found.form == SINGLE
        )
        if found.form == COLLECTION:
            assert found.collection_s <= found.single_s


def test_nothing_in_a_package_is_one_file():
    found = plan_package([], files=0, size=0, costs=COSTS)
    assert (found.form, found.cached_share) == (SINGLE, 0)


def test_two_versions_of_a_distribution_are_told():
    packages = [
        ("the package", [("requests", "2.0"), ("idna", "3")]),
        ("layer a:1", [("requests", "1.0"), ("idna", "3")]),
    ]
    assert different_versions(packages) == [
        "requests 1.0 of layer a:1 is hidden by requests 2.0 of the package"
    ]
