"""Calls to different callees that always wait for each other, though they could perhaps run at once.

Which data goes from one call to the next cannot be seen from outside. That their order varies speaks for independence;
without it they are a candidate. That the later one is also called without the earlier says little, since what renews a
token or fills a cache is called before what needs it, and only then; it is told, not weighed.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from forerun.profiles.findings.finding import (
    Confidence,
    Finding,
    Kind,
    Known,
    Measure,
    ms,
    named,
    percent,
    ratio,
    share_measure,
)
from forerun.profiles.profile import CalleeProfile, Relation

# Who runs calls at once here and there does so already; beyond this the pair is not one after the other.
OVERLAPPING = 0.02
# Hardly anything is computed in so short a time; where more is, the calls are apart for a reason.
GAP_MS = 5.0
# Of all executions; what is rarer is not worth the rewriting.
EXECUTIONS = 0.1
# Threads or tasks cost about a millisecond, and what is less than a tenth nobody notices.
GAIN_MS = 10.0
GAIN_SHARE = 0.1
# An order that is the other way round so often is no order.
EITHER = 0.1


def sequential_calls(known: Known) -> Iterator[Finding]:
    """Groups of callees, each called right after the one before."""
    pairs = {frozenset((each.first, each.second)): each for each in known.profile.relations}
    callees = sorted(known.called(), key=lambda callee: (callee.position, callee.key))
    group: list[CalleeProfile] = []
    for callee in callees:
        if group and _joins(known, callee, group, pairs):
            group.append(callee)
            continue
        yield from _told(known, group, pairs)
        group = [callee]
    yield from _told(known, group, pairs)


Pairs = dict[frozenset[str], Relation]


def _joins(
    known: Known, callee: CalleeProfile, group: Sequence[CalleeProfile], pairs: Pairs
) -> bool:
    """Whether ``callee`` comes right after the last of the group and runs at once with none of it."""
    for other in group:
        relation = pairs.get(frozenset((other.key, callee.key)))
        if relation is None or relation.overlapping > OVERLAPPING:
            return False
    last = pairs[frozenset((group[-1].key, callee.key))]
    often = known.per_execution(last.executions) >= EXECUTIONS
    return often and known.enough(last.sampled) and last.gap_ms.p50 <= GAP_MS


def _told(known: Known, group: Sequence[CalleeProfile], pairs: Pairs) -> Iterator[Finding]:
    if len(group) < 2:
        return
    steps = [pairs[frozenset((one.key, two.key))] for one, two in pairwise(group)]
    saving = known.per_execution(sum(step.saving_ms * step.executions for step in steps))
    waited = known.profile.duration_ms.mean
    critical = [callee.critical_share * waited for callee in group]
    gain = known.saves_ms(
        min(saving, sum(critical) - max(critical)),
        "for each call and the one after it the shorter one's time, as far as the execution waited for it",
    )
    if gain.amount < GAIN_MS or gain.share < GAIN_SHARE:
        return
    alone = min(_alone(pair, step) for pair, step in zip(pairwise(group), steps, strict=True))
    either = min(min(step.before, step.after) for step in steps)
    if either >= EITHER:
        confidence, why = (
            Confidence.MEDIUM,
            "Their order varies, so neither seems to need the other.",
        )
    else:
        confidence, why = Confidence.LOW, "Their order never varies: this is a candidate."
    names = [named(callee) for callee in group]
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    yield known.finding(
        Kind.SEQUENTIAL,
        f"{known.profile.function} calls {listed} one after the other",
        confidence,
        [
            *(
                Measure(f"latency of {named(each)}, mean", each.latency_ms.mean, "ms")
                for each in group
            ),
            Measure("pause between them, median", max(step.gap_ms.p50 for step in steps), "ms"),
            share_measure("executions with the rarest pair", _rarest(known, steps)),
            share_measure("pairs in the other order", either),
            share_measure("calls of the later without the earlier", alone),
        ],
        gain,
        callees=[callee.key for callee in group],
        condition="No call needs the answer of one before it.",
        advice=f"{why} Start them at once (threads, asyncio.gather, Promise.all) and wait for all: "
        f"that saves up to {ms(gain.amount)} of {ms(waited)} ({percent(gain.share)}).",
    )


def _alone(pair: tuple[CalleeProfile, CalleeProfile], relation: Relation) -> float:
    """The share of the later callee's executions in which the earlier was not called."""
    later = pair[0] if relation.second == pair[0].key else pair[1]
    return max(0.0, 1 - ratio(relation.executions, later.executions)) if later.executions else 0.0


def _rarest(known: Known, steps: Sequence[Relation]) -> float:
    return min(known.per_execution(step.executions) for step in steps)
