"""One execution into the tally of its version. Pure: the same executions give the same tally, in whatever order."""

from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import accumulate, combinations
from typing import NamedTuple

from forerun.events import ExecutionEnded
from forerun.model import Channel, OutgoingCall
from forerun.profiles.naming import URL, Callee, callee_of
from forerun.profiles.profile import FUNCTION, SERVICE
from forerun.profiles.sketch import coarse
from forerun.profiles.tally import (
    MOST_RUNS,
    OTHER,
    OTHER_KEY,
    CalleeTally,
    RunTally,
    Tally,
    callee_in,
    count,
    relation_in,
)
from forerun.profiles.timeline import (
    Chain,
    Named,
    busy_ms,
    chains,
    critical_ms,
    repetitions,
    retried,
)

CALL = "call"
ACCEPTED = 202
TOO_MANY = 429
# Relations are kept of the callees that were called first; more would be pairs beyond counting.
RELATED = 20


class Arrival(NamedTuple):
    """An execution of ``name`` that was caused by another, when it began: ``parent_id`` is the span that led to it."""

    name: str
    version: str
    parent_id: str
    channel: Channel
    at: float


class Reached(NamedTuple):
    """A callee that was seen where it arrived, ``delay_ms`` after the start of the execution that caused it.

    ``called``: the call was seen, too, when it was made; only the version is news.
    """

    callee: Callee
    channel: str
    delay_ms: float
    called: bool = False


def name_calls(
    calls: Iterable[OutgoingCall],
    arrivals: Iterable[Arrival],
    account: str,
    platform: Container[str],
) -> dict[str, Callee]:
    """Span id to callee; a call to a function URL is one of the function that was seen to begin through it."""
    callees = {call.span_id: callee_of(call, account, platform) for call in calls}
    for arrival in arrivals:
        known = callees.get(arrival.parent_id)
        if known is not None and known[:2] in ((SERVICE, URL), (FUNCTION, arrival.name)):
            callees[arrival.parent_id] = known._replace(
                kind=FUNCTION, name=arrival.name, version=arrival.version
            )
    return callees


def reached_by(arrival: Arrival, callees: Mapping[str, Callee], began: float) -> Reached:
    """Whom an arrival shows to be called by an execution that ``began`` then, whose calls go to ``callees``."""
    caller = callees.get(arrival.parent_id)
    called = caller is not None and (caller.kind, caller.name) == (FUNCTION, arrival.name)
    callee = Callee(
        FUNCTION,
        arrival.name,
        via=caller.name if caller is not None and not called else "",
        operation="Invoke",
        version=arrival.version,
    )
    delay_ms = max(0.0, arrival.at - began) * 1000
    return Reached(callee, arrival.channel.value or CALL, delay_ms, called)


def fold(
    tally: Tally,
    event: ExecutionEnded,
    callees: Mapping[str, Callee],
    reached: Sequence[Reached] = (),
) -> dict[str, int]:
    """Count a monitored execution; how often it called each callee is returned, by key, for what arrives later."""
    record, weight = event.record, event.context.weight
    if record.status == "throttled":
        tally.throttles += weight
        return {}
    _fold_execution(tally, event)
    counted: dict[str, int] = {}
    # Without a start it failed before its handler was called.
    if record.timings.started:
        counted = _fold_run(tally, event, callees)
    for arrived in reached:
        fold_reached(tally, arrived, counted, weight)
    return counted


def _fold_run(tally: Tally, event: ExecutionEnded, callees: Mapping[str, Callee]) -> dict[str, int]:
    timings, weight = event.record.timings, event.context.weight
    started = timings.started
    ended = max(started, timings.ended or timings.answered)
    calls = _named(tally, event.calls, callees, ended)
    groups: dict[str, list[Named]] = {}
    for named in calls:
        groups.setdefault(named.callee.key, []).append(named)
    busy = {key: busy_ms(group) for key, group in groups.items()}
    for position, (key, group) in enumerate(groups.items(), start=1):
        callee = tally.callees[key]
        callee.positions += position * weight
        callee.positioned += weight
        callee.delay.add((group[0].call.started - started) * 1000, weight)
        callee.busy_ms += busy[key] * weight
        _fold_callee(callee, group, weight)
    _fold_time(tally, calls, started, ended, weight)
    if calls:
        _fold_timeline(tally, calls, started, ended, weight)
    if len(groups) > 1:
        _fold_relations(tally, groups, busy, weight)
    return {key: len(group) for key, group in groups.items()}


