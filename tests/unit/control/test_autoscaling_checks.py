"""Application auto scaling: what is refused, how it is listed and tagged."""

import pytest
from tests.unit.control.owned import ACCOUNT, OTHER
from tests.unit.control.scaled import (
    PREDICTIVE,
    RESOURCE,
    TRACKING,
    open_scaled_estate,
    predictive,
    tracking,
)

from forerun.control.capacity.scalable_targets import TargetChange, TooManyTags
from forerun.control.capacity.scaling import (
    InvalidToken,
    TaggedMissing,
    parse_resource,
    require_lambda,
)
from forerun.control.capacity.scaling_policies import METRIC
from forerun.control.capacity.scheduled_actions import ActionChange
from forerun.errors import InvalidInput


@pytest.fixture
async def estate(tmp_path, clock):
    db, estate = await open_scaled_estate(tmp_path, clock)
    yield estate
    await db.close()


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


@pytest.mark.databases
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
        ActionChange(schedule="rate(1 minute)", low=1, since=-1e300),
        ActionChange(schedule="rate(1 minute)", low=1, until=1e300),
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


@pytest.mark.databases
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


@pytest.mark.databases
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
