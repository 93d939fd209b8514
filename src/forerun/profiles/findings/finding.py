"""What a finding says, and what it is found from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec

from forerun.profiles.likelihood import likelihood
from forerun.profiles.profile import FUNCTION, CalleeProfile, Likelihood, Profile

# With fewer executions a share of 10 % may be chance: its interval of 95 % reaches from 3 to 30 %.
AT_LEAST = 20
# From so many on a share is known well enough to act on it: within 10 points.
MANY = 100


class Kind(StrEnum):
    """What can be found."""

    SEQUENTIAL = "sequential-calls"
    REPEATED = "repeated-calls"
    LOOP = "call-loop"
    WAITING = "waiting"
    MEMORY_LARGE = "memory-too-large"
    MEMORY_SMALL = "memory-too-small"
    INIT = "init"
    RETRIES = "retry-storm"
    CYCLE = "cycle"
    ALWAYS = "always-called"
    ERRORS = "callee-errors"
    TIMEOUTS = "timeouts"


class Confidence(StrEnum):
    """How sure it is: ``high`` when what is said was measured; ``medium`` when what was measured has seldom another
    reason; ``low`` for a candidate, which depends on something that cannot be seen from outside (see ``condition``)."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


_WEAKER = {Confidence.HIGH: Confidence.MEDIUM, Confidence.MEDIUM: Confidence.LOW}
_ORDER = {each: place for place, each in enumerate(Confidence)}


class Measure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One number of the evidence. ``unit``: ``ms``, ``MB``, ``%``, ``calls``, ``executions``; empty for a ratio.

    ``low`` and ``high`` are where it lies with 95 % certainty, where that is known.
    """

    what: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """What a change would give: ``amount`` of ``unit`` (``ms`` or ``MB``) for each ``per`` (``execution``, ``sandbox``).

    ``share`` is that of what is spent now; ``how`` says how it was computed.
    """

    amount: float
    unit: str
    per: str
    share: float
    how: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth changing. ``callees`` are those concerned, by ``CalleeProfile.key``.

    ``sampled`` executions between ``since`` and ``until`` (epoch seconds) were looked at. ``condition`` is what must
    be true, and cannot be seen from outside, for the advice to be right; empty when there is nothing of that kind.
    """

    kind: Kind
    function: str
    version: str
    title: str
    advice: str
    confidence: Confidence
    evidence: list[Measure]
    gain: Gain
    sampled: int
    since: float
    until: float
    condition: str = ""
    callees: list[str] = []


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What findings are made from.

    ``callees``: profiles of the functions that are called, by name. ``cycles``: chains of functions, each calling
    the next and the last the first, that begin with this one. ``at_least``: how many executions must have
    been watched before anything is said.
    """

    profile: Profile
    callees: Mapping[str, Profile] = {}
    cycles: Sequence[Sequence[str]] = ()
    at_least: int = AT_LEAST

    def enough(self, sampled: int) -> bool:
        """Whether so many executions carry a finding."""
        return sampled >= self.at_least

    def called(self) -> Iterator[CalleeProfile]:
        """Callees that it called itself, waited for, and called often enough to say something."""
        for callee in self.profile.callees:
            waited = callee.asynchronous < callee.calls / 2
            if (
                not callee.via
                and waited
                and callee.latency_ms.count
                and self.enough(callee.sampled)
            ):
                yield callee

    def per_execution(self, amount: float) -> float:
        """What is an average over all executions, from a sum over them."""
        return ratio(amount, self.profile.executions)

    def share_of_calls(self, part: float, callee: CalleeProfile) -> Likelihood:
        """``part`` of the calls of a callee, as sure as the calls that were really seen make it."""
        seen = self.per_execution(callee.calls) * self.profile.sampled
        return likelihood(part, callee.calls, ratio(callee.calls * callee.calls, seen))

    def saves_ms(self, amount: float, how: str) -> Gain:
        """``amount`` milliseconds of each execution, on average."""
        amount = min(max(0.0, amount), self.profile.duration_ms.mean)
        share = ratio(amount, self.profile.duration_ms.mean)
        return Gain(amount=amount, unit="ms", per="execution", share=share, how=how)

    def finding(
        self,
        kind: Kind,
        title: str,
        confidence: Confidence,
        evidence: list[Measure],
        gain: Gain,
        **more: object,
    ) -> Finding:
        """The finding about this function; one that rests on few executions is less sure."""
        profile = self.profile
        seen = Measure("executions watched", profile.sampled, "executions")
        if profile.sampled < MANY:
            confidence = _WEAKER.get(confidence, confidence)
        about = {
            "kind": kind,
            "function": profile.function,
            "version": profile.version,
            "title": title,
            "confidence": confidence,
            "evidence": [seen, *evidence],
            "gain": gain,
            "sampled": profile.sampled,
            "since": profile.since,
            "until": profile.until,
        }
        return Finding(**about, **more)  # type: ignore[arg-type]


Rule = Callable[[Known], Iterator[Finding]]


def rank(finding: Finding) -> tuple[int, float, str]:
    """Surest and largest first."""
    return _ORDER[finding.confidence], -finding.gain.share, finding.title


def ratio(part: float, whole: float) -> float:
    """``part / whole``; 0 when there is no whole."""
    return part / whole if whole > 0 else 0.0


def named(callee: CalleeProfile) -> str:
    """A callee in a sentence."""
    return callee.name if callee.kind == FUNCTION else callee.name.removesuffix(":80")


def ms(value: float) -> str:
    """A duration in a sentence."""
    if value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def percent(share: float) -> str:
    """A share in a sentence."""
    return f"{share * 100:.0f} %"


def share_measure(
    what: str, value: float, low: float | None = None, high: float | None = None
) -> Measure:
    """A share between 0 and 1 as a measure in percent."""
    return Measure(
        what,
        value * 100,
        "%",
        None if low is None else low * 100,
        None if high is None else high * 100,
    )