def fold_reached(tally: Tally, reached: Reached, counted: dict[str, int], weight: int) -> None:
    """Count a callee that was seen where it arrived; ``counted`` says what is counted of this execution already."""
    if reached.called:
        known = tally.callees.get(reached.callee.key)
        if known is not None:
            count(known.versions, reached.callee.version, weight)
        return
    callee, key = _callee(tally, reached.callee)
    before = counted.get(key, 0)
    counted[key] = before + 1
    callee.calls += weight
    callee.call_squares += weight * weight
    count(callee.channels, reached.channel, weight)
    count(callee.operations, reached.callee.operation, weight)
    count(callee.versions, reached.callee.version, weight)
    if before:
        callee.per_execution.move(before, before + 1, weight)
        return
    callee.executions += weight
    callee.sampled += 1
    callee.per_execution.add(1, weight)
    callee.delay.add(reached.delay_ms, weight)


def _named(
    tally: Tally, calls: Iterable[OutgoingCall], callees: Mapping[str, Callee], ended: float
) -> list[Named]:
    """The calls by their start, each with its callee; those beyond the bound are of one callee together."""
    found = []
    for call in sorted(calls, key=_start):
        callee = callees[call.span_id]
        if _callee(tally, callee)[1] == OTHER_KEY:
            callee = callee._replace(kind=SERVICE, name=OTHER, via="")
        found.append(Named(call, callee, call.ended or max(ended, call.started)))
    return found


def _start(call: OutgoingCall) -> float:
    return call.started


def _callee(tally: Tally, callee: Callee) -> tuple[CalleeTally, str]:
    key = callee.key
    found = callee_in(tally, callee.kind, callee.name, callee.via, key)
    return found, key if key in tally.callees else OTHER_KEY


def _fold_execution(tally: Tally, event: ExecutionEnded) -> None:
    record, context = event.record, event.context
    weight = context.weight
    timings = record.timings
    started = timings.started or timings.received
    ended = max(started, timings.ended or timings.answered)
    tally.since = min(tally.since or started, started)
    if ended >= tally.until:
        tally.until, tally.configured_mb = ended, record.memory_mb
    tally.sampled += 1
    tally.executions += weight
    tally.squares += weight * weight
    count(tally.start_types, record.start_type or "none", weight)
    count(tally.channels, context.origin.channel.value or "none", weight)
    if record.status != "success":
        tally.failed += weight
        tally.timeouts += weight * (record.status == "timeout")
        count(tally.errors, record.error_type or record.status, weight)
    if record.init_ms is not None:
        tally.init.add(record.init_ms, weight)
    if event.cpu_ms > 0:
        tally.cpu.add(event.cpu_ms, weight)
        tally.cpu_of_ms += (ended - started) * 1000 * weight
    if record.max_memory_mb:
        tally.memory.add(record.max_memory_mb, weight)
    tally.request_bytes += record.request_bytes * weight
    tally.response_bytes += record.response_bytes * weight
    tally.dropped += event.dropped * weight
    tally.unfinished += weight * sum(1 for call in event.calls if not call.ended)


