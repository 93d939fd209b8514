"""What a decision asks to be done. Pure."""

from typing import Generic

from forerun.host.line import Ticket
from forerun.host.slots import S, Slot


class Effects(Generic[S]):
    """What must be done now: make sandboxes, destroy sandboxes, and wake the callers whose ticket is settled."""

    __slots__ = ("create", "destroy", "settled")

    def __init__(self) -> None:
        self.create: list[Slot[S]] = []
        self.destroy: list[Slot[S]] = []
        self.settled: list[tuple[Ticket, Slot[S] | None]] = []

    def __bool__(self) -> bool:
        return bool(self.create or self.destroy or self.settled)

    def settle(self, ticket: Ticket, slot: Slot[S] | None) -> None:
        """The call waits no more: it has a sandbox, or ``ticket.error``."""
        ticket.settled = True
        self.settled.append((ticket, slot))
