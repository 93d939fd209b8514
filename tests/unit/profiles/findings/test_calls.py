"""What is found in how calls follow each other: sequences, repetitions, loops, waiting, and what is called always."""

import pytest
from tests.unit.profiles.findings.profiles import always, callee, profile, relation, spread

from forerun.profiles import Profile, Repeats, Run
from forerun.profiles.findings import Confidence, Finding, Kind, findings


def found(kind: Kind, made: Profile, **more) -> Finding | None:
    """The one finding of a kind."""
    all_of_it = [each for each in findings(made, **more) if each.kind is kind]
    assert len(all_of_it) <= 1, all_of_it
    return all_of_it[0] if all_of_it else None


def test_nothing_is_found_where_nothing_is():
    assert findings(profile()) == []
    assert findings(profile(callees=[callee(), callee("db:5432")])) == []


# Sequences


def sequence(*, critical=0.3, second=None, **changed) -> Profile:
    one = always("B", position=1.0, critical_share=critical, latency_ms=spread(60.0))
    two = always(
        "C",
        **{"position": 2.0, "critical_share": critical, "latency_ms": spread(80.0)}
        | (second or {}),
    )
    return profile(callees=[two, one], relations=[relation(one, two, **changed)])


def test_a_constant_order_is_a_candidate():
    finding = found(Kind.SEQUENTIAL, sequence())
    assert finding.confidence is Confidence.LOW
    assert finding.callees == ["function:B", "function:C"]
    assert finding.title == "A calls B and C one after the other"
    assert finding.condition
    assert finding.gain.unit == "ms"
    assert finding.gain.amount == pytest.approx(60.0)
    assert finding.gain.share == pytest.approx(0.3)
    assert finding.sampled == 1000
    assert (finding.since, finding.until) == (1000.0, 5000.0)


def test_an_order_that_varies_shows_that_neither_needs_the_other():
    finding = found(Kind.SEQUENTIAL, sequence(before=0.7, after=0.3, order="either"))
    assert finding.confidence is Confidence.MEDIUM


def test_only_executions_that_call_both_gain():
    finding = found(Kind.SEQUENTIAL, sequence(executions=700.0))
    assert finding.confidence is Confidence.LOW
    assert finding.gain.amount == pytest.approx(42.0)
    assert finding.evidence[-1].value == pytest.approx(30.0), "it is told nevertheless"


def test_three_in_a_row_are_one_finding():
    calls = [
        always(name, position=float(place), critical_share=0.3, latency_ms=spread(60.0))
        for place, name in enumerate("BCD", 1)
    ]
    made = profile(
        callees=calls,
        relations=[
            relation(calls[0], calls[1]),
            relation(calls[1], calls[2]),
            relation(calls[0], calls[2], gap_ms=spread(61.0)),
        ],
    )
    finding = found(Kind.SEQUENTIAL, made)
    assert finding.title == "A calls B, C and D one after the other"
    assert finding.gain.amount == pytest.approx(120.0)


@pytest.mark.parametrize(
    "made",
    [
        sequence(before=0.9, overlapping=0.1),
        sequence(gap_ms=spread(30.0)),
        sequence(executions=50.0),
        sequence(sampled=19),
        sequence(saving_ms=5.0),
        sequence(critical=0.02),
        sequence(second={"asynchronous": 900.0}),
        sequence(second={"via": "S"}),
        sequence(second={"sampled": 19}),
        profile(callees=[always("B", critical_share=0.5), always("C", critical_share=0.5)]),
    ],
    ids=[
        "overlapping",
        "work-between",
        "rare",
        "few",
        "small",
        "not-waited-for",
        "handed-over",
        "through-another",
        "few-calls",
        "never-together",
    ],
)
def test_sequences_that_are_none(made):
    assert found(Kind.SEQUENTIAL, made) is None


# Repetitions


def repeating(name="db:5432", critical=0.3, **changed) -> Profile:
    repeats = Repeats(**{"executions": 300.0, "calls": 2.0, "ms": 40.0, "apart_ms": 1.0} | changed)
    return profile(callees=[always(name, repeats=repeats, critical_share=critical)])


@pytest.mark.parametrize(
    ("apart_ms", "confidence"), [(1.0, Confidence.HIGH), (100.0, Confidence.MEDIUM)]
)
def test_equal_calls_are_found(apart_ms, confidence):
    finding = found(Kind.REPEATED, repeating(apart_ms=apart_ms))
    assert finding.confidence is confidence
    assert finding.gain.amount == pytest.approx(12.0)
    assert "30 %" in finding.title


@pytest.mark.parametrize(
    "made",
    [
        repeating(executions=90.0),
        repeating(apart_ms=1000.0),
        repeating(ms=5.0),
        repeating(critical=0.005),
        repeating(name="aws:sqs"),
    ],
    ids=["rare", "far-apart", "small", "not-waited-for", "queue"],
)
def test_repetitions_that_are_none(made):
    assert found(Kind.REPEATED, made) is None


