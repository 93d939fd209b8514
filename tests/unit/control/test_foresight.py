"""Looking ahead: what is counted, what is asked, what the host is told and when; and that no call fails by it."""

import logging

import pytest
from tests.fakes.functions import make_function
from tests.unit.control.looking_ahead import (
    ACCOUNT,
    Rig,
    qualified,
    resolved,
)

from forerun.errors import InvalidInput
from forerun.model import InitReport, Reason, StartType


@pytest.fixture
async def rig():
    rig = Rig()
    rig.names.define()
    rig.foresight.start()
    yield rig
    await rig.close()
    assert rig.foresight.failed == 0


async def test_what_arrives_is_counted_and_handed_on_a_few_times_a_second(rig):
    for _ in range(3):
        rig.call()
    rig.call(resolved("f", qualifier="prod"))
    assert rig.policy.seen == []
    await rig.advance(1.0)
    assert rig.policy.seen == [(qualified(), 3), (qualified(qualifier="prod"), 1)]
    rig.call()
    await rig.advance(1.0)
    assert rig.policy.seen[2:] == [(qualified(), 1)]


async def test_calls_of_one_burst_are_told_together(rig):
    await rig.advance(0.2)
    rig.call()
    await rig.advance(0.06)
    rig.call()
    await rig.advance(1.0)
    assert rig.policy.seen == [(qualified(), 2)]


async def test_the_policy_hears_of_everything_in_the_order_of_time(rig):
    for number in range(20):
        rig.call(resolved(f"f{number % 3}"))
        await rig.advance(0.37)
    assert rig.policy.times == sorted(rig.policy.times)
    assert sum(count for _, count in rig.policy.seen) == 20


async def test_an_expectation_is_held_from_shortly_before_it_until_its_end(rig):
    rig.call()
    rig.expect(10.0, 20.0, count=2)
    await rig.advance(1.0)
    assert rig.host.holds() is None
    await rig.advance(8.0)
    assert rig.host.holds() is None
    await rig.advance(0.9)
    assert rig.host.holds().idle == 2
    rig.policy.expected.clear()
    rig.policy.touched.add(qualified())
    await rig.advance(0.5)
    assert rig.host.holds().idle == 0


async def test_its_end_is_seen_to_by_time_alone(rig):
    rig.call()
    rig.expect(0.0, 5.0)
    await rig.advance(1.0)
    assert rig.host.holds().idle == 1
    await rig.advance(4.5)
    assert rig.host.holds().idle == 0


async def test_what_did_not_change_is_not_told_again(rig):
    rig.call()
    for _ in range(8):
        rig.expect(-1.0, 30.0, count=2, reason=Reason.LEADER)
        await rig.advance(0.5)
    assert len(rig.host.told) == 1
    rig.expect(-1.0, 30.0, count=3, reason=Reason.LEADER)
    await rig.advance(0.5)
    assert [standby.idle for _, standby in rig.host.told] == [2, 3]


async def test_what_lasts_longer_is_told_in_time(rig):
    rig.call()
    for _ in range(60):
        rig.expect(-1.0, 3.0)
        await rig.advance(0.5)
        told = rig.host.holds()
        assert told.lease_s >= 3.0
    assert 2 <= len(rig.host.told) <= 10


async def test_a_name_that_has_to_be_read_is_read_and_held(rig):
    rig.names.cold.add(("f", None))
    rig.expect(0.0, 5.0)
    await rig.advance(0.5)
    assert rig.names.read == ["f"]
    assert rig.host.holds().idle == 1


async def test_a_name_that_means_nothing_any_more_is_forgotten(rig):
    rig.call(resolved("gone"))
    rig.expect(0.0, 5.0, qualified("gone"))
    await rig.advance(1.0)
    assert rig.policy.forgotten == [qualified("gone")]
    assert rig.arrivals.get(qualified("gone")) is None
    assert rig.host.told == []


async def test_a_weighted_alias_is_prepared_by_its_shares(rig):
    one, two = resolved("f", "1", "prod"), resolved("f", "2", "prod")
    rig.names.define("f", "prod", (0.25, one), (0.75, two))
    rig.expect(0.0, 5.0, qualified(qualifier="prod"), count=8)
    await rig.advance(0.5)
    assert rig.host.holds("f.1").idle == 2
    assert rig.host.holds("f.2").idle == 6


async def test_names_of_one_version_make_one_standby(rig):
    rig.names.define("f", "live", (1.0, resolved("f", "$LATEST", "live")))
    rig.expect(0.0, 5.0, count=2)
    rig.expect(0.0, 5.0, qualified(qualifier="live"), count=3)
    await rig.advance(0.5)
    assert rig.host.holds().idle == 5
    rig.policy.expected.pop(qualified())
    rig.policy.touched.add(qualified())
    await rig.advance(0.5)
    assert rig.host.holds().idle == 3


