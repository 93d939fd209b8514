"""Concurrency is counted exactly, whatever changes while calls run."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from forerun.errors import InvalidInput, Throttled
from forerun.scheduling import Admission, Backoff, Lease

RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"
SHARED = "ConcurrentInvocationLimitExceeded"


def refusal(admission: Admission, function: str, reserved: int | None = None) -> str | None:
    try:
        admission.admit("acc", function, reserved).release()
    except Throttled as error:
        return error.reason if error.retry_after_s > 0 else "no Retry-After"
    return None


def test_one_that_only_counts_grants_all_and_knows_the_peaks() -> None:
    admission = Admission(2, limited=False)
    leases = [admission.admit("acc", "f") for _ in range(5)]
    leases += [admission.admit("acc", "r", 1) for _ in range(3)]
    assert (admission.running("acc", "f"), admission.running("acc", "r")) == (5, 3)
    assert admission.reservations("acc") == {"r": 1}
    assert admission.free("acc", "f") == 0
    for lease in leases:
        lease.release()
    assert admission.running("acc") == 0
    assert admission.take_peaks() == {("acc", "f"): 5, ("acc", "r"): 3}


def test_unreserved_functions_share_what_reservations_leave() -> None:
    admission = Admission(10)
    admission.reserve("acc", "r", 7)
    assert admission.unreserved("acc") == 3
    leases = [admission.admit("acc", name) for name in "abc"]
    assert refusal(admission, "d") == SHARED
    assert refusal(admission, "r", 7) is None
    leases.pop().release()
    assert refusal(admission, "d") is None
    assert admission.running("acc") == 2


def test_reserved_functions_keep_to_their_reservation() -> None:
    admission = Admission(10)
    with admission.admit("acc", "r", 2), admission.admit("acc", "r", 2):
        assert refusal(admission, "r", 2) == RESERVED
        assert admission.running("acc", "r") == 2
    assert refusal(admission, "r", 2) is None


@pytest.mark.parametrize("reserved", [None, 0, 2])
def test_as_many_are_admitted_as_are_said_to_be_free(reserved: int | None) -> None:
    admission = Admission(6)
    admission.reserve("acc", "other", 2)
    admission.provision("acc", "f", 1)
    admission.reserve("acc", "f", reserved)
    free = admission.free("acc", "f", reserved)
    assert free == (4 if reserved is None else reserved)
    for left in range(free, 0, -1):
        assert admission.free("acc", "f", reserved) == left
        admission.admit("acc", "f", reserved)
    assert admission.free("acc", "f", reserved) == 0
    assert refusal(admission, "f", reserved) is not None


def test_a_reservation_of_nothing_refuses_always() -> None:
    assert refusal(Admission(), "r", 0) == RESERVED


def test_accounts_do_not_touch_each_other() -> None:
    admission = Admission(1)
    with admission.admit("one", "f"), admission.admit("two", "f"):
        assert admission.running("one") == admission.running("two") == 1
        assert admission.running("three") == admission.running("one", "g") == 0


def test_a_lease_is_released_once_also_after_an_error() -> None:
    admission = Admission(2)
    lease = admission.admit("acc", "f")
    with pytest.raises(ZeroDivisionError), lease:
        raise ZeroDivisionError
    lease.release()
    assert admission.running("acc") == 0
    with admission.admit("acc", "f"), admission.admit("acc", "f"):
        assert refusal(admission, "f") == SHARED


def test_limits_change_while_calls_run() -> None:
    admission = Admission(1)
    assert admission.limit("acc") == 1
    with admission.admit("acc", "f"):
        assert refusal(admission, "f") == SHARED
        admission.set_limit("acc", 2)
        assert refusal(admission, "f") is None
        admission.set_limit("acc", 0)
    assert refusal(admission, "f") == SHARED
    assert admission.limit("acc") == admission.unreserved("acc") == 0
    with pytest.raises(InvalidInput):
        admission.set_limit("acc", -1)
    with pytest.raises(InvalidInput):
        admission.reserve("acc", "f", -1)
    with pytest.raises(InvalidInput):
        admission.provision("acc", "f", -1)


def test_provisioned_functions_run_whatever_others_do() -> None:
    admission = Admission(3)
    admission.provision("acc", "p", 2)
    assert admission.unreserved("acc") == 1
    with admission.admit("acc", "a"):
        assert refusal(admission, "b") == SHARED
        with admission.admit("acc", "p"), admission.admit("acc", "p"):
            assert refusal(admission, "p") == SHARED
    with admission.admit("acc", "p"), admission.admit("acc", "p"), admission.admit("acc", "p"):
        assert refusal(admission, "a") == SHARED
    admission.provision("acc", "p", 0)
    assert admission.unreserved("acc") == 3


class AdmissionMachine(RuleBasedStateMachine):
    """Against the plain definition, counted anew each time."""

    leases = Bundle("leases")
    names = st.sampled_from("abc")

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(4)
        self.limit = 4
        self.reserved: dict[str, int | None] = dict.fromkeys("abc")
        self.provisioned = dict.fromkeys("abc", 0)
        self.running: list[str] = []
        self.peaks: dict[str, int] = {}

    @rule()
    def take_peaks(self) -> None:
        expected = {("acc", name): peak for name, peak in self.peaks.items()}
        assert self.admission.take_peaks() == expected
        self.peaks = {name: self.running.count(name) for name in self.running}

    @rule(target=leases, name=names)
    def admit(self, name: str):
        reserved = self.reserved[name]
        if reserved is not None:
            free = reserved - self.running.count(name)
        else:
            shared = sum(
                max(0, self.running.count(n) - self.provisioned[n])
                for n in "abc"
                if self.reserved[n] is None
            )
            free = max(
                self.limit - self.own() - shared,
                self.provisioned[name] - self.running.count(name),
            )
        assert (self.admission.free("acc", name, reserved) > 0) == (free > 0)
        if free <= 0:
            with pytest.raises(Throttled) as caught:
                self.admission.admit("acc", name, reserved)
            assert caught.value.reason == (SHARED if reserved is None else RESERVED)
            return multiple()
        lease = self.admission.admit("acc", name, reserved)
        self.running.append(name)
        self.peaks[name] = max(self.peaks.get(name, 0), self.running.count(name))
        return (name, lease)

    @rule(held=consumes(leases))
    def release(self, held: tuple[str, Lease]) -> None:
        held[1].release()
        self.running.remove(held[0])

    @rule(name=names, reserved=st.none() | st.integers(0, 3), told=st.booleans())
    def reserve(self, name: str, reserved: int | None, told: bool) -> None:
        self.reserved[name] = reserved
        if told or reserved is None or not self.running.count(name):
            self.admission.reserve("acc", name, reserved)
        else:
            before = self.admission.running("acc", name)
            refusal(self.admission, name, reserved)
            # Where there was room it was not refused, but ran for a moment.
            if before < reserved:
                self.peaks[name] = max(self.peaks.get(name, 0), before + 1)

    @rule(name=names, amount=st.integers(0, 3))
    def provision(self, name: str, amount: int) -> None:
        self.provisioned[name] = amount
        self.admission.provision("acc", name, amount)

    def own(self) -> int:
        """What functions have for themselves."""
        return sum(
            self.provisioned[n] if reserved is None else reserved
            for n, reserved in self.reserved.items()
        )

    @rule(limit=st.integers(0, 6))
    def change(self, limit: int) -> None:
        self.limit = limit
        self.admission.set_limit("acc", limit)

    @invariant()
    def counts_agree(self) -> None:
        assert self.admission.running("acc") == len(self.running)
        for name in "abc":
            assert self.admission.running("acc", name) == self.running.count(name)
        left = self.limit - self.own()
        assert self.admission.unreserved("acc") == max(0, left)
        known = self.admission._accounts.get("acc")
        if known is not None:
            assert set(known.functions) == {
                n
                for n in "abc"
                if n in self.running or self.reserved[n] is not None or self.provisioned[n]
            }


AdmissionMachine.TestCase.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None
)
TestAgainstTheDefinition = AdmissionMachine.TestCase


@pytest.mark.parametrize(
    ("times", "function_error", "refusal_s"),
    [(1, 60, 1), (2, 120, 2), (5, 300, 16), (9, 540, 256), (10, 600, 300), (10_000, 600_000, 300)],
)
def test_delays_as_on_aws(times: int, function_error: float, refusal_s: float) -> None:
    backoff = Backoff()
    assert backoff.retry_delay(times, 0.0) == function_error
    assert backoff.system_delay(times, 0.0) == refusal_s


@given(st.integers(-3, 1000), st.floats(0, 1, exclude_max=True))
def test_chance_only_shortens_and_never_much(times: int, chance: float) -> None:
    backoff = Backoff(jitter=0.2)
    for delay in (backoff.retry_delay, backoff.system_delay):
        assert 0.8 * delay(times, 0.0) <= delay(times, chance) <= delay(times, 0.0)
        assert delay(times, 0.0) >= 1.0
