"""Steps of limits over hosts: who gets the next, who gives one back, and that nothing counts beyond the maximum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.model import HeldShare, ShareBook
from forerun.scheduling import Use, Waits, grow, shrink, take_back

HOSTS = ["a", "b", "c", "d", "e"]


def book(maximum=40, room=None, **held):
    """``a=10``, or ``a=(5, 10)`` for a host that should run 5 and counts as 10."""
    rows = []
    for host, amounts in held.items():
        amount, counted = amounts if isinstance(amounts, tuple) else (amounts, amounts)
        rows.append(HeldShare(host=host, amount=amount, counted=counted, epoch=1))
    used = sum(row.counted for row in rows)
    return ShareBook(
        account="acc",
        function="",
        version=1,
        maximum=maximum,
        room=maximum - used if room is None else room,
        held=tuple(rows),
    )


@pytest.mark.parametrize(
    ("held", "hosts", "expected"),
    [
        ({}, "abc", {"a": 10}),
        ({"a": 10}, "abc", {"b": 10}),
        ({"a": 10, "b": 10, "c": 10}, "abc", {"a": 20}),
        ({"a": 20, "b": 10, "c": 10}, "abc", {}),
        ({"a": 20, "b": 10}, "abc", {"c": 10}),
        ({"a": 10, "b": 10}, "ab", {"a": 20}),
        ({"a": 10, "b": 10}, "", {}),
        ({"a": 10, "b": 25}, "abc", {"c": 5}),
        ({"a": (10, 20), "b": 20}, "ab", {"a": 20}),
        ({"a": (10, 20), "b": 20}, "b", {}),
        ({"a": (0, 40)}, "ab", {"a": 10}),
    ],
    ids=[
        "the first of the ring",
        "the next of the ring",
        "one that has a step when all have one",
        "nobody at the maximum",
        "who has none before who has one",
        "the first of those with the fewest",
        "nobody when there is no host",
        "what is left of the maximum",
        "what counts for the host anyway",
        "nobody while others count",
        "what counts for the only one",
    ],
)
def test_who_gets_the_next_step(held, hosts, expected):
    assert grow(book(**held), hosts, 10) == expected


def test_other_clients_of_the_account_leave_no_more_than_its_room():
    assert grow(book(room=4), "ab", 10) == {"a": 4}
    assert grow(book(room=-3, a=10), "ab", 10) == {}
    assert grow(book(room=0, a=(5, 10)), "ab", 10) == {"a": 10}


@pytest.mark.parametrize(
    ("held", "use", "expected"),
    [
        ({"a": 10, "b": 10, "c": 10, "d": 10}, 3, {"b": 0, "c": 0, "d": 0}),
        ({"a": 10, "b": 10, "c": 10, "d": 10}, 35, {}),
        ({"a": 10, "b": 10, "c": 10, "d": 10}, 22, {"d": 0}),
        ({"a": 20, "b": 10}, 12, {"a": 10}),
        ({"a": 15, "b": 10}, 12, {"a": 10}),
        ({"a": 10}, 0, {}),
        ({}, 0, {}),
    ],
    ids=[
        "down to one step",
        "not while they are used",
        "as much as is left over",
        "who has most first",
        "a part of a step",
        "never the last",
        "of nothing",
    ],
)
def test_what_goes_back(held, use, expected):
    assert shrink(book(**held), HOSTS, 10, use=use) == expected


def test_a_client_that_is_quiet_gives_back_its_last_step():
    assert shrink(book(a=10, b=5), HOSTS, 10, use=0, floor=0) == {"a": 0, "b": 0}


def test_hosts_that_are_gone_give_back_everything():
    assert shrink(book(a=20, b=10, c=10), HOSTS, 10, use=30, gone={"a"}) == {"a": 0}


def test_a_smaller_maximum_takes_back_what_is_above_it_however_much_is_used():
    assert shrink(book(maximum=25, a=20, b=20), HOSTS, 10, use=40) == {"a": 15, "b": 10}
    assert shrink(book(maximum=0, a=20, b=20), HOSTS, 10, use=40) == {"a": 0, "b": 0}


def test_what_nobody_can_use_is_taken_back_at_the_maximum():
    full = book(a=10, b=20, c=10)
    assert take_back(full, 10, running={"b": 3}, dead=()) == {"b": 10}
    assert take_back(full, 10, running={"b": 18, "a": 9}, dead=()) == {"a": 9, "b": 18}
    assert take_back(full, 10, running={}, dead={"c"}) == {"c": 0}
    assert take_back(full, 10, running={"c": 10}, dead=()) == {}


holdings = st.dictionaries(
    st.sampled_from(HOSTS),
    st.tuples(st.integers(0, 30), st.integers(0, 15)).map(lambda t: (t[0], t[0] + t[1])),
)


def settled(before, amounts):
    """The book behind a change, as the store writes it."""
    held = {each.host: (each.amount, each.counted) for each in before.held}
    for host, amount in amounts.items():
        held[host] = (amount, max(amount, held.get(host, (0, 0))[1]))
    return book(maximum=before.maximum, **held)


@given(holdings, st.integers(0, 120), st.integers(-10, 60), st.integers(1, 25))
def test_growing_never_counts_beyond_maximum_and_room(held, maximum, room, step):
    before = book(maximum=maximum, room=room, **held)
    amounts = grow(before, HOSTS, step)
    after = settled(before, amounts)
    for host, amount in amounts.items():
        had = held.get(host, (0, 0))[0]
        assert had < amount <= had + step
    assert after.counted <= max(before.counted, maximum)
    assert after.counted - before.counted <= max(0, room)
    assert after.current <= max(before.current, maximum)
    if not amounts:
        free = min(maximum - before.counted, room)
        assert free <= 0 or before.current >= maximum


@given(
    holdings,
    st.integers(0, 120),
    st.integers(1, 25),
    st.floats(0, 100),
    st.sets(st.sampled_from(HOSTS)),
    st.integers(0, 1),
)
def test_shrinking_only_takes_and_leaves_enough(held, maximum, step, use, gone, floor):
    before = book(maximum=maximum, **held)
    amounts = shrink(before, HOSTS[:3], step, use=use, gone=gone, floor=floor)
    after = settled(before, amounts)
    assert all(amount < held[host][0] for host, amount in amounts.items())
    assert after.counted == before.counted
    assert after.current <= maximum
    left = {each.host: each.amount for each in after.held if each.host not in gone}
    if sum(amount for host, (amount, _) in held.items() if host not in gone) <= maximum:
        assert sum(left.values()) >= min(use, sum(held[host][0] for host in left))
    assert not any(each.amount for each in after.held if each.host in gone)
    assert shrink(after, HOSTS[:3], step, use=use, gone=gone, floor=floor) == {}


def test_what_stands_still_is_over_and_what_moves_is_not():
    waits = Waits[str](10)
    assert waits.over({"a": 1, "b": 1}, 0) == set()
    assert waits.over({"a": 1, "b": 2}, 9) == set()
    assert waits.over({"a": 1, "b": 2}, 10) == {"a"}
    assert waits.over({"b": 2}, 18.9) == set()
    assert waits.over({"a": 1, "b": 2}, 19) == {"b"}


def test_use_is_an_average_over_looks():
    use = Use()
    assert use.take() is None
    use.add({"h1": {"a": 4, "b": 1}, "h2": {"a": 2}})
    use.add({"h1": {"a": 2}})
    assert use.take() == (
        {"a": 4.0, "b": 0.5},
        {("a", "h1"): 3.0, ("b", "h1"): 0.5, ("a", "h2"): 1.0},
    )
    # What has come since is used, too.
    use.add({})
    use.add({"h1": {"a": 6}})
    assert use.take() == ({"a": 6}, {("a", "h1"): 6})
    use.add({})
    assert use.take() == ({}, {})
