"""What a host offers to the rest of the platform, and the values it answers with."""

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from forerun.model import (
    Call,
    InitFailure,
    InitReport,
    Outcome,
    SandboxSpec,
    StartType,
    Timings,
    TraceContext,
)


class Run(msgspec.Struct, kw_only=True):
    """What came of one call. ``placement`` says in words why it ran where it ran.

    ``outcome`` is an ``InitFailure`` when the code could not be loaded. ``init`` is there for the first call of a
    sandbox only, unless it was prepared ahead of the call.
    """

    outcome: Outcome | InitFailure
    start_type: StartType
    sandbox_id: str
    isolation: str
    placement: str
    log_stream: str
    init: InitReport | None = None


class SandboxInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One sandbox as users see it. Ages in seconds; ``key`` is ``None`` while it is unassigned."""

    id: str
    state: str
    runtime: str
    isolation: str
    key: str | None
    booked_mb: int
    used_bytes: int
    calls: int
    idle_s: float


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The sandboxes of one version. ``failure`` is why the last one that was prepared could not be; empty when it could."""

    idle: int = 0
    working: int = 0
    preparing: int = 0
    failure: str = ""


class HostStats(msgspec.Struct, frozen=True, kw_only=True):
    """A host at one moment; ``starts``, ``evicted`` and ``failed`` count since it began."""

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

    async def prewarm(self, spec: SandboxSpec, count: int) -> int:
        """Load the code into ``count`` more sandboxes ahead of calls, as far as memory is free; how many were made.

        A version with SnapStart gets its template, too; a ``count`` of 0 asks for no more than that.
        """
        ...

    def hold_ready(self, runtime: str) -> None:
        """Keep unassigned sandboxes of this runtime waiting from now on."""
        ...

    def drop(self, outdated: Callable[[str], bool]) -> int:
        """Give up the sandboxes whose key is outdated: idle ones now, working ones after their call; how many."""
        ...

    def running(self, access_key_id: str) -> TraceContext | None:
        """The monitored execution that runs now in the sandbox with these credentials."""
        ...

    def stats(self) -> HostStats:
        """How it is doing."""
        ...

    def sandboxes(self) -> list[SandboxInfo]:
        """All its sandboxes."""
        ...