async def test_another_version_is_prepared_from_the_moment_it_is_there(rig):
    rig.expect(0.0, 60.0)
    await rig.advance(0.5)
    rig.names.define("f", None, (1.0, resolved("f", "new")))
    rig.foresight.changed(ACCOUNT, "f")
    assert rig.host.holds("f.new").idle == 1
    before = len(rig.host.told)
    rig.foresight.changed(ACCOUNT, "f")
    assert len(rig.host.told) == before + 1


async def test_also_when_it_is_little_that_waits(rig):
    rig.call()
    rig.expect(0.0, 60.0, reason=Reason.RECENT)
    await rig.advance(0.5)
    assert rig.host.holds().idle == 1
    rig.foresight.changed(ACCOUNT, "f")
    assert len(rig.host.told) == 2
    assert rig.host.holds().idle == 1


async def test_where_calls_go_on_what_they_have_left_is_kept_and_nothing_is_made(rig):
    for _ in range(40):
        rig.call()
        rig.began("f", "5" * 16)
        rig.expect(0.0, 300.0, count=50)
        await rig.advance(0.5)
    standby = rig.host.holds()
    assert (standby.idle, standby.reason) == (0, Reason.RECENT)
    assert standby.linger_s > 290.0
    assert len(rig.host.told) < 10


async def test_no_more_is_prepared_than_is_reserved(rig):
    rig.names.define("f", None, (1.0, resolved(reserved=2)))
    rig.expect(0.0, 5.0, count=9)
    await rig.advance(0.5)
    assert rig.host.holds().idle == 2


async def test_what_is_required_is_held_without_end_and_with_what_is_expected(rig):
    rig.foresight.require(make_function(), 3)
    assert (rig.host.holds().total, rig.host.holds().idle) == (3, 0)
    rig.expect(0.0, 5.0, count=2)
    await rig.advance(0.5)
    assert (rig.host.holds().total, rig.host.holds().idle) == (3, 2)
    await rig.advance(6.0)
    assert (rig.host.holds().total, rig.host.holds().idle) == (3, 0)
    told = len(rig.host.told)
    await rig.advance(4000.0)
    assert len(rig.host.told) > told
    assert rig.host.holds().total == 3
    rig.foresight.require(make_function(), 0)
    assert rig.host.holds().total == 0


async def test_a_regular_function_is_let_go_between_its_calls(rig):
    function = qualified()
    for _ in range(8):
        rig.policy.rhythms[function] = (10.0, 0.95)
        rig.call()
        await rig.advance(1.0)
        rig.expect(9.0, 10.0)
        await rig.advance(9.0)
    paused = [standby for _, standby in rig.host.told if standby.linger_s == 0.0]
    prepared = [standby for _, standby in rig.host.told if standby.idle]
    assert paused
    assert {standby.idle for standby in paused} == {0}
    assert {(each.reason, each.cause) for each in prepared[-2:]} == {(Reason.PERIOD, "10")}


async def test_out_of_its_period_little_is_believed_until_it_is_called_again(rig):
    function = qualified()
    rig.policy.rhythms[function] = (10.0, 0.95)
    for _ in range(8):
        rig.call()
        await rig.advance(10.0)
    rig.policy.rhythms.clear()
    rig.expect(0.0, 30.0, reason=Reason.RECENT, probability=0.2)
    await rig.advance(1.0)
    assert rig.foresight.outlook.rhythm(function).lapsed
    assert rig.host.holds().idle == 0
    rig.expect(0.0, 30.0, reason=Reason.HABIT, probability=0.9)
    await rig.advance(1.0)
    assert rig.host.holds().idle == 1
    rig.call()
    await rig.advance(1.0)
    assert not rig.foresight.outlook.rhythm(function).lapsed


async def test_the_pool_shrinks_by_what_keeps_to_a_period_and_returns(rig):
    function = qualified()
    rig.policy.rhythms[function] = (10.0, 1.0)
    for _ in range(5):
        rig.call(start=StartType.PREWARMED, foresight="hit")
        await rig.advance(2.0)
    assert rig.host.pools == {"python3.11": 1}
    assert rig.foresight.pools.shown()["python3.11"].share == pytest.approx(1.0)
    rig.policy.rhythms.clear()
    await rig.advance(2.0)
    assert rig.host.pools == {"python3.11": 4}


async def test_starts_of_others_keep_the_pool_up(rig):
    rig.policy.rhythms[qualified()] = (10.0, 1.0)
    for _ in range(10):
        rig.call(start=StartType.PREWARMED, foresight="hit")
        rig.call(resolved("g"), start=StartType.POOL)
    await rig.advance(2.0)
    assert rig.host.pools == {"python3.11": 2}


async def test_hits_misses_and_what_waiting_has_cost_are_counted(rig):
    rig.call(start=StartType.POOL, foresight="miss")
    rig.call(start=StartType.PREWARMED, foresight="hit", idle_mb_s=100.0)
    rig.call(foresight="hit", idle_mb_s=28.0)
    rig.call()
    await rig.advance(1.0)
    counts = await rig.counted()
    assert (counts.calls, counts.hits, counts.misses) == (4, 2, 1)
    assert counts.idle_mb_s == pytest.approx(128.0)


