"""What a host offers to the rest of the platform, and the values it answers with."""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from forerun.model import (
    Call,
    InitFailure,
    InitReport,
    Outcome,
    Placement,
    SandboxSpec,
    Standby,
    StartType,
    Timings,
    TraceContext,
)


class Run(msgspec.Struct, kw_only=True):
    """What came of one call. ``placement`` says in words why it ran where it ran.

    ``outcome`` is an ``InitFailure`` when the code could not be loaded. ``init`` is there for the first call of a
    sandbox only, unless it was prepared ahead of the call.

    ``foresight`` is ``hit`` when its sandbox had been prepared ahead, or was kept by a standby beyond the host's own rule;
    ``miss`` when the call had to wait for a start; else empty. ``cause`` says because of what, for a hit. ``idle_mb_s`` is
    what idle sandboxes of the version have cost since its call before, in MB times seconds: those that were used, and those
    that were given up. ``provisioned``: in a sandbox that counts as provisioned concurrency.

    ``host`` is where it ran, if there is more than this one, and ``placed`` why there.
    """

    outcome: Outcome | InitFailure
    start_type: StartType
    sandbox_id: str
    isolation: str
    placement: str
    log_stream: str
    init: InitReport | None = None
    foresight: str = ""
    cause: str = ""
    idle_mb_s: float = 0.0
    provisioned: bool = False
    host: str = ""
    placed: Placement | None = None


class SandboxInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One sandbox as users see it. Ages in seconds; ``key`` is ``None`` while it is unassigned.

    ``cause`` says because of what it was prepared, or is kept; empty when a call made it and the host's own rule keeps it.
    ``host`` is where it is, if there is more than one.
    """

    id: str
    state: str
    runtime: str
    isolation: str
    key: str | None
    booked_mb: int
    used_bytes: int
    calls: int
    idle_s: float
    provisioned: bool = False
    cause: str = ""
    host: str = ""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The sandboxes of one version; ``provisioned`` are those, idle or working, that nothing evicts.

    ``failure`` is why the last one that was prepared could not be; empty when it could.
    """

    idle: int = 0
    working: int = 0
    preparing: int = 0
    provisioned: int = 0
    failure: str = ""


class HostStats(msgspec.Struct, frozen=True, kw_only=True):
    """A host at one moment; ``starts``, ``destroyed``, ``failed``, ``prepared`` and ``unused`` count since it began.

    ``prepared`` sandboxes were made ahead of any call, of which ``unused`` went without one; ``held`` versions have a standby.
    """

    name: str
    isolation: str
    memory_mb: int
    booked_mb: int
    states: Mapping[str, int]
    pools: Mapping[str, tuple[int, int]]
    """Per runtime: unassigned sandboxes that wait, and how many should."""
    waiting: int
    starts: Mapping[str, int]
    destroyed: int
    failed: int
    held: int = 0
    prepared: int = 0
    unused: int = 0


class Host(Protocol):
    """A machine that runs calls in sandboxes."""

    name: str

    async def run(self, spec: SandboxSpec, call: Call, timings: Timings) -> Run:
        """Run one call in the cheapest sandbox there is, and fill ``timings`` from ``acquired`` to ``ended``.

        A ``call.deadline_ms`` of 0 is set when the handler may begin: the function's timeout does not count the wait
        for a sandbox nor its init. Raises ``Throttled`` when no memory becomes free in time, ``NoSuchRuntime``, and
        ``SetupFailed`` when no sandbox could be made. Cancelling it ends the sandbox.
        """
        ...

    async def take_snapshot(self, spec: SandboxSpec) -> None:
        """See that a version with SnapStart has its template ahead of its first call. Raises as ``run``."""
        ...

    def stand_by(self, spec: SandboxSpec, standby: Standby) -> None:
        """Hold this ready of the version from now on, in place of what held before; a standby of nothing ends it.

        It is made out of free memory, now or as soon as there is some, and again when one of it dies or stays at work.
        A lease of 0 s is over at once. Raises ``InvalidInput`` for numbers that are none.
        """
        ...

    def standing(self, key: str) -> Standing:
        """The sandboxes of a version, as ``SandboxSpec.key`` names it."""
        ...

    def hold_ready(self, runtime: str) -> None:
        """Keep unassigned sandboxes of this runtime waiting from now on, as many as the settings say."""
        ...

    def hold_pool(self, pool: str, floor: int, *, borrow: bool = True) -> None:
        """Let so many unassigned sandboxes wait at least in a pool: ``RUNTIME`` or ``RUNTIME+sdk``.

        With ``@ACCOUNT`` behind it, it is a sub-pool for the calls of that account alone, which are served from it first.
        When it is empty they ``borrow`` from the shared pool, or are refused with ``Throttled``; 0 ends a sub-pool.
        Raises ``InvalidInput`` for what is no pool, ``NoSuchRuntime``.
        """
        ...

    def drop(self, outdated: Callable[[str], bool]) -> int:
        """Give up the sandboxes whose key is outdated: idle ones now, working ones after their call; how many."""
        ...

    def running(self, access_key_id: str) -> TraceContext | None:
        """The execution that runs now in the sandbox with these credentials."""
        ...

    def stats(self) -> HostStats:
        """How it is doing."""
        ...

    def sandboxes(self) -> list[SandboxInfo]:
        """All its sandboxes."""
        ...
