"""Idle sandboxes give memory back, and take it again before they serve."""

import pytest
from tests.unit.host.deciding import dispatcher, ready

from forerun.host.dispatch import Dispatcher
from forerun.host.line import Ticket
from forerun.host.room import (
    MARGIN_MB,
    POOLED_MB,
    RELIEVED_AT_ONCE,
    WEIGH_AGAIN_S,
    WEIGHED_AT_ONCE,
)
from forerun.host.slots import Slot, State
from forerun.model import StartType

MB = 1 << 20
HEAVY = {"box-b": 512 * MB, "box-c": 512 * MB}


def room(**about) -> Dispatcher[str]:
    """A host that makes nothing ahead of need."""
    return dispatcher(**({"floor": 0, "ceiling": 0} | about))


def slim(host: Dispatcher[str], key: str, mb: int, *, calls: int = 1) -> Slot[str]:
    """An idle sandbox of this key that has given memory back."""
    slot = ready(host, key, mb, calls=calls)
    host.release(slot, 0)
    host.tick(1)
    assert slot.slim
    return slot


def call(key: str, mb: int) -> Ticket:
    return Ticket(key, "python3.11", mb, deadline=10)


@pytest.mark.parametrize(
    ("held_bytes", "booked_mb"),
    [
        (1, POOLED_MB),
        (20 * MB, 20 + MARGIN_MB),
        (20 * MB + 1, 21 + MARGIN_MB),
        (97 * MB, 99),
        (98 * MB, 100),
        (500 * MB, 100),
        (0, 100),
    ],
)
def test_what_it_holds_is_booked_with_a_margin(held_bytes: int, booked_mb: int) -> None:
    host = room(weights={"box-a": held_bytes})
    slot = ready(host, "a", 100)
    host.release(slot, 0)
    host.tick(0.9)
    assert host.ledger.booked_mb == 100
    host.tick(1)
    assert host.ledger.booked_mb == host.ledger.held(slot) == slot.booked_mb == booked_mb
    assert (host.pool.claim("a") is slot) == (booked_mb == 100)


def test_heavy_ones_are_weighed_again_but_rarely() -> None:
    weights = {"box-a": 99 * MB}
    host = room(weights=weights)
    heavy, busy = ready(host, "a", 100), ready(host, "b", 100)
    host.release(heavy, 0)
    host.tick(1)
    weights["box-a"] = 4 * MB
    host.tick(WEIGH_AGAIN_S / 2)
    assert host.ledger.booked_mb == 200
    host.tick(1 + WEIGH_AGAIN_S)
    assert heavy.state is State.DYING or heavy.slim
    assert host.ledger.held(busy) == 100


def test_few_are_weighed_at_once_and_all_in_the_end() -> None:
    count = 2 * WEIGHED_AT_ONCE + 1
    host = room(capacity_mb=count * 100, count=count, weights={"box-k0": 99 * MB})
    for number in range(count):
        host.release(ready(host, f"k{number}", 100), 0)
    for step in range(4):
        slimmed = count * 100 - host.ledger.booked_mb
        assert slimmed <= step * WEIGHED_AT_ONCE * (100 - POOLED_MB)
        host.tick(2)
    assert host.ledger.booked_mb == 100 + (count - 1) * POOLED_MB


def test_sandboxes_at_rest_shrink_before_any_is_destroyed() -> None:
    host = room(capacity_mb=512, count=20)
    heads = []
    for number in range(20):
        slot = ready(host, f"k{number}", 128)
        host.release(slot, 0)
        heads.append(slot)
    assert all(slot.state is State.IDLE for slot in heads)
    assert host.ledger.booked_mb <= 512
    ticket = call("k0", 128)
    assert host.ask(ticket, 0).settled == [(ticket, heads[0])]
    assert not ticket.waited


@pytest.mark.parametrize(("calls", "start"), [(1, StartType.WARM), (0, StartType.PREWARMED)])
def test_it_serves_with_all_its_memory_only(calls: int, start: StartType) -> None:
    host = room(capacity_mb=768, weights=HEAVY)
    own = slim(host, "a", 512, calls=calls)
    other = ready(host, "b", 128)
    last = ready(host, "c", 376)
    ticket = call("a", 512)
    effects = host.ask(ticket, 2)
    assert not effects
    assert ticket.waited
    assert own.promised
    assert not host.release(other, 3).settled
    assert other.state is State.DYING
    assert not host.gone(other).settled
    host.release(last, 4)
    assert host.gone(last).settled == [(ticket, own)]
    assert ticket.start is start
    assert host.ledger.held(own) == 512
    assert own.state is State.BUSY


