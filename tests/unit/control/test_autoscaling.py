"""Application auto scaling over a real database: what is done at which time, and why."""

import pytest
from tests.unit.control.owned import ACCOUNT
from tests.unit.control.scaled import (
    RESOURCE,
    TRACKING,
    Scaled,
    open_scaled_estate,
    predictive,
    tracking,
)

from forerun.errors import NotFound
from forerun.model import Expectation, Reason


@pytest.fixture
async def estate(tmp_path, clock):
    db, estate = await open_scaled_estate(tmp_path, clock)
    yield estate
    await db.close()


@pytest.mark.databases
async def test_bounds_hold_as_soon_as_they_are_registered(scaled):
    await scaled.register(low=2, high=5)
    await scaled.turn()
    assert await scaled.capacity() == 2
    [activity] = await scaled.done()
    assert activity[1:] == (
        "Setting provisioned concurrency to 2.",
        "minimum capacity was set to 2",
    )
    await scaled.held(2)
    await scaled.turn()
    [activity] = (await scaled.scaling.activities(ACCOUNT, None, None)).items
    assert activity.status == "Successful"
    assert activity.message.startswith("Successfully set provisioned concurrency to 2.")
    await scaled.register(low=0, high=1)
    await scaled.turn()
    assert await scaled.capacity() == 1
    assert (await scaled.done())[0][2] == "maximum capacity was set to 1"
    await scaled.register(low=0, high=0)
    await scaled.turn()
    assert await scaled.capacity() == 0


async def test_use_is_tracked(scaled):
    await scaled.register(low=2, high=10)
    await scaled.policy(tracking())
    scaled.working = 2
    await scaled.turn()
    await scaled.held(2)
    await scaled.pass_(12)
    assert await scaled.capacity() == 2
    await scaled.pass_(10)
    assert await scaled.capacity() == 4
    assert (await scaled.done())[0][2] == (
        "2.00 to 2.00 of 2 in use for 2 periods of 10 s was above the target 0.5 of policy p"
    )
    await scaled.held(4)
    await scaled.pass_(30, working=9)
    assert await scaled.capacity() == 10
    # More is wanted than the maximum; it is told once.
    reasons = [each[1] for each in await scaled.done(not_scaled=True)]
    assert reasons.count("Attempting to scale due to a scaling policy") == 1
    assert len(await scaled.done()) == 3
    await scaled.held(10)
    await scaled.pass_(19, working=1)
    assert await scaled.capacity() == 10
    await scaled.pass_(40)
    assert await scaled.capacity() == 2
    assert "below the target" in (await scaled.done())[0][2]


async def test_cooldowns_suspension_and_disabled_scale_in(scaled):
    await scaled.register(low=2, high=10)
    await scaled.policy(tracking(ScaleOutCooldown=60, DisableScaleIn=True))
    await scaled.pass_(22, working=2)
    assert await scaled.capacity() == 4
    await scaled.pass_(40, working=4)
    assert await scaled.capacity() == 4
    await scaled.pass_(30)
    assert await scaled.capacity() == 8
    await scaled.pass_(60, working=0)
    assert await scaled.capacity() == 8
    await scaled.policy(tracking())
    await scaled.register(low=2, high=10, in_suspended=True)
    await scaled.pass_(30, working=0)
    assert await scaled.capacity() == 8
    await scaled.register(low=2, high=10, in_suspended=False, out_suspended=True)
    await scaled.pass_(12, working=0)
    assert await scaled.capacity() == 2
    await scaled.pass_(40, working=9)
    assert await scaled.capacity() == 2


@pytest.mark.databases
async def test_nothing_provisioned_is_tracked_from_what_runs_on_demand(scaled):
    await scaled.register(low=0, high=10)
    await scaled.policy(tracking())
    await scaled.pass_(22, working=1)
    assert await scaled.capacity() == 2
    await scaled.pass_(40, working=0)
    assert await scaled.capacity() == 0


@pytest.mark.databases
async def test_scheduled_actions_set_bounds(scaled, clock):
    await scaled.register(low=1, high=1)
    await scaled.turn()
    await scaled.action("rate(1 minute)", low=3, high=4)
    await scaled.pass_(59)
    assert await scaled.capacity() == 1
    await scaled.pass_(2)
    assert await scaled.capacity() == 3
    target = await scaled.scaling.targets.find(ACCOUNT, RESOURCE)
    assert (target.low, target.high) == (3, 4)
    newest, fired, _ = await scaled.done()
    assert newest[2] == "minimum capacity was set to 3"
    assert fired == (
        "Successful",
        "Setting min capacity to 3 and max capacity to 4",
        "scheduled action name a was triggered",
    )
    await scaled.pass_(60)
    assert len(await scaled.done()) == 4


