"""What the host knows of one sandbox, and of all sandboxes of one function version."""

import math
from enum import Enum
from typing import Generic, TypeVar

from forerun.host.hold import Hold
from forerun.host.rates import Rate
from forerun.model import StartType

S = TypeVar("S")


# Ends the key of the sandbox that others of its version are copied from.
TEMPLATE = ".template"


def version_key(key: str) -> str:
    """The key of the version that sandboxes of ``key`` belong to, be they templates or not."""
    return key.removesuffix(TEMPLATE)


class State(Enum):
    """Where a sandbox is in its life; it only moves down this list, but for idle and busy, which alternate."""

    CREATING = "creating"
    POOLED = "pooled"
    ASSIGNING = "assigning"
    IDLE = "idle"
    BUSY = "busy"
    DYING = "dying"


class Slot(Generic[S]):
    """The entry of one sandbox, from before it exists until it is gone. Only ``Pool`` changes ``state``.

    ``memory_mb`` is what its version may use, ``booked_mb`` what the ledger holds for it. ``start_ms`` is what it took to
    make it ready for its version; from ``retire_at`` on it serves no further call. ``doomed`` means: destroy it instead of
    using it again. ``slim`` is an idle one that has booked only what it holds; ``promised``, a slim one that a waiting
    call counts on. ``timed``, ``ranked`` and ``rank`` belong to the evictor.

    ``prepared`` was made ahead of any call, because of ``cause``; its first call starts as ``start``. ``provisioned`` is
    one that gives way to nobody; ``kept``, an idle one that would be gone but for a standby. ``idle_mb_s`` is what it has
    cost, in MB times seconds, between turning idle and turning slim at ``slim_since``.
    """

    __slots__ = (
        "access_key_id",
        "booked_mb",
        "calls",
        "cause",
        "doomed",
        "family",
        "id",
        "idle_mb_s",
        "idle_since",
        "kept",
        "log_stream",
        "memory_mb",
        "prepared",
        "promised",
        "provisioned",
        "rank",
        "ranked",
        "retire_at",
        "runtime",
        "sandbox",
        "slim",
        "slim_since",
        "start",
        "start_ms",
        "state",
        "timed",
        "zygote",
    )

    def __init__(self, number: int, runtime: str) -> None:
        self.id = number
        self.runtime = runtime
        self.state = State.CREATING
        self.sandbox: S | None = None
        self.family: Family[S] | None = None
        self.memory_mb = 0
        self.booked_mb = 0
        self.start_ms = 0.0
        self.calls = 0
        self.idle_since = 0.0
        self.log_stream = ""
        self.access_key_id = ""
        self.retire_at = math.inf
        self.zygote = True
        self.doomed = False
        self.slim = False
        self.promised = False
        self.timed = False
        self.ranked = False
        self.rank = 0.0
        self.start = StartType.PREWARMED
        self.cause = ""
        self.prepared = False
        self.provisioned = False
        self.kept = False
        self.idle_mb_s = 0.0
        self.slim_since = 0.0

    def __repr__(self) -> str:
        key = self.family.key if self.family else "-"
        return f"<Slot {self.id} {self.runtime} {self.state.value} key={key} calls={self.calls}>"

    def idle_cost(self, now: float) -> float:
        """MB times seconds that it has cost since it turned idle."""
        if self.slim:
            return self.idle_mb_s + self.booked_mb * max(0.0, now - self.slim_since)
        return self.booked_mb * max(0.0, now - self.idle_since)


class Family(Generic[S]):
    """All sandboxes of one key, and how often the key is called.

    ``warm``, ``prewarmed`` and ``slim`` hold the idle ones, the most recently used last; promised ones are in none.
    ``hold`` is there while a standby holds. ``idle_mb_s`` is what idle ones have cost since the call before: those that
    were used, and those that were given up.
    """

    __slots__ = ("hold", "idle_mb_s", "key", "prewarmed", "rate", "slim", "slots", "warm")

    def __init__(self, key: str, rate: Rate) -> None:
        self.key = key
        self.rate = rate
        self.slots: dict[int, Slot[S]] = {}
        self.warm: dict[int, Slot[S]] = {}
        self.prewarmed: dict[int, Slot[S]] = {}
        self.slim: dict[int, Slot[S]] = {}
        self.hold: Hold | None = None
        self.idle_mb_s = 0.0

    @property
    def idle(self) -> int:
        """How many wait and are promised to no call."""
        return len(self.warm) + len(self.prewarmed) + len(self.slim)
