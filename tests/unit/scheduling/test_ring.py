"""The ring: stable for a client, different for different ones, and little moved by hosts that come and go."""

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.scheduling import Ring

HOSTS = [f"host-{number}" for number in range(40)]
KEYS = [f"{number:012d}" for number in range(2000)]
names = st.lists(st.text(max_size=6), unique=True, max_size=12)


@given(names, st.text(max_size=8), st.randoms(use_true_random=False))
def test_every_host_is_walked_once_whatever_order_they_came_in(hosts, key, random):
    walked = list(Ring(hosts).walk(key))
    assert sorted(walked) == sorted(hosts)
    random.shuffle(hosts)
    assert list(Ring(hosts).walk(key)) == walked


@given(names, st.text(max_size=6), st.text(max_size=8))
def test_a_host_more_or_less_changes_nothing_between_the_others(hosts, other, key):
    before = list(Ring(hosts).walk(key))
    after = [host for host in Ring([*hosts, other]).walk(key) if host in before]
    assert after == before


@given(names, names, st.text(max_size=8))
def test_a_ring_made_of_another_is_the_same(before, after, key):
    assert list(Ring(before).of(after).walk(key)) == list(Ring(after).walk(key))


def test_first_hosts_have_nearly_equal_parts():
    ring = Ring(HOSTS)
    parts = Counter(next(ring.walk(key)) for key in KEYS)
    assert len(parts) == len(HOSTS)
    assert max(parts.values()) < 2 * len(KEYS) / len(HOSTS)


def test_a_host_that_goes_moves_only_its_own_clients():
    whole, less = Ring(HOSTS), Ring(HOSTS[1:])
    for key in KEYS:
        first = next(whole.walk(key))
        if first != HOSTS[0]:
            assert next(less.walk(key)) == first


@pytest.mark.parametrize("size", [2, 4])
def test_the_hosts_of_two_clients_are_mostly_different(size):
    ring = Ring(HOSTS)
    sets = [frozenset(islice(ring.walk(key), size)) for key in KEYS[:200]]
    shared = [len(one & other) / size for one in sets for other in sets if one is not other]
    # As much as chance has it, and a little more.
    assert sum(shared) / len(shared) < 1.5 * size / len(HOSTS) + 0.02
    assert len(set(sets)) > 50


def test_nobody_is_on_an_empty_ring():
    assert list(Ring([]).walk("key")) == []
