"""Application auto scaling over a real database: what is refused, and what is done at which time and why."""

import asyncio
import time

import pytest
from tests.unit.control.owned import ACCOUNT, OTHER, open_estate

from forerun.control.scalable_targets import TargetChange, TooManyTags
from forerun.control.scaling import InvalidToken, TaggedMissing, parse_resource, require_lambda
from forerun.control.scaling_policies import METRIC
from forerun.control.scheduled_actions import ActionChange
from forerun.errors import InvalidInput, NotFound
from forerun.host import Standing
from forerun.model import Expectation, Reason
from forerun.settings import ScalingSettings

RESOURCE = "function:fn:1"
TRACKING = "TargetTrackingScaling"
PREDICTIVE = "PredictiveScaling"
SETTINGS = ScalingSettings(sample_s=1, period_s=10, out_periods=2, in_periods=3)


def tracking(target=0.5, **more):
    metric = {"PredefinedMetricSpecification": {"PredefinedMetricType": METRIC}}
    return {TRACKING: {"TargetValue": target, **metric, **more}}


def predictive(mode="ForecastAndScale", **more):
    pair = {"PredefinedMetricPairSpecification": {"PredefinedMetricType": METRIC}}
    specification = {"TargetValue": 0.5, **pair}
    return {PREDICTIVE: {"MetricSpecifications": [specification], "Mode": mode, **more}}


class Scaled:
    """A function with version 1 on a host that holds what it is told at once, and turns of the scaler by hand."""

    def __init__(self, estate, clock):
        self.estate = estate
        self.clock = clock
        self.working = 0
        self.total = 0
        self.windows = []
        self.scaling = estate.autoscaling
        self.scaler = estate.autoscaling.scaler
        self.scaler._foretell = lambda _function, _now: self.windows

    def standing(self, _key):
        return Standing(working=self.working, provisioned=self.total)

    def require(self, _function, total):
        self.total = total

    async def register(self, low=0, high=10, **more):
        return await self.scaling.targets.register(
            ACCOUNT, RESOURCE, TargetChange(low=low, high=high, **more)
        )

    async def policy(self, configurations, name="p"):
        [kind] = configurations
        return await self.scaling.policies.put(ACCOUNT, RESOURCE, name, kind, configurations)

    async def action(self, schedule, low=None, high=None, name="a", **more):
        change = ActionChange(schedule=schedule, low=low, high=high, **more)
        return await self.scaling.actions.put(ACCOUNT, RESOURCE, name, change)

    async def capacity(self):
        config = await self.estate.provisioned.find(ACCOUNT, "fn", "1")
        return config.requested if config else 0

    async def turn(self):
        await self.scaler.turn()

    async def pass_(self, seconds, working=None):
        """Seconds go by one at a time, each with a turn."""
        if working is not None:
            self.working = working
        for _ in range(seconds):
            self.clock.jump(1)
            await self.scaler.turn()

    async def done(self, *, not_scaled=False):
        """Status, description and cause of activities, the newest first."""
        page = await self.scaling.activities(ACCOUNT, None, None, not_scaled=not_scaled)
        return [(each.status, each.description, each.cause) for each in page.items]

    async def held(self, total):
        deadline = time.monotonic() + 10
        while self.total != total:
            assert time.monotonic() < deadline, f"{self.total} is not {total}"
            await asyncio.sleep(0.002)


@pytest.fixture
async def estate(tmp_path, clock):
    db, estate = await open_estate(tmp_path, clock, scaling=SETTINGS)
    yield estate
    await db.close()


@pytest.fixture
async def scaled(estate, aws, clock):
    await aws.create(Publish=True)
    scaled = Scaled(estate, clock)
    await estate.provisioning.start(scaled.require, scaled.standing, lambda *_: None)
    yield scaled
    await estate.provisioning.close()


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


async def test_nothing_provisioned_is_tracked_from_what_runs_on_demand(scaled):
    await scaled.register(low=0, high=10)
    await scaled.policy(tracking())
    await scaled.pass_(22, working=1)
    assert await scaled.capacity() == 2
    await scaled.pass_(40, working=0)
    assert await scaled.capacity() == 0


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


