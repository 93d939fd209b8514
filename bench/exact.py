"""Profiles computed the slow way: from all events at once, with sorted lists. What profiles that are kept up are held against.

Only what every execution of a function says itself is here: nothing of what arrived through others.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import combinations
from statistics import fmean

from forerun.events import ExecutionEnded
from forerun.model import OutgoingCall
from forerun.profiles import (
    FUNCTION,
    SELF,
    SERVICE,
    CalleeProfile,
    Likelihood,
    Memory,
    PathShare,
    Profile,
    Quantiles,
    Relation,
    Repeats,
    Run,
)
from forerun.profiles.reading import only_reads

FAILED = 400
TEMPLATE_RUN = 3
ORDERED = 0.95


def exact_profiles(events: Iterable[ExecutionEnded], platform: str) -> dict[str, Profile]:
    """The profile of each function (of whatever version), by name; ``platform`` is the address of the Lambda API."""
    by_name: dict[str, list[ExecutionEnded]] = defaultdict(list)
    for event in events:
        by_name[event.record.name].append(event)
    return {name: exact_profile(of_it, platform) for name, of_it in by_name.items()}


def exact_profile(events: list[ExecutionEnded], platform: str) -> Profile:
    """The profile that all these executions of one function make. Each weighs one."""
    records = [event.record for event in events]
    durations = [record.duration_ms for record in records]
    parts = [_Parts(event, platform) for event in events]
    path = _sum([each.path for each in parts])
    callees = sorted({key for each in parts for key in each.calls})
    wall = (max(durations_end(events)) - min(record.timings.started for record in records)) / 3600
    return Profile(
        account=records[0].account,
        function=records[0].name,
        version=records[0].version,
        since=min(record.timings.started for record in records),
        until=max(durations_end(events)),
        sampled=len(events),
        executions=float(len(events)),
        invocations=len(events),
        per_hour=len(events) / wall if wall > 0 else 0.0,
        start_types=_counts(record.start_type or "" for record in records),
        channels=_counts(event.context.origin.channel.value or "none" for event in events),
        errors=_counts(record.error_type for record in records if record.error_type),
        error_rate=_share(sum(record.status != "success" for record in records), len(records)),
        timeouts=float(sum(record.status == "timeout" for record in records)),
        init_ms=exact([record.init_ms for record in records if record.init_ms is not None]),
        duration_ms=exact(durations),
        cpu_ms=exact([event.cpu_ms for event in events]),
        cpu_share=sum(event.cpu_ms for event in events) / max(1e-9, sum(durations)),
        memory=Memory(
            configured_mb=records[-1].memory_mb,
            used_mb=exact([float(record.max_memory_mb) for record in records]),
        ),
        waiting_ms=exact([each.waited for each in parts]),
        waiting_share=sum(each.waited for each in parts) / max(1e-9, sum(durations)),
        critical_path=[
            PathShare(who=who, ms=ms / len(events), share=ms / max(1e-9, sum(durations)))
            for who, ms in path.most_common()
        ],
        callees=[_callee(key, parts, path, sum(durations)) for key in callees],
        relations=[
            made
            for pair in combinations(callees, 2)
            if (made := _relation(*pair, parts)) is not None
        ],
        unfinished=float(sum(not call.ended for event in events for call in event.calls)),
    )


def durations_end(events: Iterable[ExecutionEnded]) -> list[float]:
    """When each execution ended, epoch seconds."""
    return [event.record.timings.ended for event in events]


class _Parts:
    """One execution: its calls by callee, in the order of their start, and what it waited for."""

    def __init__(self, event: ExecutionEnded, platform: str) -> None:
        self.start, self.end = event.record.timings.started, event.record.timings.ended
        self.calls: dict[str, list[OutgoingCall]] = defaultdict(list)
        ordered = sorted(event.calls, key=lambda call: call.started)
        for call in ordered:
            self.calls[_key(call, platform)].append(call)
        self.order = list(self.calls)
        spans = [(call.started, self._end(call), _key(call, platform)) for call in ordered]
        self.waited = covered([(begin, end) for begin, end, _ in spans])
        self.path = self._critical(spans)

    def _end(self, call: OutgoingCall) -> float:
        return call.ended or self.end

    def _critical(self, spans: list[tuple[float, float, str]]) -> Counter[str]:
        """From the end back: what ended last before, then what ended last before that began."""
        path: Counter[str] = Counter()
        at = self.end
        for begin, ended, key in sorted(spans, key=lambda span: -span[1]):
            end = min(ended, self.end)
            if end <= at and begin < at:
                path[SELF] += (at - end) * 1000
                path[key] += (end - begin) * 1000
                at = begin
        path[SELF] += max(0.0, at - self.start) * 1000
        return path

    def stretch(self, key: str) -> tuple[float, float]:
        """From the first start to the last end of the calls of a callee."""
        return self.calls[key][0].started, max(map(self._end, self.calls[key]))

    def busy(self, key: str) -> float:
        """Milliseconds in which a call of it was under way."""
        return covered([(call.started, self._end(call)) for call in self.calls[key]])


def _key(call: OutgoingCall, platform: str) -> str:
    if call.service == "lambda" and call.host == platform:
        return f"{FUNCTION}:{call.path.split('/')[3]}"
    return f"{SERVICE}:aws:{call.service}" if call.service else f"{SERVICE}:{call.host}"


def _callee(key: str, parts: list[_Parts], path: Counter[str], duration: float) -> CalleeProfile:
    with_it = [each for each in parts if key in each.calls]
    calls = [call for each in with_it for call in each.calls[key]]
    kind, _, name = key.partition(":")
    failed = [call for call in calls if call.error or call.status >= FAILED]
    repeats, retries = _again([each.calls[key] for each in with_it])
    return CalleeProfile(
        kind=kind,
        name=name,
        channels={"call": float(len(calls))},
        executions=float(len(with_it)),
        sampled=len(with_it),
        likelihood=_share(len(with_it), len(parts)),
        calls=float(len(calls)),
        calls_per_execution=exact([float(len(each.calls[key])) for each in with_it]),
        position=fmean(each.order.index(key) + 1 for each in with_it),
        delay_ms=exact([(each.calls[key][0].started - each.start) * 1000 for each in with_it]),
        latency_ms=exact([(call.ended - call.started) * 1000 for call in calls if call.ended]),
        errors=_counts(call.error or str(call.status) for call in failed),
        error_rate=_share(len(failed), len(calls)),
        throttles=float(sum(call.status == 429 for call in calls)),
        retries=float(retries),
        asynchronous=float(sum(call.status == 202 for call in calls)),
        unfinished=float(sum(not call.ended for call in calls)),
        busy_share=sum(each.busy(key) for each in with_it) / max(1e-9, duration),
        critical_share=path[key] / max(1e-9, duration),
        repeats=repeats,
        runs=_runs([each.calls[key] for each in with_it]),
    )


def _again(executions: list[list[OutgoingCall]]) -> tuple[Repeats, int]:
    """Calls that repeat an equal one that had succeeded, and how many repeat one that had failed."""
    repeated, took, apart, where, retries = 0, 0.0, 0.0, 0, 0
    for calls in executions:
        seen: dict[int, OutgoingCall] = {}
        found = 0
        for call in calls:
            before = seen.get(call.fingerprint)
            if before is None and not only_reads(call):
                # What was read before may be different now.
                seen.clear()
            if before is not None and (before.error or before.status >= FAILED):
                retries += 1
            elif before is not None and before.ended:
                found += 1
                took += ((call.ended or call.started) - call.started) * 1000
                apart += max(0.0, call.started - before.ended) * 1000
            seen[call.fingerprint] = call
        repeated += found
        where += found > 0
    if not where:
        return Repeats(), retries
    each = Repeats(
        executions=float(where), calls=repeated / where, ms=took / where, apart_ms=apart / repeated
    )
    return each, retries


def _runs(executions: list[list[OutgoingCall]]) -> list[Run]:
    """Per kind of call the longest row of different ones in each execution, one after the other."""
    lengths: dict[str, list[float]] = defaultdict(list)
    times: dict[str, list[float]] = defaultdict(list)
    for calls in executions:
        by_template: dict[str, list[OutgoingCall]] = defaultdict(list)
        for call in calls:
            by_template[call.operation or f"{call.method} {call.path}"].append(call)
        for template, alike in by_template.items():
            row = _longest(alike)
            if len(row) >= TEMPLATE_RUN:
                lengths[template].append(float(len(row)))
                times[template].append((row[-1].ended - row[0].started) * 1000)
    return [
        Run(
            template=template,
            executions=float(len(found)),
            length=exact(found),
            ms=exact(times[template]),
        )
        for template, found in lengths.items()
    ]


def _longest(calls: list[OutgoingCall]) -> list[OutgoingCall]:
    best: list[OutgoingCall] = []
    row: list[OutgoingCall] = []
    prints: set[int] = set()
    for call in calls:
        follows = not row or (row[-1].ended and row[-1].ended <= call.started)
        if not follows or call.fingerprint in prints:
            row, prints = [], set()
        row.append(call)
        prints.add(call.fingerprint)
        if len(row) > len(best) and call.ended:
            best = list(row)
    return best


def _relation(one: str, two: str, parts: list[_Parts]) -> Relation | None:
    both = [each for each in parts if one in each.calls and two in each.calls]
    if not both:
        return None
    first_more = sum(each.stretch(one)[0] <= each.stretch(two)[0] for each in both)
    first, second = (one, two) if first_more * 2 >= len(both) else (two, one)
    gaps, savings, before, after = [], [], 0, 0
    for each in both:
        (begin, end), (begin_two, end_two) = each.stretch(first), each.stretch(second)
        if end <= begin_two:
            before += 1
            gaps.append((begin_two - end) * 1000)
        elif end_two <= begin:
            after += 1
        else:
            continue
        savings.append(min(each.busy(first), each.busy(second)))
    shares = {"before": before / len(both), "after": after / len(both)}
    shares["overlapping"] = 1 - shares["before"] - shares["after"]
    order = next((name for name, share in shares.items() if share >= ORDERED), "either")
    return Relation(
        first=first,
        second=second,
        executions=float(len(both)),
        sampled=len(both),
        order=order,
        gap_ms=exact(gaps),
        saving_ms=fmean(savings) if savings else 0.0,
        **shares,
    )


def exact(values: list[float]) -> Quantiles:
    """Quantiles by sorting: the smallest value that the share of all is not above."""
    if not values:
        return Quantiles()
    ordered = sorted(values)

    def at(share: float) -> float:
        return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]

    return Quantiles(
        count=float(len(ordered)),
        mean=fmean(ordered),
        min=ordered[0],
        p50=at(0.5),
        p90=at(0.9),
        p95=at(0.95),
        p99=at(0.99),
        max=ordered[-1],
    )


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Milliseconds in which at least one of the spans (seconds) is under way."""
    total, latest = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, latest))
        latest = max(latest, end)
    return total * 1000


def _share(part: int, whole: int) -> Likelihood:
    """With Wilson's interval of 95 %."""
    if not whole:
        return Likelihood()
    share, square = part / whole, 1.96**2
    middle = (share + square / (2 * whole)) / (1 + square / whole)
    reach = 1.96 * (share * (1 - share) / whole + square / (4 * whole * whole)) ** 0.5
    reach /= 1 + square / whole
    return Likelihood(value=share, low=max(0.0, middle - reach), high=min(1.0, middle + reach))


def _counts(names: Iterable[str]) -> dict[str, float]:
    return {name: float(count) for name, count in Counter(names).items()}


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for counter in counters:
        total.update(counter)
    return total
