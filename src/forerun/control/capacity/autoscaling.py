"""Application auto scaling, put together: what users own of it, and who carries it out."""

from forerun.aio import Clock
from forerun.control.capacity.provisioned import Provisioned
from forerun.control.capacity.provisioning import Provisioning
from forerun.control.capacity.scalable_targets import ScalableTargets
from forerun.control.capacity.scaler import Scaler
from forerun.control.capacity.scaling import InvalidToken, after_token, page_of, require_page
from forerun.control.capacity.scaling_policies import ScalingPolicies
from forerun.control.capacity.scheduled_actions import ScheduledActions
from forerun.control.lookup import Lookup
from forerun.control.paging import Page
from forerun.scheduling import Periods
from forerun.settings import ScalingSettings
from forerun.storage.autoscaling import AutoscalingStore, ScalingActivity

_LATEST = "9" * 16


class Autoscaling:
    """The services over one store."""

    def __init__(
        self,
        *,
        store: AutoscalingStore,
        lookup: Lookup,
        provisioned: Provisioned,
        provisioning: Provisioning,
        clock: Clock,
        settings: ScalingSettings,
    ) -> None:
        self._store = store
        self.now = clock.now
        self.scaler = Scaler(
            store=store,
            provisioned=provisioned,
            provisioning=provisioning,
            clock=clock,
            periods=Periods(settings.period_s, settings.out_periods, settings.in_periods),
            sample_s=settings.sample_s,
        )
        touched = self.scaler.touched
        self.targets = ScalableTargets(store=store, lookup=lookup, clock=clock, touched=touched)
        self.policies = ScalingPolicies(store=store, clock=clock, touched=touched)
        self.actions = ScheduledActions(store=store, clock=clock, touched=touched)

    async def activities(
        self,
        account: str,
        token: str | None,
        limit: int | None,
        *,
        resource: str | None = None,
        not_scaled: bool = False,
    ) -> Page[ScalingActivity]:
        """What was done, the newest first; with ``not_scaled`` also what the bounds did not allow."""
        size = require_page(limit)
        begun, after = after_token(token, _LATEST, "")
        found: list[ScalingActivity] = []
        try:
            before = (float(begun), after)
        except ValueError:
            raise InvalidToken from None
        while len(found) <= size:
            chunk = await self._store.activities(account, resource, before, size + 1)
            found += [each for each in chunk if not_scaled or not each.obstacle]
            if len(chunk) <= size:
                break
            before = (chunk[-1].begun, chunk[-1].id)
        return page_of(found, lambda each: (repr(each.begun), each.id), size)
