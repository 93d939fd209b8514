"""What decides from past calls when functions have a sandbox ready: one face for all policies, live and in replay."""

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from forerun.model import Expectation

F = TypeVar("F", bound=Hashable)


class Cost(NamedTuple):
    """What a sandbox of a function costs: MB while it is held, milliseconds when a call has to wait for its start."""

    memory_mb: float = 128.0
    start_ms: float = 100.0


class Policy(Protocol[F]):
    """Keeps what it needs of each function's past in bounded memory. Functions are any hashable values.

    A policy knows no clock: moments are epoch seconds, given in the order they happen. In replay by minutes ``at`` is the
    minute's begin, and a call in a minute finds its function ready if an expectation covers that begin.
    """

    def observe(self, function: F, at: float, count: int = 1) -> Iterable[F]:
        """So many calls of the function began at ``at``; the functions whose windows may have changed by it."""
        ...

    def advance(self, now: float) -> Iterable[F]:
        """It is ``now``, whether anything was called or not; the functions whose windows are to be asked for again.

        A policy may plan a stretch ahead at a time. Called at least once a minute, and before ``observe`` for the same moment.
        """
        ...

    def windows(self, function: F, now: float) -> Sequence[Expectation]:
        """When the function shall have a sandbox ready from ``now`` on, if it is not called again; in order, disjoint.

        They hold until ``observe`` or ``advance`` name the function.
        """
        ...
