"""The checker of histories sees each thing that must not be, and accepts what may be."""

from dataclasses import replace

import pytest

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend("bench")
    from bench.jepsen_history import (
        Called,
        Fault,
        History,
        Ran,
        Read,
        Sent,
        Wrote,
        check,
        load,
        most_at_once,
        runs_of,
        save,
    )


def sent(token="e", outcome="done"):
    return Sent(token=token, plane="a", began=1.0, ended=1.1, outcome=outcome)


def called(token="c", outcome="done", ended=2.0, deadline=21.0):
    return Called(
        token=token, plane="a", began=1.0, ended=ended, deadline=deadline, outcome=outcome
    )


def ran(token, began, seen, function="f", *, ended=True):
    execution = f"{token} at {began}"
    return Ran(
        token=token, function=function, execution=execution, began=began, seen=seen, ended=ended
    )


def wrote(value, began, ended, outcome="done"):
    return Wrote(value=value, plane="a", began=began, ended=ended, outcome=outcome)


def read(value, began, ended, client="r"):
    return Read(value=value, client=client, plane="b", way="asking", began=began, ended=ended)


def kinds(**given):
    return [finding.kind for finding in check(History(**given))]


def test_nothing_is_found_in_nothing():
    assert kinds() == []


# -- events ----------------------------------------------------------------------------------------------------------


def test_an_event_may_run_again_after_it_was_ended_and_after_it_had_run():
    assert kinds(sent=[sent()], ran=[ran("e", 2, 3, ended=False), ran("e", 3, 4)]) == []
    assert kinds(sent=[sent()], ran=[ran("e", 2, 3), ran("e", 9, 10)]) == []


@pytest.mark.parametrize("runs", [[], [ran("e", 2, 3, ended=False)], [ran("other", 2, 3)]])
def test_an_accepted_event_that_did_not_run_to_its_end_is_lost(runs):
    assert kinds(sent=[sent()], ran=runs) == ["lost"]


@pytest.mark.parametrize("outcome", ["refused", "failed", "unknown"])
def test_what_was_not_accepted_may_run_or_not(outcome):
    assert kinds(sent=[sent(outcome=outcome)]) == []
    assert kinds(sent=[sent(outcome=outcome)], ran=[ran("e", 2, 3)]) == []


@pytest.mark.parametrize(
    "runs",
    [
        [ran("e", 2, 4), ran("e", 3, 5)],
        # One that never ended was there as long as it said so.
        [ran("e", 2, 4, ended=False), ran("e", 3.9, 5)],
        # The first is still there when the third begins.
        [ran("e", 2, 9), ran("e", 9.5, 9.6), ran("e", 9.55, 12)],
        [ran("e", 3, 3.5), ran("e", 2, 9)],
    ],
    ids=["both-end", "first-killed", "third", "inside"],
)
def test_two_executions_of_an_event_at_once(runs):
    assert kinds(sent=[sent()], ran=runs) == ["overlap"]


def test_an_event_that_was_not_acknowledged_must_not_overlap_either():
    runs = [ran("e", 2, 4), ran("e", 3, 5)]
    assert kinds(sent=[sent(outcome="unknown")], ran=runs) == ["overlap"]


# -- calls -----------------------------------------------------------------------------------------------------------


def test_calls_that_are_as_they_should_be():
    assert kinds(called=[called()], ran=[ran("c", 1, 2)]) == []
    assert kinds(called=[called(outcome="refused")]) == []
    assert kinds(called=[called(outcome="failed")], ran=[ran("c", 1, 2, ended=False)]) == []


@pytest.mark.parametrize(
    ("outcome", "runs", "found"),
    [
        ("done", [], "lost"),
        ("refused", [ran("c", 1, 2)], "twice"),
        ("failed", [ran("c", 1, 2), ran("c", 3, 4)], "twice"),
    ],
    ids=["unfounded", "refused", "twice"],
)
def test_calls_that_did_what_was_not_said(outcome, runs, found):
    assert kinds(called=[called(outcome=outcome)], ran=runs) == [found]


def silence(plane, began, ended):
    return Fault(kind="pause", what=plane, began=began, ended=ended, silences=(plane,))


