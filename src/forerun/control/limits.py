"""How limits on concurrent executions are shown: what may run at most, what may run now, and where."""

import msgspec

from forerun.scheduling import RESERVED, UNRESERVED, Admission


class HostPart(msgspec.Struct, frozen=True, kw_only=True):
    """What one host has of a limit. It ``counted`` for more than its ``limit`` while it has not said that it keeps to that."""

    host: str
    limit: int
    counted: int
    running: int


class ClientLimit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit of an account: that of a function with reserved concurrency, or with an empty name what all others share.

    ``current`` is what may run now; it grows with the load, up to the ``maximum``.
    """

    function: str
    maximum: int
    current: int
    running: int
    hosts: tuple[HostPart, ...]


def reason(reserved: int | None) -> str:
    """AWS's reason for a call that is throttled because a limit is used up."""
    return UNRESERVED if reserved is None else RESERVED


class OneHost:
    """The limits of a single machine: it counts by itself, so that the current limit always is the maximum."""

    step = 0

    def __init__(self, admission: Admission, name: str) -> None:
        self._admission = admission
        self._name = name

    async def list(self, account: str) -> list[ClientLimit]:
        """The account's limits: what its functions share, and each reservation."""
        admission = self._admission
        reserved = admission.reservations(account)
        running = {name: admission.running(account, name) for name in reserved}
        shared = admission.running(account) - sum(running.values())
        return [
            self._one("", admission.limit(account) - sum(reserved.values()), shared),
            *(self._one(name, amount, running[name]) for name, amount in sorted(reserved.items())),
        ]

    def _one(self, function: str, maximum: int, running: int) -> ClientLimit:
        maximum = max(0, maximum)
        part = HostPart(host=self._name, limit=maximum, counted=maximum, running=running)
        return ClientLimit(
            function=function, maximum=maximum, current=maximum, running=running, hosts=(part,)
        )
