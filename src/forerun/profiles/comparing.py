"""What is different between two profiles of a function: of two versions, or of two stretches of time. Pure.

Shares differ when their intervals of 95 % have nothing in common. Quantities differ when medians or 95th percentiles are
a fifth apart and enough executions were seen for that to be no chance.
"""

from collections.abc import Iterator

import msgspec

from forerun.profiles.likelihood import likelihood
from forerun.profiles.profile import CalleeProfile, Likelihood, Profile, Quantiles

RATIO = 1.2
# With fewer the quantile of a sample is too uncertain for a difference of a fifth.
FOR_P50, FOR_P95 = 30, 200
LEAST_MS = 1.0
LEAST_MB = 8.0


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. ``what`` names the quantity as profiles do, ``who`` the callee (``CalleeProfile.key``) or nobody."""

    what: str
    words: str
    before: float
    after: float
    who: str = ""


def compare(before: Profile, after: Profile) -> list[Change]:
    """From ``before`` to ``after``; empty when nothing differs beyond chance."""
    return [
        *_share("error_rate", "executions that fail", before.error_rate, after.error_rate),
        *_quantiles(
            "duration_ms",
            "duration",
            (before.duration_ms, before.sampled),
            (after.duration_ms, after.sampled),
        ),
        *_quantiles(
            "init_ms",
            "init",
            (before.init_ms, _inits(before)),
            (after.init_ms, _inits(after)),
        ),
        *_memory(before, after),
        *_callees(before, after),
    ]


def _callees(before: Profile, after: Profile) -> Iterator[Change]:
    old = {callee.key: callee for callee in before.callees}
    new = {callee.key: callee for callee in after.callees}
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if was is not None and now is not None:
            yield from _callee(was, now)
            continue
        chance = was.likelihood if was is not None else _never(before)
        changed = now.likelihood if now is not None else _never(after)
        if not _apart(chance, changed):
            continue
        seen = was or now
        if seen is None:
            continue
        words = (
            f"calls {_named(seen)} in {changed.value:.0%} of executions, which it did not before"
            if was is None
            else f"does not call {_named(seen)} any more, which it did in {chance.value:.0%} of executions"
        )
        yield Change(
            what="likelihood", words=words, before=chance.value, after=changed.value, who=key
        )


def _callee(was: CalleeProfile, now: CalleeProfile) -> Iterator[Change]:
    named = _named(now)
    yield from _share(
        "likelihood", f"executions that call {named}", was.likelihood, now.likelihood, now.key
    )
    if was.latency_ms.count and now.latency_ms.count:
        yield from _share(
            "callee_error_rate",
            f"calls of {named} that fail",
            was.error_rate,
            now.error_rate,
            now.key,
        )
        yield from _quantiles(
            "latency_ms",
            f"latency of {named}",
            (was.latency_ms, was.sampled),
            (now.latency_ms, now.sampled),
            now.key,
        )
    a, b = was.calls_per_execution.mean, now.calls_per_execution.mean
    if min(was.sampled, now.sampled) >= FOR_P50 and _differ(a, b, 0.5):
        words = f"calls of {named} in each execution that calls it: {a:.1f} before, {b:.1f} now"
        yield Change(what="calls_per_execution", words=words, before=a, after=b, who=now.key)


def _share(
    what: str, named: str, was: Likelihood, now: Likelihood, who: str = ""
) -> Iterator[Change]:
    if _apart(was, now):
        words = (
            f"{named}: {was.value:.1%} before ({was.low:.1%} to {was.high:.1%}), "
            f"{now.value:.1%} now ({now.low:.1%} to {now.high:.1%})"
        )
        yield Change(what=what, words=words, before=was.value, after=now.value, who=who)


def _quantiles(
    what: str,
    named: str,
    was: tuple[Quantiles, int],
    now: tuple[Quantiles, int],
    who: str = "",
) -> Iterator[Change]:
    """Each quantity comes with the number of samples that were seen of it."""
    seen = min(was[1], now[1])
    for name, needed in (("p50", FOR_P50), ("p95", FOR_P95)):
        a, b = getattr(was[0], name), getattr(now[0], name)
        if seen >= needed and _differ(a, b, LEAST_MS):
            more = "longer" if b > a else "shorter"
            words = f"{named}, {name}: {a:.1f} ms before, {b:.1f} ms now, {_ratio(a, b)} {more}"
            yield Change(what=f"{what}.{name}", words=words, before=a, after=b, who=who)


def _memory(before: Profile, after: Profile) -> Iterator[Change]:
    a, b = before.memory.used_mb.p95, after.memory.used_mb.p95
    if min(before.sampled, after.sampled) >= FOR_P50 and _differ(a, b, LEAST_MB):
        words = f"memory used, p95: {a:.0f} MB before, {b:.0f} MB now"
        yield Change(what="memory.used_mb.p95", words=words, before=a, after=b)
    a, b = before.memory.configured_mb, after.memory.configured_mb
    if a and b and a != b:
        words = f"memory configured: {a} MB before, {b} MB now"
        yield Change(what="memory.configured_mb", words=words, before=a, after=b)


def _never(profile: Profile) -> Likelihood:
    """Of a callee that was not called in any execution that was seen."""
    return likelihood(0, profile.sampled, profile.sampled)


def _inits(profile: Profile) -> int:
    """How many inits were seen, about: their number is weighted."""
    weight = profile.executions / profile.sampled if profile.sampled else 1.0
    return int(profile.init_ms.count / weight)


def _apart(one: Likelihood, two: Likelihood) -> bool:
    return one.high < two.low or two.high < one.low


def _differ(one: float, two: float, least: float) -> bool:
    return abs(one - two) >= least and (two >= one * RATIO or one >= two * RATIO)


def _ratio(a: float, b: float) -> str:
    low, high = sorted((a, b))
    return f"{high / low:.1f} times" if low > 0 else "much"


def _named(callee: CalleeProfile) -> str:
    return callee.name + (f" through {callee.via}" if callee.via else "")