def test_a_call_is_answered_in_time_unless_its_control_plane_was_silent():
    late = called(outcome="failed", ended=22.0)
    assert kinds(called=[late]) == ["late"]
    assert kinds(called=[called(outcome="unknown")]) == ["late"]
    assert kinds(called=[late], faults=[silence("b", 0, 30)]) == ["late"]
    assert kinds(called=[late], faults=[silence("a", 23, 30)]) == ["late"]
    assert kinds(called=[late], faults=[silence("a", 20, 30)]) == []


# -- limits ----------------------------------------------------------------------------------------------------------


def test_as_many_as_may_run_and_one_more():
    groups, limits = {"f": "account", "g": "account", "h": "h"}, {"account": 2, "h": 1}
    runs = [ran("1", 1, 3), ran("2", 2, 4, "g"), ran("3", 3, 5), ran("4", 1, 9, "h")]
    assert kinds(ran=runs, groups=groups, limits=limits) == []
    more = [*runs, ran("5", 2.5, 2.6, "g", ended=False)]
    [finding] = check(History(ran=more, groups=groups, limits=limits))
    assert finding.kind == "limit"
    assert {run.token for run in finding.part} == {"1", "2", "5"}
    assert most_at_once(History(ran=more, groups=groups), "account") == 3


def test_what_was_killed_as_it_began_counts_for_nothing_afterwards():
    runs = [ran("killed", 1, 1, ended=False), ran("1", 2, 4), ran("2", 3, 5)]
    assert kinds(ran=runs, groups={"f": "f"}, limits={"f": 2}) == []


def test_each_time_above_a_limit_is_one_finding():
    runs = [ran(str(at), at, at + 2.5) for at in (1, 2, 3, 10, 11, 12)]
    found = kinds(ran=runs, groups={"f": "f"}, limits={"f": 2})
    assert found == ["limit", "limit"]


# -- configuration ---------------------------------------------------------------------------------------------------


def test_reads_may_see_a_write_that_goes_on_or_not():
    writes = [wrote(1, 1, 2), wrote(2, 3, 6)]
    assert kinds(wrote=writes, read=[read(1, 4, 5), read(2, 4.5, 5.5), read(2, 7, 8)]) == []
    # Of two reads at once either may be the newer.
    assert kinds(wrote=writes, read=[read(2, 4, 5), read(1, 4.5, 5.5)]) == []


def test_a_write_that_was_not_acknowledged_may_come_late_or_never():
    writes = [wrote(1, 1, 2), wrote(2, 3, 4, "unknown")]
    assert kinds(wrote=writes, read=[read(1, 5, 6), read(2, 7, 8)]) == []
    assert kinds(wrote=writes, read=[read(2, 5, 6), read(1, 7, 8)]) == ["back"]


@pytest.mark.parametrize("client", ["r", "other"])
def test_reads_that_go_back(client):
    writes = [wrote(1, 1, 2), wrote(2, 3, 9)]
    assert kinds(wrote=writes, read=[read(2, 4, 5), read(1, 6, 7, client)]) == ["back"]


def test_a_read_older_than_an_acknowledged_write():
    [finding] = check(History(wrote=[wrote(1, 1, 2), wrote(2, 3, 4)], read=[read(1, 4.1, 5)]))
    assert finding.kind == "back"
    assert finding.part[0] == wrote(2, 3, 4)


def test_a_read_of_what_nobody_had_written():
    assert kinds(wrote=[wrote(1, 1, 2), wrote(2, 8, 9)], read=[read(2, 3, 4)]) == ["future"]


# -- files -----------------------------------------------------------------------------------------------------------


def test_executions_are_read_from_lines():
    lines = ["begin f t x1 1.0", "begin f t x2 1.5", "still f t x1 1.6", "end f t x2 2.0"]
    assert runs_of(lines) == [
        replace(ran("t", 1.0, 1.6, ended=False), execution="x1"),
        replace(ran("t", 1.5, 2.0), execution="x2"),
    ]


def test_a_history_is_kept_and_read_again(tmp_path):
    history = History(
        sent=[sent()],
        called=[called()],
        wrote=[wrote(1, 1, 2)],
        read=[read(1, 3, 4)],
        ran=[ran("e", 2, 3)],
        faults=[silence("a", 1, 2)],
        limits={"f": 1},
        groups={"f": "f"},
    )
    save(history, tmp_path / "history")
    assert load(tmp_path / "history") == history
