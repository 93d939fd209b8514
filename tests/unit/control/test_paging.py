"""Pages: every item once, in order, whatever the page size; markers are refused when they are not ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.control.paging import from_marker, page_size, to_marker, to_page
from forerun.errors import InvalidInput

KEYS = st.lists(st.tuples(st.text(), st.integers(0, 2**53)), unique=True).map(sorted)


@given(keys=KEYS, size=st.integers(1, 7))
def test_pages_show_every_item_once_and_in_order(keys, size):
    shown, marker = [], None
    while True:
        after = from_marker(marker, ("", -1))
        found = [key for key in keys if key > after][: size + 1]
        page = to_page(found, found, size)
        assert len(page.items) <= size
        shown += page.items
        if page.marker is None:
            break
        marker = page.marker
    assert shown == keys


@given(key=st.tuples(st.text(), st.integers(-1, 2**62)))
def test_a_marker_gives_its_key_back(key):
    assert from_marker(to_marker(key), ("", 0)) == key


@given(marker=st.text(min_size=1))
def test_what_is_no_marker_is_refused_and_nothing_else_happens(marker):
    try:
        key = from_marker(marker, ("", 0))
    except InvalidInput:
        return
    assert [type(part) for part in key] == [str, int]


def test_a_marker_of_another_listing_is_refused():
    with pytest.raises(InvalidInput):
        from_marker(to_marker((1,)), ("",))
    with pytest.raises(InvalidInput):
        from_marker(to_marker(("a", "b")), ("",))


def test_page_sizes():
    assert [page_size(asked) for asked in (None, 1, 50, 51, 10_000)] == [50, 1, 50, 50, 50]