def _fold_callee(callee: CalleeTally, group: Sequence[Named], weight: int) -> None:
    number = len(group)
    callee.executions += weight
    callee.sampled += 1
    callee.calls += number * weight
    callee.call_squares += number * weight * weight
    callee.per_execution.add(number, weight)
    if callee.kind == FUNCTION:
        callee.at_once.add(_most_at_once(group), weight)
    count(callee.channels, CALL, number * weight)
    for named in group:
        call = named.call
        count(callee.operations, named.callee.operation, weight)
        if call.service and callee.kind == SERVICE:
            count(callee.addresses, call.host, weight)
        if named.callee.qualifier:
            count(callee.qualifiers, named.callee.qualifier, weight)
        if named.callee.version:
            count(callee.versions, named.callee.version, weight)
        callee.sent += call.sent_bytes * weight
        callee.received += call.received_bytes * weight
        callee.asynchronous += weight * (call.status == ACCEPTED)
        if not call.ended:
            callee.unfinished += weight
            continue
        callee.latency.add(named.ms, weight)
        callee.throttles += weight * (call.status == TOO_MANY)
        if named.failed:
            callee.failed += weight
            count(callee.errors, call.error or str(call.status), weight)


def _most_at_once(group: Sequence[Named]) -> int:
    """How many of the calls were under way at once; those that were accepted for later may all be run together."""
    if len(group) == 1:
        return 1
    changes = [(named.call.started, 1) for named in group]
    changes += [(named.until, -1) for named in group if named.call.status != ACCEPTED]
    return max(accumulate(change for _, change in sorted(changes)))


def _fold_time(
    tally: Tally, calls: Sequence[Named], started: float, ended: float, weight: int
) -> None:
    tally.duration.add((ended - started) * 1000, weight)
    tally.waiting.add(busy_ms(calls), weight)


def _fold_timeline(
    tally: Tally, calls: Sequence[Named], started: float, ended: float, weight: int
) -> None:
    for key, waited_ms in critical_ms(calls, started, ended).items():
        tally.callees[key].critical_ms += waited_ms * weight
    if len(calls) == 1:
        return
    for named in retried(calls):
        tally.callees[named.callee.key].retries += weight
    again: set[str] = set()
    for named, apart_ms in repetitions(calls):
        callee = tally.callees[named.callee.key]
        callee.repeat_calls += weight
        callee.repeat_ms += named.ms * weight
        callee.repeat_apart_ms += apart_ms * weight
        if named.callee.key not in again:
            again.add(named.callee.key)
            callee.repeat_executions += weight
    _fold_chains(tally, calls, weight)


def _fold_chains(tally: Tally, calls: Sequence[Named], weight: int) -> None:
    """The longest run of each kind counts for an execution."""
    longest: dict[tuple[str, str], Chain] = {}
    for chain in chains(calls):
        kind = chain.key, chain.template
        if kind not in longest or chain.length > longest[kind].length:
            longest[kind] = chain
    for (key, template), chain in longest.items():
        runs = tally.callees[key].runs
        run = runs.get(template)
        if run is None:
            if len(runs) >= MOST_RUNS:
                continue
            run = runs[template] = RunTally()
        run.executions += weight
        run.length.add(chain.length, weight)
        run.ms.add(chain.ms, weight)


def _fold_relations(
    tally: Tally, groups: Mapping[str, list[Named]], busy: Mapping[str, float], weight: int
) -> None:
    keys = sorted(list(groups)[:RELATED])
    ends = {key: (groups[key][0].call.started, max(map(_until, groups[key]))) for key in keys}
    for one, two in combinations(keys, 2):
        relation = relation_in(tally, one, two)
        if relation is None:
            continue
        relation.sampled += 1
        # From the last end of the one to the first start of the other.
        gap = (ends[two][0] - ends[one][1]) * 1000
        gap_after = (ends[one][0] - ends[two][1]) * 1000
        if gap >= 0:
            relation.before += weight
            relation.gap.add(coarse(gap), weight)
        elif gap_after >= 0:
            relation.after += weight
            relation.gap_after.add(coarse(gap_after), weight)
        else:
            relation.overlapping += weight
            continue
        relation.saving_ms += min(busy[one], busy[two]) * weight


def _until(named: Named) -> float:
    return named.until
