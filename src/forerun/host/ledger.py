"""Who has booked how much of the host's memory. Pure.

Promise: the sum of bookings never exceeds the capacity; a request enters only when at least as much is free as it asks
for. The number of sandboxes is bounded in the same way.
"""

from collections.abc import Hashable


class Ledger:
    """Bookings in MiB by owner (any hashable thing); an owner has one booking or none."""

    def __init__(self, capacity_mb: int, capacity_count: int) -> None:
        self.capacity_mb = capacity_mb
        self.capacity_count = capacity_count
        self._bookings: dict[Hashable, int] = {}
        self._returning: dict[Hashable, int] = {}
        self._booked_mb = 0
        self._returning_mb = 0

    @property
    def booked_mb(self) -> int:
        """What all owners hold together."""
        return self._booked_mb

    @property
    def free_mb(self) -> int:
        """What can be booked now."""
        return self.capacity_mb - self._booked_mb

    @property
    def returning_mb(self) -> int:
        """What is held still, but about to be free."""
        return self._returning_mb

    def held(self, owner: Hashable) -> int:
        """What this owner holds, 0 for strangers."""
        return self._bookings.get(owner, 0)

    def fits(self, mb: int) -> bool:
        """Whether one more owner with ``mb`` could enter now."""
        return mb <= self.free_mb and len(self._bookings) < self.capacity_count

    def book(self, owner: Hashable, mb: int) -> bool:
        """Book for a new owner; false, and nothing booked, when it does not fit."""
        if owner in self._bookings:
            raise ValueError(f"{owner!r} holds a booking already")
        if mb < 0:
            raise ValueError("a booking cannot be negative")
        if not self.fits(mb):
            return False
        self._bookings[owner] = mb
        self._booked_mb += mb
        return True

    def rebook(self, owner: Hashable, mb: int) -> bool:
        """Change what an owner holds to ``mb``; false, and nothing changed, when it would need more than is free.

        Raises ``KeyError`` for strangers.
        """
        more = mb - self._bookings[owner]
        if more > self.free_mb:
            return False
        self._bookings[owner] = mb
        self._booked_mb += more
        return True

    def move(self, owner: Hashable, heir: Hashable) -> int:
        """Give the owner's booking to ``heir``, whose own, if any, becomes free; answers what the heir holds now."""
        mb = self._bookings.pop(owner)
        self._booked_mb -= self._bookings.pop(heir, 0)
        self._bookings[heir] = mb
        return mb

    def returning(self, owner: Hashable) -> None:
        """The owner is about to give its booking back: it counts as held, and as a prospect."""
        mb = self._bookings.get(owner)
        if mb is not None and owner not in self._returning:
            self._returning[owner] = mb
            self._returning_mb += mb

    def release(self, owner: Hashable) -> int:
        """Free the owner's booking; 0 when it had none."""
        mb = self._bookings.pop(owner, 0)
        self._booked_mb -= mb
        self._returning_mb -= self._returning.pop(owner, 0)
        return mb

    def lacks(self, mb: int, count: int) -> bool:
        """Whether ``mb`` for ``count`` new owners will not fit even when all that is returning has returned."""
        return mb > self.free_mb + self._returning_mb or count > self.capacity_count - len(
            self._bookings
        ) + len(self._returning)
