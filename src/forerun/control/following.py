"""What one of several control planes remembers of the configuration, and when it must not use it.

It hears from the feed what others changed. While it may not have heard of something (``behind``) nothing remembered is used:
the database is asked for every call.
"""

from collections.abc import Callable

from forerun.control.registry import Registry, Resolved, pick_version

Behind = Callable[[], bool]
"""Whether something may have changed that is not known here."""


class FollowingRegistry(Registry):
    """A registry that is not alone. ``follow`` before use."""

    _behind: Behind

    def follow(self, behind: Behind) -> None:
        """Ask this before what is remembered is used."""
        self._behind = behind

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
