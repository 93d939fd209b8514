"""Listing keys in pages, with those that share a beginning up to a delimiter told as one.

Keys are compared as UTF-8, byte by byte. Whatever shares a common beginning is jumped over, not read.
"""

from collections.abc import Awaitable
from typing import NamedTuple, Protocol

from forerun.storage.objects import StoredObject

BATCH = 1000
# What is read again after a jump: most likely the next key is of another beginning again.
SHORT = 16


class Fetch(Protocol):
    """Reads objects in the order of their keys."""

    def __call__(
        self, start: bytes, *, after: bool, before: bytes | None, limit: int
    ) -> Awaitable[list[StoredObject]]:
        """Those from ``start`` on (beyond it with ``after``), below ``before``."""
        ...


class Listed(NamedTuple):
    """A page: objects and common beginnings, each in order; ``last`` is the last one of both, ``more`` whether there is more."""

    objects: list[StoredObject]
    prefixes: list[str]
    last: str
    more: bool


def successor(prefix: bytes) -> bytes | None:
    """The first key beyond all that begin with ``prefix``; ``None`` when there is none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


async def list_page(
    fetch: Fetch, *, prefix: str = "", delimiter: str = "", after: str = "", most: int = 1000
) -> Listed:
    """At most ``most`` entries later than ``after``, which may be a key or a common beginning of the page before."""
    if most <= 0:
        return Listed([], [], "", more=False)
    page = _Page(fetch, prefix, delimiter, most)
    start, beyond = page.beginning(after)
    limit = min(BATCH, most + 1)
    while start is not None:
        found = await fetch(start, after=beyond, before=page.bound, limit=limit)
        jump = page.take(found)
        if page.more or (jump is None and len(found) < limit):
            break
        if jump is None:
            start, beyond, limit = found[-1].key.encode(), True, min(BATCH, limit * 4)
        else:
            start, beyond, limit = successor(jump), False, SHORT
    return Listed(page.objects, page.prefixes, page.last, page.more)


class _Page:
    def __init__(self, fetch: Fetch, prefix: str, delimiter: str, most: int) -> None:
        self._fetch = fetch
        self._prefix = prefix
        self._delimiter = delimiter
        self._most = most
        self._jumped = ""
        self.bound = successor(prefix.encode())
        self.objects: list[StoredObject] = []
        self.prefixes: list[str] = []
        self.last = ""
        self.more = False

    def beginning(self, after: str) -> tuple[bytes | None, bool]:
        """Where to read from, and whether beyond it."""
        common = self._common(after)
        if common and common == after:
            # The page before ended with this common beginning.
            return successor(after.encode()), False
        if after.encode() < self._prefix.encode():
            return self._prefix.encode(), False
        return after.encode(), bool(after)

    def take(self, found: list[StoredObject]) -> bytes | None:
        """Add what was read, up to the page's end; the common beginning that the last one has, to be jumped over."""
        jump = None
        for each in found:
            common = self._common(each.key)
            jump = common.encode() if common else None
            if common and common == self._jumped:
                continue
            if len(self.objects) + len(self.prefixes) == self._most:
                self.more = True
                return None
            if common:
                self._jumped = common
                self.prefixes.append(common)
            else:
                self.objects.append(each)
            self.last = common or each.key
        return jump

    def _common(self, key: str) -> str:
        """The beginning that is told instead of this key; empty when the key itself is."""
        if not self._delimiter or not key.startswith(self._prefix):
            return ""
        end = key.find(self._delimiter, len(self._prefix))
        return key[: end + len(self._delimiter)] if end >= 0 else ""
