"""The one table from the platform's errors to the names and statuses that AWS's clients know, per service."""

from collections.abc import Mapping
from typing import NamedTuple

from forerun.control.rules import ConstraintViolated, ProvisionedConcurrencyMissing
from forerun.errors import (
    AccessDenied,
    AlreadyExists,
    CodeStorageExceeded,
    Conflict,
    ForerunError,
    InUse,
    InvalidInput,
    NoSuchRuntime,
    NotFound,
    PolicyTooLong,
    PreconditionFailed,
    RequestTooLarge,
    SandboxError,
    StorageFailed,
    Throttled,
    Unsupported,
)


class AwsError(NamedTuple):
    """What a client is told: AWS's code, the HTTP status, the sentence."""

    code: str
    status: int
    message: str


_LAMBDA: dict[type[ForerunError], tuple[str, int]] = {
    ConstraintViolated: ("ValidationException", 400),
    InvalidInput: ("InvalidParameterValueException", 400),
    ProvisionedConcurrencyMissing: ("ProvisionedConcurrencyConfigNotFoundException", 404),
    NotFound: ("ResourceNotFoundException", 404),
    AlreadyExists: ("ResourceConflictException", 409),
    Conflict: ("ResourceConflictException", 409),
    InUse: ("ResourceConflictException", 409),
    PreconditionFailed: ("PreconditionFailedException", 412),
    PolicyTooLong: ("PolicyLengthExceededException", 400),
    RequestTooLarge: ("RequestTooLargeException", 413),
    CodeStorageExceeded: ("CodeStorageExceededException", 400),
    Unsupported: ("InvalidParameterValueException", 400),
    AccessDenied: ("AccessDeniedException", 403),
    Throttled: ("TooManyRequestsException", 429),
    NoSuchRuntime: ("InvalidRuntimeException", 502),
    SandboxError: ("ServiceException", 500),
    StorageFailed: ("ServiceException", 500),
    ForerunError: ("ServiceException", 500),
}

TABLE: dict[str, Mapping[type[ForerunError], tuple[str, int]]] = {"lambda": _LAMBDA}
"""Service name to error class to (code, status); a class without a row is answered as its nearest ancestor."""

_INTERNAL = ("InternalFailure", 500)


def describe(service: str, error: ForerunError) -> AwsError:
    """What the clients of ``service`` are told of ``error``."""
    rows = TABLE.get(service, {})
    for kind in type(error).__mro__:
        if kind in rows:
            return AwsError(*rows[kind], error.message)
    return AwsError(*_INTERNAL, error.message)
