"""How a client's limit is spread over hosts, at one moment.

A client is an account with what its reservations leave, or one function with its reservation.
"""

import msgspec


class HeldShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one host has of a client's limit: ``amount`` is what it should run at most, ``counted`` what it may still be running.

    ``renewed`` goes up while some control plane hears of the host, and the host has not said that it keeps to the amount.
    """

    host: str
    amount: int
    counted: int
    epoch: int
    renewed: int = 0

    @property
    def draining(self) -> bool:
        """Whether it may run more than it should."""
        return self.counted > self.amount


class ShareBook(msgspec.Struct, frozen=True, kw_only=True):
    """A client at one moment. ``function`` is empty for the account itself; ``room`` is what nothing is counted for in the whole account.

    ``maximum`` is what is reserved, or what reservations leave of the account. ``version`` is that of the whole account.
    ``reserved_total`` and ``reserved`` are what ``maximum`` was made of.
    """

    account: str
    function: str
    version: int
    maximum: int
    room: int
    reserved_total: int = 0
    reserved: int | None = None
    held: tuple[HeldShare, ...] = ()

    @property
    def key(self) -> str:
        """That of its shares."""
        return share_key(self.account, self.function)

    @property
    def current(self) -> int:
        """How many calls its hosts should run at once at most."""
        return sum(each.amount for each in self.held)

    @property
    def counted(self) -> int:
        """How many calls its hosts can be running at once."""
        return sum(each.counted for each in self.held)


def share_key(account: str, function: str) -> str:
    """The key of a client's shares; ``function`` is empty for what an account's functions share."""
    return f"{account}:{function}" if function else account
