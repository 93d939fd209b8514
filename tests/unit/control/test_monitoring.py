"""The monitor: who caused an execution, whether it is watched, and the header it is given."""

import random

import pytest
from tests.fakes.functions import ACCOUNT, make_function

from forerun.control.monitoring import Monitor
from forerun.model import (
    Channel,
    Origin,
    TraceContext,
    extended,
    occurrences,
)
from forerun.settings import MonitoringSettings
from forerun.traces import NOTHING

OTHER = "2" * 12
NOW = 1_700_000_000.0
KEY = "ASIAEXAMPLE"


def make(running=None, **settings):
    return Monitor(
        MonitoringSettings(**settings),
        key=b"k" * 32,
        running=(running or {}).get,
        random=random.Random(1),
    )


def headers_of(context: TraceContext):
    return {b"x-amzn-trace-id": context.header.encode()}


def test_a_root_begins_a_trace_that_begins_with_its_time():
    context = make().begin(make_function(), NOTHING, NOW)
    assert context.monitored
    assert (context.weight, context.depth) == (1, 0)
    assert context.trace_id.startswith(f"{int(NOW):08x}")
    assert len(context.trace_id) == 32
    assert context.header.startswith(
        f"Root=1-{context.trace_id[:8]}-{context.trace_id[8:]};Parent={context.span_id};Sampled=1;Forerun={context.span_id}-0-1-"
    )


def test_what_a_monitored_execution_calls_is_monitored_with_its_weight():
    monitor = make()
    root = monitor.begin(make_function("a", monitoring="1"), NOTHING, NOW)
    origin = monitor.recognise(headers_of(root), None, ACCOUNT, trusted=False)
    assert (origin.execution, origin.channel) == (root.span_id, Channel.HEADER)
    context = monitor.begin(make_function("b"), origin, NOW)
    assert (context.trace_id, context.weight, context.depth) == (root.trace_id, 1, 1)
    assert context.span_id != root.span_id
    assert context.origin == origin


def test_the_weight_is_inherited_and_the_threshold_does_not_matter():
    monitor = make(min_calls_per_hour=1000)
    origin = Origin(trace_id="ab" * 16, execution="cd" * 8, account=ACCOUNT, depth=4, weight=77)
    context = monitor.begin(make_function(), origin, NOW)
    assert (context.weight, context.depth) == (77, 5)
    assert not monitor.begin(make_function(), NOTHING, NOW).monitored


def test_a_function_whose_tag_is_off_is_not_monitored_whoever_calls_it():
    monitor = make()
    root = monitor.begin(make_function("a"), NOTHING, NOW)
    origin = monitor.recognise(headers_of(root), None, ACCOUNT, trusted=True)
    context = monitor.begin(make_function("b", monitoring="off"), origin, NOW)
    assert not context.monitored
    assert context.trace_id == root.trace_id
    assert context.header == (
        f"Root=1-{root.trace_id[:8]}-{root.trace_id[8:]};Parent={root.span_id};Sampled=1"
    )


def test_a_chain_ends_and_what_it_still_causes_is_another_trace():
    monitor = make(max_depth=5)
    context = monitor.begin(make_function(), NOTHING, NOW)
    chain = [context]
    while context.monitored:
        origin = monitor.recognise(headers_of(context), None, ACCOUNT, trusted=True)
        context = monitor.begin(make_function(), origin, NOW)
        chain.append(context)
    assert [each.depth for each in chain[:-1]] == [0, 1, 2, 3, 4]
    assert chain[-1].trace_id != chain[0].trace_id
    assert chain[-1].origin.execution == chain[-2].span_id
    assert monitor.counts(ACCOUNT)["too_deep"] == 1


@pytest.mark.parametrize("sampled", [True, False])
def test_a_call_that_is_not_monitored_hands_the_callers_trace_on(sampled):
    header = (
        f"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled={int(sampled)}"
    )
    monitor = make(min_calls_per_hour=10)
    origin = monitor.recognise(
        {b"x-amzn-trace-id": header.encode()}, "AKIA", ACCOUNT, trusted=True, caller=ACCOUNT
    )
    assert monitor.begin(make_function(), origin, NOW).header == header


def test_the_credentials_of_a_running_sandbox_tell_who_calls():
    caller = make().begin(make_function("a"), NOTHING, NOW)
    monitor = make({KEY: caller})
    origin = monitor.recognise({}, KEY, ACCOUNT, trusted=True, caller=ACCOUNT)
    assert (origin.execution, origin.channel) == (caller.span_id, Channel.CREDENTIAL)
    assert origin.parent_id == caller.span_id
    context = monitor.begin(make_function("b"), origin, NOW)
    assert (context.trace_id, context.depth) == (caller.trace_id, 1)
    assert monitor.recognise({}, "AKIAOTHER", ACCOUNT, trusted=True, caller=ACCOUNT) == NOTHING
    assert monitor.counts(ACCOUNT)["credential"] == 1