async def test_what_came_of_expectations_is_counted_with_its_lead(rig):
    rig.call()
    rig.expect(5.0, 8.0)
    await rig.advance(5.0)
    rig.call()
    await rig.advance(1.0)
    counts = await rig.counted()
    assert (counts.expected, counts.came) == (1, 1)
    assert 0.3 < counts.lead_s < 1.0
    rig.expect(20.0, 25.0)
    await rig.advance(40.0)
    rig.call()
    await rig.advance(1.0)
    counts = await rig.counted()
    assert (counts.expected, counts.came) == (2, 1)


async def test_a_window_that_is_seen_further_and_further_is_one(rig):
    rig.call()
    for _ in range(10):
        rig.expect(-1.0, 2.0, reason=Reason.LEADER)
        await rig.advance(1.0)
    assert (await rig.counted()).expected == 1


async def test_what_a_start_costs_is_measured_where_a_call_had_to_wait(rig):
    init = InitReport(duration_ms=200.0)
    rig.call(start=StartType.POOL, init=init)
    assert rig.arrivals.cost(qualified()).start_ms == pytest.approx(20.0, abs=1.0)
    assert rig.arrivals.cost(qualified()).memory_mb == 30
    rig.call(resolved("g"), start=StartType.COLD, init=init)
    assert 200.0 < rig.arrivals.cost(qualified("g")).start_ms < 220.0
    rig.call(resolved("h"), start=StartType.PREWARMED, foresight="hit")
    assert rig.arrivals.get(qualified("h")).starts_ms == []


async def test_a_clock_that_is_set_back_stops_nothing(rig):
    rig.call()
    rig.expect(10.0, 20.0)
    await rig.advance(1.0)
    rig.clock._epoch -= 3600.0
    await rig.advance(10.0)
    assert rig.host.holds().idle == 1
    await rig.advance(10.0)
    assert rig.host.holds().idle == 0
    rig.call()
    await rig.advance(1.0)
    assert rig.policy.seen[-1] == (qualified(), 1)
    assert rig.policy.times == sorted(rig.policy.times)


async def test_a_clock_that_jumps_ahead_ends_what_is_over(rig):
    rig.expect(0.0, 20.0)
    await rig.advance(1.0)
    assert rig.host.holds().idle == 1
    rig.clock._epoch += 3600.0
    await rig.advance(1.0)
    assert rig.host.holds().idle == 0


async def test_a_host_that_refuses_costs_nothing_else(rig):
    rig.host.failure = InvalidInput("no")
    rig.expect(0.0, 60.0)
    rig.names.define("g")
    await rig.advance(1.0)
    rig.host.failure = None
    rig.expect(0.0, 60.0, qualified("g"))
    await rig.advance(1.0)
    assert rig.host.holds("g.$LATEST").idle == 1


async def test_many_functions_are_attended_to_in_turns(rig):
    for number in range(1000):
        rig.names.define(f"g{number}")
        rig.expect(0.0, 60.0, qualified(f"g{number}"))
    await rig.advance(0.3)
    assert 0 < len(rig.host.told) < 1000
    await rig.advance(3.0)
    assert len({key for key, _ in rig.host.told}) == 1000


async def test_a_deleted_function_is_forgotten(rig):
    rig.call()
    rig.call(resolved("f", qualifier="prod"))
    rig.expect(0.0, 60.0)
    await rig.advance(6.0)
    assert rig.store.rows
    await rig.foresight.forget(ACCOUNT, "f")
    assert set(rig.policy.forgotten) == {qualified(), qualified(qualifier="prod")}
    assert not [key for key in rig.store.rows if key[1] == "f"]
    assert rig.host.holds().idle == 0
    await rig.advance(6.0)
    assert not [key for key in rig.store.rows if key[1] == "f"]


class Broken(Exception):
    """What nobody expects."""


async def test_no_error_of_its_own_reaches_a_call(caplog):
    rig = Rig()
    rig.names.define()

    def fail(*_):
        raise Broken

    rig.policy.observe = rig.policy.advance = rig.traversals.began = fail
    rig.foresight.start()
    with caplog.at_level(logging.ERROR, logger="forerun.foresight"):
        rig.call()
        rig.arrivals.get(qualified()).followed = True
        rig.call()
        await rig.advance(30.0)
    assert rig.foresight.failed > 50
    assert len([each for each in caplog.records if "looking ahead failed" in each.message]) == 1
    await rig.close()


async def test_what_is_required_no_more_is_told_after_a_change(rig):
    rig.foresight.require(make_function(), 3)
    rig.foresight.changed(ACCOUNT, "f")
    rig.foresight.require(make_function(), 0)
    assert rig.host.holds().total == 0


async def test_when_it_is_off_only_what_is_required_is_held():
    rig = Rig(active=False)
    rig.foresight.start()
    rig.foresight.require(make_function(), 2)
    await rig.advance(4000.0)
    assert rig.host.holds().total == 2
    assert rig.policy.times == []
    assert rig.store.rows == {}
    await rig.close()
