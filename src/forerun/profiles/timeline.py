"""How the calls of one execution lie in time: what was waited for, what came after what, what was repeated. Pure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from forerun.model import OutgoingCall
from forerun.profiles.naming import Callee
from forerun.profiles.reading import only_reads

FEWEST_IN_RUN = 3


class Named(NamedTuple):
    """A call and whom it went to; ``until`` is its end, or that of the execution when it had none (epoch seconds)."""

    call: OutgoingCall
    callee: Callee
    until: float

    @property
    def ms(self) -> float:
        """How long it took."""
        return max(0.0, self.until - self.call.started) * 1000

    @property
    def failed(self) -> bool:
        """Whether it ended with an exception or an HTTP status that says so."""
        return bool(self.call.error) or self.call.status >= 400


class Chain(NamedTuple):
    """Calls of one kind, one after the other, in one execution: how many, and from the first's start to the last's end."""

    key: str
    template: str
    length: int
    ms: float


class Repetition(NamedTuple):
    """A call that asked again what had been answered, ``apart_ms`` after that answer."""

    named: Named
    apart_ms: float


def busy_ms(calls: Sequence[Named]) -> float:
    """Milliseconds in which at least one of the calls was under way."""
    total, reached = 0.0, 0.0
    for named in sorted(calls, key=_start):
        began = max(named.call.started, reached)
        if named.until > began:
            total += named.until - began
            reached = named.until
    return total * 1000


def critical_ms(calls: Sequence[Named], started: float, ended: float) -> dict[str, float]:
    """Milliseconds that the execution waited for each callee, going back from its end.

    At any moment it waited for the call that ended last before it went on; what nobody was waited for is its own.
    """
    found: dict[str, float] = {}
    left = sorted(calls, key=lambda named: (named.until, -named.call.started))
    now = ended
    while left and now > started:
        named = left.pop()
        until = min(named.until, now)
        began = max(named.call.started, started)
        if until <= began:
            continue
        found[named.callee.key] = found.get(named.callee.key, 0.0) + (until - began) * 1000
        now = began
    return found


def chains(calls: Sequence[Named]) -> list[Chain]:
    """Runs of at least three calls to one callee and template that do not overlap and are not all the same.

    Calls of other kinds may lie between: a loop may do two things for each item.
    """
    found: list[Chain] = []
    runs: dict[tuple[str, str], list[Named]] = {}
    for named in sorted(calls, key=_start):
        run = runs.setdefault((named.callee.key, _template(named)), [])
        if run and named.call.started < run[-1].until:
            found += _chain(run)
            run.clear()
        run.append(named)
    for run in runs.values():
        found += _chain(run)
    return found


def _chain(run: Sequence[Named]) -> list[Chain]:
    if len(run) < FEWEST_IN_RUN or len({each.call.fingerprint for each in run}) == 1:
        return []
    first, last = run[0], run[-1]
    length_ms = (last.until - first.call.started) * 1000
    return [Chain(first.callee.key, _template(first), len(run), length_ms)]


def _template(named: Named) -> str:
    return named.callee.operation or named.callee.name


def retried(calls: Sequence[Named]) -> list[Named]:
    """Calls that repeat an equal one that had failed before they began."""
    return _again(calls, lambda earlier: earlier.failed)


def _again(calls: Sequence[Named], counts: Callable[[Named], bool]) -> list[Named]:
    found: list[Named] = []
    ended: dict[int, float] = {}
    for named in sorted(calls, key=_start):
        fingerprint = named.call.fingerprint
        if fingerprint and ended.get(fingerprint, named.call.started + 1) <= named.call.started:
            found.append(named)
        if fingerprint and counts(named):
            ended[fingerprint] = min(named.until, ended.get(fingerprint, named.until))
    return found


def repetitions(calls: Sequence[Named]) -> list[Repetition]:
    """Calls that repeat an equal one that had succeeded, with nothing written to that callee in between."""
    found: list[Repetition] = []
    answered: dict[int, float] = {}
    by_callee: dict[str, list[int]] = {}
    for named in sorted(calls, key=_start):
        fingerprint, key = named.call.fingerprint, named.callee.key
        until = answered.get(fingerprint) if fingerprint else None
        if until is not None and until <= named.call.started:
            found.append(Repetition(named, (named.call.started - until) * 1000))
        elif not only_reads(named.call):
            # It may have changed what others of this callee would answer now; an equal one is a repetition still.
            for other in by_callee.pop(key, ()):
                if other != fingerprint:
                    answered.pop(other, None)
        if fingerprint and named.call.ended and not named.failed:
            answered[fingerprint] = named.until
            by_callee.setdefault(key, []).append(fingerprint)
    return found


def _start(named: Named) -> tuple[float, float]:
    return named.call.started, named.until
