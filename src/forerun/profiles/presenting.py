"""A tally as people and deciders see it: shares with intervals, quantiles, means. Pure."""

from forerun.profiles.likelihood import likelihood
from forerun.profiles.profile import (
    SELF,
    CalleeProfile,
    Memory,
    PathShare,
    Profile,
    Relation,
    Repeats,
    Run,
)
from forerun.profiles.sketch import summary
from forerun.profiles.tally import CalleeTally, Counts, RelationTally, Tally

ORDERED = 0.95


def profile_of(tally: Tally, account: str, function: str, version: str) -> Profile:
    """The profile of a version; ``invocations`` and ``per_hour`` are for whoever counts all of them."""
    total_ms = tally.duration.total
    return Profile(
        account=account,
        function=function,
        version=version,
        since=tally.since,
        until=tally.until,
        sampled=tally.sampled,
        executions=tally.executions,
        start_types=_floats(tally.start_types),
        channels=_floats(tally.channels),
        errors=_floats(tally.errors),
        error_rate=likelihood(tally.failed, tally.executions, tally.squares),
        timeouts=tally.timeouts,
        throttles=tally.throttles,
        init_ms=summary(tally.init),
        duration_ms=summary(tally.duration),
        cpu_ms=summary(tally.cpu),
        cpu_share=_per(tally.cpu.total, tally.cpu_of_ms),
        memory=Memory(configured_mb=tally.configured_mb, used_mb=summary(tally.memory)),
        request_bytes=_per(tally.request_bytes, tally.executions),
        response_bytes=_per(tally.response_bytes, tally.executions),
        waiting_ms=summary(tally.waiting),
        waiting_share=min(1.0, _per(tally.waiting.total, total_ms)),
        critical_path=_critical_path(tally, total_ms),
        callees=sorted(
            (_callee(callee, tally, total_ms) for callee in tally.callees.values()),
            key=lambda callee: (-callee.executions, callee.key),
        ),
        relations=[
            _relation(one, two, relation)
            for one, others in sorted(tally.relations.items())
            for two, relation in sorted(others.items())
        ],
        unfinished=tally.unfinished,
        calls_dropped=tally.dropped,
    )


def _callee(callee: CalleeTally, tally: Tally, total_ms: float) -> CalleeProfile:
    repeated = callee.repeat_executions
    return CalleeProfile(
        kind=callee.kind,
        name=callee.name,
        via=callee.via,
        channels=_floats(callee.channels),
        qualifiers=_floats(callee.qualifiers),
        versions=_floats(callee.versions),
        operations=_floats(callee.operations),
        executions=callee.executions,
        sampled=callee.sampled,
        likelihood=likelihood(callee.executions, tally.executions, tally.squares),
        calls=callee.calls,
        calls_per_execution=summary(callee.per_execution),
        position=_per(callee.positions, callee.positioned),
        delay_ms=summary(callee.delay),
        latency_ms=summary(callee.latency),
        errors=_floats(callee.errors),
        error_rate=likelihood(callee.failed, callee.calls, callee.call_squares),
        throttles=callee.throttles,
        retries=callee.retries,
        asynchronous=callee.asynchronous,
        unfinished=callee.unfinished,
        sent_bytes=_per(callee.sent, callee.calls),
        received_bytes=_per(callee.received, callee.calls),
        busy_share=min(1.0, _per(callee.busy_ms, total_ms)),
        critical_share=min(1.0, _per(callee.critical_ms, total_ms)),
        repeats=Repeats(
            executions=repeated,
            calls=_per(callee.repeat_calls, repeated),
            ms=_per(callee.repeat_ms, repeated),
            apart_ms=_per(callee.repeat_apart_ms, callee.repeat_calls),
        ),
        runs=[
            Run(
                template=template,
                executions=run.executions,
                length=summary(run.length),
                ms=summary(run.ms),
            )
            for template, run in sorted(callee.runs.items())
        ],
    )


def _relation(one: str, two: str, tally: RelationTally) -> Relation:
    """Told from the side of the callee that is more often first."""
    gap = tally.gap
    before, after = tally.before, tally.after
    if after > before:
        one, two, before, after, gap = two, one, after, before, tally.gap_after
    total = before + after + tally.overlapping
    shares = _per(before, total), _per(after, total), _per(tally.overlapping, total)
    names = ("before", "after", "overlapping")
    order = next(
        (name for name, share in zip(names, shares, strict=True) if share >= ORDERED), "either"
    )
    return Relation(
        first=one,
        second=two,
        executions=total,
        sampled=tally.sampled,
        before=shares[0],
        after=shares[1],
        overlapping=shares[2],
        order=order,
        gap_ms=summary(gap),
        saving_ms=_per(tally.saving_ms, before + after),
    )


def _critical_path(tally: Tally, total_ms: float) -> list[PathShare]:
    waited = {key: callee.critical_ms for key, callee in tally.callees.items()}
    waited = {key: ms for key, ms in waited.items() if ms > 0}
    waited[SELF] = max(0.0, total_ms - sum(waited.values()))
    shares = [
        PathShare(who=who, ms=_per(ms, tally.duration.count), share=_per(ms, total_ms))
        for who, ms in waited.items()
    ]
    return sorted(shares, key=lambda path: (-path.ms, path.who)) if tally.sampled else []


def _floats(counts: Counts) -> dict[str, float]:
    return {name: float(amount) for name, amount in sorted(counts.items())}


def _per(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
