"""A dispatcher to be asked, and a short way to a sandbox."""

from forerun.host.dispatch import Dispatcher
from forerun.host.evictor import Evictor
from forerun.host.ledger import Ledger
from forerun.host.line import Ticket
from forerun.host.replenish import RefillPolicy, Replenisher
from forerun.host.slots import Slot, State

CAPACITY, WAITING, CREATIONS = 512, 6, 2


def dispatcher(
    *,
    capacity_mb: int = CAPACITY,
    count: int = 12,
    floor: int = 1,
    ceiling: int = 4,
    weights: dict[str, int] | None = None,
) -> Dispatcher[str]:
    """One whose sandboxes weigh what ``weights`` says of them: bytes by name, 4 MiB by default."""
    return Dispatcher(
        ledger=Ledger(capacity_mb, count),
        evictor=Evictor(min_s=10, max_s=100),
        replenisher=Replenisher(RefillPolicy(floor=floor, ceiling=ceiling)),
        waiting_max=WAITING,
        creations_max=CREATIONS,
        weigh=lambda sandbox: (weights or {}).get(sandbox, 4 << 20),
    )


def ready(host: Dispatcher[str], key: str, mb: int, *, calls: int = 1) -> Slot[str]:
    """A busy sandbox of this key."""
    effects = host.ask(Ticket(key, "python3.11", mb, deadline=10), 0)
    if not effects.settled:
        making = next(slot for slot in host.pool if slot.state is State.CREATING)
        effects = host.created(making, f"box-{key}", 0)
    slot = effects.settled[0][1]
    assert slot is not None
    host.assigned(slot, 5, 0)
    for _ in range(calls):
        host.called(slot, 0)
    return slot
