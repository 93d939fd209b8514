"""One call on its way to a host: what it asks, whom it tried, and what it is told when nobody takes it. Pure."""

from collections.abc import Collection, Mapping, Sequence

from forerun.errors import ForerunError, HostUnreachable, NoSuchRuntime, SetupFailed, Throttled
from forerun.model import Call, Likely, SandboxSpec, Share, Timings
from forerun.scheduling import Ask

# AWS's reason for a call that is refused because there is no room for it.
REASON = "ConcurrentInvocationLimitExceeded"
ZONES_SHOWN = 20


class Trip:
    """``deadline`` is in seconds of the monotonic clock. A host that refused is in one of ``shared`` (it runs as much of the share as it
    may), ``full`` (it has no memory) and ``away`` (it cannot be reached, or takes no calls). ``spent``: its account has used up what waits for it there, and may use nothing else. ``allowed`` is what hosts might run of it when all of them had refused.
    """

    __slots__ = (
        "allowed",
        "ask",
        "away",
        "call",
        "deadline",
        "full",
        "services",
        "shared",
        "spec",
        "spent",
        "timings",
    )

    def __init__(
        self,
        spec: SandboxSpec,
        call: Call,
        timings: Timings,
        ask: Ask,
        services: Sequence[Likely],
        deadline: float,
    ) -> None:
        self.spec = spec
        self.call = call
        self.timings = timings
        self.ask = ask
        self.services = services
        self.deadline = deadline
        self.allowed: Mapping[str, Share] | None = None
        self.shared: set[str] = set()
        self.full: set[str] = set()
        self.away: set[str] = set()
        self.spent: Throttled | None = None

    @property
    def refusals(self) -> bool:
        """Whether any host has refused it."""
        return bool(self.shared or self.full or self.away)

    def tried(self, name: str) -> bool:
        """Whether a host has refused it."""
        return name in self.shared or name in self.full or name in self.away

    def again(self) -> None:
        """Things may have changed: nobody has refused it."""
        self.shared.clear()
        self.full.clear()
        self.away.clear()
        self.spent = None

    def began_anew(self) -> None:
        """What the host before has written of the times is of no use."""
        timings = self.timings
        timings.acquired = timings.loaded = timings.started = timings.ended = 0.0


def never(
    ask: Ask, largest_mb: int | None, runtimes: Collection[str], zones: Collection[str]
) -> ForerunError | None:
    """Why no host could ever run it; ``None`` where one could, or one of its zone that is away now might.

    ``largest_mb`` is the memory of the largest that suits it, ``None`` where none does; ``zones`` are those of all that have joined.
    """
    if largest_mb is None:
        if ask.zone in zones and ask.runtime in runtimes:
            return None
        if ask.narrow and ask.runtime in runtimes:
            return _nowhere(ask, zones)
        known = ", ".join(sorted(runtimes)) or "none"
        return NoSuchRuntime(
            f"no host of the cluster has an interpreter for {ask.runtime}; there are: {known}"
        )
    if largest_mb < ask.memory_mb:
        whose = f"the zone {ask.zone!r}" if ask.zone else "the cluster"
        return SetupFailed(
            f"the function needs {ask.memory_mb} MB, the largest host of {whose} has {largest_mb} MB for sandboxes"
        )
    return None


def _nowhere(ask: Ask, zones: Collection[str]) -> ForerunError:
    """None is of the kind that its tags ask for."""
    if not ask.zone or ask.zone in zones:
        return SetupFailed(
            f"no host of the cluster has isolation {ask.isolation!r}, which the tag forerun:isolation asks for; "
            "run forerun join as root on one, or remove the tag"
        )
    known = ", ".join(sorted(zones)[:ZONES_SHOWN]) or "none"
    return SetupFailed(
        f"no host of the cluster is in the zone {ask.zone!r}, which the tag forerun:zone asks for; let one join with "
        f"--zone {ask.zone}, or change the tag; zones with hosts: {known}"
    )


def late(*, connected: bool, reachable: bool, zone: str = "") -> ForerunError:
    """What a call is told that has waited as long as it may: whether there is any host, and one that may run it.

    ``zone`` is where alone it may run, if that is so.
    """
    if not connected:
        return HostUnreachable(
            "no host of the cluster is connected, so nothing was run; retry, and see: forerun hosts"
        )
    if not reachable and zone:
        return HostUnreachable(
            f"no host of the zone {zone!r}, which the tag forerun:zone asks for, takes calls, so nothing was run; retry, "
            "and see: forerun hosts"
        )
    if not reachable:
        return HostUnreachable(
            "the hosts that may run it cannot be reached, so nothing was run; retry, and see: forerun hosts"
        )
    where = f"any host of the zone {zone!r}" if zone else "any host"
    return Throttled(f"no memory became free on {where} in time", reason=REASON)
