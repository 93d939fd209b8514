"""Who reached whom: known from what was called, from what arrived, or from both, in whatever order that is heard of."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.profiles.events import ACCOUNT, OTHER, PLATFORM, Ran, call, invoke

from forerun.events import Event, ExecutionBegan
from forerun.model import Channel, Origin
from forerun.profiles.fold import fold, fold_reached
from forerun.profiles.linking import ARRIVALS, Late, Links
from forerun.profiles.presenting import profile_of
from forerun.profiles.profile import CalleeProfile, Profile
from forerun.profiles.tally import Tally


def learned(events: Iterable[Event], links: Links | None = None, name: str = "A") -> Profile:
    """The profile of ``name`` after these events; what its own callees do is not counted."""
    links, tally = links or Links({PLATFORM}), Tally()

    def note(late: Late | None) -> None:
        if late is not None and late.recent.version.name == name:
            fold_reached(tally, late.reached, late.recent.counted, late.recent.weight)

    for event in events:
        if isinstance(event, ExecutionBegan):
            note(links.began(event))
            continue
        note(links.refused(event))
        if event.context.monitored:
            callees, reached, recent = links.ended(event)
            if event.record.name == name:
                recent.counted = fold(tally, event, callees, reached)
    return profile_of(tally, ACCOUNT, name, "1")


def by_key(profile: Profile) -> dict[str, CalleeProfile]:
    return {each.key: each for each in profile.callees}


def passed_on(taken: bool, **more: object) -> list[Ran]:
    """A, which calls S and so reaches B when ``taken``."""
    if not taken:
        return [Ran("A")]
    outgoing = call("s:80")
    a = Ran("A", outgoing)
    return [a, Ran("B", at=0.02, version="7", origin=a.through(outgoing.span_id), **more)]


def in_order(runs: Iterable[Ran]) -> list[Event]:
    """B begins and ends while A runs."""
    first, *others = runs
    return [first.began, *(e for each in others for e in (each.began, each.ended)), first.ended]


def late(runs: Iterable[Ran]) -> list[Event]:
    """B is heard of only when A is over."""
    first, *others = runs
    return [first.began, first.ended, *(e for each in others for e in (each.began, each.ended))]


@pytest.mark.parametrize("heard", [in_order, late], ids=["before the end", "after the end"])
def test_what_is_reached_through_a_service_has_its_likelihood(heard):
    events = [event for number in range(100) for event in heard(passed_on(number < 60))]
    callees = by_key(learned(events))
    assert {key: each.likelihood.value for key, each in callees.items()} == {
        "service:s:80": 0.6,
        "function:B via s:80": 0.6,
    }
    reached = callees["function:B via s:80"]
    assert reached.channels == {"header": 60}
    assert reached.versions == {"7": 60}
    assert reached.delay_ms.p50 == pytest.approx(20, rel=0.02)
    assert reached.latency_ms.count == 0, "nobody saw the call"
    assert reached.calls_per_execution.max == 1


@given(st.lists(st.booleans(), max_size=12), st.randoms(use_true_random=False))
def test_the_order_in_which_it_is_heard_of_changes_nothing(taken, chance):
    scenes = [passed_on(each) for each in taken]
    events = [event for scene in scenes for event in in_order(scene)]
    expected = learned(events)
    queues = [chance.choice((in_order, late))(scene) for scene in scenes]
    mixed: list[Event] = []
    while queues := [queue for queue in queues if queue]:
        mixed.append(chance.choice(queues).pop(0))
    assert learned(mixed) == expected


@pytest.mark.parametrize("heard", [in_order, late], ids=["before the end", "after the end"])
def test_a_function_that_was_called_is_one_callee_and_its_version_is_known(heard):
    outgoing = invoke("B:live")
    a = Ran("A", outgoing)
    b = Ran("B", version="3", origin=a.through(outgoing.span_id))
    (callee,) = learned(heard([a, b])).callees
    assert (callee.key, callee.calls, callee.channels) == ("function:B", 1, {"call": 1})
    assert callee.qualifiers == {"live": 1}
    assert callee.versions == {"3": 1}


def test_a_function_url_is_the_function_that_begins_there():
    outgoing = call(PLATFORM, path="/lambda-url/abc/")
    a = Ran("A", outgoing)
    b = Ran("B", origin=a.through(outgoing.span_id))
    (callee,) = learned(in_order([a, b])).callees
    assert (callee.key, callee.versions) == ("function:B", {"1": 1})
    (callee,) = learned([a.began, a.ended]).callees
    assert callee.key == "service:function-url"


@pytest.mark.parametrize("channel", [Channel.CREDENTIAL, Channel.DESTINATION])
def test_what_is_reached_though_no_call_was_seen_counts(channel):
    a = Ran("A")
    runs = [a, *(Ran("B", origin=a.through("", channel)) for _ in range(3))]
    (callee,) = learned(in_order(runs)).callees
    assert callee.key == "function:B"
    assert callee.likelihood.value == 1.0
    assert (callee.executions, callee.calls) == (1, 3)
    assert callee.calls_per_execution.mean == 3
    assert callee.channels == {channel.value: 3}


@pytest.mark.parametrize("heard", [in_order, late], ids=["before the end", "after the end"])
def test_further_attempts_are_no_further_calls(heard):
    outgoing = call("queue:80")
    a = Ran("A", outgoing)
    attempts = [
        Ran("B", origin=a.through(outgoing.span_id), request_id="the same") for _ in range(3)
    ]
    callee = by_key(learned(heard([a, *attempts])))["function:B via queue:80"]
    assert callee.calls == callee.executions == 1


@pytest.mark.parametrize("heard", [in_order, late], ids=["before the end", "after the end"])
def test_weights_count(heard):
    watched = [passed_on(True), *([Ran("A", weight=10)] for _ in range(6))]
    profile = learned([event for runs in watched for event in heard(runs)])
    callee = by_key(profile)["function:B via s:80"]
    assert (profile.sampled, profile.executions) == (7, 61)
    assert callee.likelihood.value == pytest.approx(1 / 61)


def test_what_others_own_is_not_told():
    a, _ = passed_on(True)
    outgoing = a.calls[0]
    theirs = Ran("Secret", account=OTHER, origin=a.through(outgoing.span_id))
    for heard in (in_order, late):
        assert set(by_key(learned(heard([a, theirs])))) == {"service:s:80"}


@pytest.mark.parametrize(
    "how", [{"weight": 0}, {"status": "throttled"}], ids=["not watched", "throttled"]
)
def test_what_did_not_begin_was_called_all_the_same(how):
    a, b = passed_on(True, **how)
    for events in ([a.began, b.ended, a.ended], [a.began, a.ended, b.ended]):
        assert by_key(learned(events))["function:B via s:80"].calls == 1


def test_an_unknown_cause_is_counted_and_nothing_else():
    links = Links({PLATFORM})
    stranger = Ran("B", origin=Origin(execution="f" * 16, parent_id="e" * 16, account=ACCOUNT))
    assert links.began(stranger.began) is None
    assert links.unknown == 1


def test_the_oldest_are_forgotten():
    links = Links({PLATFORM}, most=10)
    first, later = Ran("A"), [Ran("A") for _ in range(10)]
    for run in (first, *later):
        links.began(run.began)
    links.began(Ran("B", origin=first.through("")).began)
    assert links.unknown == 1
    links.began(Ran("B", origin=later[-1].through("")).began)
    assert links.unknown == 1


def test_executions_with_many_calls_are_forgotten_sooner():
    links = Links({PLATFORM}, calls=100)
    runs = [Ran("A", *(call() for _ in range(60))) for _ in range(3)]
    for run in runs:
        links.began(run.began)
        links.ended(run.ended)
    links.began(Ran("B", origin=runs[0].through("")).began)
    assert links.unknown == 1
    assert links.began(Ran("B", origin=runs[2].through("")).began) is not None


def test_ends_without_a_beginning_push_nobody_out():
    links = Links({PLATFORM}, calls=100)
    kept = Ran("A", call())
    links.began(kept.began)
    links.began(Ran("C").began)
    links.ended(kept.ended)
    for _ in range(5):
        links.ended(Ran("A", *(call() for _ in range(60))).ended)
    assert links.began(Ran("B", origin=kept.through("")).began) is not None


def test_an_execution_that_causes_without_end_is_counted_so_far():
    a = Ran("A")
    runs = [a, *(Ran("B", origin=a.through("")) for _ in range(ARRIVALS + 50))]
    (callee,) = learned(in_order(runs)).callees
    assert callee.calls == ARRIVALS
    assert callee.executions == 1


def test_a_function_may_reach_itself():
    outgoing = invoke("A")
    a = Ran("A", outgoing)
    again = Ran("A", origin=a.through(outgoing.span_id))
    profile = learned(in_order([a, again]))
    (callee,) = profile.callees
    assert (callee.key, callee.likelihood.value) == ("function:A", 0.5)
    assert profile.channels == {"header": 1, "none": 1}
