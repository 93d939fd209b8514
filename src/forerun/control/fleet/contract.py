"""What the way to many hosts needs to be told: how much each may run of an account, and what functions are like."""

from collections.abc import Collection, Mapping
from typing import Protocol

from forerun.errors import Throttled
from forerun.model import Habits, SandboxSpec, Share

NO_HABITS = Habits()


class Limits(Protocol):
    """How many calls each host may run of what is limited together.

    Calls of a function with ``reserved`` concurrency are limited by themselves, all others of an account together.
    """

    def hosts(
        self, account: str, function: str, reserved: int | None
    ) -> Mapping[str, Share] | None:
        """The hosts that may run it now, by name, each with its share; ``None``: any host, without a limit.

        It is asked for each call: as remembered, without a wait.
        """
        ...

    async def grow(
        self,
        account: str,
        function: str,
        reserved: int | None,
        *,
        full: Collection[str] = (),
        tried: Mapping[str, Share] | None = None,
    ) -> bool:
        """Let one host more run it, or one of them run more; ``full`` are hosts that have no room now.

        ``tried`` is what ``hosts`` said when they refused: what has grown since then is enough. False when the maximum is reached, or
        no host is left. Raises ``StorageFailed``.
        """
        ...

    def draw(self, account: str, function: str, reserved: int | None, host: str) -> None:
        """Calls would be better off on this host, which has no share: give it one, if there is any left. Behind the call, now and then."""
        ...

    def used_up(self, account: str, function: str, reserved: int | None) -> bool:
        """Whether the maximum is reached, as it was read last; else more can be had once a host has room for it."""
        ...

    def exhausted(self, account: str, function: str, reserved: int | None) -> Throttled:
        """What a call is told for which nothing is left of the limit."""
        ...


class Services(Protocol):
    """Which services functions call, and what their starts take."""

    def habits(self, spec: SandboxSpec) -> Habits:
        """As far as is known of this version. It is asked for each call: one look-up."""
        ...


class Unlimited:
    """Implements ``Limits`` where nothing is limited by host."""

    def hosts(self, account: str, function: str, reserved: int | None) -> None:
        """Any host."""
        return

    async def grow(
        self,
        account: str,
        function: str,
        reserved: int | None,
        *,
        full: Collection[str] = (),
        tried: Mapping[str, Share] | None = None,
    ) -> bool:
        """There is nothing to grow."""
        return False

    def draw(self, account: str, function: str, reserved: int | None, host: str) -> None:
        """All hosts may run it."""

    def used_up(self, account: str, function: str, reserved: int | None) -> bool:
        """There is no maximum."""
        return False

    def exhausted(self, account: str, function: str, reserved: int | None) -> Throttled:
        """Hosts refuse by a share that nobody gave them."""
        return Throttled(
            f"the hosts run as much of {function} as they may",
            reason="ConcurrentInvocationLimitExceeded",
        )


class NoServices:
    """Implements ``Services`` where nothing is known."""

    def habits(self, spec: SandboxSpec) -> Habits:
        """None."""
        return NO_HABITS
