"""Calls of one kind in a row, one for each item: the loop that is known as N+1.

Whoever follows links does the same, each call needing the answer of the one before; that is rarer, and cannot be told apart.
"""

import re
from collections.abc import Iterator

from forerun.profiles.findings.finding import (
    Confidence,
    Finding,
    Kind,
    Known,
    Measure,
    ms,
    named,
    percent,
    share_measure,
)
from forerun.profiles.profile import FUNCTION, CalleeProfile, Run

# Three or four calls may be three or four things to do; five of a kind are a loop.
LENGTH = 5.0
# Rarer loops are another path of the code, which costs most executions nothing.
EXECUTIONS = 0.1
GAIN_MS = 10.0
GAIN_SHARE = 0.1
# Pages of a list look the same but for where they begin: no item is named in them.
_PAGES = re.compile(r"GET [^*]*\Z|(List|Scan|Query|Search|Describe|BatchGet)[A-Za-z0-9]*\Z")


def call_loops(known: Known) -> Iterator[Finding]:
    """For each callee its longest loop."""
    for callee in known.called():
        runs = [run for run in callee.runs if run.length.p50 >= LENGTH]
        if runs:
            longest = max(runs, key=lambda run: run.executions * run.ms.mean)
            yield from _told(known, callee, longest)


def _told(known: Known, callee: CalleeProfile, run: Run) -> Iterator[Finding]:
    profile = known.profile
    often = known.per_execution(run.executions)
    if often < EXECUTIONS or not known.enough(int(often * profile.sampled)):
        return
    length = run.length.mean
    rest = run.ms.mean * (1 - 1 / length)
    gain = known.saves_ms(
        min(often * rest, callee.critical_share * profile.duration_ms.mean),
        "the time of the loop less that of one of its calls, as far as the execution waited for it",
    )
    if gain.amount < GAIN_MS or gain.share < GAIN_SHARE:
        return
    confidence = Confidence.LOW if _PAGES.match(run.template) else Confidence.MEDIUM
    way = (
        "Let it take all items in one call, or call it for all at once"
        if callee.kind == FUNCTION
        else "Ask for all items in one request (a batch, IN (...), BatchGetItem), or for all at once"
    )
    yield known.finding(
        Kind.LOOP,
        f"{profile.function} calls {named(callee)} {length:.0f} times in a row ({run.template})",
        confidence,
        [
            share_measure("executions with the loop", often),
            Measure("calls in a row, mean", length, "calls"),
            Measure("calls in a row, 95th percentile", run.length.p95, "calls"),
            Measure("time of the loop, mean", run.ms.mean, "ms"),
        ],
        gain,
        callees=[callee.key],
        condition="No call of the loop needs the answer of one before it, as pages of a list do.",
        advice=f"{way}: that saves up to {ms(gain.amount)} of each execution ({percent(gain.share)}).",
    )
