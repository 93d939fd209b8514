"""What one of several control planes remembers of the configuration, and when it must not use it.

It hears from the feed what others changed. While it may not have heard of something (``behind``) nothing remembered is used:
the database is asked for every call. What it has read there is used only when the others do not rely on what was before
any more (``agreed``), so that whoever asks one and then another is never told of older things.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from forerun.control.registry import Registry, Resolved, Split, pick_version

Behind = Callable[[], bool]
"""Whether something may have changed that is not known here."""


Agreed = Callable[[str, str], Awaitable[None]]
"""Returns when nobody relies on what a function of an account was before. Raises ``StorageFailed``."""


class Others(NamedTuple):
    """What there is to ask where others change what is kept here."""

    behind: Behind
    agreed: Agreed


class FollowingRegistry(Registry):
    """A registry that is not alone. ``follow`` before use."""

    _behind: Behind
    _agreed: Agreed

    def follow(self, others: Others) -> None:
        """Ask these before what is remembered, or was read, is used."""
        self._behind, self._agreed = others

    def peek(self, account: str, name: str, qualifier: str | None, pick: float) -> Resolved | None:
        """As ``Registry.peek``."""
        return None if self._behind() else super().peek(account, name, qualifier, pick)

    def shares(
        self, account: str, name: str, qualifier: str | None
    ) -> list[tuple[float, Resolved]] | None:
        """As ``Registry.shares``."""
        return None if self._behind() else super().shares(account, name, qualifier)

    async def resolve(
        self, account: str, name: str, qualifier: str | None, pick: float
    ) -> Resolved:
        """As ``Registry.resolve``. What others read just now may be older than the call."""
        if self._behind():
            return pick_version(await self._read(account, name, qualifier), pick)
        return await super().resolve(account, name, qualifier, pick)

    async def _read(self, account: str, name: str, qualifier: str | None) -> Split:
        try:
            return await super()._read(account, name, qualifier)
        finally:
            await self._agreed(account, name)
