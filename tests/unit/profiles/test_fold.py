"""What executions did, counted: whatever is left out stays in the denominator, and everything is bounded."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.profiles.events import ACCOUNT, PLATFORM, Ran, call, invoke

from forerun.events import ExecutionEnded
from forerun.profiles.fold import RELATED, fold, name_calls
from forerun.profiles.merging import merge
from forerun.profiles.presenting import profile_of
from forerun.profiles.profile import Profile
from forerun.profiles.tally import MOST_CALLEES, MOST_NAMES, MOST_RELATIONS, OTHER_KEY, Tally
from forerun.traces import MAX_WEIGHT


def count(tally: Tally, *events: ExecutionEnded) -> Tally:
    for event in events:
        fold(tally, event, name_calls(event.calls, (), ACCOUNT, {PLATFORM}))
    return tally


def profile(*runs: Ran) -> Profile:
    return profile_of(count(Tally(), *(run.ended for run in runs)), ACCOUNT, "A", "1")


def test_absences_stay_in_the_denominator():
    shown = profile(*(Ran("A", *([call()] if number < 25 else [])) for number in range(100)))
    (callee,) = shown.callees
    assert (shown.sampled, callee.sampled, callee.executions) == (100, 25, 25)
    assert callee.likelihood.value == 0.25
    assert 0.17 < callee.likelihood.low < 0.25 < callee.likelihood.high < 0.35


def test_one_in_ten_stands_for_ten():
    shown = profile(Ran("A", call(), weight=10), *(Ran("A") for _ in range(10)))
    (callee,) = shown.callees
    assert (shown.sampled, shown.executions) == (11, 20)
    assert (callee.sampled, callee.executions, callee.calls) == (1, 10, 10)
    assert callee.likelihood.value == 0.5
    assert callee.likelihood.high - callee.likelihood.low > 0.5, "it was one execution"


def test_errors_timeouts_and_throttles_are_counted():
    shown = profile(
        Ran("A"),
        Ran("A", status="error", error_type="KeyError"),
        Ran("A", status="timeout", error_type="Sandbox.Timedout"),
        Ran("A", status="throttled", started=False),
    )
    assert shown.executions == 3
    assert shown.errors == {"KeyError": 1, "Sandbox.Timedout": 1}
    assert (shown.timeouts, shown.throttles) == (1, 1)
    assert shown.error_rate.value == pytest.approx(2 / 3)


def test_what_failed_before_its_handler_has_no_duration():
    shown = profile(
        Ran("A", for_s=5.0, started=False, status="error", error_type="ImportError"),
        Ran("A", for_s=0.1),
    )
    assert (shown.executions, shown.errors) == (2, {"ImportError": 1})
    assert shown.duration_ms.count == 1
    assert shown.duration_ms.max == pytest.approx(100, rel=0.02)


def test_calls_under_way_at_the_end_are_told_and_have_no_latency():
    shown = profile(Ran("A", call(at=0.02, for_s=0), for_s=0.1, status="timeout"))
    (callee,) = shown.callees
    assert shown.unfinished == callee.unfinished == 1
    assert callee.latency_ms.count == 0
    assert callee.error_rate.value == 0.0
    assert callee.critical_share == pytest.approx(0.8)
    assert {each.who: round(each.ms) for each in shown.critical_path} == {
        callee.key: 80,
        "self": 20,
    }


def test_order_and_concurrency_of_callees():
    one_by_one = Ran("A", call("a:1", at=0.0, for_s=0.02), call("b:1", at=0.03, for_s=0.01))
    (relation,) = profile(one_by_one).relations
    assert (relation.first, relation.second) == ("service:a:1", "service:b:1")
    assert (relation.order, relation.before) == ("before", 1.0)
    assert relation.gap_ms.p50 == pytest.approx(10, rel=0.1)
    assert relation.saving_ms == pytest.approx(10, rel=0.01)
    at_once = Ran("A", call("a:1", at=0.0, for_s=0.02), call("b:1", at=0.01, for_s=0.02))
    (relation,) = profile(at_once).relations
    assert (relation.order, relation.saving_ms) == ("overlapping", 0.0)
    reverse = Ran("A", call("b:1", at=0.0, for_s=0.02), call("a:1", at=0.03, for_s=0.01))
    (relation,) = profile(reverse, reverse, one_by_one).relations
    assert (relation.first, relation.order) == ("service:b:1", "either")
    assert relation.before == pytest.approx(2 / 3)


def test_the_critical_path_sums_to_the_duration():
    run = Ran(
        "A",
        call("a:1", at=0.01, for_s=0.05),
        call("b:1", at=0.02, for_s=0.06),
        call("a:1", at=0.085, for_s=0.005),
        for_s=0.1,
    )
    shown = profile(run)
    assert {each.who: round(each.ms) for each in shown.critical_path} == {
        "service:b:1": 60,
        "self": 25,
        "service:a:1": 15,
    }
    assert shown.waiting_ms.mean == pytest.approx(75, rel=0.01)
    assert sum(each.share for each in shown.critical_path) == pytest.approx(1)


def test_callees_beyond_the_bound_are_counted_together_and_once_for_each_execution():
    runs = [
        Ran("A", *(call(f"h{block * 50 + number}:1", at=number / 1000) for number in range(50)))
        for block in range(12)
    ]
    tally = count(Tally(), *(run.ended for run in runs))
    assert len(tally.callees) == MOST_CALLEES + 1
    other = tally.callees[OTHER_KEY]
    assert (other.executions, other.calls) == (8, 400)
    assert sum(map(len, tally.relations.values())) <= MOST_RELATIONS
    assert profile_of(tally, ACCOUNT, "A", "1").callees[0].likelihood.value <= 1


def test_names_beyond_the_bound_are_counted_together():
    runs = [
        Ran("A", call(path=f"/p{number}"), error_type=f"E{number}", status="error")
        for number in range(80)
    ]
    shown = profile(*runs)
    (callee,) = shown.callees
    for names in (shown.errors, callee.operations):
        assert len(names) == MOST_NAMES + 1
        assert sum(names.values()) == 80
        assert names["other"] == 30


def test_relations_are_kept_of_those_called_first():
    run = Ran("A", *(call(f"h{number:02}:1", at=number / 1000) for number in range(RELATED + 5)))
    named = {each.first for each in profile(run).relations}
    assert named <= {f"service:h{number:02}:1" for number in range(RELATED)}


def test_whatever_functions_say_can_be_stored():
    most = 2**53
    runs = [
        Ran(
            "A",
            *(
                call(sent_bytes=most, received_bytes=most, fingerprint=2**63, at=at)
                for at in (-1e9, 0.0, 1e9)
            ),
            weight=MAX_WEIGHT,
            cpu_ms=1e9,
            dropped=most,
        )
    ]
    tally = count(Tally(), *(run.ended for run in runs * 5_000))
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(tally), type=Tally)
    shown = profile_of(stored, ACCOUNT, "A", "1")
    assert shown.callees[0].sent_bytes == most
    assert shown.callees[0].likelihood.value == 1.0
    assert shown.callees[0].likelihood.low > 0.999
    assert msgspec.json.decode(msgspec.json.encode(shown), type=Profile) == shown


HOSTS = st.sampled_from(["a:1", "b:1", "c:1"])
CALLS = st.lists(
    st.builds(
        lambda host, at, for_s, status, fingerprint: call(
            host, at=at / 64, for_s=for_s / 64, status=status, fingerprint=fingerprint
        ),
        HOSTS,
        st.integers(0, 6),
        st.integers(0, 6),
        st.sampled_from([200, 202, 404, 429, 500]),
        st.integers(0, 3),
    )
    | st.builds(lambda at: invoke("B", at=at / 64, for_s=1 / 64), st.integers(0, 6)),
    max_size=7,
)
RUNS = st.lists(
    st.builds(
        lambda calls, weight, status: Ran(
            "A", *calls, weight=weight, status=status, for_s=0.125, cpu_ms=2.0
        ),
        CALLS,
        st.sampled_from([1, 1, 3]),
        st.sampled_from(["success", "success", "error", "timeout"]),
    ),
    max_size=8,
)


def assert_same(one: Profile, two: Profile) -> None:
    """Equal up to the rounding of sums."""
    assert_alike(msgspec.to_builtins(one), msgspec.to_builtins(two))


def assert_alike(one: object, two: object, where: str = "") -> None:
    if isinstance(one, dict):
        assert isinstance(two, dict), where
        assert one.keys() == two.keys(), where
        for name, value in one.items():
            assert_alike(value, two[name], f"{where}.{name}")
    elif isinstance(one, list):
        assert isinstance(two, list), where
        assert len(one) == len(two), where
        for number, value in enumerate(one):
            assert_alike(value, two[number], f"{where}[{number}]")
    elif isinstance(one, float):
        assert one == pytest.approx(two, rel=1e-9, abs=1e-9), where
    else:
        assert one == two, where


@given(RUNS, st.randoms(use_true_random=False))
def test_the_order_of_executions_changes_nothing(runs, chance):
    mixed = list(runs)
    chance.shuffle(mixed)
    assert_same(profile(*runs), profile(*mixed))


@given(RUNS, RUNS)
def test_parts_that_are_merged_are_the_whole(one, two):
    whole, part = Tally(), count(Tally(), *(run.ended for run in two))
    before = msgspec.msgpack.encode(part)
    merge(whole, count(Tally(), *(run.ended for run in one)))
    merge(whole, part)
    assert_same(profile_of(whole, ACCOUNT, "A", "1"), profile(*one, *two))
    assert msgspec.msgpack.encode(part) == before


@given(RUNS)
def test_a_tally_that_was_stored_is_the_same(runs):
    tally = count(Tally(), *(run.ended for run in runs))
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(tally), type=Tally)
    assert profile_of(stored, ACCOUNT, "A", "1") == profile_of(tally, ACCOUNT, "A", "1")


@given(RUNS)
def test_what_profiles_say_is_possible(runs):
    shown = profile(*runs)
    assert shown.sampled == len(runs)
    for callee in shown.callees:
        assert callee.sampled <= shown.sampled
        assert callee.executions <= shown.executions
        assert 0 <= callee.likelihood.low <= callee.likelihood.value <= callee.likelihood.high <= 1
        assert callee.executions <= callee.calls
        assert sum(callee.channels.values()) == callee.calls
        assert 0 <= callee.critical_share <= callee.busy_share + 1e-9 <= 1 + 1e-9
    for relation in shown.relations:
        assert relation.before + relation.after + relation.overlapping == pytest.approx(1)
    if runs:
        total = sum(each.ms for each in shown.critical_path)
        assert total == pytest.approx(shown.duration_ms.mean)
