"""What a host has been told to hold of one version, and how that goes. Pure."""

import math

from forerun.model import Reason, SandboxSpec, Standby

RETRY_S = 1.0
RETRY_MAX_S = 300.0
FORGIVEN_S = 600.0


class Hold:
    """The standby of one version. Times are seconds of the monotonic clock.

    ``making`` counts sandboxes that are being prepared, ``making_provisioned`` those of them that will count as
    provisioned. ``turn`` goes up when less is wanted than before: what was begun earlier may be too much now. ``failure``
    says why the last preparation came to nothing; after one the next waits until ``retry_at``, longer each time.
    ``touched``, ``eager``, ``lacking_since`` and ``due_at`` belong to ``Holds``.
    """

    __slots__ = (
        "due_at",
        "eager",
        "failed_at",
        "failure",
        "failures",
        "lacking_since",
        "making",
        "making_provisioned",
        "retry_at",
        "since",
        "spec",
        "standby",
        "touched",
        "turn",
        "until",
    )

    def __init__(self, spec: SandboxSpec, standby: Standby, now: float) -> None:
        self.spec = spec
        self.making = 0
        self.making_provisioned = 0
        self.failure = ""
        self.failures = 0
        self.failed_at = -math.inf
        self.retry_at = -math.inf
        self.touched = False
        self.lacking_since = math.inf
        self.due_at = math.inf
        self.turn = 0
        self.eager = True
        self.standby = standby
        self.since = now
        self.until = now + standby.lease_s

    def __repr__(self) -> str:
        return f"<Hold {self.spec.key} idle={self.standby.idle} total={self.standby.total} until={self.until}>"

    def replace(self, spec: SandboxSpec, standby: Standby, now: float) -> None:
        """Another standby holds from now on."""
        before = self.standby
        if standby.idle < before.idle or standby.total < before.total:
            self.turn += 1
        if standby.idle > before.idle or standby.total > before.total:
            self.eager = True
        self.spec = spec
        self.standby = standby
        self.since = now
        self.until = now + standby.lease_s

    def failed(self, why: str, now: float) -> None:
        """A preparation came to nothing, and would probably do so again at once."""
        if now - self.failed_at > FORGIVEN_S:
            self.failures = 0
        self.failure = why
        self.failed_at = now
        self.retry_at = now + min(RETRY_MAX_S, RETRY_S * 2 ** min(self.failures, 16))
        self.failures += 1


def wording(standby: Standby) -> str:
    """Because of what it holds: the request id of the execution that is likely to call, or the reason in words."""
    if standby.reason is Reason.CALLER and standby.cause:
        return standby.cause
    return f"{standby.reason.value} {standby.cause}".rstrip()
