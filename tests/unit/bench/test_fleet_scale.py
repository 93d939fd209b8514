"""Many hosts in virtual time: what a decision costs does not follow from how many there are, nor the view from how many functions; nothing is lost."""

import random
import time
import tracemalloc
from functools import cache
from itertools import pairwise

import pytest
from bench.fleet_call import Plan
from bench.fleet_choices import CHOICES, fill
from bench.fleet_traffic import Traffic
from bench.fleet_world import World
from bench.placement import beat_of, change_of

from forerun.control.fleet.view import CANDIDATES_MOST, View
from forerun.model import HostInfo
from forerun.scheduling import Ask, Ring, Rule, place

RUNTIMES = ("python3.11", "python3.12", "nodejs20.x", "provided.al2023")
VERSIONS = 100_000


def info(name):
    return HostInfo(
        name=name,
        address=f"{name}:1",
        incarnation="1",
        version="1",
        protocols=(1, 1),
        isolation="jail",
        memory_mb=65_536,
        cpus=32,
        runtimes=RUNTIMES,
    )


def view_of(hosts, *, idle=50, trees=50):
    chance, view = random.Random(5), View(Rule(), dead_s=3.0)
    for number in range(hosts):
        about = info(f"host-{number}")
        view.told(about, beat_of(about.name, chance, VERSIONS, idle, trees), 0.0)
    return view


@cache
def large():
    return view_of(1000)


def asks(count=500):
    chance = random.Random(6)
    for _ in range(count):
        version = int(VERSIONS ** chance.random())
        yield Ask(
            key=f"111111111111:f{version}:{'c' * 16}",
            runtime=chance.choice(RUNTIMES),
            memory_mb=256,
            pools=("python3.11",),
            trees=(f"{version:064x}",),
        )


def decision_s(view):
    """The quickest of some rounds of 500: what others do meanwhile does not count."""
    found, chance = [], random.Random(7)
    for _ in range(5):
        began = time.thread_time()
        for ask in asks():
            drawn = chance.random()
            assert place(ask, view.candidates(ask, chance=drawn), Rule(), chance=drawn)
        found.append(time.thread_time() - began)
    return min(found)


def test_a_decision_does_not_grow_with_the_number_of_hosts():
    # Ten hosts are fewer candidates; a hundred times as many hosts would be a hundred times the work.
    assert decision_s(large()) < 8 * decision_s(view_of(10))


def test_a_decision_looks_at_a_bounded_number_of_hosts():
    most = max(len(large().candidates(ask, chance=0.5)) for ask in asks())
    assert 2 < most <= CANDIDATES_MOST


def test_what_a_host_weighs_in_the_view_follows_from_what_it_has():
    def bytes_of(idle):
        tracemalloc.start()
        try:
            view = view_of(50, idle=idle, trees=idle)
            return tracemalloc.get_traced_memory()[0] / len(view)
        finally:
            tracemalloc.stop()

    little, much = bytes_of(10), bytes_of(110)
    # A hundred idle sandboxes and a hundred trees more, each with a key of its own; the functions that there could be cost nothing.
    assert (much - little) / 200 < 700
    assert little < 60_000


def test_beats_leave_the_view_as_large_as_before():
    view, chance = view_of(50), random.Random(8)
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(4):
            for number in range(50):
                about = info(f"host-{number}")
                change = change_of(about.name, chance, 50)
                view.told(about, change, 1.0)
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(after - before for before, after in pairwise(sizes[1:])) < 50 * 4_000


def world_of(plan, *, functions=2_000, rate=400.0, **how):
    world = World(Traffic(functions, rate, seed=3), plan, **how)
    fill(world)
    world.begin()
    return world


def test_no_call_is_lost_and_none_runs_twice_at_once_when_hosts_die_and_are_cut_off():
    world = world_of(Plan(12, planes=2, memory_mb=8_192))
    world.at(1.0, world.kill, "host-0")
    world.at(1.5, world.cut_off, "host-1")
    world.at(2.0, world.cut_off, "host-2", 8.0)
    world.at(3.0, world.join, "host-new")
    world.run(9.0)
    counts = world.counts
    ended = {each: counts[each] for each in ("done", "refused", "told lost")}
    assert counts["came"] > 3000
    assert world.under_way == 0
    assert sum(ended.values()) == counts["came"], ended
    assert counts["run again"] > 0
    assert counts["told lost"] > 0
    assert counts["lost with a host"] == counts["run again"] + counts["told lost"]
    assert counts["twice at once"] == 0
    # A beat may have come just before; looks are some tenths of a second apart.
    assert 0 < max(world.noticed) <= 3.5
    assert counts["done"] > 0.97 * counts["came"]


def cold(plan, choose=None):
    world = world_of(plan, choose=choose, functions=1_000, rate=500.0, count_from=1.0)
    world.run(5.0, drain=False)
    counts = world.counts
    started = counts["pool"] + counts["fork"]
    return started / (counts["warm"] + started)


def test_cold_starts_are_nearly_as_few_as_if_everything_was_known():
    ours, best = cold(Plan(10, step=0)), cold(Plan(10), CHOICES["an oracle"])
    at_random = cold(Plan(10), CHOICES["at random"])
    assert ours <= 1.3 * best + 0.005
    assert at_random > 3 * ours


def test_several_control_planes_start_hardly_more_than_one():
    one, four = cold(Plan(10, step=0)), cold(Plan(10, planes=4, step=0))
    assert four <= 1.4 * one + 0.003


def test_shares_never_exceed_the_maximum_however_many_control_planes_grow_them():
    world = world_of(Plan(12, planes=3, memory_mb=4_096, step=4, maximum=60))
    world.run(3.0, drain=False)
    assert world.books is not None
    grown = set(world.books.changes)
    assert len(grown) > 5
    for account in grown:
        book = world.books.of(account)
        assert book.current <= book.counted <= book.maximum


@pytest.mark.parametrize("change", ["joins", "goes"])
def test_a_host_that_joins_or_goes_moves_about_its_part_of_the_clients(change):
    names = [f"host-{number}" for number in range(100)]
    ring = Ring(names)
    other = ring.of([*names, "new"] if change == "joins" else names[1:])
    clients = [str(number) for number in range(5_000)]
    moved = sum(next(ring.walk(each)) != next(other.walk(each)) for each in clients)
    assert 0.3 < moved / (len(clients) / len(names)) < 2