async def test_bounds_that_contradict_are_a_failed_activity(scaled, clock):
    await scaled.register(low=1, high=2)
    await scaled.action("rate(1 minute)", low=5)
    clock.jump(61)
    await scaled.turn()
    assert await scaled.capacity() == 1
    [failed] = [each for each in await scaled.done() if each[0] == "Failed"]
    assert failed[1] == "Setting min capacity to 5 and max capacity to 2"


async def test_what_was_missed_is_made_up_for_once(tmp_path, scaled, clock):
    await scaled.register(low=1, high=9)
    await scaled.turn()
    clock.jump(1)
    await scaled.action("rate(1 minute)", low=2, name="often")
    await scaled.action("rate(1 hour)", low=6, name="seldom")
    clock.jump(3 * 3600 + 1)
    db, later = await open_estate(tmp_path, clock, scaling=SETTINGS)
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


async def test_what_cannot_be_provisioned_is_told_once(scaled, aws):
    await aws.put_function_concurrency(FunctionName="fn", ReservedConcurrentExecutions=2)
    await scaled.register(low=3, high=5)
    await scaled.policy(tracking())
    await scaled.pass_(30, working=1)
    [failed] = (await scaled.scaling.activities(ACCOUNT, None, None)).items
    assert failed.status == "Failed"
    assert "reservedConcurrentExecution" in failed.message


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


@pytest.mark.parametrize(
    "text",
    ["", "fn", "function:fn", "function:fn:$LATEST", "function::1", "function:fn:a:b", "table/x",
     "function:f n:1", "function:" + "x" * 65 + ":1"],
)  # fmt: skip
def test_what_is_no_resource(text):
    with pytest.raises(InvalidInput):
        parse_resource(text)


@pytest.mark.parametrize(
    ("namespace", "dimension"),
    [("ecs", "ecs:service:DesiredCount"), ("lambda", "ecs:service:DesiredCount"),
     ("dynamodb", "lambda:function:ProvisionedConcurrency"), ("lambda", None)],
)  # fmt: skip
def test_other_namespaces(namespace, dimension):
    with pytest.raises(InvalidInput, match="Unsupported service namespace"):
        require_lambda(namespace, dimension)


