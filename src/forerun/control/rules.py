"""The words for a value that is not acceptable, as AWS's validators say them, so that clients find them familiar."""

import re
from collections.abc import Sequence

from forerun.errors import InvalidInput, NotFound


class ConstraintViolated(InvalidInput):
    """A member of the request breaks a constraint of its shape."""


class ProvisionedConcurrencyMissing(NotFound):
    """No Provisioned Concurrency Config found for this function."""


def _violation(member: str, value: object, constraint: str) -> ConstraintViolated:
    shown = "null" if value is None else f"'{value}'"
    return ConstraintViolated(
        f"1 validation error detected: Value {shown} at '{member}' failed to satisfy constraint: {constraint}"
    )


def require_range(member: str, value: int, low: int, high: int) -> None:
    """``ConstraintViolated`` unless ``low <= value <= high``."""
    if value < low:
        raise _violation(member, value, f"Member must have value greater than or equal to {low}")
    if value > high:
        raise _violation(member, value, f"Member must have value less than or equal to {high}")


def require_length(member: str, value: str, low: int, high: int) -> None:
    """``ConstraintViolated`` unless the text has between ``low`` and ``high`` characters."""
    if len(value) < low:
        raise _violation(member, value, f"Member must have length greater than or equal to {low}")
    if len(value) > high:
        raise _violation(member, value, f"Member must have length less than or equal to {high}")


def require_match(member: str, value: str, pattern: re.Pattern[str]) -> None:
    """``ConstraintViolated`` unless the whole text matches."""
    if not pattern.fullmatch(value):
        raise _violation(
            member, value, f"Member must satisfy regular expression pattern: {pattern.pattern}"
        )


def require_one_of(member: str, value: str, allowed: Sequence[str]) -> None:
    """``ConstraintViolated`` unless the value is one of the allowed ones."""
    if value not in allowed:
        raise _violation(
            member, value, f"Member must satisfy enum value set: [{', '.join(allowed)}]"
        )


def require_present(member: str, value: object) -> None:
    """``ConstraintViolated`` when the value was left out."""
    if value is None:
        raise _violation(member, None, "Member must not be null")
