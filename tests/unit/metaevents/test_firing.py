"""When a job is refused, and why a rule did not fire, in words."""

import pytest
from tests.unit.metaevents.made import ENDED, Judged, fact, leaf

from forerun.metaevents import (
    Allowance,
    Limits,
    advance,
    explain,
    judge,
    parse_criteria,
    refusal,
    rehearse,
)

LIMITS = Limits(depth=3, rule_per_minute=2.0, account_per_minute=3.0)


def ask(rule, account, *, now=0.0, chain=(), cooling_s=0.0):
    return refusal(LIMITS, chain=chain, cooling_s=cooling_s, rule=rule, account=account, now=now)


def test_a_rule_runs_so_many_jobs_in_a_minute():
    rule, account = Allowance(2.0, 0.0), Allowance(3.0, 0.0)
    assert [bool(ask(rule, account)) for _ in range(3)] == [False, False, True]
    assert "2 jobs within a minute" in ask(rule, account, now=29.0)
    assert ask(rule, account, now=30.0) == ""
    assert ask(rule, account, now=31.0) != ""
    assert [bool(ask(rule, account, now=1e6)) for _ in range(3)] == [False, False, True], "no more"


def test_all_rules_of_an_account_together():
    account = Allowance(3.0, 0.0)
    answers = [ask(Allowance(2.0, 0.0), account) for _ in range(4)]
    assert answers[:3] == ["", "", ""]
    assert "account's rules ran 3 jobs" in answers[3]


def test_a_refused_job_uses_nothing_up():
    rule, account = Allowance(2.0, 0.0), Allowance(3.0, 0.0)
    for _ in range(5):
        assert "4.5 s more" in ask(rule, account, cooling_s=4.5)
        assert "more than 3 metaevents: a / b / c" in ask(rule, account, chain=("a", "b", "c"))
    assert ask(rule, account, chain=("a", "b")) == ""


def test_a_clock_that_is_set_back_gives_and_takes_nothing():
    rule, account = Allowance(2.0, 1000.0), Allowance(3.0, 1000.0)
    assert ask(rule, account, now=10.0) == ""
    assert ask(rule, account, now=10.0) == ""
    assert ask(rule, account, now=11.0) != ""


@pytest.mark.parametrize(
    ("when", "happened", "now", "words"),
    [
        (
            {"absent": leaf(), "within": 5},
            [],
            102.0,
            "was not seen since the rule began 2 s ago: it is absent in 3 s, unless it is seen before",
        ),
        (
            {"absent": leaf(), "within": 5},
            [101.0],
            102.5,
            "was seen 1.5 s ago: it is absent in 3.5 s",
        ),
        (
            {"absent": leaf(), "within": 5},
            [101.0],
            107.0,
            "was seen 6 s ago: it is absent, 5 s are over",
        ),
        (
            {"count": leaf(), "over": 60, "at_least": 3},
            [101.0],
            102.0,
            "count of (execution.started of f) over 1 m is at least 3: it is 1",
        ),
        ({"count": leaf(), "over": 60, "less_than": 3}, [], 110.0, "counts from 50 s from now on"),
        (
            {"quantile": leaf(ENDED), "field": "duration_ms", "p": 0.5, "over": 9, "at_least": 1},
            [],
            110.0,
            "it is unknown, there was none",
        ),
        ({"sequence": [leaf(), leaf(function="g")], "within": 9}, [101.0], 102.0, "1 of 2 steps"),
        (leaf(ENDED), [], 102.0, "holds in the moment of such an event only"),
    ],
    ids=["never", "seen", "over", "count", "few", "quantile", "sequence", "event"],
)
def test_why_it_did_not_fire(when, happened, now, words):
    judged = Judged(when, since=100.0)
    for at in happened:
        judged.see(fact(at))
    advance(judged.criteria, judged.state, now)
    said = explain(judged.criteria, judged.state, judge(judged.criteria, judged.state, now), now)
    assert words in said[1]
    held = "over" in words and "5 s are over" in words
    assert said[0].startswith(
        "The criteria have held for 0 s" if held else "The criteria do not hold"
    )


def test_only_parts_that_decide_are_explained():
    criteria = Judged({"any": [leaf(), {"not": {"absent": leaf(), "within": 5}}]})
    said = explain(
        criteria.criteria, criteria.state, judge(criteria.criteria, criteria.state, 1.0), 1.0
    )
    assert [line.partition(":")[0] for line in said[1:]] == ["When.any[0]", "When.any[1].not"]


def test_a_rehearsal_fires_by_events_and_by_time():
    criteria = parse_criteria({"absent": leaf(), "within": 5})
    facts = [fact(at) for at in (9.0, 2.0, 4.0)]
    steps = rehearse(criteria, facts, since=0.0, until=30.0)
    assert [(step.at, step.fires) for step in steps] == [
        (2.0, False),
        (4.0, False),
        (9.0, True),
        (9.0, False),
        (14.0, True),
    ]


def test_a_rehearsal_minds_the_cooldown():
    criteria = parse_criteria(leaf())
    facts = [fact(float(at)) for at in range(10)]
    steps = rehearse(criteria, facts, since=0.0, until=30.0, cooldown_s=4.0)
    assert [step.at for step in steps if step.fires] == [0.0, 4.0, 8.0]


def test_a_rehearsal_ends():
    criteria = parse_criteria({"count": leaf(), "over": 0.1, "less_than": 1})
    facts = [fact(at / 10) for at in range(5000)]
    assert len(rehearse(criteria, facts, since=0.0, until=1e9)) == 1000
