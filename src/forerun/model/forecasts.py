"""What is expected to be called, and what is held ready for it."""

from enum import StrEnum
from typing import NamedTuple

import msgspec

from forerun.model.execution import StartType


class Qualified(NamedTuple):
    """A function by the name it is called by: ``qualifier`` is a version or alias, empty where callers give none."""

    account: str
    name: str
    qualifier: str = ""


class Successor(NamedTuple):
    """A function that executions of another one call, as the caller's profile has it.

    ``likelihood`` is the share of executions that do, of which ``samples`` were watched; ``calls`` is how many calls
    under way at once such an execution has (the 95th percentile). Delays are seconds from the caller's start to its first
    call. ``outlives``: its calls are mostly accepted for later, so they may begin when the caller has ended.
    ``excludes`` names the caller's other successors that never occur together with this one.
    """

    function: Qualified
    likelihood: float
    samples: int
    calls: int = 1
    delay_p50_s: float = 0.0
    delay_p95_s: float = 0.0
    outlives: bool = False
    excludes: frozenset[Qualified] = frozenset()


class Reason(StrEnum):
    """What an expectation is drawn from.

    ``RECENT`` it was called a moment ago, and such functions are called again; ``PERIOD`` it is called at regular times;
    ``HABIT`` gaps of this length are usual for it; ``LEADER`` a function whose calls are followed by calls of this one
    was called; ``CALLER`` an execution that runs now is likely to call it; ``PROVISIONED`` somebody has asked for it.
    """

    RECENT = "recent"
    PERIOD = "period"
    HABIT = "habit"
    LEADER = "leader"
    CALLER = "caller"
    PROVISIONED = "provisioned"


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """That ``count`` calls at once will begin between ``since`` and ``until`` (epoch seconds), with ``probability``.

    ``until`` is the end of its lease: what was prepared for it and was not used is given up then. ``cause`` names what
    it is drawn from: the request id of the execution that runs, the name of the leading function, or a period in seconds.
    """

    since: float
    until: float
    probability: float
    reason: Reason
    count: int = 1
    cause: str = ""


class Standby(msgspec.Struct, frozen=True, kw_only=True):
    """What a host shall hold ready of one version from now on, until it is told otherwise or ``lease_s`` seconds are over.

    ``idle`` sandboxes beside those that work, and at least ``total`` altogether, whose init then counts as provisioned:
    those are never evicted. Idle ones beyond that go ``linger_s`` seconds after their last call; ``None``: when the
    host's own rule says so. What is made for it starts as ``start`` (``PREWARMED`` or ``PRELOADED``), because of
    ``cause``. ``calls_per_s`` is how often a call is expected meanwhile: what an idle sandbox is worth under pressure.
    """

    idle: int = 0
    total: int = 0
    lease_s: float = 0.0
    linger_s: float | None = None
    start: StartType = StartType.PREWARMED
    reason: Reason = Reason.RECENT
    cause: str = ""
    calls_per_s: float = 0.0
