"""The single deciders: what they answer in plain cases and at their edges."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.host import machine
from forerun.host.evictor import Evictor
from forerun.host.ledger import Ledger
from forerun.host.machine import available_memory_mb, machine_memory_mb, sandbox_memory_mb
from forerun.host.pool import REMEMBERED_KEYS, IllegalMove, Pool
from forerun.host.rates import Rate
from forerun.host.replenish import RefillPolicy, Replenisher
from forerun.host.slots import Slot, State


def busy(pool: Pool[str], key: str, *, mb: int = 128, ms: float = 10, calls: int = 1) -> Slot[str]:
    slot = pool.begin("python3.11")
    pool.ready(slot, f"box{slot.id}")
    claimed = pool.claim_unassigned("python3.11", key)
    assert claimed is slot
    pool.assigned(slot)
    slot.calls, slot.start_ms = calls, ms
    slot.memory_mb = slot.booked_mb = mb
    return slot


def idle(pool: Pool[str], evictor: Evictor[str], key: str, now: float, **about) -> Slot[str]:
    slot = busy(pool, key, **about)
    pool.release(slot, now)
    evictor.arm(slot, now)
    return slot


class TestPool:
    def test_warm_before_prewarmed_and_the_latest_first(self) -> None:
        pool: Pool[str] = Pool()
        slots = [busy(pool, "k", calls=calls) for calls in (1, 0, 1, 0)]
        for slot in slots:
            pool.release(slot, 1)
        claimed = [pool.claim("k") for _ in range(5)]
        assert claimed == [slots[2], slots[0], slots[3], slots[1], None]
        assert pool.claim("other") is None

    def test_the_youngest_unassigned_serves_and_the_oldest_goes(self) -> None:
        pool: Pool[str] = Pool()
        slots = [pool.begin("a") for _ in range(3)]
        for slot in slots:
            pool.ready(slot, "box")
        assert pool.claim_unassigned("a", "k") is slots[2]
        assert pool.oldest_unassigned() is slots[0]
        assert pool.oldest_unassigned("b") is None

    @pytest.mark.parametrize("state", list(State))
    def test_illegal_moves_are_refused(self, state: State) -> None:
        pool: Pool[str] = Pool()
        slot = pool.begin("a")
        slot.state = state
        for never in (pool.slim, pool.unpromise, pool.redeem):
            with pytest.raises(IllegalMove):
                never(slot)
        moves = {
            State.CREATING: lambda: pool.ready(slot, "box"),
            State.ASSIGNING: lambda: pool.assigned(slot),
            State.BUSY: lambda: pool.release(slot, 0),
            State.DYING: lambda: pool.remove(slot),
        }
        for legal, move in moves.items():
            if legal is not state:
                with pytest.raises(IllegalMove):
                    move()

    def test_slim_ones_are_claimed_by_promise_alone(self) -> None:
        pool: Pool[str] = Pool()
        slots = [busy(pool, "k") for _ in range(2)]
        for slot in slots:
            pool.release(slot, 1)
            pool.slim(slot)
        assert pool.claim("k") is None
        assert pool.promise("other") is None
        assert pool.promise("k") is slots[1]
        assert pool.promise("k") is slots[0]
        assert pool.promise("k") is None
        pool.unpromise(slots[0])
        assert pool.promise("k") is slots[0]
        pool.redeem(slots[0])
        assert slots[0].state is State.BUSY
        pool.release(slots[0], 2)
        assert pool.claim("k") is slots[0]
        pool.discard(slots[1])
        assert pool.count(State.IDLE) == 0

    def test_rates_of_keys_are_remembered_but_not_for_ever(self) -> None:
        pool: Pool[str] = Pool()
        slot = busy(pool, "k")
        pool.rate("k").note(0)
        pool.discard(slot)
        pool.remove(slot)
        assert pool.rate("k").per_second(0) > 0
        for number in range(REMEMBERED_KEYS):
            pool.rate(f"n{number}")
        assert pool.rate("k").per_second(0) == 0
        assert pool.families() == []


class TestLedger:
    def test_exactly_what_is_free_enters(self) -> None:
        ledger = Ledger(768, 10)
        assert ledger.book("a", 512)
        assert not ledger.book("b", 257)
        assert ledger.book("b", 256)
        assert ledger.free_mb == 0
        assert ledger.release("a") == 512
        assert ledger.release("a") == 0
        assert ledger.free_mb == 512

    def test_the_number_is_bounded_too(self) -> None:
        ledger = Ledger(1000, 1)
        assert ledger.book("a", 1)
        assert not ledger.book("b", 1)
        assert ledger.lacks(1, 1)
        ledger.returning("a")
        assert not ledger.lacks(1, 1)

    def test_an_owner_can_hold_less_and_more_again_if_that_is_free(self) -> None:
        ledger = Ledger(100, 1)
        ledger.book("a", 60)
        assert ledger.rebook("a", 10)
        assert ledger.free_mb == 90
        assert ledger.rebook("a", 100)
        assert not ledger.rebook("a", 101)
        assert ledger.held("a") == ledger.booked_mb == 100
        with pytest.raises(KeyError):
            ledger.rebook("b", 1)

    def test_an_heir_holds_what_it_inherits_only(self) -> None:
        ledger = Ledger(100, 10)
        ledger.book("ticket", 64)
        ledger.book("slot", 8)
        assert ledger.move("ticket", "slot") == 64
        assert ledger.booked_mb == 64

    def test_what_returns_is_a_prospect_once(self) -> None:
        ledger = Ledger(100, 10)
        ledger.book("a", 60)
        ledger.returning("a")
        ledger.returning("a")
        assert not ledger.lacks(100, 1)
        assert ledger.lacks(101, 1)
        assert not ledger.fits(41)
        ledger.release("a")
        assert ledger.lacks(101, 1)
        ledger.returning("nobody")
        assert not ledger.lacks(100, 10)

    def test_nonsense_is_refused(self) -> None:
        ledger = Ledger(100, 10)
        ledger.book("a", 1)
        with pytest.raises(ValueError, match="already"):
            ledger.book("a", 1)
        with pytest.raises(ValueError, match="negative"):
            ledger.book("b", -1)


class TestRate:
    @given(per_second=st.floats(0.01, 100))
    def test_it_settles_at_a_steady_rate(self, per_second: float) -> None:
        memory_s = 1000 / per_second
        rate = Rate(memory_s)
        for number in range(10_000):
            rate.note(number / per_second)
        assert rate.per_second(9_999 / per_second) == pytest.approx(per_second, rel=0.01)

    @given(
        st.lists(st.floats(0, 1e4), min_size=1, max_size=20),
        st.lists(st.floats(0, 1e4), min_size=1, max_size=20),
        st.floats(0, 1e3),
    )
    def test_weights_order_rates_at_any_later_moment(self, some, others, later) -> None:
        one, two = Rate(300), Rate(300)
        for rate, times in ((one, some), (two, others)):
            for moment in sorted(times):
                rate.note(moment)
        now = max(*some, *others) + later
        if one.log_weight() > two.log_weight() + 1e-9:
            assert one.per_second(now) >= two.per_second(now) * (1 - 1e-6)

    def test_nothing_ever_weighs_nothing(self) -> None:
        assert Rate(10).log_weight() == -math.inf
        assert Rate(10).per_second(5) == 0


class TestEvictor:
    @pytest.mark.parametrize(
        ("calls_a_minute", "at_least", "at_most"),
        [(0, 60, 60), (0.2, 61, 200), (1, 300, 360), (60, 580, 600)],
    )
    def test_keep_alive_follows_the_rate(self, calls_a_minute, at_least, at_most) -> None:
        pool: Pool[str] = Pool()
        evictor: Evictor[str] = Evictor(min_s=60, max_s=600)
        slot = busy(pool, "k")
        for number in range(int(60 * calls_a_minute)):
            slot.family.rate.note(number * 60 / calls_a_minute)
        assert at_least <= evictor.keep_s(slot, 3600) <= at_most

    def test_expiry_is_in_order_and_spares_what_was_used_since(self) -> None:
        pool: Pool[str] = Pool()
        evictor: Evictor[str] = Evictor(min_s=60, max_s=60)
        slots = [idle(pool, evictor, f"k{n}", now=n) for n in range(4)]
        assert pool.claim("k1") is slots[1]
        assert pool.claim("k2") is slots[2]
        pool.release(slots[2], 50)
        evictor.arm(slots[2], 50)
        assert list(evictor.expired(59.9)) == []
        gone = list(evictor.expired(70))
        assert gone == [slots[0], slots[3]]
        for slot in gone:
            pool.discard(slot)
            evictor.forget(slot)
        assert list(evictor.expired(109)) == []
        assert list(evictor.expired(110)) == [slots[2]]
        pool.release(slots[1], 200)
        evictor.arm(slots[1], 200)
        assert list(evictor.expired(261)) == [slots[1]]

    @pytest.mark.parametrize(
        ("better", "worse"),
        [
            ({"notes": 9}, {"notes": 1}),
            ({"ms": 900}, {"ms": 5}),
            ({"mb": 128}, {"mb": 1024}),
            ({"notes": 4, "mb": 256}, {"notes": 1, "mb": 128}),
        ],
    )
    def test_the_least_valuable_goes_first(self, better, worse) -> None:
        pool: Pool[str] = Pool()
        evictor: Evictor[str] = Evictor(min_s=60, max_s=600)
        for key, about in (("better", better), ("worse", worse)):
            pool.rate(key).note(0, events=about.pop("notes", 1))
            idle(pool, evictor, key, 0, **about)
        order = []
        while (slot := evictor.least_valuable()) is not None:
            order.append(slot.family.key)
            pool.discard(slot)
            evictor.forget(slot)
        assert order == ["worse", "better"]

    def test_surplus_of_a_busy_key_goes_before_the_only_one_of_another(self) -> None:
        pool: Pool[str] = Pool()
        evictor: Evictor[str] = Evictor(min_s=60, max_s=600)
        pool.rate("many").note(0, events=5)
        pool.rate("one").note(0, events=1)
        for _ in range(20):
            idle(pool, evictor, "many", 0)
        idle(pool, evictor, "one", 0)
        order = []
        while (slot := evictor.least_valuable()) is not None:
            order.append(slot.family.key)
            pool.discard(slot)
            evictor.forget(slot)
            pool.remove(slot)
        assert len(order) == 21
        assert 10 <= order.index("one") <= 17

    def test_a_key_called_meanwhile_has_become_more_valuable(self) -> None:
        pool: Pool[str] = Pool()
        evictor: Evictor[str] = Evictor(min_s=60, max_s=600)
        for key in ("a", "b"):
            pool.rate(key).note(0)
            idle(pool, evictor, key, 0)
        pool.rate("a").note(1, events=5)
        slot = evictor.least_valuable()
        assert slot is not None
        assert slot.family.key == "b"

    def test_working_sandboxes_are_not_named(self) -> None:
        pool: Pool[str] = Pool()
        evictor: Evictor[str] = Evictor(min_s=60, max_s=600)
        slot = idle(pool, evictor, "a", 0)
        assert pool.claim("a") is slot
        assert evictor.least_valuable() is None
        pool.release(slot, 1)
        evictor.arm(slot, 1)
        assert evictor.least_valuable() is slot

    def test_one_that_became_worth_less_goes_earlier(self) -> None:
        pool: Pool[str] = Pool()
        evictor: Evictor[str] = Evictor(min_s=60, max_s=600)
        for key in ("slim", "full"):
            pool.rate(key).note(0)
        slim = idle(pool, evictor, "slim", 0, mb=10)
        full = idle(pool, evictor, "full", 0, mb=128)
        slim.booked_mb = 512
        evictor.demote(slim)
        evictor.arm(slim, 1)
        order = []
        while (slot := evictor.least_valuable()) is not None:
            order.append(slot)
            pool.discard(slot)
            evictor.forget(slot)
        assert order == [slim, full]

    def test_superseded_entries_are_not_kept(self) -> None:
        pool: Pool[str] = Pool()
        evictor: Evictor[str] = Evictor(min_s=60, max_s=600)
        slot = idle(pool, evictor, "k", 0)
        for booked_mb in range(2000):
            slot.booked_mb = booked_mb
            evictor.demote(slot)
            evictor.arm(slot, 0)
        assert len(evictor._by_value) <= 68

    def test_the_dead_are_not_kept(self) -> None:
        pool: Pool[str] = Pool()
        evictor: Evictor[str] = Evictor(min_s=60, max_s=600)
        for number in range(2000):
            slot = idle(pool, evictor, f"k{number}", 0)
            pool.discard(slot)
            evictor.forget(slot)
            pool.remove(slot)
        assert max(len(evictor._by_time), len(evictor._by_value)) <= 65


class TestReplenisher:
    POLICY = RefillPolicy(floor=2, ceiling=10, lead_s=1.0, memory_s=10.0)

    @pytest.mark.parametrize(
        ("per_second", "target", "step"),
        [(0, 2, 1), (0.3, 2, 1), (1.5, 4, 2), (6.0, 8, 4), (50.0, 10, 8)],
    )
    def test_target_and_speed_follow_the_rate(self, per_second, target, step) -> None:
        pool = Replenisher(self.POLICY)
        pool.use("a")
        now = 0.0
        for number in range(int(100 * per_second)):
            now = number / per_second
            pool.asked("a", now)
        assert pool.target("a", now) == pytest.approx(target, abs=1 if 0 < per_second < 50 else 0)
        assert pool.step("a", now) == step
        assert pool.due("a", pooled=0, creating=0, now=now) == min(step, pool.target("a", now))

    def test_taking_one_may_add_several_and_quiet_returns_to_the_floor(self) -> None:
        pool = Replenisher(self.POLICY)
        for _ in range(60):
            pool.asked("a", 0)
        assert pool.due("a", pooled=1, creating=0, now=0) == 4
        assert pool.due("a", pooled=1, creating=3, now=0) == 1
        assert pool.due("a", pooled=1, creating=9, now=0) == 0
        assert pool.surplus("a", pooled=8, now=0) == 0
        assert pool.target("a", 100) == 2
        assert pool.surplus("a", pooled=8, now=100) == 1
        assert pool.surplus("a", pooled=40, now=100) == 5
        assert pool.surplus("a", pooled=2, now=100) == 0

    def test_nothing_for_runtimes_not_in_use(self) -> None:
        pool = Replenisher(self.POLICY)
        assert pool.due("a", pooled=0, creating=0, now=0) == 0
        assert pool.runtimes == ()
        pool.made("a")
        assert pool.runtimes == ()

    def test_failures_pause_longer_each_time_and_success_ends_that(self) -> None:
        pool = Replenisher(self.POLICY)
        pool.use("a")
        now, pauses = 0.0, []
        for _ in range(9):
            pool.failed("a", now)
            pause = next(
                wait
                for wait in range(1, 200)
                if pool.due("a", pooled=0, creating=0, now=now + wait)
            )
            pauses.append(pause)
            now += pause
        assert pauses == [1, 2, 4, 8, 16, 32, 64, 64, 64]
        pool.failed("a", now)
        pool.made("a")
        assert pool.due("a", pooled=0, creating=0, now=now) == 1


def test_the_machine_has_memory() -> None:
    assert 64 < sandbox_memory_mb() < machine_memory_mb() < 1 << 24
    assert 0 < available_memory_mb() <= machine_memory_mb()


@pytest.mark.parametrize("text", [None, b"", b"MemTotal: 5 kB\n", b"MemAvailable:\n"])
def test_a_kernel_that_does_not_say_what_is_left(text, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "meminfo")
    if text is not None:
        machine.MEMINFO.write_bytes(text)
    assert available_memory_mb() is None
