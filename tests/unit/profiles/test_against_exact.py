"""Profiles that are kept up say what profiles computed from all events at once say, and lead to the same findings."""

from collections.abc import Iterable

import pytest
from bench.exact import exact_profiles
from bench.imagined import ACCOUNT
from bench.labelled import PLATFORM, SCENARIOS, events_of

from forerun.events import ExecutionEnded
from forerun.profiles import CalleeProfile, Profile, Quantiles, Relation
from forerun.profiles.findings import findings
from forerun.profiles.fold import fold, name_calls
from forerun.profiles.presenting import profile_of
from forerun.profiles.tally import Tally

SIZE = 300


def folded(events: Iterable[ExecutionEnded]) -> dict[str, Profile]:
    """The profile of each function, one execution after the other."""
    tallies: dict[str, Tally] = {}
    for event in events:
        tally = tallies.setdefault(event.record.name, Tally())
        fold(tally, event, name_calls(event.calls, (), ACCOUNT, {PLATFORM}))
    return {name: profile_of(tally, ACCOUNT, name, "1") for name, tally in tallies.items()}


def close(value: float) -> object:
    """Equal up to what a sketch may be off, and what times lose as epoch seconds."""
    return pytest.approx(value, rel=0.021, abs=1e-3)


def assert_close(one: Quantiles, two: Quantiles) -> None:
    for name in one.__struct_fields__:
        assert getattr(one, name) == close(getattr(two, name)), name


@pytest.mark.parametrize("one", SCENARIOS, ids=lambda one: one.name)
def test_folding_loses_nothing(one):
    events = list(events_of(one, 5, SIZE))
    exact, kept = exact_profiles(events, PLATFORM), folded(events)
    assert kept.keys() == exact.keys()
    for name, wanted in exact.items():
        compare(kept[name], wanted)
    said = [
        {(each.kind, each.confidence, *each.callees) for each in findings(known["A"], known)}
        for known in (kept, exact)
    ]
    assert said[0] == said[1]


def compare(kept: Profile, wanted: Profile) -> None:
    for name in ("sampled", "executions", "start_types", "channels", "errors", "timeouts"):
        assert getattr(kept, name) == getattr(wanted, name), name
    for name in ("cpu_share", "waiting_share", "unfinished"):
        assert getattr(kept, name) == close(getattr(wanted, name)), name
    for name in ("init_ms", "duration_ms", "cpu_ms", "waiting_ms"):
        assert_close(getattr(kept, name), getattr(wanted, name))
    assert_close(kept.memory.used_mb, wanted.memory.used_mb)
    callees = {each.key: each for each in wanted.callees}
    assert {each.key for each in kept.callees} == callees.keys()
    for callee in kept.callees:
        compare_callees(callee, callees[callee.key])
    relations = {frozenset((each.first, each.second)): each for each in wanted.relations}
    assert len(kept.relations) == len(relations)
    for relation in kept.relations:
        compare_relations(relation, relations[frozenset((relation.first, relation.second))])


def compare_callees(callee: CalleeProfile, exact: CalleeProfile) -> None:
    for name in ("executions", "calls", "errors", "throttles", "retries", "unfinished"):
        assert getattr(callee, name) == getattr(exact, name), name
    for name in ("position", "busy_share", "critical_share"):
        assert getattr(callee, name) == close(getattr(exact, name)), name
    for name in ("low", "value", "high"):
        assert getattr(callee.likelihood, name) == close(getattr(exact.likelihood, name)), name
    for name in ("calls_per_execution", "delay_ms", "latency_ms"):
        assert_close(getattr(callee, name), getattr(exact, name))
    for name in callee.repeats.__struct_fields__:
        assert getattr(callee.repeats, name) == close(getattr(exact.repeats, name)), name
    runs = {run.template: run for run in exact.runs}
    assert {run.template for run in callee.runs} == runs.keys()
    for run in callee.runs:
        assert run.executions == runs[run.template].executions
        assert_close(run.length, runs[run.template].length)
        assert_close(run.ms, runs[run.template].ms)


def compare_relations(relation: Relation, exact: Relation) -> None:
    assert relation.executions == exact.executions
    assert relation.overlapping == close(exact.overlapping)
    assert relation.saving_ms == close(exact.saving_ms)
    one_way = sorted((relation.before, relation.after))
    assert one_way == close(sorted((exact.before, exact.after)))
