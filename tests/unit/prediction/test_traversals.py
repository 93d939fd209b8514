"""What is expected of running executions: revised by what they call, by time, by their ends."""

import pytest
from tests.unit.prediction.graphs import (
    ACCOUNT,
    T0,
    A,
    B,
    C,
    D,
    E,
    branching,
    expected,
    to,
    traversals,
)

from forerun.model import Qualified, Reason
from forerun.prediction.traversals import BUSY, BUSY_S, MAX_AGE_S, MOST_RUNS_OF_ONE

OTHER = "2" * 12


def test_what_follows_is_expected_and_what_is_unlikely_is_not():
    running = branching()
    changed = running.began(A, "a", "", "request-a", T0)
    assert set(changed) == {B, C, D, E}
    assert expected(running) == {"B": 1, "D": 1}
    (b,) = running.expectations(B, T0)
    assert b.probability == pytest.approx(0.9, abs=0.01)
    assert (b.reason, b.cause, b.since, b.until) == (Reason.CALLER, "request-a", T0 + 1, T0 + 3)
    (d,) = running.expectations(D, T0)
    assert (d.cause, d.since, d.until) == ("request-a", T0 + 2, T0 + 4)


def test_the_branch_that_is_taken_ends_the_other():
    running = branching()
    running.began(A, "a", "", "request-a", T0)
    changed = running.began(C, "c", "a", "request-c", T0 + 0.5)
    assert {B, D, E} <= set(changed)
    assert expected(running, T0 + 0.5) == {"E": 1}
    (e,) = running.expectations(E, T0 + 0.5)
    assert (e.cause, e.since) == ("request-a", T0 + 1.5)


def test_what_was_called_is_expected_no_more_but_what_it_calls_is():
    running = branching()
    running.began(A, "a", "", "request-a", T0)
    running.began(B, "b", "a", "request-b", T0 + 0.5)
    assert expected(running, T0 + 0.5) == {"D": 1}
    (d,) = running.expectations(D, T0 + 0.5)
    assert (d.cause, d.since) == ("request-a", T0 + 1.5)
    running.began(D, "d", "b", "request-d", T0 + 1)
    assert expected(running, T0 + 1) == {}


def test_a_callee_is_recognised_under_another_qualifier():
    running = branching()
    running.began(A._replace(qualifier="live"), "a", "", "request-a", T0)
    running.began(B._replace(qualifier="7"), "b", "a", "request-b", T0)
    assert expected(running) == {"D": 1}


def test_the_end_of_an_execution_ends_what_it_would_have_called():
    running = branching()
    running.began(A, "a", "", "request-a", T0)
    assert {B, D} <= set(running.ended("a", T0 + 0.1))
    assert expected(running) == {}
    assert running.ended("a", T0 + 0.2) == ()
    assert len(running) == 0


def test_when_the_first_has_ended_the_next_is_the_cause():
    running = branching()
    running.began(A, "a", "", "request-a", T0)
    running.began(B, "b", "a", "request-b", T0)
    running.ended("a", T0)
    assert [each.cause for each in running.expectations(D, T0)] == ["request-b"]


def test_events_are_expected_beyond_the_end_of_whoever_sent_them():
    running = traversals({A: [to(B, outlives=True), to(C)]})
    running.began(A, "a", "", "request-a", T0)
    running.ended("a", T0 + 0.1)
    assert expected(running, T0 + 0.2) == {"B": 1}
    running.began(B, "b", "a", "request-b", T0 + 0.3)
    assert expected(running, T0 + 0.3) == {}
    assert len(running) == 0


def test_an_event_that_does_not_come_is_given_up():
    running = traversals({A: [to(B, outlives=True)]})
    running.began(A, "a", "", "request-a", T0)
    running.ended("a", T0 + 0.1)
    assert running.next_change(T0) == T0 + 3
    assert B in running.changed(T0 + 3)
    assert expected(running, T0 + 3) == {}
    assert len(running) == 0


def test_a_fan_out_is_expected_with_its_number_and_counted_down():
    running = traversals({A: [to(B, 0.9, calls=5)], B: [to(C)]})
    running.began(A, "a", "", "request-a", T0)
    assert expected(running) == {"B": 5, "C": 5}
    for left in (4, 3, 2, 1):
        running.began(B, f"b{left}", "a", f"request-{left}", T0)
        assert expected(running) == {"B": left, "C": 5}
    running.began(B, "b0", "a", "request-0", T0)
    assert expected(running) == {"C": 5}


def test_an_unlikely_fan_out_that_has_begun_goes_on():
    running = traversals({A: [to(B, 0.2, calls=5)]})
    running.began(A, "a", "", "request-a", T0)
    assert expected(running) == {}
    running.began(B, "b", "a", "request-b", T0)
    assert expected(running) == {"B": 4}


