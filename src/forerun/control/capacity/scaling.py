"""What all of application auto scaling shares: which resources there are, how they are named, and what is refused."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from forerun.control.paging import Page, from_marker, to_page
from forerun.errors import InvalidInput, NotFound
from forerun.storage.functions import LATEST

NAMESPACE = "lambda"
DIMENSION = "lambda:function:ProvisionedConcurrency"
MOST = 2**31 - 1
TARGETS = 5_000
POLICIES = 50
ACTIONS = 200
TAGS = 50
PAGE = 50
_RESOURCE = re.compile(r"function:([a-zA-Z0-9-_]{1,64}):([a-zA-Z0-9-_]{1,128})", re.ASCII)

T = TypeVar("T")

Touched = Callable[[str, str], None]
"""Something about the scaling of a resource changed: account and resource."""


class LimitReached(InvalidInput):
    """The account or the scalable target has as many of these as it may have."""


class InvalidToken(InvalidInput):
    """The token of the next page is none that was given out."""


class TaggedMissing(NotFound):
    """There is no scalable target with this ARN."""


class Resource(NamedTuple):
    """A qualifier of a function."""

    name: str
    qualifier: str

    def __str__(self) -> str:
        return f"function:{self.name}:{self.qualifier}"


def parse_resource(text: str) -> Resource:
    """``function:NAME:QUALIFIER`` with a version or an alias. Raises ``InvalidInput``."""
    found = _RESOURCE.fullmatch(text)
    if found is None or found[2] == LATEST:
        raise InvalidInput(
            f"Unsupported service namespace, resource type or scalable dimension: ResourceId '{text}' must be "
            "function:NAME:ALIAS or function:NAME:VERSION"
        )
    return Resource(found[1], found[2])


def require_lambda(namespace: str | None, dimension: str | None, *, optional: bool = False) -> None:
    """``InvalidInput`` unless it is provisioned concurrency that is asked about."""
    if namespace != NAMESPACE or (dimension != DIMENSION and not (optional and dimension is None)):
        raise InvalidInput("Unsupported service namespace, resource type or scalable dimension")


def require_bounds(low: int | None, high: int | None) -> None:
    """``InvalidInput`` unless the capacities are numbers in order; ``None`` is not compared."""
    for name, value in (("minCapacity", low), ("maxCapacity", high)):
        if value is not None and not 0 <= value <= MOST:
            raise InvalidInput(f"{name} must be from 0 to {MOST}, not {value}")
    if low is not None and high is not None and low > high:
        raise InvalidInput("Maximum capacity cannot be less than minimum capacity")


def no_target(resource: str) -> NotFound:
    """The error for a resource that is not registered."""
    return NotFound(f"No scalable target found for {_whose(resource)}")


def missing(kind: str, name: str, resource: str) -> NotFound:
    """The error for a policy or an action that is not there."""
    return NotFound(f"No {kind} found for {_whose(resource)}, {kind} name: {name}")


def _whose(resource: str) -> str:
    return (
        f"service namespace: {NAMESPACE}, resource ID: {resource}, scalable dimension: {DIMENSION}"
    )


def require_page(limit: int | None) -> int:
    """Items of a page: what was asked for, from 1 to 50."""
    if limit is not None and not 1 <= limit <= PAGE:
        raise InvalidInput(f"maxResults must be from 1 to {PAGE}, not {limit}")
    return limit or PAGE


def after_token(token: str | None, *first: str | float) -> tuple[str, ...]:
    """Where a page begins. Raises ``InvalidToken``."""
    try:
        return tuple(str(part) for part in from_marker(token, tuple(map(str, first))))
    except InvalidInput as error:
        raise InvalidToken(error.message) from None


class Wanted(NamedTuple):
    """Which policies or actions a page is asked of: all of an account, or those of a resource, of some names if given."""

    account: str
    token: str | None
    limit: int | None
    resource: str | None = None
    names: Sequence[str] | None = None


async def page_of_named(
    wanted: Wanted,
    *,
    member: str,
    every: Callable[[str, tuple[str, str], int], Awaitable[list[T]]],
    of: Callable[[str, str], Awaitable[list[T]]],
    key: Callable[[T], tuple[str, str]],
) -> Page[T]:
    """A page by resource and name, which ``key`` tells. ``every`` finds those of an account beyond a key, ``of`` those of a
    resource; ``member`` is what AWS calls the names.
    """
    size = require_page(wanted.limit)
    resource, name = after_token(wanted.token, "", "")
    if wanted.resource is None and wanted.names:
        raise InvalidInput(f"resourceId is required when {member} are given")
    if wanted.resource is None:
        found = await every(wanted.account, (resource, name), size + 1)
    else:
        found = [
            each
            for each in await of(wanted.account, wanted.resource)
            if key(each) > (resource, name) and (not wanted.names or key(each)[1] in wanted.names)
        ]
    return page_of(found, key, size)


def page_of(items: list[T], key: Callable[[T], tuple[str, ...]], size: int) -> Page[T]:
    """The first ``size`` items, and the token of what follows."""
    return to_page(items, [key(item) for item in items], size)
