"""Equal calls that are made again within one execution, though the answer was already there."""

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

# A repetition that is rarer is an exception of its own, not a habit of the code.
EXECUTIONS = 0.1
# What is asked again after so long may have another answer by now: that is polling, not repetition.
APART_MS = 200.0
# So soon after, nobody waits for the answer to change.
AT_ONCE_MS = 20.0
# Less than this is not worth a cache.
GAIN_MS = 2.0
GAIN_SHARE = 0.02
# Receiving from a queue or stream asks the same each time and gets something else; sending twice may be meant.
ANSWERS_CHANGE = frozenset({"aws:sqs", "aws:kinesis", "aws:sns", "aws:events", "aws:firehose"})


def repeated_calls(known: Known) -> Iterator[Finding]:
    """Callees that are asked the same again."""
    profile = known.profile
    for callee in known.called():
        repeats = callee.repeats
        often = known.per_execution(repeats.executions)
        if often < EXECUTIONS or repeats.apart_ms > APART_MS or callee.name in ANSWERS_CHANGE:
            continue
        if not known.enough(int(often * profile.sampled)):
            continue
        gain = known.saves_ms(
            min(repeats.ms * often, callee.critical_share * profile.duration_ms.mean),
            "the time of the repeated calls, as far as the execution waited for them",
        )
        if gain.amount < GAIN_MS or gain.share < GAIN_SHARE:
            continue
        at_once = repeats.apart_ms <= AT_ONCE_MS
        yield known.finding(
            Kind.REPEATED,
            f"{profile.function} asks {named(callee)} for the same again in {percent(often)} of executions",
            Confidence.HIGH if at_once else Confidence.MEDIUM,
            [
                share_measure("executions with repeated calls", often),
                Measure("repeated calls in each of those", repeats.calls, "calls"),
                Measure("time of the repeated calls in each of those", repeats.ms, "ms"),
                Measure("pause before a repeated call, mean", repeats.apart_ms, "ms"),
            ],
            gain,
            callees=[callee.key],
            condition="The calls only read, and the answer does not change within an execution.",
            advice="Keep the first answer in a variable and use it again, or pass it on: "
            f"that saves {ms(gain.amount)} of each execution.",
        )