@pytest.mark.parametrize(
    ("executions", "likelihood", "calls"), [(3, 0.9, 3), (10, 0.6, 6), (2, 0.6, 1), (8, 0.1, 1)]
)
def test_executions_together_make_as_many_calls_as_they_do_on_average(
    executions, likelihood, calls
):
    running = traversals({A: [to(B, likelihood, samples=100_000)]})
    for number in range(executions):
        running.began(A, f"a{number}", "", f"request-{number}", T0)
    assert expected(running) == {"B": calls}


def test_calls_far_apart_are_expected_apart():
    running = traversals({A: [to(B, delay_s=10)]})
    running.began(A, "one", "", "request-1", T0)
    running.began(A, "two", "", "request-2", T0 + 5)
    first, second = running.expectations(B, T0 + 5)
    assert (first.since, first.until, first.cause) == (T0 + 10, T0 + 12, "request-1")
    assert (second.since, second.until, second.cause) == (T0 + 15, T0 + 17, "request-2")


def test_as_many_are_expected_as_come_at_the_busiest_moment():
    running = traversals({A: [to(B, delay_s=10)]})
    for number in range(10):
        running.began(A, f"a{number}", "", f"request-{number}", T0 + number)
    (together,) = running.expectations(B, T0 + 9)
    assert (together.since, together.until) == (T0 + 10, T0 + 21)
    assert together.count == 2


def test_a_call_that_may_come_early_is_expected_early():
    running = traversals({A: [to(B, delay_p50_s=10.0, delay_p95_s=20.0)]})
    running.began(A, "a", "", "request-a", T0)
    (b,) = running.expectations(B, T0)
    assert (b.since, b.until) == (T0 + 5, T0 + 22)


def test_a_call_that_is_overdue_is_doubted_then_given_up():
    running = traversals({A: [to(B, 0.6, samples=10**6, delay_p50_s=1.0, delay_p95_s=5.0)]})
    running.began(A, "a", "", "request-a", T0)
    assert running.next_change(T0) == T0 + 3
    assert running.changed(T0 + 2.9) == set()
    assert expected(running, T0 + 2.9) == {"B": 1}
    # Half of the calls that come have come by now: 0.3 of 0.7.
    assert running.changed(T0 + 3) == {B}
    assert expected(running, T0 + 3) == {}
    (shown,) = running.live(ACCOUNT, T0 + 3)
    assert shown.branches[0].probability == pytest.approx(3 / 7, abs=1e-3)
    assert running.next_change(T0 + 3) == T0 + 7
    assert running.changed(T0 + 7) == {B}
    (shown,) = running.live(ACCOUNT, T0 + 7)
    assert (shown.branches[0].probability, shown.ahead) == (0.0, [])


def test_the_calls_of_an_execution_that_starts_late_come_as_much_later():
    running = branching()
    running.began(A, "a", "", "request-a", T0)
    assert set(running.delayed("a", T0 + 2.5)) == {B, C, D, E}
    assert running.changed(T0 + 3) == set()
    (b,) = running.expectations(B, T0 + 3)
    assert (b.since, b.until) == (T0 + 3.5, T0 + 5.5)
    assert running.next_change(T0 + 3) == T0 + 5.5
    assert running.delayed("a", T0 + 1) == ()
    assert running.delayed("unknown", T0 + 9) == ()
    assert B in running.changed(T0 + 5.5)
    assert expected(running, T0 + 5.5) == {}


def test_what_was_given_up_before_the_handler_began_is_expected_again():
    running = branching()
    running.began(A, "a", "", "request-a", T0)
    running.changed(T0 + 4)
    running.delayed("a", T0 + 5)
    assert expected(running, T0 + 5) == {"B": 1, "D": 1}
    assert running.next_change(T0 + 5) == T0 + 8
    assert B in running.changed(T0 + 8)
    assert expected(running, T0 + 8) == {}
    assert running.changed(T0 + MAX_AGE_S) == set()
    assert running.next_change(T0 + MAX_AGE_S) == T0 + 5 + MAX_AGE_S


def test_what_came_late_after_all_is_followed():
    running = branching()
    running.began(A, "a", "", "request-a", T0)
    running.changed(T0 + 9)
    running.began(B, "b", "a", "request-b", T0 + 9)
    assert expected(running, T0 + 9) == {"D": 1}


def test_few_samples_say_nothing():
    running = traversals({A: [to(B, samples=19)]})
    assert not running.knows(A)
    running.began(A, "a", "", "request-a", T0)
    assert expected(running) == {}
    running.learn(A, [to(B, samples=20)])
    assert running.knows(A)
    assert running.knows(B)
    assert not running.knows(C)


