"""Errors on their way from a host: what was raised there is raised here, as the same class where that has a meaning here."""

import math

from forerun.cluster.frames import FailedHead
from forerun.errors import (
    ForerunError,
    HostLost,
    HostUnreachable,
    InvalidInput,
    NoSuchRuntime,
    SandboxDead,
    SandboxError,
    SetupFailed,
    StorageFailed,
    Throttled,
)

MESSAGE_MAX = 2000
_AFTER_MAX = 3600.0
_KNOWN: dict[str, type[ForerunError]] = {
    known.__name__: known
    for known in (
        HostUnreachable,
        InvalidInput,
        NoSuchRuntime,
        SandboxDead,
        SandboxError,
        SetupFailed,
        StorageFailed,
    )
}


def told(error: Exception, *, begun: bool = False) -> FailedHead:
    """What is said of an error; of what nobody expected no more than that. ``begun``: the handler may have run."""
    if isinstance(error, Throttled):
        return FailedHead("Throttled", error.message, error.reason, error.retry_after_s, begun)
    if isinstance(error, HostLost):
        return FailedHead("HostLost", error.message, "", error.over_in_s, begun=True)
    if isinstance(error, ForerunError):
        name = type(error).__name__
        known = next((one.__name__ for one in type(error).__mro__ if one.__name__ in _KNOWN), name)
        return FailedHead(known, error.message[:MESSAGE_MAX], begun=begun)
    return FailedHead("SetupFailed", "the host failed; its log says why", begun=begun)


def heard(host: str, head: FailedHead, over_in_s: float) -> ForerunError:
    """The error that a host tells of; ``over_in_s`` is after how long it surely has ended what it began."""
    message = head.message[:MESSAGE_MAX]
    after_s = head.after_s if math.isfinite(head.after_s) else _AFTER_MAX
    after_s = min(max(0.0, after_s), _AFTER_MAX)
    if head.error == "Throttled":
        return Throttled(message, reason=head.reason[:200], retry_after_s=after_s)
    if head.error == "HostLost":
        return HostLost(f"{host}: {message}", over_in_s=min(after_s, over_in_s))
    known = _KNOWN.get(head.error, SandboxError)
    if head.begun and issubclass(known, HostUnreachable):
        # It contradicts itself: what may have run is run nowhere else.
        return HostLost(f"{host}: {message}", over_in_s=over_in_s)
    return known(message)
