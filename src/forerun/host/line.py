"""The calls that wait, in the order they came. Pure.

A call waits first for memory, where the line moves strictly in order, so that large requests are not starved by small
ones; then, with its memory booked, for a sandbox of its runtime. Every move costs the same however long the line is.
"""

from collections import OrderedDict
from collections.abc import Iterator

from forerun.errors import ForerunError
from forerun.model import StartType

OVERTAKE_MAX = 16
# AWS's reason for a call that is refused because there is no room for it.
REASON = "ConcurrentInvocationLimitExceeded"
SPENT = "ReservedFunctionConcurrentInvocationLimitExceeded"
"""AWS's reason for a call whose account has used up what waits for it alone, and may use nothing else."""


class Ticket:
    """One waiting call. It is settled with a ``slot_id``'s owner or an ``error``, or withdrawn.

    ``deadline`` is in seconds of the monotonic clock. ``ahead_of_need`` marks the preparation of a sandbox, which is
    not served by one that is ready already; one that is ``yielding`` besides stands back behind calls in everything.
    ``account`` is whose call it is. ``waited`` says that memory was not there at once; one that is ``impatient`` is refused then, unless
    it is about to be.
    """

    __slots__ = (
        "account",
        "ahead_of_need",
        "booked",
        "deadline",
        "error",
        "impatient",
        "key",
        "memory_mb",
        "overtaken",
        "runtime",
        "settled",
        "start",
        "waited",
        "yielding",
    )

    def __init__(  # noqa: PLR0913 what a call wants, one by one
        self,
        key: str,
        runtime: str,
        memory_mb: int,
        deadline: float,
        *,
        ahead_of_need: bool = False,
        yielding: bool = False,
        account: str = "",
        impatient: bool = False,
    ) -> None:
        self.key = key
        self.runtime = runtime
        self.memory_mb = memory_mb
        self.deadline = deadline
        self.ahead_of_need = ahead_of_need or yielding
        self.yielding = yielding
        self.account = account
        self.impatient = impatient
        self.booked = False
        self.settled = False
        self.waited = False
        self.overtaken = 0
        self.start = StartType.COLD
        self.error: ForerunError | None = None

    def __repr__(self) -> str:
        return f"<Ticket {self.key} {self.runtime} {self.memory_mb} MB booked={self.booked} settled={self.settled}>"


_Queue = OrderedDict[Ticket, None]


class Line:
    """All tickets that are neither settled nor withdrawn."""

    def __init__(self) -> None:
        self._all: _Queue = OrderedDict()
        self._memory: _Queue = OrderedDict()
        self._sandbox: dict[str, _Queue] = {}
        self._yielding: dict[str, _Queue] = {}
        self._by_key: dict[str, _Queue] = {}
        self.lacking_mb = 0

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Ticket]:
        return iter(tuple(self._all))

    @property
    def lacking(self) -> int:
        """How many tickets wait for memory; ``lacking_mb`` is what they ask for together."""
        return len(self._memory)

    def wanting(self, runtime: str) -> int:
        """How many tickets have memory and wait for a sandbox of this runtime."""
        return len(self._sandbox.get(runtime, ())) + len(self._yielding.get(runtime, ()))

    def join(self, ticket: Ticket) -> None:
        """Wait for memory, at the end of the line."""
        self._all[ticket] = None
        self._memory[ticket] = None
        self.lacking_mb += ticket.memory_mb
        if not ticket.ahead_of_need:
            self._by_key.setdefault(ticket.key, OrderedDict())[ticket] = None

    def first_lacking(self) -> Ticket | None:
        """The ticket that waits longest for memory."""
        return next(iter(self._memory), None)

    def first_lacking_of(self, runtime: str) -> Ticket | None:
        """The ticket that waits longest for memory among those that want a sandbox of this runtime."""
        return next((ticket for ticket in self._memory if ticket.runtime == runtime), None)

    def booked(self, ticket: Ticket) -> None:
        """It has its memory; wait for a sandbox of its runtime."""
        del self._memory[ticket]
        self.lacking_mb -= ticket.memory_mb
        ticket.booked = True
        queues = self._yielding if ticket.yielding else self._sandbox
        queues.setdefault(ticket.runtime, OrderedDict())[ticket] = None

    def first_wanting(self, runtime: str) -> Ticket | None:
        """The ticket that waits longest for a sandbox of this runtime; one that yields only where there is no other."""
        first = next(iter(self._sandbox.get(runtime, ())), None)
        return first or self.first_yielding(runtime)

    def first_yielding(self, runtime: str | None = None) -> Ticket | None:
        """A ticket that has memory, waits for a sandbox (of this runtime), and stands back behind every call."""
        if runtime is None:
            runtime = next(iter(self._yielding), "")
        return next(iter(self._yielding.get(runtime, ())), None)

    def first_of(self, key: str) -> Ticket | None:
        """The ticket of this key that waits longest and takes a used sandbox."""
        return next(iter(self._by_key.get(key, ())), None)

    def heir(self, key: str) -> Ticket | None:
        """The call that a sandbox of this key serves next, unless that would overtake the head of the line once too often."""
        ticket = self.first_of(key)
        if ticket is None:
            return None
        head = self.first_lacking()
        if ticket.booked or head is None or head is ticket:
            return ticket
        if head.overtaken >= OVERTAKE_MAX:
            return None
        head.overtaken += 1
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """It waits no more."""
        del self._all[ticket]
        if ticket.booked:
            _drop(self._yielding if ticket.yielding else self._sandbox, ticket.runtime, ticket)
        else:
            del self._memory[ticket]
            self.lacking_mb -= ticket.memory_mb
        if not ticket.ahead_of_need:
            _drop(self._by_key, ticket.key, ticket)


def _drop(index: dict[str, _Queue], name: str, ticket: Ticket) -> None:
    queue = index[name]
    del queue[ticket]
    if not queue:
        del index[name]
