"""What is found in memory, init, errors, retries, timeouts, and in who calls whom."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.profiles.findings.profiles import always, callee, profile, spread
from tests.unit.profiles.findings.test_calls import found

from forerun.profiles import CalleeProfile, Likelihood, Memory, Profile, Quantiles, Relation
from forerun.profiles.findings import Confidence, Finding, Kind, cycles_in, findings


def remembering(configured: int, used: float, **more) -> Profile:
    return profile(memory=Memory(configured_mb=configured, used_mb=spread(used, tail=1.0)), **more)


# Memory


@pytest.mark.parametrize(
    ("configured", "used", "proposed"),
    [(1024, 100, 192), (1024, 90, 128), (512, 245, 320), (10240, 20, 128)],
)
def test_memory_that_is_never_used(configured, used, proposed):
    finding = found(Kind.MEMORY_LARGE, remembering(configured, used))
    assert f"MemorySize to {proposed}:" in finding.advice
    assert finding.gain.unit == "MB"
    assert finding.gain.amount == configured - proposed


@pytest.mark.parametrize(
    "made",
    [
        remembering(512, 300),
        remembering(128, 20),
        remembering(320, 180),
        remembering(1769, 100, cpu_share=0.95),
        remembering(1024, 0),
        remembering(0, 0),
        remembering(1024, 100, sampled=19),
    ],
    ids=["used", "smallest", "not-worth-it", "computes", "unknown", "nothing", "few"],
)
def test_memory_that_is_right(made):
    assert found(Kind.MEMORY_LARGE, made) is None
    assert found(Kind.MEMORY_SMALL, made) is None


def test_memory_that_is_nearly_used_up():
    finding = found(Kind.MEMORY_SMALL, remembering(256, 240, errors={"Runtime.ExitError": 3.0}))
    assert "MemorySize to 320:" in finding.advice
    assert finding.confidence is Confidence.HIGH
    assert found(Kind.MEMORY_SMALL, remembering(256, 220)) is None


def test_a_function_that_computes_long_wants_a_share_of_a_processor():
    made = remembering(256, 100, cpu_share=0.9, cpu_ms=spread(600.0))
    finding = found(Kind.MEMORY_SMALL, made)
    assert finding.confidence is Confidence.LOW
    assert "is sure of 14 %" in finding.title
    assert "MemorySize to 1792:" in finding.advice
    assert finding.gain.amount == pytest.approx(600 * (1769 / 256 - 1))


def test_a_function_that_is_held_to_its_share():
    held = {"cpu_share": 0.15, "cpu_ms": spread(90.0), "duration_ms": spread(600.0)}
    finding = found(Kind.MEMORY_SMALL, remembering(256, 100, **held, waiting_share=0.1))
    assert finding.confidence is Confidence.MEDIUM
    assert finding.gain.amount == pytest.approx(600 - 60 - 90)
    assert found(Kind.MEMORY_SMALL, remembering(256, 100, **held, waiting_share=0.4)) is None


@pytest.mark.parametrize(
    ("configured", "more"),
    [
        (256, {"cpu_share": 0.9, "cpu_ms": spread(400.0)}),
        (256, {"cpu_share": 0.4, "cpu_ms": spread(600.0)}),
        (1024, {"cpu_share": 0.9, "cpu_ms": spread(600.0)}),
        (2048, {"cpu_share": 1.0, "cpu_ms": spread(600.0)}),
        (256, {"cpu_share": 0.08, "cpu_ms": spread(90.0)}),
        (256, {"cpu_share": 0.15, "cpu_ms": spread(40.0)}),
    ],
    ids=["short", "no-bound", "enough", "whole", "sleeps", "little"],
)
def test_processors_that_are_right(configured, more):
    assert found(Kind.MEMORY_SMALL, remembering(configured, configured / 2, **more)) is None


# Init


def test_slow_init_that_is_met_often():
    finding = found(Kind.INIT, profile(init_ms=spread(410.0, 100)))
    assert finding.gain.amount == pytest.approx(40.0)
    assert "SnapStart" in finding.advice
    assert "10 % of executions of A wait 410 ms" in finding.title


@pytest.mark.parametrize(
    "made",
    [
        profile(init_ms=spread(90.0, 100)),
        profile(init_ms=spread(410.0, 9)),
        profile(init_ms=spread(410.0, 4), sampled=99, executions=99.0),
        profile(init_ms=Quantiles()),
    ],
    ids=["quick", "rare", "few", "unknown"],
)
def test_init_that_is_right(made):
    assert found(Kind.INIT, made) is None


# Retries, errors, timeouts


def failing(*, retries=0.0, errors=None, **more) -> Profile:
    errors = errors or {}
    rate = sum(errors.values()) / 1000
    bad = always(retries=retries, errors=errors, error_rate=Likelihood(value=rate), **more)
    return profile(callees=[bad, callee("C", errors={"500": 2.0}), callee("d:1")])


def test_a_storm_of_retries():
    finding = found(Kind.RETRIES, failing(retries=500.0, throttles=400.0))
    assert "2.0 times the calls of B" in finding.title
    assert finding.gain.amount == pytest.approx(10.0)
    assert "throttles" in finding.advice
    assert "Mend" in found(Kind.RETRIES, failing(retries=500.0)).advice


@pytest.mark.parametrize(
    "made",
    [
        failing(retries=300.0),
        profile(callees=[callee(calls=30.0, retries=15.0, executions=15.0)], executions=20_000.0),
    ],
    ids=["some", "few"],
)
def test_retries_that_are_right(made):
    assert found(Kind.RETRIES, made) is None


def test_errors_of_one_callee():
    finding = found(Kind.ERRORS, failing(errors={"500": 80.0, "404": 300.0}))
    assert finding.title == "8 % of the calls of B by A fail, mostly with 500"
    assert finding.callees == ["function:B"]


def test_a_callee_that_refuses_everybody():
    assert "mostly with 401" in found(Kind.ERRORS, failing(errors={"401": 900.0})).title


@pytest.mark.parametrize(
    "made",
    [
        failing(errors={"500": 60.0}),
        failing(errors={"404": 900.0}),
        failing(errors={"401": 200.0}),
        profile(callees=[always(name, errors={"500": 200.0}) for name in ("B", "C")]),
        profile(callees=[callee(calls=20.0, errors={"500": 9.0})]),
    ],
    ids=["few-of-many", "expected", "renewed", "everywhere", "few"],
)
def test_errors_that_are_none(made):
    assert found(Kind.ERRORS, made) is None


def test_timeouts_while_waiting():
    made = profile(
        timeouts=20.0, callees=[always(unfinished=18.0)], duration_ms=spread(200.0, tail=15.0)
    )
    finding = found(Kind.TIMEOUTS, made)
    assert finding.title == "A runs out of time while waiting for B"
    assert finding.gain.amount == pytest.approx(0.02 * 2800)


@pytest.mark.parametrize(
    "made",
    [
        profile(timeouts=2.0, callees=[always(unfinished=2.0)]),
        profile(timeouts=20.0, callees=[always(unfinished=10.0)]),
        profile(timeouts=0.0, callees=[always(unfinished=20.0)]),
        profile(timeouts=20.0, callees=[always(unfinished=900.0)]),
        profile(timeouts=20.0),
    ],
    ids=["few", "half", "no-timeouts", "left-behind", "computing"],
)
def test_timeouts_that_are_not_the_callees(made):
    assert found(Kind.TIMEOUTS, made) is None


# Cycles


def test_a_function_that_calls_itself():
    again = callee("A", calls=500.0)
    finding = found(Kind.CYCLE, profile(callees=[again], channels={"header": 500.0, "": 500.0}))
    assert finding.title == "A calls A: a cycle"
    assert finding.gain.amount == pytest.approx(200.0)
    assert "1.00 further ones" in finding.advice


def test_two_functions_that_call_each_other_though_few_executions_were_seen():
    one = profile(sampled=3, executions=3.0, callees=[callee("B", sampled=3, calls=3.0)])
    two = profile(function="B", executions=6.0, callees=[callee("A", calls=3.0)])
    finding = found(Kind.CYCLE, one, callees={"B": two})
    assert finding.title == "A calls B calls A: a cycle"
    assert finding.evidence[1].value == pytest.approx(0.5)


def test_longer_cycles_are_given_and_each_is_told_once():
    one = profile(callees=[callee("B")])
    chains = [["A", "B", "C"], ["A", "B", "C"], ["B", "C", "A"], []]
    finding = found(Kind.CYCLE, one, cycles=chains)
    assert finding.title == "A calls B calls C calls A: a cycle"


def graph(**calls: str) -> dict[str, Profile]:
    """Functions by name, and whom they call."""
    return {
        name: profile(function=name, callees=[callee(to) for to in whom])
        for name, whom in calls.items()
    }


@pytest.mark.parametrize(
    ("calls", "cycles"),
    [
        ({}, []),
        ({"A": "B", "B": "C", "C": ""}, []),
        ({"A": "A"}, [["A"]]),
        ({"X": "C", "A": "BC", "B": "C", "C": "A", "Y": ""}, [["A", "C"], ["A", "B", "C"]]),
        ({"A": "B", "B": "A", "C": "D", "D": "C", "E": "AC"}, [["A", "B"], ["C", "D"]]),
        ({"A": "B", "B": "Z"}, []),
    ],
    ids=["nobody", "chain", "itself", "short-and-long", "two", "unknown"],
)
def test_cycles_of_an_account(calls, cycles):
    assert cycles_in(graph(**calls)) == cycles


def test_a_chain_is_no_cycle():
    two = profile(function="B", callees=[callee("C")])
    assert found(Kind.CYCLE, profile(callees=[callee("B")]), callees={"B": two}) is None


# Whatever comes

names = st.sampled_from(["A", "B", "C", "d:80", "aws:sqs"])
finite = {
    float: st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1.0, float("nan"), float("inf")]),
    str: names,
}


def arbitrary(kind, **given_):
    known = {each.name: finite.get(each.type, each.type) for each in msgspec.structs.fields(kind)}
    known |= given_
    return st.builds(
        kind,
        **{
            name: each if isinstance(each, st.SearchStrategy) else st.from_type(each)
            for name, each in known.items()
        },
    )


quantiles = arbitrary(Quantiles)
likelihoods = arbitrary(Likelihood)
counts = st.dictionaries(
    st.sampled_from(["500", "404", "header", "call"]), finite[float], max_size=3
)
st.register_type_strategy(Quantiles, quantiles)
st.register_type_strategy(Likelihood, likelihoods)
any_callees = arbitrary(
    CalleeProfile, channels=counts, qualifiers=counts, operations=counts, errors=counts
)
keys = st.sampled_from(["function:A", "function:B", "function:C", "service:d:80"])
any_profiles = arbitrary(
    Profile,
    start_types=counts,
    channels=counts,
    errors=counts,
    callees=st.lists(any_callees, max_size=4),
    relations=st.lists(arbitrary(Relation, first=keys, second=keys), max_size=6),
)


@settings(max_examples=60, deadline=None)
@given(
    any_profiles,
    st.dictionaries(names, any_profiles, max_size=2),
    st.lists(st.lists(names, max_size=3), max_size=2),
)
def test_no_profile_breaks_it(made, known, chains):
    got = findings(made, known, chains, at_least=0)
    assert msgspec.json.decode(msgspec.json.encode(got), type=list) is not None
    assert got == sorted(got, key=lambda each: list(Confidence).index(each.confidence))
    for each in got:
        assert isinstance(each, Finding)
        assert each.title
        assert each.evidence
        assert each.gain.how
