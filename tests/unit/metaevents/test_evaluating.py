"""What holds after an event and at a moment."""

import pytest
from tests.unit.metaevents.made import ENDED, STARTED, Judged, fact, leaf

from forerun.metaevents import (
    advance,
    catch_up,
    judge,
    looks_ahead,
    looks_back,
    next_moment,
)


def rises(judged, *facts):
    """Which facts the criteria came to hold with, by their times."""
    seen = [(each.at, judged.see(each)) for each in facts]
    return [at for at, judgement in seen if judgement and judgement.rose]


def test_an_event_holds_in_its_moment_and_every_one_of_them_is_one():
    judged = Judged(leaf(ENDED, where="event.status == 'error'"))
    good, bad = fact(1.0, ENDED, status="success"), fact(2.0, ENDED, status="error")
    assert rises(judged, good, bad, fact(3.0, ENDED, status="error")) == [2.0, 3.0]
    assert not judge(judged.criteria, judged.state, 3.1).held
    assert judged.see(fact(4.0, ENDED, "g", status="error")) is None
    assert judged.see(fact(4.0, STARTED)) is None
    assert next_moment(judged.criteria, judged.state, 4.0) is None


def test_what_an_expression_cannot_say_does_not_hold_and_says_why():
    judged = Judged(leaf(ENDED, where="1 / event.attempt == 1"))
    judgement = judged.see(fact(1.0, ENDED, attempt=0))
    assert not judgement.held
    assert judgement.parts[0].value == "divide by zero"


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"at_least": 3}, [3.0, 12.0]),
        ({"more_than": 2}, [3.0, 12.0]),
        ({"at_least": 2, "at_most": 2}, [11.0]),
    ],
    ids=["at least", "more than", "upper bound: not before a whole window"],
)
def test_a_count_rises_once_until_it_has_fallen(when, expected):
    judged = Judged({"count": leaf(), "over": 6, **when})
    facts = [fact(float(at)) for at in (1, 2, 3, 4, 10, 11, 12)]
    assert rises(judged, *facts) == expected


def test_rate_sum_and_quantile():
    facts = [
        fact(at, ENDED, duration_ms=ms) for at, ms in ((1.0, 100.0), (2.0, 400.0), (3.0, 100.0))
    ]
    of = leaf(ENDED)
    field = {"field": "duration_ms", "over": 10}
    assert rises(Judged({"rate": of, "over": 10, "at_least": 0.3}), *facts) == [3.0]
    assert rises(Judged({"sum": of, **field, "more_than": 450}), *facts) == [2.0]
    assert rises(Judged({"quantile": of, **field, "p": 0.5, "more_than": 200}), *facts) == []
    assert rises(Judged({"quantile": of, **field, "p": 0.9, "more_than": 200}), *facts) == [2.0]


def test_too_little_is_said_after_a_whole_window_only():
    judged = Judged({"count": leaf(), "over": 6, "less_than": 1}, since=100.0)
    criteria, state = judged.criteria, judged.state
    assert not advance(criteria, state, 103.0).held
    assert next_moment(criteria, state, 103.0) == 106.0
    assert advance(criteria, state, 106.0).rose
    judged.see(fact(107.0))
    assert not judge(criteria, state, 107.0).held
    assert next_moment(criteria, state, 107.0) == pytest.approx(113.0)
    assert advance(criteria, state, 113.0).rose


def test_absence_counts_from_registration_then_from_the_last_event():
    judged = Judged({"absent": leaf(), "within": 5}, since=100.0)
    criteria, state = judged.criteria, judged.state
    assert next_moment(criteria, state, 100.0) == 105.0
    judged.see(fact(103.0))
    assert next_moment(criteria, state, 103.0) == 108.0
    assert not advance(criteria, state, 105.0).held
    assert advance(criteria, state, 108.0).rose
    assert next_moment(criteria, state, 108.0) is None
    assert not advance(criteria, state, 200.0).rose
    judged.see(fact(201.0))
    assert advance(criteria, state, 206.0).rose


