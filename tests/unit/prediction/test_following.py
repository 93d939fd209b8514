"""Running executions, whatever begins, ends and is learned: what is expected is possible, told, and ends with them."""

from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec.structs import replace
from tests.unit.prediction.graphs import ACCOUNT, T0, A, B, C, D, E, to, traversals

from forerun.model import Expectation

FUNCTIONS = (A, B, C, D, E)
SUCCESSORS = st.lists(
    st.builds(
        to,
        st.sampled_from(FUNCTIONS),
        st.floats(0, 1),
        st.sampled_from((0.0, 0.5, 3.0)),
        calls=st.integers(1, 3),
        outlives=st.booleans(),
        excludes=st.frozensets(st.sampled_from(FUNCTIONS), max_size=1),
    ),
    max_size=3,
    unique_by=lambda each: each.function,
)


def causeless(expectations: list[Expectation]) -> list[Expectation]:
    """When an execution ends, what it caused goes back to another; that is no news by itself."""
    return [replace(each, cause="") for each in expectations]


class Following(RuleBasedStateMachine):
    """Whatever begins, ends and is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.running = traversals(likelihood=0.3)
        self.now = T0
        self.numbers = count()
        self.alive: set[str] = set()
        # As somebody knows them who asks only for what is told to have changed.
        self.known = {each: [] for each in FUNCTIONS}
        self.outlives = False

    def told(self, changed) -> None:
        for function in {*changed, *self.running.changed(self.now)}:
            self.known[function] = self.running.expectations(function, self.now)

    @rule(function=st.sampled_from(FUNCTIONS), successors=SUCCESSORS)
    def learn(self, function, successors):
        self.running.learn(function, successors)
        self.outlives |= any(each.outlives for each in successors)

    @rule(function=st.sampled_from(FUNCTIONS), data=st.data())
    def begin(self, function, data):
        execution = str(next(self.numbers))
        parent = data.draw(st.sampled_from(["", "unknown", *sorted(self.alive)]))
        self.alive.add(execution)
        self.told(self.running.began(function, execution, parent, f"r{execution}", self.now))

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def end(self, data):
        execution = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive.discard(execution)
        self.told(self.running.ended(execution, self.now))

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def delay(self, data):
        execution = data.draw(st.sampled_from(sorted(self.alive)))
        self.told(self.running.delayed(execution, self.now))

    @rule(seconds=st.floats(0, 8))
    def wait(self, seconds):
        self.now += seconds
        self.told(())

    @rule()
    def wait_for_the_next_change(self):
        self.now = self.running.next_change(self.now) or self.now
        self.told(())

    @invariant()
    def expectations_are_possible(self):
        for function in FUNCTIONS:
            until = 0.0
            for each in self.running.expectations(function, self.now):
                assert 0.3 <= each.probability <= 1
                assert each.count >= 1
                assert until < each.since < each.until
                assert self.now < each.until
                assert each.cause.startswith("r")
                until = each.until
        for run in self.running.live(ACCOUNT, self.now):
            assert all(0 <= each.probability <= 1 for each in (*run.branches, *run.ahead))

    @invariant()
    def whatever_changes_is_told(self):
        for function in FUNCTIONS:
            now = self.running.expectations(function, self.now)
            assert causeless(self.known[function]) == causeless(now)

    @invariant()
    def nothing_is_expected_of_nothing(self):
        if not self.alive and not self.outlives:
            assert len(self.running) == 0
        if not len(self.running):
            assert all(not each for each in self.known.values())

    def teardown(self):
        for execution in sorted(self.alive):
            self.told(self.running.ended(execution, self.now))
        for _ in range(3):
            self.now += 60
            self.told(())
        assert all(not each for each in self.known.values())
        assert len(self.running) == 0
        assert self.running.next_change(self.now) is None
        assert self.running._reaching == {}


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
