"""What requests are called."""

from random import Random

from forerun.aio import Scope

GIVEN = "forerun.request-id"
"""Where a scope has the name that another control plane gave the request before it passed it on."""

_random = Random()  # noqa: S311 names, not secrets


def request_id(scope: Scope) -> str:
    """The name that it has, or a new one in the form of a random UUID; unique, not secret."""
    return scope.get(GIVEN) or new_request_id()


def new_request_id() -> str:
    """A new one."""
    drawn = f"{_random.getrandbits(128):032x}"
    return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-{'89ab'[int(drawn[16], 16) & 3]}{drawn[17:20]}-{drawn[20:]}"
