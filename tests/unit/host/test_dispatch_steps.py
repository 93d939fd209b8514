"""Single steps of the dispatcher: what it decides in plain cases."""

import pytest
from tests.unit.host.deciding import dispatcher, ready

from forerun.errors import SetupFailed, Throttled
from forerun.host.dispatch import Dispatcher
from forerun.host.evictor import Evictor
from forerun.host.ledger import Ledger
from forerun.host.line import Ticket
from forerun.host.replenish import RefillPolicy, Replenisher
from forerun.host.slots import State
from forerun.model import StartType

HEAVY = {"box-a": 512 << 20}


def test_memory_is_admitted_only_when_as_much_is_free() -> None:
    host = dispatcher(capacity_mb=768, floor=0, weights=HEAVY)
    slot = ready(host, "a", 512)
    ticket = Ticket("b", "python3.11", 512, deadline=10)
    effects = host.ask(ticket, 0)
    assert not effects.create
    assert ticket.waited
    effects = host.release(slot, 1)
    assert effects.destroy == [slot]
    assert not ticket.booked
    effects = host.gone(slot)
    assert ticket.booked
    assert len(effects.create) == 1


def test_the_unassigned_give_way_only_when_that_helps() -> None:
    host = dispatcher(capacity_mb=300, floor=1)
    slot = ready(host, "a", 150)
    assert not host.created(next(s for s in host.pool if s is not slot), "pooled", 0)
    waiting = Ticket("b", "nodejs20.x", 300, deadline=10)
    assert host.ask(waiting, 0).destroy == []
    effects = host.release(slot, 0)
    assert [gone.sandbox for gone in effects.destroy] == ["box-a", "pooled"]
    assert not host.gone(effects.destroy[0])
    assert len(host.gone(effects.destroy[1]).create) == 1
    assert waiting.booked


def test_a_pool_half_full_is_refilled_by_the_tick_out_of_the_calls_way() -> None:
    host = dispatcher(floor=2)
    made = host.hold_ready("python3.11", 0).create
    while made:
        made = [new for slot in made for new in host.created(slot, f"p{slot.id}", 0).create]
    assert host.pool.pooled("python3.11") == 2
    assert host.ask(Ticket("a", "python3.11", 64, deadline=10), 0).create == []
    making = host.tick(0.25).create
    assert len(making) == 1
    assert host.pool.pooled("python3.11") == 1
    assert host.ask(Ticket("b", "python3.11", 64, deadline=10), 0.3).create == []
    late = Ticket("c", "python3.11", 64, deadline=10)
    assert host.ask(late, 0.3).create == []
    effects = host.created(making[0], "made", 0.3)
    assert effects.settled == [(late, making[0])]
    assert late.start is StartType.ZYGOTE
    assert len(effects.create) == 1


def test_a_second_release_of_a_given_up_sandbox_is_harmless() -> None:
    host = dispatcher(floor=0)
    slot = ready(host, "a", 64)
    assert host.discard(slot).destroy == [slot]
    assert not host.discard(slot)
    assert not host.release(slot, 0)


def test_a_waiting_call_of_the_key_inherits_the_sandbox() -> None:
    host = dispatcher(capacity_mb=64, floor=0)
    slot = ready(host, "a", 64)
    ticket = Ticket("a", "python3.11", 64, deadline=10)
    host.ask(ticket, 0)
    assert host.release(slot, 1).settled == [(ticket, slot)]
    assert ticket.start is StartType.WARM
    assert slot.state is State.BUSY


def test_no_wait_where_none_is_allowed() -> None:
    host = Dispatcher(
        ledger=Ledger(64, 10),
        evictor=Evictor(min_s=1, max_s=1),
        replenisher=Replenisher(RefillPolicy(floor=0)),
        waiting_max=0,
        creations_max=1,
        weigh=lambda _: 0,
    )
    ready(host, "a", 64)
    ticket = Ticket("b", "python3.11", 64, deadline=10)
    assert host.ask(ticket, 0).settled == [(ticket, None)]
    assert isinstance(ticket.error, Throttled)
    with pytest.raises(SetupFailed, match="65 MB"):
        host.ask(Ticket("c", "python3.11", 65, deadline=10), 0)
