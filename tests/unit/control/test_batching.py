"""Batches: large enough, in time, in order within a group, and nothing twice or never."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forerun.control.delivery.batching import AROUND, Batcher, BatchLimits, payload_of
from forerun.sources import Pulled

HIDE_S = 30.0


def pulled(number, group="", *, at=0.0, size=10):
    record = b'"' + b"x" * size + b'"'
    return Pulled(
        id=f"m{number}", receipt=f"r{number}", record=record, body=b"{}", group=group, taken_at=at
    )


def cut(batcher, now=0.0):
    return [message.id for message in batcher.next(now).batch]


def add(batcher, *messages, until=HIDE_S):
    batcher.add(messages, hidden_until=until)


def test_a_full_batch_goes_at_once_and_a_part_when_its_window_has_passed():
    batcher = Batcher(BatchLimits(messages=2, window_s=5.0))
    add(batcher, *(pulled(number, at=1.0) for number in range(3)), until=100.0)
    assert cut(batcher, 1.0) == ["m0", "m1"]
    assert batcher.due(5.0) == 6.0
    assert cut(batcher, 5.9) == []
    assert cut(batcher, 6.0) == ["m2"]
    assert not len(batcher)


def test_without_a_window_what_has_come_goes_at_once():
    batcher = Batcher(BatchLimits(messages=10))
    add(batcher, pulled(1), pulled(2))
    assert cut(batcher) == ["m1", "m2"]


def test_what_was_taken_before_the_clock_was_set_back_does_not_wait_for_the_old_time():
    batcher = Batcher(BatchLimits(messages=10, window_s=5.0))
    add(batcher, pulled(1, at=5000.0), until=5030.0)
    assert cut(batcher, 1400.0) == ["m1"]


def test_a_window_leaves_time_to_run_before_the_source_shows_a_message_again():
    batcher = Batcher(BatchLimits(messages=10, window_s=300.0))
    add(batcher, pulled(1, at=10.0), until=40.0)
    assert batcher.due(24.0) == 25.0
    assert cut(batcher, 25.0) == ["m1"]


def test_a_batch_is_never_larger_than_a_payload_may_be():
    messages = [pulled(number, size=98) for number in range(4)]
    limits = BatchLimits(messages=10, window_s=5.0, payload_bytes=AROUND + 3 * 101)
    batcher = Batcher(limits)
    add(batcher, *messages[:3])
    assert cut(batcher) == []
    add(batcher, messages[3])
    assert cut(batcher) == ["m0", "m1", "m2"]
    assert len(payload_of(messages[:3])) == limits.payload_bytes
    assert cut(batcher) == []
    add(batcher, pulled(9, size=2000))
    assert cut(batcher) == ["m3"]
    assert cut(batcher) == ["m9"]


def test_one_batch_of_a_group_at_a_time_and_others_meanwhile():
    batcher = Batcher(BatchLimits(messages=2))
    add(batcher, *(pulled(number, "a") for number in range(3)), pulled(3, "b"))
    first = batcher.next(0.0).batch
    assert [message.id for message in first] == ["m0", "m1"]
    assert cut(batcher) == ["m3"]
    assert cut(batcher) == []
    add(batcher, pulled(4, "a"))
    assert cut(batcher) == []
    assert batcher.ended(first) == []
    assert cut(batcher) == ["m2", "m4"]


def test_what_waits_behind_a_failure_of_its_group_is_let_go():
    batcher = Batcher(BatchLimits(messages=1))
    add(batcher, pulled(0, "a"), pulled(1, "a"), pulled(2, "b"), pulled(3, "b"))
    batch_a, batch_b = batcher.next(0.0).batch, batcher.next(0.0).batch
    assert [message.id for message in batcher.ended(batch_a, {"a"})] == ["m1"]
    assert batcher.ended(batch_b, {"a"}) == []
    assert cut(batcher) == ["m3"]


def test_what_is_shown_again_at_the_source_is_not_run_and_neither_is_what_follows_it():
    batcher = Batcher(BatchLimits(messages=1))
    add(batcher, pulled(0), pulled(1, "a"), until=5.0)
    add(batcher, pulled(2, at=4.0), pulled(3, "a", at=4.0), until=9.0)
    found = batcher.next(5.0)
    assert {message.id for message in found.lost} == {"m0", "m1", "m3"}
    assert [message.id for message in found.batch] == ["m2"]


class BatcherMachine(RuleBasedStateMachine):
    """Against the plain rules, message by message."""

    def __init__(self):
        super().__init__()
        self.limits = BatchLimits(messages=3, window_s=4.0, payload_bytes=AROUND + 60)
        self.batcher = Batcher(self.limits)
        self.now = 0.0
        self.count = 0
        self.waiting: dict[str, tuple[Pulled, float]] = {}
        self.running: list[list[Pulled]] = []
        self.done: dict[str, int] = {}

    @rule(
        groups=st.lists(st.sampled_from(["", "a", "b"]), min_size=1, max_size=5),
        size=st.sampled_from([1, 10, 25, 90]),
        hide_s=st.sampled_from([3.0, 20.0]),
    )
    def take(self, groups, size, hide_s):
        messages = []
        for group in groups:
            self.count += 1
            messages.append(pulled(self.count, group, at=self.now, size=size))
            self.waiting[f"m{self.count}"] = messages[-1], self.now + hide_s
        self.batcher.add(messages, hidden_until=self.now + hide_s)

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def begin(self):
        found = self.batcher.next(self.now)
        busy = {message.group for batch in self.running for message in batch if message.group}
        given_up = {message.group for message in found.lost if message.group}
        for message in found.lost:
            _, until = self.waiting.pop(message.id)
            assert until <= self.now or message.group in given_up
        assert not any(message.group in given_up for message, _ in self.waiting.values())
        batch = found.batch
        if not batch:
            assert not self._must_run(busy)
            return
        assert len(batch) <= self.limits.messages
        assert len(batch) == 1 or len(payload_of(batch)) <= self.limits.payload_bytes
        for message in batch:
            assert message.group not in busy
            assert self.waiting[message.id][1] > self.now
            earlier = [
                other
                for other, _ in self.waiting.values()
                if other.group == message.group and int(other.id[1:]) < int(message.id[1:])
            ]
            assert not earlier, "nothing overtakes within a group"
            del self.waiting[message.id]
        self.running.append(batch)

    def _must_run(self, busy):
        """Whether something free has waited for its window."""
        return any(
            message.group not in busy and self.now >= message.taken_at + self.limits.window_s
            for message, until in self.waiting.values()
        )

    @precondition(lambda self: self.running)
    @rule(data=st.data(), failed=st.booleans())
    def end(self, data, failed):
        batch = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        groups = {message.group for message in batch if message.group} if failed else set()
        let_go = self.batcher.ended(batch, groups)
        expected = {key for key, (message, _) in self.waiting.items() if message.group in groups}
        assert {message.id for message in let_go} == expected
        for key in expected:
            del self.waiting[key]

    @rule()
    def stop(self):
        assert {message.id for message in self.batcher.clear()} == set(self.waiting)
        self.waiting.clear()

    @invariant()
    def nothing_is_lost(self):
        assert len(self.batcher) == len(self.waiting)


BatcherMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBatcher = BatcherMachine.TestCase
