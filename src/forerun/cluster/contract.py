"""What the rest of the platform may expect of many machines."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from forerun.host import Host, HostStats, Standing
from forerun.model import ChannelQuality, Credentials, HostInfo, Phase, SandboxSpec, Share

PROTOCOLS = (1, 1)
"""The oldest and the newest wire between control planes and agents that this version speaks."""


class Beat(msgspec.Struct, kw_only=True):
    """How a host is, told ``cluster.beat_s`` apart to every control plane. What it says is old by then: a hint, never a promise.

    ``idle`` counts the sandboxes that wait by version key, ``trees`` are digests of the code that is on it, ``running`` the calls by
    the key of their share, ``channels`` its paths by service (``HOST:PORT``), ``standings`` those of versions with a standby.
    The first beat of a connection tells all; later ones only what has changed of ``idle``, ``trees``, ``running``, ``channels`` and
    ``standings`` (a count of 0, a ``None``: it is gone). ``sent`` is the host's own monotonic clock, seconds.
    """

    sequence: int
    sent: float
    whole: bool
    stats: HostStats
    phase: Phase = Phase.ACTIVE
    disk_free_mb: int = 0
    idle: dict[str, int] = {}
    trees: dict[str, bool] = {}
    running: dict[str, int] = {}
    channels: dict[str, ChannelQuality | None] = {}
    standings: dict[str, Standing | None] = {}


class RemoteHost(Host, Protocol):
    """A host on the other end of a connection. Its sides that answer at once answer from the latest beat.

    ``run`` also raises ``HostUnreachable`` when the call surely was not begun, ``HostLost`` when it may have been, and
    ``Throttled`` with the reason ``SHARE`` when the host runs as much of ``call.share`` as it may, with
    ``NOT_IDLE`` when the call is for an idle sandbox only and there is none.
    """

    @property
    def info(self) -> HostInfo:
        """Who it is."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it is connected and its beats are no older than ``cluster.dead_s``."""
        ...

    def cordon(self, on: bool) -> None:  # noqa: FBT001 a switch
        """Tell the agent, which shows it in its beats."""
        ...

    def measure(self, services: Sequence[str]) -> None:
        """Let it probe its paths to these services (``HOST:PORT``) for a minute, beside those that others ask for."""
        ...

    async def keep_to(self, shares: Sequence[Share]) -> Mapping[str, int]:
        """Tell the agent shares that became smaller (``Shares.keep_to`` there). The epoch by key of those it keeps to from now on.

        Those that are left out still run more than that; ask again. Raises ``HostUnreachable`` when there is no answer in time.
        """
        ...


SHARE = "HostShareExhausted"
"""The reason a host throttles with when it runs as much of a share as it may."""

NOT_IDLE = "NoIdleSandbox"
"""The reason a host throttles with when a call is for an idle sandbox only, and it has none."""


class Links(Protocol):
    """Keeps a connection to each host that it is told of; the connected ones are ``hosts``, by name."""

    @property
    def hosts(self) -> Mapping[str, RemoteHost]:
        """Those that are connected, or were a moment ago (``alive`` says which)."""
        ...

    def follow(self, hosts: Sequence[HostInfo]) -> None:
        """These are the hosts from now on: connect to new ones, leave others."""
        ...

    def listen(
        self, on_beat: Callable[[RemoteHost, Beat], None], on_lost: Callable[[RemoteHost], None]
    ) -> None:
        """Hear of beats, and of hosts that are lost; neither may wait."""
        ...

    async def close(self) -> None:
        """Leave all of them; calls in flight are lost."""
        ...


class Upstream(Protocol):
    """What an agent asks of a control plane, besides handing it a sandbox's connections."""

    async def issue(self, spec: SandboxSpec) -> Credentials | None:
        """Credentials for a new sandbox."""
        ...

    async def tree(self, digest: str) -> str:
        """The path of an unpacked tree on this machine, which is made when it is missing. Raises ``StorageFailed``."""
        ...

    def take_datagram(self, data: bytes, account: str, region: str, name: str) -> None:
        """One that a function sent to X-Ray's daemon."""
        ...


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A machine of the engine's cluster. ``node`` is the engine's own id of it; ``agent`` says who its agent is, once it is up."""

    name: str
    node: str
    alive: bool
    cpus: float
    memory_mb: int
    labels: dict[str, str] = {}
    agent: HostInfo | None = None
    failure: str = ""


class Fleet(Protocol):
    """Which machines there are, and an agent on each: the only part that knows the distributed engine."""

    async def start(self, on_change: Callable[[Sequence[Member]], None]) -> None:
        """Begin to see to it that each member has an agent; ``on_change`` hears of the members. Raises ``SetupFailed``."""
        ...

    def members(self) -> Sequence[Member]:
        """As known now."""
        ...

    async def dismiss(self, name: str) -> None:
        """End the agent of a member that was drained, and let the machine go where the engine can."""
        ...

    async def scale(self, hosts: int, memory_mb: int) -> None:
        """Ask for so many machines with so much memory together; a wish, fulfilled later or never."""
        ...

    async def close(self) -> None:
        """Let go of the engine; agents go on."""
        ...
