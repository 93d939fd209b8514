"""How the host of this machine is doing, as the platform shows it."""

from collections.abc import Callable, Iterable
from typing import Any

from forerun.host import HostStats, SandboxInfo
from forerun.model import SandboxSpec


def shown(stats: HostStats) -> dict[str, Any]:
    """A host at this moment, in JSON's terms."""
    return {
        "host": stats.name,
        "isolation": stats.isolation,
        "memory_mb": stats.memory_mb,
        "booked_mb": stats.booked_mb,
        "sandboxes": dict(stats.states),
        "pool": {runtime: waiting for runtime, (waiting, _) in stats.pools.items()},
        "pool_target": {runtime: target for runtime, (_, target) in stats.pools.items()},
        "waiting": stats.waiting,
        "starts": dict(stats.starts),
        "destroyed": stats.destroyed,
        "failed": stats.failed,
        "held": stats.held,
        "prepared": stats.prepared,
        "unused": stats.unused,
    }


def sandboxes_of(
    account: str, sandboxes: Iterable[SandboxInfo], serving: Callable[[str], SandboxSpec | None]
) -> list[dict[str, Any]]:
    """The sandboxes of one account, and those that are nobody's yet; ``serving`` knows what those of a key serve."""
    listed = []
    for info in sandboxes:
        spec = serving(info.key) if info.key else None
        if info.key and (spec is None or spec.account != account):
            continue
        listed.append(
            {
                "id": info.id,
                "state": info.state,
                "name": spec.name if spec else None,
                "version": spec.version if spec else None,
                "runtime": info.runtime,
                "isolation": info.isolation,
                "booked_mb": info.booked_mb,
                "used_mb": round(info.used_bytes / 2**20, 1),
                "calls": info.calls,
                "idle_s": round(info.idle_s, 1),
                "provisioned": info.provisioned,
                "cause": info.cause,
                **({"host": info.host} if info.host else {}),
            }
        )
    return listed
