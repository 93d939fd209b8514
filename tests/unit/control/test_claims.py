"""Claims of events: what runs here runs nowhere else, by monotonic clocks and whatever the database does."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forerun.control.claims import MARGIN_S, SETTLING_S, Claims

LEASE_S = 20.0
PROMISED_S = 6.0


def test_a_run_ends_before_its_claim_could_be_anybody_elses() -> None:
    claims = Claims(LEASE_S, PROMISED_S)
    assert claims.take("a", until=20.0, now=0.0)
    assert claims.lost(11.9) == []
    assert claims.outlive(12.9)
    assert claims.lost(12.0) == ["a"]
    # Hosts are told to go on no more once the claim ends within what that promises.
    assert not claims.outlive(13.1)
    claims.over("a", 13.2)
    assert claims.outlive(13.2)


def test_what_was_claimed_too_long_ago_or_runs_already_is_not_begun() -> None:
    claims = Claims(LEASE_S, PROMISED_S)
    assert not claims.take("late", until=20.0, now=12.5)
    assert claims.take("a", until=20.0, now=0.0)
    assert not claims.take("a", until=40.0, now=1.0)


def test_what_is_prolonged_goes_on_and_what_somebody_else_has_is_ended() -> None:
    claims = Claims(LEASE_S, PROMISED_S)
    for each in ("a", "b"):
        claims.take(each, until=20.0, now=0.0)
    claims.prolonged(["a", "b"], ["a"], 24.0)
    assert claims.lost(4.0) == ["b"]
    assert claims.lost(15.9) == ["b"]
    assert set(claims.lost(16.0)) == {"a", "b"}


def test_claims_are_held_until_the_event_is_settled_but_not_for_ever() -> None:
    claims = Claims(LEASE_S, PROMISED_S)
    for each in ("settled", "never", "again"):
        claims.take(each, until=20.0, now=0.0)
        claims.over(each, 1.0)
    assert set(claims.held(2.0)) == {"settled", "never", "again"}
    claims.settled(["settled"])
    assert claims.take("again", until=23.0, now=3.0)
    assert set(claims.held(3.0)) == {"never", "again"}
    assert claims.held(1.0 + SETTLING_S) == ["again"]


class TwoPlanes(RuleBasedStateMachine):
    """Two control planes, one queue, one event; each one's host goes on for as long as it was promised.

    Prolonging may be lost on its way there, or answered late; a control plane may be paused at any moment.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.owner = ""
        self.due = 0.0
        self.planes = {name: Claims(LEASE_S, PROMISED_S) for name in "xy"}
        self.promised = dict.fromkeys("xy", -1.0)
        self.host_runs = dict.fromkeys("xy", False)

    @rule(
        seconds=st.sampled_from([0.1, 1.0, 4.0, 9.0, 30.0]),
        awake=st.sampled_from(["", "x", "y", "xy", "yx"]),
    )
    def time_passes(self, seconds: float, awake: str = "") -> None:
        """Who is ``awake`` renews what its host was promised all the time, if it may, and looks for events that are due."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 0.5)
            for name in "xy":
                if self.promised[name] <= self.now:
                    self.host_runs[name] = False
                elif name in awake:
                    self.renew_the_host(name)
            for name in awake:
                self.claim(name, 0.0)

    @rule(name=st.sampled_from("xy"), late=st.sampled_from([0.0, 5.0, 15.0]))
    def claim(self, name: str, late: float) -> None:
        if self.due > self.now:
            return
        self.owner, self.due = name, self.now + LEASE_S
        until = self.due
        self.time_passes(late)
        if self.planes[name].take("e", until, self.now) and self.planes[name].outlive(self.now):
            self.host_runs[name] = True
            self.promised[name] = max(self.promised[name], self.now + PROMISED_S)

    @rule(name=st.sampled_from("xy"), heard=st.booleans(), late=st.sampled_from([0.0, 7.0]))
    def prolong(self, name: str, heard: bool, late: float) -> None:
        asked = self.planes[name].held(self.now)
        if not asked:
            return
        until = self.now + LEASE_S
        held = [each for each in asked if self.owner == name]
        if held:
            self.due = until
        self.time_passes(late)
        if heard:
            self.planes[name].prolonged(asked, held, until)

    def renew_the_host(self, name: str) -> None:
        if self.planes[name].outlive(self.now):
            self.promised[name] = max(self.promised[name], self.now + PROMISED_S)

    @rule(name=st.sampled_from("xy"))
    def end_lost(self, name: str) -> None:
        # The host hears of the end on the connection on which it hears that it may go on: in this order.
        for each in self.planes[name].lost(self.now):
            self.planes[name].over(each, self.now)
            self.planes[name].settled([each])
            self.host_runs[name] = False

    @precondition(lambda self: self.owner)
    @rule()
    def finish(self) -> None:
        name = self.owner
        if self.host_runs[name]:
            self.host_runs[name] = False
            self.planes[name].over("e", self.now)

    @invariant()
    def nowhere_twice(self) -> None:
        assert not all(self.host_runs.values())


TestTwoPlanes = TwoPlanes.TestCase
TestTwoPlanes.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@given(lease=st.floats(12, 300), promised=st.floats(0.1, 3))
def test_claims_are_prolonged_more_than_once_before_runs_are_ended(
    lease: float, promised: float
) -> None:
    claims = Claims(lease, promised)
    assert 2 * claims.every_s < lease - promised - MARGIN_S
