"""Names of warming pools, and the sub-pools of accounts: whose calls are served from where. Pure.

A pool is called ``RUNTIME``, with ``+sdk`` or the like behind it if more is imported (the AWS SDK), and ``@ACCOUNT`` behind
that if it is the sub-pool of one account, whose calls alone it serves.
"""

from forerun.errors import InvalidInput

FLOOR_MAX = 10_000
POOLED_MB = 8
RESERVED_MB = 128


def is_shared(pool: str) -> bool:
    """Whether calls of all accounts are served from it."""
    return "@" not in pool


def owner_of(pool: str) -> str:
    """The account of a sub-pool; empty for a pool that is shared."""
    return pool.partition("@")[2]


def booking_mb(pool: str) -> int:
    """What an unassigned sandbox of this pool books.

    What is one account's is there when all others have used up the memory, for a function of AWS's smallest size at least.
    """
    return POOLED_MB if is_shared(pool) else RESERVED_MB


def made_as(pool: str) -> str:
    """What sandboxes of this pool are made as: the pool it is a part of."""
    return pool.partition("@")[0]


def check(pool: str, floor: int) -> str:
    """The runtime of the pool. Raises ``InvalidInput`` for what is none, or cannot be held."""
    shared, at, account = pool.partition("@")
    if at and not (len(account) == 12 and account.isascii() and account.isdigit()):
        raise InvalidInput(f"the pool {pool!r} must be RUNTIME or RUNTIME@ACCOUNT, of 12 digits")
    if not 0 <= floor <= FLOOR_MAX:
        raise InvalidInput(f"a pool's floor must be from 0 to {FLOOR_MAX}, not {floor}")
    return shared.partition("+")[0]


class Subpools:
    """Which accounts have sub-pools, and whether their calls may take from the shared pool when theirs is empty."""

    def __init__(self) -> None:
        self._borrow: dict[str, bool] = {}

    def set(self, pool: str, *, borrow: bool) -> None:
        """There is this sub-pool from now on."""
        self._borrow[pool] = borrow

    def remove(self, pool: str) -> None:
        """There is none any more."""
        self._borrow.pop(pool, None)

    def of(self, pool: str, account: str) -> str | None:
        """The sub-pool of ``pool`` for this account, or else that of its runtime alone; ``None`` if it has neither."""
        for shared in (pool, pool.partition("+")[0]):
            name = f"{shared}@{account}"
            if name in self._borrow:
                return name
        return None

    def knows(self, subpool: str) -> bool:
        """Whether there is such a one."""
        return subpool in self._borrow

    def borrows(self, subpool: str) -> bool:
        """Whether its account's calls may be served from the shared pool."""
        return self._borrow[subpool]
