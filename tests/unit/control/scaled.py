"""A function whose provisioned concurrency is scaled by hand: a host that holds what it is told, turns when asked for."""

import asyncio
import time

from tests.unit.control.owned import ACCOUNT, open_estate

from forerun.control.capacity.scalable_targets import TargetChange
from forerun.control.capacity.scaling_policies import METRIC
from forerun.control.capacity.scheduled_actions import ActionChange
from forerun.host import Standing
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


async def open_scaled_estate(directory, clock):
    """An estate that measures in periods of ten seconds."""
    return await open_estate(directory, clock, scaling=SETTINGS)
