"""One tree of errors for the whole platform; it knows no HTTP and no AWS code.

Each class says what went wrong and what the caller can do. The names that clients see (``ResourceNotFoundException``,
``NoSuchEntity`` ...) are chosen per service in one table of the ``api`` room.
"""


class ForerunError(Exception):
    """Something the platform can explain."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())

    @property
    def message(self) -> str:
        """The sentence for the caller; it names the field and the limit where there is one."""
        return str(self.args[0])


class InvalidInput(ForerunError):
    """A value in the request is not acceptable."""


class NotFound(ForerunError):
    """The named resource does not exist."""


class AlreadyExists(ForerunError):
    """A resource of that name exists already."""


class Conflict(ForerunError):
    """The resource is in a state, or was changed meanwhile, so that the request cannot be done."""


class InUse(ForerunError):
    """The resource is still referred to by another one."""


class PreconditionFailed(ForerunError):
    """The given RevisionId is not the current one; read the resource again and retry."""


class PolicyTooLong(ForerunError):
    """The policy document would exceed its size limit."""


class RequestTooLarge(ForerunError):
    """The request is larger than the limit for this call."""


class CodeStorageExceeded(ForerunError):
    """The account's storage for code is full; delete versions or layers."""


class Unsupported(ForerunError):
    """The platform knows the feature and does not serve it yet."""


class AccessDenied(ForerunError):
    """The caller's policies, or the resource's, do not allow this action."""


class Throttled(ForerunError):
    """There is no capacity for the request now.

    ``reason`` is AWS's throttle reason (``ReservedFunctionConcurrentInvocationLimitExceeded``,
    ``ConcurrentInvocationLimitExceeded``, ``CallerRateLimitExceeded``); ``retry_after_s`` is in seconds.
    """

    def __init__(self, message: str, *, reason: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        return (_throttled, (self.message, self.reason, self.retry_after_s))


class RecursionDetected(ForerunError):
    """A function would be run because of itself once more, after as many times in one chain as is allowed."""


def _throttled(message: str, reason: str, retry_after_s: float) -> Throttled:
    return Throttled(message, reason=reason, retry_after_s=retry_after_s)


class StorageFailed(ForerunError):
    """The state could not be read or written: disk full, read-only, or damaged."""


class DutyLost(StorageFailed):
    """Another process holds this duty by now: what was to be written is left to that one."""


class SandboxError(ForerunError):
    """A sandbox could not do what was asked of it."""


class SandboxDead(SandboxError):
    """The sandbox ended; it answers nothing any more."""


class SetupFailed(SandboxError):
    """A privileged step of making a sandbox failed; the message names the step and the system's answer."""


class NoSuchRuntime(SandboxError):
    """No interpreter for this runtime is installed on the machine."""


class HostUnreachable(SandboxError):
    """The call has reached no host, so that it may be sent to another."""


class HostLost(SandboxError):
    """The host was lost while it may have run the call; retry it.

    After ``over_in_s`` seconds it surely does not run there any more: a host that hears of no control plane ends its work.
    """

    def __init__(self, message: str | None = None, *, over_in_s: float = 0.0) -> None:
        super().__init__(message)
        self.over_in_s = over_in_s