@pytest.mark.databases
async def test_actions_keep_to_their_times_and_are_suspended(scaled, clock):
    now = clock.now()
    await scaled.register(low=1, high=9)
    await scaled.action("rate(1 minute)", low=5, name="later", since=now + 600, until=now + 700)
    await scaled.register(schedule_suspended=True, low=1, high=9)
    await scaled.action("rate(1 minute)", low=7, name="suspended")
    clock.jump(61)
    await scaled.turn()
    assert await scaled.capacity() == 1
    await scaled.register(schedule_suspended=False, low=1, high=9)
    await scaled.scaling.actions.delete(ACCOUNT, RESOURCE, "suspended")
    await scaled.turn()
    assert await scaled.capacity() == 1
    clock.jump(600)
    await scaled.turn()
    assert await scaled.capacity() == 5
    await scaled.register(low=1, high=1)
    await scaled.turn()
    clock.jump(600)
    await scaled.turn()
    assert await scaled.capacity() == 1


@pytest.mark.databases
async def test_bounds_that_contradict_are_a_failed_activity(scaled, clock):
    await scaled.register(low=1, high=2)
    await scaled.action("rate(1 minute)", low=5)
    clock.jump(61)
    await scaled.turn()
    assert await scaled.capacity() == 1
    [failed] = [each for each in await scaled.done() if each[0] == "Failed"]
    assert failed[1] == "Setting min capacity to 5 and max capacity to 2"


@pytest.mark.databases
async def test_what_was_missed_is_made_up_for_once(tmp_path, scaled, clock):
    await scaled.register(low=1, high=9)
    await scaled.turn()
    clock.jump(1)
    await scaled.action("rate(1 minute)", low=2, name="often")
    await scaled.action("rate(1 hour)", low=6, name="seldom")
    clock.jump(3 * 3600 + 1)
    db, later = await open_scaled_estate(tmp_path, clock)
    again = Scaled(later, clock)
    try:
        for target in await later.autoscaling.targets._store.all_targets():
            again.scaler.touched(target.account, target.resource)
        await again.turn()
        assert await again.capacity() == 6
        fired = [each for each in await again.done() if "scheduled" in each[2]]
        assert len(fired) == 2
        await again.turn()
        assert len([each for each in await again.done() if "scheduled" in each[2]]) == 2
    finally:
        await db.close()


async def test_forecasts_are_scaled_by(scaled, clock):
    now = clock.now()
    scaled.windows = [
        Expectation(since=now + 100, until=now + 160, probability=0.9, reason=Reason.PERIOD, count=2),
        Expectation(since=now + 400, until=now + 460, probability=0.9, reason=Reason.PERIOD, count=8),
    ]  # fmt: skip
    target = await scaled.register(low=1, high=10)
    policy = await scaled.policy(predictive("ForecastOnly", SchedulingBufferTime=30))
    found = scaled.scaler.forecast(target, policy, [now + at for at in (0, 100, 159, 160, 420)])
    assert found == [(0, 1), (2, 4), (2, 4), (0, 1), (8, 10)]
    await scaled.pass_(80)
    assert await scaled.capacity() == 1
    await scaled.policy(predictive(SchedulingBufferTime=30))
    await scaled.turn()
    assert await scaled.capacity() == 4
    assert (await scaled.done())[0][2] == "the forecast of policy p asked for it"
    await scaled.pass_(90)
    assert await scaled.capacity() == 1
    await scaled.policy(
        predictive(MaxCapacityBreachBehavior="IncreaseMaxCapacity", MaxCapacityBuffer=10)
    )
    clock.jump(240)
    await scaled.turn()
    assert await scaled.capacity() == 16


@pytest.mark.databases
async def test_what_cannot_be_provisioned_is_told_once(scaled, aws):
    await aws.put_function_concurrency(FunctionName="fn", ReservedConcurrentExecutions=2)
    await scaled.register(low=3, high=5)
    await scaled.policy(tracking())
    await scaled.pass_(30, working=1)
    [failed] = (await scaled.scaling.activities(ACCOUNT, None, None)).items
    assert failed.status == "Failed"
    assert "reservedConcurrentExecution" in failed.message


@pytest.mark.databases
async def test_deregistering_takes_policies_and_actions_along(scaled):
    await scaled.register(low=1, high=2)
    await scaled.policy(tracking())
    await scaled.action("rate(1 minute)", low=2)
    await scaled.turn()
    await scaled.scaling.targets.deregister(ACCOUNT, RESOURCE)
    await scaled.pass_(70)
    assert await scaled.capacity() == 1
    assert (await scaled.scaling.policies.page(ACCOUNT, None, None)).items == []
    assert (await scaled.scaling.actions.page(ACCOUNT, None, None)).items == []
    with pytest.raises(NotFound, match="No scalable target found"):
        await scaled.scaling.targets.deregister(ACCOUNT, RESOURCE)
    with pytest.raises(NotFound, match="No scalable target found"):
        await scaled.policy(tracking())
    with pytest.raises(NotFound, match="No scalable target found"):
        await scaled.action("rate(1 minute)", low=2)


async def test_a_peak_may_be_tracked_instead_of_the_mean(scaled):
    await scaled.register(low=1, high=9)
    custom = {
        "MetricName": "ProvisionedConcurrencyUtilization",
        "Namespace": "AWS/Lambda",
        "Statistic": "Maximum",
    }
    await scaled.policy({TRACKING: {"TargetValue": 0.5, "CustomizedMetricSpecification": custom}})
    for _ in range(3):
        await scaled.pass_(9, working=0)
        await scaled.pass_(1, working=2)
    assert await scaled.capacity() == 4
