"""Lanes: every message's target gets its turn, a target has one worker, and those that fail are left alone for a while."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from forerun.control.delivery.lanes import FORGIVEN, Lanes, Pauses

NAMES = ["a", "b", "c"]


def test_the_one_that_waits_longest_is_first():
    lanes = Lanes()
    for name, due in (("b", 5.0), ("a", 7.0), ("c", 3.0), ("d", 20.0), ("a", 1.0)):
        lanes.added(name, due)
    assert lanes.ready(10.0) == ["a", "c", "b"]
    assert lanes.next_at() == 1.0


def test_a_target_that_keeps_failing_is_left_alone_longer_each_time_and_a_success_forgives():
    lanes, now, pauses = Lanes(Pauses(first_s=1.0, most_s=4.0)), 0.0, []
    lanes.added("a", now)
    for _ in range(FORGIVEN + 4):
        lanes.begin("a")
        going = lanes.outcome("a", now, delivered=0, failed=1)
        lanes.end("a", now)
        pauses.append(0.0 if going else lanes.paused(now)["a"] - now)
        now = lanes.next_at()
    assert pauses == [0.0] * FORGIVEN + [1.0, 2.0, 4.0, 4.0]
    lanes.begin("a")
    assert lanes.outcome("a", now, delivered=1, failed=5)
    assert lanes.outcome("a", now, delivered=0, failed=1)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=10), st.floats(0, 100))
def test_what_comes_while_a_worker_is_there_is_noticed(dues, left):
    lanes = Lanes()
    lanes.added("a", 0.0)
    lanes.begin("a")
    for due in dues:
        lanes.added("a", due)
    lanes.end("a", left)
    assert lanes.next_at() == min(*dues, left)
    lanes.begin("a")
    lanes.end("a", None)
    assert len(lanes) == 0


class Turns(RuleBasedStateMachine):
    """Against a model that knows which messages each target has."""

    def __init__(self):
        super().__init__()
        self.lanes, self.now = Lanes(Pauses(first_s=1.0, most_s=8.0)), 0.0
        self.waiting: dict[str, list[float]] = {name: [] for name in NAMES}
        self.working: set[str] = set()

    @rule(name=st.sampled_from(NAMES), later=st.floats(0, 5))
    def message(self, name, later):
        self.waiting[name].append(self.now + later)
        self.lanes.added(name, self.now + later)

    @rule()
    def begin(self):
        for name in self.lanes.ready(self.now):
            assert name not in self.working
            self.lanes.begin(name)
            self.working.add(name)

    @rule(fails=st.booleans(), again=st.floats(0.1, 5))
    def work(self, fails, again):
        for name in sorted(self.working):
            due = [each for each in self.waiting[name] if each <= self.now]
            later = [each for each in self.waiting[name] if each > self.now]
            kept = [self.now + again] * len(due) if fails else []
            self.waiting[name] = later + kept
            if due:
                delivered, failed = (0, len(due)) if fails else (len(due), 0)
                self.lanes.outcome(name, self.now, delivered=delivered, failed=failed)
            self.lanes.end(name, min(self.waiting[name], default=None))
        self.working.clear()

    @rule(seconds=st.floats(0, 10))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def nothing_waits_for_ever(self):
        known = self.lanes.next_at()
        for name, waiting in self.waiting.items():
            if waiting and name not in self.working:
                assert known is not None
                assert known <= max(min(waiting), self.now + 8.0)

    def teardown(self):
        self.now += 100.0
        # What came while a worker was there costs one more look.
        for _ in range(2):
            self.begin()
            self.work(fails=False, again=1.0)
        assert not any(self.waiting.values())
        assert len(self.lanes) == 0


TestTurns = Turns.TestCase
TestTurns.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
