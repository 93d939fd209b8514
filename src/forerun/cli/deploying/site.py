"""What writers of resources need to know of the server, and what they tell when they are done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from forerun.cli.deploying.functions import UNCHANGED, UPDATED, Ensured
from forerun.cli.deploying.intrinsics import Made

Properties = Mapping[str, Any]
Result = tuple[Ensured, Made, str]
"""What was done, what the resource gives to ``Ref`` and ``Fn::GetAtt``, and a word on it for the summary."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where resources are made: ``clients`` gives a botocore client for a service.

    ``claimed`` holds what resources without names of their own were found to be in this run.
    """

    clients: Callable[[str], Any]
    region: str
    account: str
    claimed: set[str] = field(default_factory=set)

    def arn(self, service: str, resource: str) -> str:
        """Of something of this account, in this region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def also_changed(ensured: Ensured, *changed: bool) -> Ensured:
    """The same, but updated, when something that hangs on it was changed."""
    if any(changed) and ensured.action == UNCHANGED:
        return Ensured(UPDATED, ensured.answer)
    return ensured
