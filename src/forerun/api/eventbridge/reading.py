"""What all operations of EventBridge read and print alike."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Members
from forerun.control.paging import from_marker
from forerun.errors import InvalidInput
from forerun.sources.buses import Place

PAGE = 100
SERVICE = "events.amazonaws.com"


def place_of(caller: Caller) -> Place:
    """Where the caller's buses are."""
    return Place(caller.region, caller.account)


def own_bus(caller: Caller, request: Any) -> str:
    """The bus a request is about, which must be the caller's. ``NotFound`` when it is another's."""
    return place_of(caller).own_bus(request.EventBusName)


def begin_page(request: Any) -> tuple[str, int]:
    """After which name, and how many."""
    return str(from_marker(request.NextToken, ("",))[0]), request.Limit or PAGE


def tags_of(given: Any) -> dict[str, str]:
    """Tags by key. ``InvalidInput`` when one is given twice."""
    tags = {tag.Key: tag.Value for tag in given or ()}
    if len(tags) < len(given or ()):
        raise InvalidInput("Invalid parameter: Duplicated keys are not allowed.")
    return tags


def printed_tags(tags: dict[str, str]) -> list[Members]:
    """Tags as AWS lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def without_empty(members: Members) -> Members:
    """Members that have a value."""
    return {name: value for name, value in members.items() if value not in ("", None)}