@pytest.mark.parametrize(
    "configurations",
    [
        {"StepScaling": {"AdjustmentType": "ChangeInCapacity"}},
        {TRACKING: None},
        {TRACKING: {"TargetValue": 0.5}},
        tracking(0),
        tracking(1.01),
        tracking(float("nan")),
        tracking(ScaleInCooldown=-1),
        tracking(PredefinedMetricSpecification={"PredefinedMetricType": "ALBRequestCountPerTarget"}),
        tracking(PredefinedMetricSpecification={"PredefinedMetricType": METRIC, "ResourceLabel": "x"}),
        tracking(CustomizedMetricSpecification={"MetricName": "Invocations"}),
        {TRACKING: {"TargetValue": 0.5, "CustomizedMetricSpecification": {"MetricName": "Errors"}}},
        {PREDICTIVE: {"MetricSpecifications": []}},
        {PREDICTIVE: {"MetricSpecifications": [{"TargetValue": 0.5}]}},
        predictive(SchedulingBufferTime=3601),
        predictive(MaxCapacityBuffer=10),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
async def test_policies_that_are_refused(scaled, configurations):
    await scaled.register()
    with pytest.raises(InvalidInput):
        await scaled.policy(configurations)
    assert (await scaled.scaling.policies.page(ACCOUNT, None, None)).items == []


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


@pytest.mark.parametrize(
    "change",
    [
        ActionChange(low=1),
        ActionChange(schedule="rate(1 minute)"),
        ActionChange(schedule="whenever", low=1),
        ActionChange(schedule="rate(1 minute)", zone="Nowhere/Else", low=1),
        ActionChange(schedule="rate(1 minute)", low=3, high=2),
        ActionChange(schedule="rate(1 minute)", low=-1),
        ActionChange(schedule="rate(1 minute)", low=1, since=20.0, until=10.0),
    ],
    ids=str,
)
async def test_actions_that_are_refused(scaled, change):
    await scaled.register()
    with pytest.raises(InvalidInput):
        await scaled.scaling.actions.put(ACCOUNT, RESOURCE, "a", change)


async def test_targets_that_are_refused(scaled):
    targets = scaled.scaling.targets
    for change in (TargetChange(), TargetChange(low=1), TargetChange(low=3, high=2)):
        with pytest.raises(InvalidInput):
            await targets.register(ACCOUNT, RESOURCE, change)
    with pytest.raises(InvalidInput, match="Function not found"):
        await targets.register(ACCOUNT, "function:none:1", TargetChange(low=0, high=1))
    await scaled.register(low=1, high=2)
    with pytest.raises(InvalidInput, match="Maximum capacity"):
        await targets.register(ACCOUNT, RESOURCE, TargetChange(low=3))
    kept = await targets.register(ACCOUNT, RESOURCE, TargetChange(high=5))
    assert (kept.low, kept.high) == (1, 5)
    with pytest.raises(InvalidToken):
        await targets.page(ACCOUNT, "no token", None)
    with pytest.raises(InvalidInput, match="maxResults"):
        await targets.page(ACCOUNT, None, 51)


async def test_tags(scaled):
    targets = scaled.scaling.targets
    target = await targets.register(
        ACCOUNT, RESOURCE, TargetChange(low=0, high=1), {"a": "1", "b": "2"}
    )
    arn = f"arn:aws:application-autoscaling:us-home-1:{ACCOUNT}:scalable-target/{target.id}"
    await targets.tag(ACCOUNT, arn, {"b": "3", "c": "4"})
    await targets.untag(ACCOUNT, arn, ["a", "none"])
    assert (await targets.tagged(ACCOUNT, arn)).tags == {"b": "3", "c": "4"}
    with pytest.raises(TooManyTags):
        await targets.tag(ACCOUNT, arn, {str(number): "" for number in range(50)})
    with pytest.raises(InvalidInput):
        await targets.tag(ACCOUNT, arn, {"aws:x": "1"})
    with pytest.raises(TaggedMissing):
        await targets.tagged(OTHER, arn.replace(ACCOUNT, OTHER))
    with pytest.raises(TaggedMissing):
        await targets.tagged(ACCOUNT, arn + "0")


async def test_listings_page_and_accounts_are_apart(scaled, aws):
    targets = scaled.scaling.targets
    for number in range(3):
        await aws.create(f"fn{number}", Publish=True)
        await targets.register(ACCOUNT, f"function:fn{number}:1", TargetChange(low=0, high=1))
    first = await targets.page(ACCOUNT, None, 2)
    assert [each.resource for each in first.items] == ["function:fn0:1", "function:fn1:1"]
    rest = await targets.page(ACCOUNT, first.marker, 2)
    assert [each.resource for each in rest.items] == ["function:fn2:1"]
    assert rest.marker is None
    named = await targets.page(ACCOUNT, None, None, ["function:fn1:1", "function:none:1"])
    assert [each.resource for each in named.items] == ["function:fn1:1"]
    assert (await targets.page(OTHER, None, None)).items == []


async def test_activities_page_from_the_newest(scaled, clock):
    await scaled.register(low=1, high=9)
    for capacity in range(1, 6):
        await scaled.register(low=capacity, high=9)
        clock.jump(1)
        await scaled.turn()
    found, token = [], None
    while True:
        page = await scaled.scaling.activities(ACCOUNT, token, 2, resource=RESOURCE)
        found += [each.description for each in page.items]
        token = page.marker
        if token is None:
            break
    assert found == [f"Setting provisioned concurrency to {n}." for n in (5, 4, 3, 2, 1)]
    other = await scaled.scaling.activities(ACCOUNT, None, None, resource="function:x:1")
    assert other.items == []
