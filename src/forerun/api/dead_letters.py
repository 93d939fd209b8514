"""Dead letters below ``/forerun/``: ``GET dead-letters`` and ``dead-letter``, ``POST redrive-dead-letters`` and ``delete-dead-letters``."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from forerun.api.caller import Caller
from forerun.api.numbers import whole_number
from forerun.api.platform import Command, Query, Route
from forerun.control.delivery.dead_letters import MOST_AT_ONCE, DeadLetters, Done, Which
from forerun.errors import InvalidInput
from forerun.model import DeadLetter

MAX_ITEMS = 1000
_FILTERS = ("Target", "Reason", "Shelf")
_MEMBERS = frozenset({"Ids", "All", "MemorySize", "Timeout", *_FILTERS})


class DeadLetterRoutes:
    """Tells each account of its own."""

    def __init__(self, letters: DeadLetters) -> None:
        self._letters = letters

    def routes(self) -> dict[str, Route]:
        """See ``PlatformRoutes``."""
        return {"dead-letters": self.list, "dead-letter": self.show}

    def commands(self) -> dict[str, Command]:
        """See ``PlatformRoutes``."""
        return {"redrive-dead-letters": self.redrive, "delete-dead-letters": self.delete}

    async def list(self, caller: Caller, query: Query) -> object:
        """Letters by ``Target``, ``Reason`` and ``Shelf``, in pages of ``MaxItems`` that ``Marker`` continues."""
        size = whole_number(query, "MaxItems", 50, MAX_ITEMS)
        page = await self._letters.page(caller.account, _which(query), query.get("Marker"), size)
        return {
            "DeadLetters": [_shown(letter) for letter in page.items],
            "NextMarker": page.marker,
        }

    async def show(self, caller: Caller, query: Query) -> object:
        """One letter (``Id``) with its payload, as text or Base64, and attributes."""
        if not (letter_id := query.get("Id", "")):
            raise InvalidInput("Id is required")
        letter = await self._letters.one(caller.account, letter_id)
        message = letter.message
        try:
            payload: dict[str, object] = {"Payload": message.payload.decode()}
        except UnicodeDecodeError:
            payload = {"PayloadBase64": base64.b64encode(message.payload).decode()}
        return {
            **_shown(letter),
            **payload,
            "Principal": message.principal,
            "Role": message.role,
            "TraceId": message.origin.trace_id,
            "Attributes": dict(message.attributes),
        }

    async def redrive(self, caller: Caller, wish: Mapping[str, Any]) -> object:
        """Send letters again; with ``MemorySize`` (MB) and ``Timeout`` (s) for that run only."""
        _check_members(wish, _MEMBERS)
        done = await self._letters.redrive(
            caller.account,
            _chosen(wish),
            memory_mb=_integer(wish, "MemorySize"),
            timeout_s=_integer(wish, "Timeout"),
        )
        return _told("Redriven", done)

    async def delete(self, caller: Caller, wish: Mapping[str, Any]) -> object:
        """Forget letters."""
        _check_members(wish, _MEMBERS - {"MemorySize", "Timeout"})
        return _told("Deleted", await self._letters.delete(caller.account, _chosen(wish)))


def _shown(letter: DeadLetter) -> dict[str, object]:
    message = letter.message
    return {
        "Id": letter.id,
        "Shelf": letter.shelf,
        "Source": message.source,
        "Target": message.target,
        "Reason": letter.reason,
        "Detail": letter.detail,
        "Attempts": letter.attempts,
        "FailedAt": letter.failed_at,
        "OccurredAt": message.occurred_at,
        "Bytes": len(message.payload),
    }


def _told(what: str, done: Done) -> dict[str, object]:
    return {
        what: done.letters,
        "Skipped": [
            {"Id": each.id, "Shelf": each.shelf, "Reason": each.why} for each in done.skipped
        ],
        "More": done.more,
    }


def _chosen(wish: Mapping[str, Any]) -> Sequence[str] | Which:
    """``Ids``, or all that the filters let through; to mean all of them ``All`` must be true."""
    ids = wish.get("Ids")
    filtered = any(wish.get(name) for name in _FILTERS)
    everything = wish.get("All", False)
    if not isinstance(everything, bool):
        raise InvalidInput("All must be true or false")
    if ids is None:
        if not filtered and not everything:
            raise InvalidInput("Give Ids, or Target, Reason or Shelf, or All as true")
        return _which(wish)
    if filtered or everything:
        raise InvalidInput("Give either Ids or Target, Reason, Shelf and All, not both")
    if (
        not isinstance(ids, list)
        or not 1 <= len(ids) <= MOST_AT_ONCE
        or not all(isinstance(each, str) and each for each in ids)
    ):
        raise InvalidInput(f"Ids must be a list of 1 to {MOST_AT_ONCE} ids of dead letters")
    return ids


def _which(given: Mapping[str, Any]) -> Which:
    values = {name.lower(): given.get(name) or "" for name in _FILTERS}
    for name, value in values.items():
        if not isinstance(value, str):
            raise InvalidInput(f"{name.title()} must be a text")
    return Which(**values)


def _integer(wish: Mapping[str, Any], name: str) -> int | None:
    value = wish.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise InvalidInput(f"{name} must be a whole number")
    return value


def _check_members(wish: Mapping[str, Any], known: frozenset[str]) -> None:
    if unknown := sorted(set(wish) - known):
        raise InvalidInput(f"{unknown[0][:100]} is not known; there are {', '.join(sorted(known))}")