def test_a_signed_header_goes_before_the_credentials():
    first, second = (make().begin(make_function(name), NOTHING, NOW) for name in "ab")
    monitor = make({KEY: second})
    origin = monitor.recognise(headers_of(first), KEY, ACCOUNT, trusted=True, caller=ACCOUNT)
    assert (origin.execution, origin.channel) == (first.span_id, Channel.HEADER)


def test_nothing_links_executions_of_different_accounts():
    caller = make().begin(make_function("a"), NOTHING, NOW)
    monitor = make({KEY: caller})
    by_credential = monitor.recognise({}, KEY, OTHER, trusted=True, caller=ACCOUNT)
    by_header = monitor.recognise(headers_of(caller), None, OTHER, trusted=True, caller=ACCOUNT)
    assert by_credential == Origin(lineage=extended("", ACCOUNT, "a"))
    assert (by_header.trace_id, by_header.execution) == (caller.trace_id, "")
    assert monitor.counts(OTHER)["foreign"] == 2
    queued = Origin(trace_id="ab" * 16, execution="cd" * 8, account=OTHER, depth=4, weight=77)
    assert monitor.begin(make_function("b"), queued, NOW).depth == 0


def test_a_destination_is_caused_by_the_attempt_that_ended():
    monitor = make()
    context = monitor.begin(make_function(), Origin(baggage="k=v", tracestate="a=1"), NOW)
    origin = monitor.ended(context, ACCOUNT)
    assert (origin.execution, origin.parent_id) == (context.span_id, context.span_id)
    assert (origin.trace_id, origin.channel) == (context.trace_id, Channel.DESTINATION)
    assert (origin.baggage, origin.tracestate) == ("k=v", "a=1")
    unwatched = monitor.begin(make_function(monitoring="off"), NOTHING, NOW)
    assert monitor.ended(unwatched, ACCOUNT) == Origin(
        trace_id=unwatched.trace_id, lineage=extended("", ACCOUNT, "f")
    )


@pytest.mark.parametrize("monitoring", ["on", "off"])
@pytest.mark.parametrize("enabled", [True, False])
def test_the_lineage_of_a_chain_counts_its_functions_whether_monitored_or_not(monitoring, enabled):
    running: dict[str, TraceContext | None] = {"ASIAOTHER": None}
    monitor = make(running, enabled=enabled)
    origin = NOTHING
    for name in ("a", "b", "a"):
        running[KEY] = monitor.begin(make_function(name, monitoring=monitoring), origin, NOW)
        origin = monitor.recognise({}, KEY, ACCOUNT, trusted=True, caller=ACCOUNT)
    assert [occurrences(origin.lineage, ACCOUNT, name) for name in "abc"] == [2, 1, 0]
    assert occurrences(origin.lineage, OTHER, "a") == 0


def test_a_lineage_is_nothing_that_a_request_can_say():
    context = make().begin(make_function("a"), Origin(lineage=extended("", ACCOUNT, "a")), NOW)
    origin = make().recognise(headers_of(context), None, ACCOUNT, trusted=True, caller=ACCOUNT)
    assert (origin.execution, origin.lineage) == (context.span_id, "")


def test_all_attempts_of_an_event_are_of_one_trace_and_have_spans_of_their_own():
    monitor = make()
    origin = monitor.rooted(NOTHING, NOW)
    assert monitor.rooted(origin, NOW) is origin
    attempts = [monitor.begin(make_function(), origin, NOW) for _ in range(3)]
    assert {each.trace_id for each in attempts} == {origin.trace_id}
    assert len({each.span_id for each in attempts}) == 3


def test_switched_off_nothing_is_recognised_monitored_or_signed():
    context = make().begin(make_function("a"), NOTHING, NOW)
    monitor = make({KEY: context}, enabled=False)
    origin = monitor.recognise(headers_of(context), KEY, ACCOUNT, trusted=True, caller=ACCOUNT)
    assert (origin.trace_id, origin.execution) == (context.trace_id, "")
    queued = Origin(trace_id="ab" * 16, execution="cd" * 8, account=ACCOUNT, weight=1)
    for given in (NOTHING, origin, queued):
        begun = monitor.begin(make_function(monitoring="on"), given, NOW)
        assert not begun.monitored
        assert "Forerun" not in begun.header
        assert begun.header.endswith(f"Sampled={int(given.sampled)}")
    assert monitor.begin(make_function(), NOTHING, NOW).header.endswith(";Sampled=0")
    explained = monitor.explain(make_function(monitoring="on"), NOW)
    assert (explained["OneIn"], explained["Reason"]) == (0, "monitoring.enabled is false")


def test_it_explains_its_choice():
    monitor = make()
    for step in range(2000):
        monitor.begin(make_function(), NOTHING, NOW + step / 100)
    explained = monitor.explain(make_function(), NOW + 20)
    assert explained["FunctionName"] == "f"
    assert explained["Tag"] == "auto"
    assert explained["OneIn"] == pytest.approx(20, abs=3)
    assert "monitoring.function_per_s" in explained["Reason"]
    assert explained["CallsPerSecond"] == pytest.approx(100, rel=0.1)
    assert explained["Executions"] == 2000
    assert explained["Monitored"] == monitor.counts(ACCOUNT)["monitored"] < 200
