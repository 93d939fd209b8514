"""Memory that is configured and never used, or that is hardly enough; and processors that are too small a share.

Memory decides the share of a processor that a function is sure of: 1,769 MB make one. What needs its processor is
not advised to have less memory than that takes.
"""

import math
from collections.abc import Iterator

from forerun.profiles.findings.finding import (
    Confidence,
    Finding,
    Gain,
    Kind,
    Known,
    Measure,
    ms,
    percent,
    ratio,
    share_measure,
)

SIZES_MB = (
    *(128, 192, 256, 320, 384, 512, 640, 768, 1024, 1280, 1536, 1792),
    *(2048, 2560, 3072, 4096, 5120, 6144, 8192, 10240),
)
MB_PER_CPU = 1769
# Above the highest mark that was seen: the next input may be larger.
HEADROOM = 1.3
# A proposal that saves less is not worth a deployment.
LARGE = 1.5
LARGE_MB = 64
# The rest would be used up by an input a tenth larger.
NEAR = 0.9
# Computes most of the time, so that the processor decides how long it takes.
COMPUTES = 0.5
COMPUTED_MS = 50.0
# How far from the share it is sure of a function may be that is held to it.
HELD = 0.3
# Whoever waits for callees longer than this is not held up by the processor.
WAITS = 0.3
# Uses so many times the share it is sure of, for so long: what it loses when the machine is busy.
BORROWED = 2.0
BORROWED_MS = 500.0


def memory_too_large(known: Known) -> Iterator[Finding]:
    """The next sensible size above all that was ever used, when that is far below."""
    profile, memory = known.profile, known.profile.memory
    most = memory.used_mb.max
    if not known.enough(profile.sampled) or not 0 < most <= memory.configured_mb:
        return
    least = most * HEADROOM
    if profile.cpu_share >= COMPUTES:
        least = max(least, profile.cpu_share * MB_PER_CPU)
    proposed = _size(least)
    saved = memory.configured_mb - proposed
    if saved < LARGE_MB or memory.configured_mb < LARGE * proposed:
        return
    held = saved * profile.duration_ms.mean * profile.per_hour / 3.6e6
    yield known.finding(
        Kind.MEMORY_LARGE,
        f"{profile.function} has {memory.configured_mb} MB and never used more than {most:.0f} MB",
        Confidence.HIGH,
        [
            Measure("memory configured", memory.configured_mb, "MB"),
            Measure("most that was used", most, "MB"),
            Measure("used, median", memory.used_mb.p50, "MB"),
            share_measure("of a processor used while it runs", profile.cpu_share),
            Measure("MB less on average, at the last hour's rate", held, "MB"),
        ],
        Gain(
            amount=saved,
            unit="MB",
            per="sandbox",
            share=saved / memory.configured_mb,
            how=f"what is configured less the next size above {HEADROOM:g} times the most that was used",
        ),
        advice=f"Set MemorySize to {proposed}: {saved} MB less are booked for each sandbox that runs.",
        condition="Larger inputs than those seen so far do not come.",
    )


def memory_too_small(known: Known) -> Iterator[Finding]:
    """Memory that is nearly used up, or too small a share of a processor for what is computed."""
    profile, memory = known.profile, known.profile.memory
    if not known.enough(profile.sampled) or memory.configured_mb <= 0:
        return
    used = ratio(memory.used_mb.p95, memory.configured_mb)
    if used >= NEAR:
        yield _nearly_used_up(known, used)
        return
    sure_of = min(1.0, memory.configured_mb / MB_PER_CPU)
    if profile.cpu_ms.p50 < COMPUTED_MS or sure_of >= 1:
        return
    near = abs(profile.cpu_share - sure_of) <= HELD * sure_of
    if near and profile.waiting_share <= WAITS and profile.cpu_share < COMPUTES:
        yield _held(known, sure_of)
    elif (
        profile.cpu_share >= max(COMPUTES, BORROWED * sure_of) and profile.cpu_ms.p50 >= BORROWED_MS
    ):
        yield _borrowing(known, sure_of)


def _nearly_used_up(known: Known, used: float) -> Finding:
    profile, memory = known.profile, known.profile.memory
    proposed = _size(max(memory.used_mb.max, memory.used_mb.p95) * HEADROOM)
    missing = max(0, proposed - memory.configured_mb)
    killed = profile.errors.get("Runtime.ExitError", 0.0)
    return known.finding(
        Kind.MEMORY_SMALL,
        f"{profile.function} uses {percent(used)} of its {memory.configured_mb} MB",
        Confidence.HIGH,
        [
            Measure("memory configured", memory.configured_mb, "MB"),
            Measure("used, 95th percentile", memory.used_mb.p95, "MB"),
            Measure("used, most", memory.used_mb.max, "MB"),
            Measure("executions that were killed or exited", killed, "executions"),
        ],
        Gain(
            amount=missing,
            unit="MB",
            per="sandbox",
            share=ratio(missing, memory.configured_mb),
            how=f"the next size above {HEADROOM:g} times the most that was used, less what is configured: a cost",
        ),
        advice=f"Set MemorySize to {proposed}: what needs more than it has is killed.",
    )


def _held(known: Known, sure_of: float) -> Finding:
    profile = known.profile
    waited = profile.waiting_share * profile.duration_ms.mean
    lost = profile.duration_ms.mean - waited - profile.cpu_ms.mean
    return known.finding(
        Kind.MEMORY_SMALL,
        f"{profile.function} gets {percent(profile.cpu_share)} of a processor, which is what its memory is sure of",
        Confidence.MEDIUM,
        _processor(known, sure_of),
        known.saves_ms(lost, "mean duration less CPU time and less what callees were waited for"),
        advice="Set MemorySize higher, 1792 for a whole processor: it waits for its turn on a busy machine.",
        condition="It does not sleep, and does not wait for disks or for callees that are not seen.",
    )


def _borrowing(known: Known, sure_of: float) -> Finding:
    profile = known.profile
    slower = profile.cpu_ms.mean * (1 / sure_of - 1)
    proposed = _size(min(1.0, profile.cpu_share) * MB_PER_CPU)
    return known.finding(
        Kind.MEMORY_SMALL,
        f"{profile.function} computes with {percent(profile.cpu_share)} of a processor "
        f"and is sure of {percent(sure_of)}",
        Confidence.LOW,
        _processor(known, sure_of),
        Gain(
            amount=slower,
            unit="ms",
            per="execution",
            share=ratio(slower, profile.duration_ms.mean),
            how="how much longer its CPU time takes with no more than its share: what a busy machine costs",
        ),
        advice=f"Set MemorySize to {proposed}: on a busy machine it now takes up to {ms(slower)} longer.",
        condition="The machine is busy at times; on an idle one it may use more than its share.",
    )


def _processor(known: Known, sure_of: float) -> list[Measure]:
    profile = known.profile
    return [
        share_measure("of a processor used while it runs", profile.cpu_share),
        share_measure(
            f"of a processor that {profile.memory.configured_mb} MB are sure of", sure_of
        ),
        share_measure("of its time spent waiting for callees", profile.waiting_share),
        Measure("CPU time, median", profile.cpu_ms.p50, "ms"),
        Measure("duration, median", profile.duration_ms.p50, "ms"),
    ]


def _size(least_mb: float) -> int:
    """The smallest sensible size that is not less."""
    if not math.isfinite(least_mb):
        return SIZES_MB[-1]
    return next((size for size in SIZES_MB if size >= least_mb), SIZES_MB[-1])
