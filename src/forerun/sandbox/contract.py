"""What the host room may expect of a sandbox, whichever way it is isolated."""

import os
from collections.abc import Awaitable, Callable, Mapping
from socket import socket
from typing import NamedTuple, Protocol

from forerun.model import Call, InitFailure, InitReport, Outcome, SandboxSpec


class Pack(NamedTuple):
    """Bytecode of a ``tree`` that is mounted at ``root``: in ``file`` on the host, at ``place`` inside.

    For the SDK, which is in every sandbox, ``tree`` is one of its packages.
    """

    root: str
    tree: str
    file: str
    place: str

    def is_there(self) -> bool:
        """Whether it was made."""
        return os.access(self.file, os.R_OK)


class Sandbox(Protocol):
    """One execution environment; serves one account and one function version, and nothing of it survives."""

    @property
    def id(self) -> str:
        """Unique among the sandboxes of this server."""
        ...

    @property
    def runtime(self) -> str:
        """AWS's name of the runtime, as ``python3.11``."""
        ...

    @property
    def isolation(self) -> str:
        """``jail`` or ``process``."""
        ...

    @property
    def alive(self) -> bool:
        """False once it ended, timed out or broke the protocol."""
        ...

    async def assign(self, spec: SandboxSpec, *, deadline: float) -> InitReport | InitFailure:
        """Attach the function and run its init phase until ``deadline`` (``Clock.monotonic``).

        Raises ``SandboxDead`` when it ended before, ``SetupFailed`` when the function's files could not be attached.
        """
        ...

    async def invoke(self, call: Call) -> Outcome:
        """Run the handler once. Never raises for what user code does; ``SandboxDead`` when it is dead already."""
        ...

    def memory_bytes(self) -> int:
        """What it holds now."""
        ...

    async def destroy(self) -> None:
        """End it: no process, mount, control group or file of it is left. Idempotent."""
        ...


class Sandboxes(Protocol):
    """Makes sandboxes, one way."""

    @property
    def isolation(self) -> str:
        """``jail`` or ``process``."""
        ...

    @property
    def snapshots(self) -> bool:
        """Whether ``snapshot`` and ``restore`` work here; only for Python."""
        ...

    async def start(self) -> None:
        """Prepare the machine; raises ``SetupFailed``."""
        ...

    def runtimes(self) -> Mapping[str, str]:
        """AWS's names of the runtimes that can run here, each with the program that runs it."""
        ...

    def ready(self, runtime: str) -> bool:
        """Whether ``create`` will fork, rather than start an interpreter first."""
        ...

    def packs(self, spec: SandboxSpec) -> list[Pack]:
        """Where sandboxes of ``spec`` look for bytecode, be it there or not; ``make_pack`` makes it."""
        ...

    async def create(self, runtime: str) -> Sandbox:
        """A confined sandbox that waits for its function. Raises ``NoSuchRuntime``, ``SetupFailed``."""
        ...

    async def snapshot(
        self, sandbox: Sandbox, spec: SandboxSpec, *, deadline: float
    ) -> InitReport | InitFailure:
        """Initialise an unassigned sandbox to be copied, not called: it becomes a template. As ``Sandbox.assign``.

        Fails with ``Runtime.NoSnapshot`` when the function is in a state that cannot be copied.
        """
        ...

    async def restore(self, template: Sandbox) -> Sandbox:
        """A copy of a template: confined, unassigned, with limits of its own; to be assigned to the same version.

        Its init is the restore. It outlives the template. Raises ``SetupFailed``.
        """
        ...

    async def close(self) -> None:
        """Destroy all sandboxes and zygotes."""
        ...


OnExit = Callable[[Sandbox], None]


def unheard(_: Sandbox) -> None:
    """The ``OnExit`` of who does not ask to hear of it."""


# Hears of each function that was loaded: the name of the zygote that its sandbox was forked from, and what it imported
# that this one had not.
OnLoaded = Callable[[str, SandboxSpec, InitReport], None]


def unlearned(_: str, _spec: SandboxSpec, _report: InitReport) -> None:
    """The ``OnLoaded`` of who does not ask to hear of it."""


# Takes over a listening socket inside a sandbox's network, to serve the platform's API to that sandbox alone (its id, and
# the function that it has); returns what stops it.
ServePlatform = Callable[[socket, str, SandboxSpec], Awaitable[Callable[[], None]]]

# Takes a datagram that was sent to the X-Ray daemon's address in the sandbox of a function; never waits.
TakeDatagram = Callable[[bytes, SandboxSpec], None]
