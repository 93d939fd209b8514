"""What a host shows of itself: how it is doing, and its sandboxes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from forerun.host.dispatch import Dispatcher
from forerun.host.face import HostStats, SandboxInfo
from forerun.host.slots import Slot, State, version_key
from forerun.host.works import Works
from forerun.model import StartType

if TYPE_CHECKING:
    # Only its interface is known here; which kind of sandbox it is, is decided elsewhere.
    from forerun.sandbox import Sandbox


def stats_of(
    about: tuple[str, str],
    dispatch: "Dispatcher[Sandbox]",
    works: Works,
    starts: Mapping[StartType, int],
    now: float,
) -> HostStats:
    """A host at this moment; ``about`` is its name and its kind of isolation."""
    ledger, pool, replenisher = dispatch.ledger, dispatch.pool, dispatch.replenisher
    return HostStats(
        name=about[0],
        isolation=about[1],
        memory_mb=ledger.capacity_mb,
        booked_mb=ledger.booked_mb,
        states={state.value: pool.count(state) for state in State},
        pools={
            runtime: (pool.pooled(runtime), replenisher.target(runtime, now))
            for runtime in replenisher.runtimes
        },
        waiting=len(dispatch.line),
        starts={start.value: count for start, count in starts.items()},
        destroyed=works.destroyed,
        failed=works.failed,
        held=len(dispatch.holds),
        prepared=dispatch.holds.prepared,
        unused=dispatch.room.unused,
    )


def sandboxes_of(dispatch: "Dispatcher[Sandbox]", now: float) -> list[SandboxInfo]:
    """The sandboxes of a host as users see them."""
    return [
        _shown(slot, slot.sandbox, dispatch.ledger.held(slot), now)
        for slot in dispatch.pool
        if slot.sandbox is not None
    ]


def _shown(slot: "Slot[Sandbox]", sandbox: "Sandbox", booked_mb: int, now: float) -> SandboxInfo:
    return SandboxInfo(
        id=sandbox.id,
        state=slot.state.value,
        runtime=sandbox.runtime,
        isolation=sandbox.isolation,
        key=version_key(slot.family.key) if slot.family else None,
        booked_mb=booked_mb,
        used_bytes=sandbox.memory_bytes() if slot.state is not State.DYING else 0,
        calls=slot.calls,
        idle_s=now - slot.idle_since if slot.state is State.IDLE else 0.0,
        provisioned=slot.provisioned,
        cause=slot.cause if slot.kept or not slot.calls else "",
    )