# Loops


def looping(
    name="db:5432",
    template="GET /items/*",
    length=10.0,
    tail=2.0,
    ms=100.0,
    executions=800.0,
    critical=0.6,
) -> Profile:
    run = Run(
        template=template,
        executions=executions,
        length=spread(length, executions, tail),
        ms=spread(ms, executions),
    )
    short = Run(template="GET /", executions=900.0, length=spread(3.0), ms=spread(500.0))
    return profile(callees=[always(name, runs=[short, run], critical_share=critical)])


def test_loops_are_found():
    finding = found(Kind.LOOP, looping())
    assert finding.confidence is Confidence.MEDIUM
    assert finding.gain.amount == pytest.approx(0.8 * 100 * 0.9)
    assert "10 times in a row (GET /items/*)" in finding.title
    assert "batch" in finding.advice
    assert "all items in one call" in found(Kind.LOOP, looping("B")).advice


@pytest.mark.parametrize("template", ["GET /items", "Scan", "ListObjectsV2", "Query"])
def test_what_may_be_pages_of_a_list_is_a_candidate(template):
    assert found(Kind.LOOP, looping(template=template)).confidence is Confidence.LOW


@pytest.mark.parametrize("template", ["GetItem", "Invoke", "POST /items", "GET /*/items"])
def test_what_names_an_item_is_no_page(template):
    assert found(Kind.LOOP, looping(template=template)).confidence is Confidence.MEDIUM


@pytest.mark.parametrize(
    "made",
    [
        looping(length=4.0),
        looping(executions=90.0),
        looping(ms=10.0),
        looping(critical=0.01),
    ],
    ids=["short", "rare", "quick", "not-waited-for"],
)
def test_loops_that_are_none(made):
    assert found(Kind.LOOP, made) is None


# Waiting


def test_waiting_is_found():
    finding = found(Kind.WAITING, profile(callees=[always(critical_share=0.6)]))
    assert finding.title == "A spends 60 % of its time waiting for B"
    assert finding.gain.amount == pytest.approx(120.0)
    slow = always(critical_share=0.6, latency_ms=spread(20.0, tail=8.0))
    assert "8 times" in found(Kind.WAITING, profile(callees=[slow])).advice


@pytest.mark.parametrize(
    "made",
    [
        profile(callees=[always(critical_share=0.49)]),
        profile(callees=[always(critical_share=0.9)], duration_ms=spread(50.0)),
        profile(callees=[always(critical_share=0.9, sampled=19)], sampled=19),
    ],
    ids=["half", "quick", "few"],
)
def test_waiting_that_is_none(made):
    assert found(Kind.WAITING, made) is None


# Always called


def other(**changed) -> Profile:
    return profile(
        **{"function": "B", "duration_ms": spread(10.0), "init_ms": spread(300.0, 50.0)} | changed
    )


def test_what_is_called_always_is_found():
    made = profile(callees=[always(critical_share=0.15)])
    finding = found(Kind.ALWAYS, made, callees={"B": other()})
    assert finding.gain.amount == pytest.approx(10 + 0.05 * 300)
    assert "have b ready" in finding.advice.lower()
    near = found(Kind.ALWAYS, made, callees={"B": other(init_ms=spread(300.0, 1.0))})
    assert "a part of A" in near.advice


@pytest.mark.parametrize(
    ("made", "known"),
    [
        (profile(callees=[callee()]), {"B": other()}),
        (profile(callees=[always()]), {}),
        (profile(callees=[always()]), {"B": other(sampled=19)}),
        (profile(callees=[always("b:80")]), {"b:80": other()}),
        (profile(callees=[always("A")]), {"A": profile()}),
        (profile(callees=[always()]), {"B": other(duration_ms=spread(19.9), init_ms=spread(9, 1))}),
    ],
    ids=["seldom", "unknown", "few", "service", "itself", "cheap"],
)
def test_always_that_is_none(made, known):
    assert found(Kind.ALWAYS, made, callees=known) is None


# How much must be seen


@pytest.mark.parametrize("sampled", [19, 20, 99, 100])
def test_few_executions_say_nothing_and_some_less_surely(sampled):
    made = profile(sampled=sampled, callees=[always(critical_share=0.6, sampled=sampled)])
    finding = found(Kind.WAITING, made)
    expected = None if sampled < 20 else Confidence.MEDIUM if sampled < 100 else Confidence.HIGH
    assert (finding and finding.confidence) == expected
    assert found(Kind.WAITING, made, at_least=sampled) is not None


def test_the_surest_and_largest_come_first():
    run = Run(template="GET /*", executions=900.0, length=spread(9.0), ms=spread(90.0))
    calls = always("db:1", critical_share=0.6, runs=[run])
    got = findings(profile(callees=[calls]))
    assert [each.kind for each in got] == [Kind.WAITING, Kind.LOOP]
