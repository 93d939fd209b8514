"""Pages of a listing: markers name the last key that was shown, so that a page costs the same wherever it begins."""

import base64
import binascii
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from forerun.errors import InvalidInput

PAGE = 50

T = TypeVar("T")
Key = tuple[str | int, ...]


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Items in the order of their keys; ``marker`` is ``None`` on the last page."""

    items: list[T]
    marker: str | None = None


def page_size(asked: int | None, most: int = PAGE) -> int:
    """Items per page: what was asked for, at most ``most``."""
    return most if asked is None else max(1, min(asked, most))


def to_marker(key: Key) -> str:
    """An opaque text for the key of the last item shown."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def from_marker(marker: str | None, first: Key) -> Key:
    """The key to continue after; ``first`` sorts before everything and gives the shape. ``InvalidInput`` when it is none."""
    if not marker:
        return first
    try:
        padded = marker + "=" * (-len(marker) % 4)
        key: list[str | int] = msgspec.json.decode(
            base64.b64decode(padded, altchars=b"-_", validate=True), type=list[str | int]
        )
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise InvalidInput("Invalid pagination token") from error
    if [type(part) for part in key] != [type(part) for part in first]:
        raise InvalidInput("Invalid pagination token")
    return tuple(key)


def to_page(items: Sequence[T], keys: Sequence[Key], size: int) -> Page[T]:
    """A page of at most ``size`` items from what was fetched, which is one more when there is a next page."""
    if len(items) <= size:
        return Page(list(items))
    return Page(list(items[:size]), to_marker(keys[size - 1]))
