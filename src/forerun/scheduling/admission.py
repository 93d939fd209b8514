"""Who may run now: concurrency of accounts and of functions, counted as leases come and go. Pure.

A function with reserved concurrency runs within its reservation and nowhere else; all other functions of the account
share what the reservations leave, but one with provisioned concurrency has that for itself. Nothing is ever recounted,
and nothing is remembered of who runs nothing and reserves nothing.
"""

from types import TracebackType
from typing import Self

from forerun.errors import InvalidInput, Throttled

RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"
UNRESERVED = "ConcurrentInvocationLimitExceeded"
MESSAGE = "Rate Exceeded."
RETRY_AFTER_S = 1.0


class _Function:
    __slots__ = ("name", "provisioned", "reserved", "running")

    def __init__(self, name: str) -> None:
        self.name = name
        self.running = 0
        self.reserved: int | None = None
        self.provisioned = 0

    @property
    def shared(self) -> int:
        """How many of its calls run in what all functions share."""
        return max(0, self.running - self.provisioned) if self.reserved is None else 0

    @property
    def own(self) -> int:
        """What of the account it has for itself."""
        return self.provisioned if self.reserved is None else self.reserved


class _Account:
    """``shared`` counts the running calls of functions beyond what they have for themselves, and ``reserved`` sums what they
    have: reservations, and what is provisioned of functions without one. ``peaks`` are the most calls of each function
    at once since somebody asked.
    """

    __slots__ = ("functions", "limit", "peaks", "reserved", "running", "shared")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved = 0
        self.shared = 0
        self.running = 0
        self.functions: dict[str, _Function] = {}
        self.peaks: dict[str, int] = {}

    def function(self, name: str) -> _Function:
        found = self.functions.get(name)
        if found is None:
            found = self.functions[name] = _Function(name)
        return found

    def reserve(self, function: _Function, reserved: int | None) -> None:
        """Change a reservation; what runs of the function moves to the other side of the account."""
        self._change(function, reserved, function.provisioned)

    def _change(self, function: _Function, reserved: int | None, provisioned: int) -> None:
        self.shared -= function.shared
        self.reserved -= function.own
        function.reserved, function.provisioned = reserved, provisioned
        self.shared += function.shared
        self.reserved += function.own

    def provision(self, function: _Function, amount: int) -> None:
        """Change what it has for itself without a reservation."""
        self._change(function, function.reserved, amount)

    def forget(self, function: _Function) -> None:
        if not function.running and function.reserved is None and not function.provisioned:
            self.functions.pop(function.name, None)


class Lease:
    """The right to run one call; a context manager. Releasing it again changes nothing."""

    __slots__ = ("_account", "_function")

    def __init__(self, account: _Account, function: _Function) -> None:
        self._account = account
        self._function: _Function | None = function

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """The call has ended."""
        function, self._function = self._function, None
        if function is None:
            return
        account = self._account
        function.running -= 1
        account.running -= 1
        if function.reserved is None:
            if function.running >= function.provisioned:
                account.shared -= 1
            if not function.running:
                account.forget(function)


class Admission:
    """Grants leases up to each account's limit; ``account_limit`` is that of accounts without one of their own.

    One that is not ``limited`` grants all, and only counts: of a cluster it sees a part.
    """

    def __init__(self, account_limit: int = 1000, *, limited: bool = True) -> None:
        self._default = account_limit
        self._limited = limited
        self._accounts: dict[str, _Account] = {}

    def admit(self, account: str, function: str, reserved: int | None = None) -> Lease:
        """A lease for one call of a function whose reserved concurrency is ``reserved`` (``None``: none).

        Raises ``Throttled`` when the reservation, or the account's unreserved concurrency, is used up; a reservation
        of 0 admits nothing. A value that differs from the one known is taken over.
        """
        entry = self._accounts.get(account)
        if entry is None:
            entry = self._accounts[account] = _Account(self._default)
        called = entry.function(function)
        if called.reserved != reserved:
            entry.reserve(called, reserved)
        if reserved is not None:
            if called.running >= reserved and self._limited:
                raise Throttled(MESSAGE, reason=RESERVED, retry_after_s=RETRY_AFTER_S)
        elif called.running >= called.provisioned:
            if entry.shared >= entry.limit - entry.reserved and self._limited:
                entry.forget(called)
                raise Throttled(MESSAGE, reason=UNRESERVED, retry_after_s=RETRY_AFTER_S)
            entry.shared += 1
        called.running = running = called.running + 1
        entry.running += 1
        if running > entry.peaks.get(function, 0):
            entry.peaks[function] = running
        return Lease(entry, called)

    def take_peaks(self) -> dict[tuple[str, str], int]:
        """How many calls of each function ran at once at most since this was asked before, by account and name."""
        taken: dict[tuple[str, str], int] = {}
        for account, entry in self._accounts.items():
            for name, peak in entry.peaks.items():
                taken[account, name] = peak
            entry.peaks = {
                name: function.running
                for name, function in entry.functions.items()
                if function.running
            }
        return taken

    def reserve(self, account: str, function: str, reserved: int | None) -> None:
        """Set, change or (``None``) remove a function's reservation, so that it counts before its first call too."""
        if reserved is not None and reserved < 0:
            raise InvalidInput("reserved concurrency cannot be negative")
        entry = self._accounts.setdefault(account, _Account(self._default))
        called = entry.function(function)
        entry.reserve(called, reserved)
        entry.forget(called)

    def provision(self, account: str, function: str, amount: int) -> None:
        """So many calls of a function without reservation run whatever others do; of one with it, it is part of that."""
        if amount < 0:
            raise InvalidInput("provisioned concurrency cannot be negative")
        entry = self._accounts.setdefault(account, _Account(self._default))
        called = entry.function(function)
        entry.provision(called, amount)
        entry.forget(called)

    def set_limit(self, account: str, limit: int) -> None:
        """Change an account's concurrency; what runs already may stay above it until it ends."""
        if limit < 0:
            raise InvalidInput("a concurrency limit cannot be negative")
        self._accounts.setdefault(account, _Account(limit)).limit = limit

    def limit(self, account: str) -> int:
        """The account's concurrency."""
        entry = self._accounts.get(account)
        return self._default if entry is None else entry.limit

    def unreserved(self, account: str) -> int:
        """What reservations and provisioned concurrency leave of the account; never negative."""
        entry = self._accounts.get(account)
        return self._default if entry is None else max(0, entry.limit - entry.reserved)

    def reservations(self, account: str) -> dict[str, int]:
        """What is reserved of the account, by function."""
        entry = self._accounts.get(account)
        functions = entry.functions.values() if entry is not None else ()
        return {each.name: each.reserved for each in functions if each.reserved is not None}

    def free(self, account: str, function: str, reserved: int | None = None) -> int:
        """How many more calls of a function would be admitted now, beside those that run; never negative."""
        entry = self._accounts.get(account)
        called = entry.functions.get(function) if entry is not None else None
        running = called.running if called is not None else 0
        if reserved is not None:
            return max(0, reserved - running)
        if entry is None:
            return self._default
        own = max(0, called.provisioned - running) if called is not None else 0
        return own + max(0, entry.limit - entry.reserved - entry.shared)

    def running(self, account: str, function: str | None = None) -> int:
        """How many calls of the account, or of one of its functions, run now."""
        entry = self._accounts.get(account)
        if entry is None:
            return 0
        if function is None:
            return entry.running
        called = entry.functions.get(function)
        return called.running if called else 0