def test_its_own_part_need_not_be_free_twice() -> None:
    host = room(capacity_mb=512, weights={"box-a": 100 * MB})
    own = slim(host, "a", 512)
    assert host.ask(call("a", 512), 2).settled[0][1] is own
    assert host.ledger.free_mb == 0


def test_nobody_who_waits_for_memory_is_overtaken_by_a_slim_one() -> None:
    host = room(capacity_mb=512, weights=HEAVY)
    own = slim(host, "a", 64)
    heavy = ready(host, "b", 400)
    host.release(heavy, 2)
    first, second = call("big", 300), call("a", 64)
    assert host.ask(first, 2).destroy == [heavy]
    assert not host.ask(second, 2).settled
    assert own.promised
    effects = host.gone(heavy)
    assert first.booked
    assert effects.settled == [(second, own)]


def test_one_that_died_is_promised_no_more_and_its_call_gets_another() -> None:
    host = room(capacity_mb=300, weights=HEAVY)
    own = slim(host, "a", 100)
    holder = ready(host, "b", 250)
    ticket = call("a", 100)
    host.ask(ticket, 2)
    host.discard(own)
    host.gone(own)
    assert not ticket.booked
    host.discard(holder)
    assert len(host.gone(holder).create) == 1
    assert ticket.booked


def test_a_call_that_leaves_leaves_the_sandbox_to_others() -> None:
    host = room(capacity_mb=300)
    own = slim(host, "a", 100)
    holder = ready(host, "b", 250)
    ticket = call("a", 100)
    host.ask(ticket, 2)
    host.withdraw(ticket)
    assert not own.promised
    assert host.evictor.least_valuable() is own
    host.discard(own)
    host.release(holder, 3)
    assert host.ledger.returning_mb == POOLED_MB


def test_a_sandbox_set_free_serves_the_call_and_the_promised_one_stays() -> None:
    host = room(capacity_mb=140)
    own, working = ready(host, "a", 64), ready(host, "a", 64)
    host.release(own, 0)
    host.tick(1)
    ready(host, "b", 60)
    ticket = call("a", 64)
    host.ask(ticket, 2)
    assert own.promised
    assert host.release(working, 3).settled == [(ticket, working)]
    assert not own.promised
    assert own.state is State.IDLE


def test_a_promised_one_does_not_age() -> None:
    host = room(capacity_mb=300)
    own = slim(host, "a", 100)
    ready(host, "b", 250)
    host.ask(Ticket("a", "python3.11", 100, deadline=1000), 2)
    host.tick(500)
    assert own.promised
    assert host.drop(lambda key: key == "a", 500)[0] == 1
    assert own.state is State.DYING
    assert len(host.line) == 1


def test_a_machine_that_runs_short_gets_memory_from_the_least_valuable() -> None:
    host = room(floor=1, ceiling=1)
    rare, often = slim(host, "a", 100), slim(host, "b", 100)
    for _ in range(5):
        host.called(often, 1)
    busy = ready(host, "c", 100)
    assert not host.relieve(100, 100)
    assert host.relieve(99, 100).destroy == [rare]
    assert host.short
    assert not host.relieve(99, 100), "what is about to be free was not counted"
    assert host.obstacle(10, "python3.11") == "the machine is short of memory"
    assert host.tick(2).create == []
    assert host.relieve(0, 100).destroy == [often]
    assert not host.relieve(0, 100)
    assert busy.state is State.BUSY
    host.relieve(100, 100)
    assert not host.short


def test_a_machine_that_runs_short_does_not_lose_all_at_once() -> None:
    count = RELIEVED_AT_ONCE + 1
    host = room(capacity_mb=count * 10, count=count)
    for number in range(count):
        host.release(ready(host, f"k{number}", 10), 0)
    assert len(host.relieve(0, 1 << 20).destroy) == RELIEVED_AT_ONCE