def test_other_events_do_not_end_an_absence():
    judged = Judged({"absent": leaf(ENDED, where="event.status == 'success'"), "within": 5})
    for seen in (
        fact(4.0, ENDED, status="error"),
        fact(4.0, "execution.throttled"),
        fact(4.0, "execution.queued"),
        fact(4.0, STARTED),
        fact(4.0, ENDED, "g", status="success"),
    ):
        judged.see(seen)
    assert advance(judged.criteria, judged.state, 5.0).rose


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("a1 b2 c3", [3]),
        ("a1 c2 b3 c4", [4]),
        ("b1 a2 c3", []),
        ("a1 b2 c8", []),
        ("a1 a5 b6 c9", [9]),
        ("a1 b2 a5 c9 b9.5", []),
        ("a1 b2 c3 c4", [3]),
        ("a1 b2 c3 a4 b5 c6", [3, 6]),
    ],
)
def test_a_sequence_is_an_order_within_a_time(order, expected):
    judged = Judged({"sequence": [leaf(function=name) for name in "abc"], "within": 5})
    facts = [fact(float(each[1:]), function=each[0]) for each in order.split()]
    assert rises(judged, *facts) == expected


def test_one_event_is_one_step():
    judged = Judged({"sequence": [leaf(), leaf()], "within": 5})
    assert rises(judged, fact(1.0), fact(2.0), fact(3.0), fact(4.0)) == [2.0, 4.0]


def test_combinations():
    absent = {"absent": leaf(function="backup"), "within": 5}
    event = leaf(ENDED, "f")
    judged = Judged(
        {"all": [event, absent, {"not": {"count": leaf(ENDED), "over": 9, "at_least": 3}}]}
    )
    facts = [fact(float(at), ENDED) for at in (4, 6, 7)]
    assert rises(judged, *facts) == [6.0]
    either = Judged({"any": [event, absent]})
    assert rises(either, facts[0]) == [4.0]
    assert advance(either.criteria, either.state, 5.0).rose, "the event was over"
    assert rises(either, *facts[1:]) == [], "the absence holds on"


def test_all_of_the_same_event():
    first, second = leaf(ENDED, where="event.cold"), leaf(ENDED, where="event.duration_ms > 5")
    judged = Judged({"all": [first, second]})
    facts = [
        fact(1.0, ENDED, cold=True),
        fact(2.0, ENDED, duration_ms=9.0),
        fact(3.0, ENDED, cold=True, duration_ms=9.0),
    ]
    assert rises(judged, *facts) == [3.0]


def test_a_clock_that_is_set_back_makes_nobody_wait_longer():
    judged = Judged({"absent": leaf(), "within": 5}, since=1000.0)
    judged.see(fact(1001.0))
    assert not advance(judged.criteria, judged.state, 10.0).held
    assert next_moment(judged.criteria, judged.state, 10.0) == 15.0


def test_what_comes_to_light_ends_an_absence_and_is_not_counted():
    judged = Judged(
        {"any": [{"absent": leaf(), "within": 5}, {"count": leaf(), "over": 60, "at_least": 1}]}
    )
    criteria, state = judged.criteria, judged.state
    assert advance(criteria, state, 6.0).rose
    assert catch_up(criteria, state, fact(4.0), dict)
    assert not catch_up(criteria, state, fact(4.0), dict)
    assert not catch_up(criteria, state, fact(3.0), dict)
    assert not catch_up(criteria, state, fact(5.0, function="g"), dict)
    assert not judge(criteria, state, 6.0).held
    assert advance(criteria, state, 9.0).rose


def test_how_far_criteria_look():
    criteria = Judged(
        {"any": [{"absent": leaf(), "within": 5}, {"count": leaf(), "over": 60, "at_least": 9}]}
    )
    assert looks_ahead(criteria.criteria) == 60.0
    assert looks_back(criteria.criteria, criteria.state, 100.0) == 0.0
    criteria.see(fact(90.0))
    assert looks_back(criteria.criteria, criteria.state, 100.0) == 40.0
