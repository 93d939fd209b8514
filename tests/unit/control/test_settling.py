"""What becomes of a batch: for queues message by message, for streams in order, by halves, tries and age."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.control.delivery.settling import (
    EXHAUSTED,
    TOO_OLD,
    Batch,
    FailureRules,
    failed_items,
    settle,
)
from forerun.sources import Pulled

QUEUE = FailureRules()


def message(number, group="", *, sent_at=0.0):
    return Pulled(
        id=f"m{number}",
        receipt=f"r{number}",
        record=b"{}",
        body=b"{}",
        group=group,
        sent_at=sent_at,
    )


def names(messages):
    return [each.id for each in messages]


@pytest.mark.parametrize(
    ("answer", "failed"),
    [
        (b"", frozenset()),
        (b"null", frozenset()),
        (b"{}", frozenset()),
        (b'{"batchItemFailures": null}', frozenset()),
        (b'{"batchItemFailures": []}', frozenset()),
        (b'{"statusCode": 200}', frozenset()),
        (b'{"batchItemFailures": [{"itemIdentifier": "m1"}]}', frozenset({"m1"})),
        (b'{"batchItemFailures": [{"itemIdentifier": "m1"}, {"itemIdentifier": "m1"}]}', {"m1"}),
        (b'{"batchItemFailures": [{"itemIdentifier": ""}]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": null}]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": 1}]}', None),
        (b'{"batchItemFailures": [{"messageId": "m1"}]}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": "of another batch"}]}', None),
        (b'{"batchItemFailures": ["m1"]}', None),
        (b'{"batchItemFailures": {"itemIdentifier": "m1"}}', None),
        (b'{"batchItemFailures": [{"itemIdentifier": "m1"}', None),
        (b'"fine"', None),
        (b"[]", None),
        (b"\xff", None),
        (b"[" * 100_000, None),
    ],
    ids=lambda value: repr(value)[:48] if isinstance(value, bytes) else "",
)
def test_what_a_function_reports(answer, failed):
    assert failed_items(answer, {"m1", "m2"}) == failed


def test_a_queue_takes_back_what_failed_and_no_more():
    batch = Batch([message(0), message(1), message(2)])
    verdict = settle(batch, frozenset({"m1"}), QUEUE, now=0.0)
    assert (names(verdict.finish), names(verdict.release)) == (["m0", "m2"], ["m1"])
    verdict = settle(batch, None, QUEUE, now=0.0)
    assert (names(verdict.finish), names(verdict.release)) == ([], ["m0", "m1", "m2"])
    verdict = settle(batch, frozenset(), QUEUE, now=0.0)
    assert (names(verdict.finish), names(verdict.release)) == (["m0", "m1", "m2"], [])


def test_in_a_group_nothing_overtakes_what_failed():
    batch = Batch([message(0, "a"), message(1, "a"), message(2, "b"), message(3, "a")])
    verdict = settle(batch, frozenset({"m1"}), QUEUE, now=0.0)
    assert (names(verdict.finish), names(verdict.release)) == (["m0", "m2"], ["m1", "m3"])


def test_a_stream_goes_on_from_the_first_failure():
    rules = FailureRules(stream=True, retries=3)
    verdict = settle(
        Batch([message(n) for n in range(4)], 1), frozenset({"m3", "m2"}), rules, now=0.0
    )
    assert names(verdict.finish) == ["m0", "m1"]
    assert [(names(each.messages), each.retried) for each in verdict.again] == [(["m2", "m3"], 1)]


def test_a_stream_runs_a_batch_again_until_it_was_tried_often_enough():
    batch, rules = Batch([message(0), message(1)]), FailureRules(stream=True, retries=2)
    runs = 1
    while (verdict := settle(batch, None, rules, now=0.0)).again:
        [batch] = verdict.again
        runs += 1
    assert runs == 3
    assert verdict.discard == [(EXHAUSTED, list(batch.messages))]


def test_what_is_too_old_is_given_up_and_the_rest_goes_on():
    rules = FailureRules(stream=True, max_age_s=60.0)
    batch = Batch([message(0, sent_at=30.0), message(1, sent_at=50.0)])
    verdict = settle(batch, None, rules, now=100.0)
    assert [(why, names(given_up)) for why, given_up in verdict.discard] == [(TOO_OLD, ["m0"])]
    assert [names(each.messages) for each in verdict.again] == [["m1"]]


@given(
    groups=st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=8),
    poison=st.sets(st.integers(0, 7)),
    told=st.booleans(),
)
def test_each_message_of_a_queue_is_finished_or_released(groups, poison, told):
    messages = [message(number, group) for number, group in enumerate(groups)]
    failed = frozenset(each.id for number, each in enumerate(messages) if number in poison)
    verdict = settle(Batch(messages), failed if told else None, QUEUE, now=0.0)
    assert sorted(names(verdict.finish + verdict.release)) == sorted(names(messages))
    assert not failed & set(names(verdict.finish)) or not told
    assert not verdict.again
    assert not verdict.discard
    released = set(names(verdict.release))
    for place, each in enumerate(messages):
        before = [other for other in messages[:place] if other.group == each.group]
        if each.group and any(other.id in released for other in before):
            assert each.id in released


@given(
    size=st.integers(1, 12),
    poison=st.sets(st.integers(0, 11)),
    bisect=st.booleans(),
    reports=st.booleans(),
    retries=st.integers(0, 3),
)
def test_a_stream_ends_with_every_message_processed_or_given_up(
    size, poison, bisect, reports, retries
):
    """Run to the end: nothing is lost, nothing good is given up that could be told apart, and the order holds."""
    messages = [message(number) for number in range(size)]
    bad = {f"m{number}" for number in poison}
    rules = FailureRules(stream=True, bisect=bisect, retries=retries)
    waiting, finished, given_up = [Batch(messages)], [], []
    for _ in range(1000):
        if not waiting:
            break
        batch = waiting.pop(0)
        wrong = frozenset(names(batch.messages)) & bad
        verdict = settle(batch, None if wrong and not reports else wrong, rules, now=0.0)
        assert not verdict.release
        finished += names(verdict.finish)
        given_up += [each.id for _, some in verdict.discard for each in some]
        waiting = [*verdict.again, *waiting]
    assert not waiting
    assert sorted(finished + given_up) == sorted(names(messages))
    assert finished == sorted(finished, key=lambda name: int(name[1:]))
    assert bad & set(names(messages)) <= set(given_up)
    if bisect:
        assert set(given_up) == bad & set(names(messages))