def test_an_unknown_call_is_followed_for_what_it_is_itself():
    running = branching()
    running.began(D, "d", "", "request-d", T0)
    running.began(A, "a", "", "request-a", T0)
    running.began(C, "c", "d", "request-c", T0)
    assert expected(running)["E"] == 1


def test_without_a_link_begin_and_end_alone_count():
    running = branching()
    running.began(A, "a", "", "request-a", T0)
    running.began(B, "b", "", "request-b", T0)
    assert expected(running) == {"B": 1, "D": 2}
    running.ended("a", T0)
    assert expected(running) == {"D": 1}


def test_another_accounts_execution_is_no_cause():
    running = branching()
    running.began(A, "a", "", "request-a", T0)
    assert running.began(Qualified(OTHER, "C"), "c", "a", "request-c", T0) == ()
    assert expected(running) == {"B": 1, "D": 1}
    assert running.live(OTHER, T0) == []
    assert running.expectations(Qualified(OTHER, "B"), T0) == []


def test_executions_keep_to_what_was_known_when_they_began():
    running = branching()
    running.began(A, "old", "", "request-old", T0)
    running.learn(A, [to(C)])
    assert expected(running) == {"B": 1, "D": 1}
    running.began(A, "new", "", "request-new", T0)
    assert expected(running) == {"B": 1, "C": 1, "D": 1, "E": 1}
    running.ended("old", T0)
    assert expected(running) == {"C": 1, "E": 1}
    running.learn(A, [])
    running.ended("new", T0)
    running.began(A, "none", "", "request-none", T0)
    assert expected(running) == {}


def test_executions_that_never_end_are_forgotten():
    running = traversals({A: [to(B, delay_s=10_000)]}, max_age_s=60.0)
    running.began(A, "a", "", "request-a", T0)
    assert running.next_change(T0) == T0 + 60
    assert running.changed(T0 + 60) == {B}
    assert expected(running, T0 + 60) == {}
    assert len(running) == 0
    assert running.next_change(T0 + 60) is None


def test_a_chain_without_end_holds_nothing_of_those_that_ended():
    running = traversals({A: [to(A)]})
    running.began(A, "0", "", "request-0", T0)
    for number in range(1, 50):
        running.began(A, str(number), str(number - 1), f"request-{number}", T0)
        running.ended(str(number - 1), T0)
    (only,) = running.live(ACCOUNT, T0)
    assert (only.cause, only.caller) == ("request-49", "")
    held = 0
    each = running._runs["49"]
    while each is not None:
        each, held = each.caller, held + 1
    assert held <= 3


def test_a_busy_function_is_told_of_now_and_then():
    running = traversals({A: [to(B)]})
    for number in range(BUSY):
        assert running.began(A, f"a{number}", "", "", T0) == (B,)
    assert running.began(A, "more", "", "", T0 + BUSY_S / 2) == ()
    assert running.began(A, "again", "", "", T0 + BUSY_S / 2) == ()
    assert running.next_change(T0) == pytest.approx(T0 + 1.5 * BUSY_S)
    assert running.changed(T0 + 1.5 * BUSY_S) == {B}
    assert running.changed(T0 + 1.6 * BUSY_S) == set()
    assert running.began(A, "later", "", "", T0 + 3 * BUSY_S) == (B,)


def test_too_many_at_once_are_not_followed_but_counted():
    running = traversals({A: [to(B)]})
    for number in range(MOST_RUNS_OF_ONE + 3):
        running.began(A, f"a{number}", "", "", T0)
    assert (len(running), running.untracked) == (MOST_RUNS_OF_ONE, 3)
    for number in range(MOST_RUNS_OF_ONE + 3):
        running.ended(f"a{number}", T0)
    assert len(running) == 0


def test_moments_of_what_has_ended_do_not_pile_up():
    running = traversals({A: [to(B)]})
    for number in range(10_000):
        running.began(A, f"a{number}", "", "", T0 + number / 10_000)
        running.ended(f"a{number}", T0 + number / 10_000)
    assert len(running._due) < 2_000
    assert running.next_change(T0 + 1) is None


def test_people_see_the_ways_of_a_run():
    running = branching()
    running.began(A, "a", "", "request-a", T0)
    running.began(C, "c", "a", "request-c", T0)
    a, c = running.live(ACCOUNT, T0)
    assert (a.function, a.request_id, a.cause, a.caller) == (A, "request-a", "request-a", "")
    assert [(each.function, each.seen, each.excluded) for each in a.branches] == [
        (B, 0, True),
        (C, 1, False),
    ]
    assert (c.request_id, c.cause, c.caller) == ("request-c", "request-a", "request-a")
    assert [(each.function, each.since) for each in c.ahead] == [(E, T0 + 1)]
