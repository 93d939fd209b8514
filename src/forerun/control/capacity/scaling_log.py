"""What was done to provisioned concurrency, and why: activities, from their begin to what became of them."""

import uuid
from collections.abc import Awaitable, Callable

import msgspec

from forerun.aio import Clock
from forerun.control.capacity.provisioning import Met, Status
from forerun.storage.autoscaling import AutoscalingStore, ScalableTarget, ScalingActivity

KEPT_S = 42 * 86_400.0
# Activities are listed by their begin; what follows from another one is listed after it.
APART_S = 1e-5
SUCCESSFUL, IN_PROGRESS, FAILED = "Successful", "InProgress", "Failed"

Meets = Callable[[str, str], Awaitable[Met | None]]
"""How far the configuration of a resource is met, by account and resource; ``None`` when it has none."""


class ScalingLog:
    """Writes activities, and follows those in progress until what was asked for is there."""

    def __init__(self, store: AutoscalingStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._last = 0.0
        self._open: dict[tuple[str, str], ScalingActivity] = {}

    async def take_up(self, account: str, resource: str) -> None:
        """Go on with what a server before this one began."""
        for activity in await self._store.activities(account, resource, (1e300, ""), 1):
            if activity.status == IN_PROGRESS:
                self._open[account, resource] = activity

    async def changed(self, target: ScalableTarget, capacity: int, cause: str) -> None:
        """The capacity was set; an earlier change that was not met yet is overridden by it."""
        key = (target.account, target.resource)
        earlier = self._open.pop(key, None)
        if earlier is not None:
            await self._end(
                earlier, "Overridden", "Another change followed before it was fulfilled."
            )
        activity = self.made(
            target, f"Setting provisioned concurrency to {capacity}.", cause, IN_PROGRESS
        )
        activity = msgspec.structs.replace(activity, capacity=capacity)
        self._open[key] = activity
        await self._store.put_activity(activity)

    async def refused(self, target: ScalableTarget, capacity: int, cause: str, why: str) -> None:
        """The capacity could not be set."""
        text = f"Setting provisioned concurrency to {capacity}."
        message = f"Failed to set provisioned concurrency to {capacity}. Reason: {why}"
        await self._store.put_activity(self.made(target, text, cause, FAILED, message=message))

    async def not_scaled(self, target: ScalableTarget, obstacle: str, capacity: int) -> None:
        """A policy asked for more or less than the bounds allow: ``AlreadyAtMaxCapacity`` or ``AlreadyAtMinCapacity``."""
        text = "Attempting to scale due to a scaling policy"
        activity = self.made(
            target, text, "a policy asked for a capacity beyond the bounds", FAILED
        )
        await self._store.put_activity(
            msgspec.structs.replace(activity, obstacle=obstacle, capacity=capacity)
        )

    def made(
        self,
        target: ScalableTarget,
        description: str,
        cause: str,
        status: str,
        *,
        message: str = "",
    ) -> ScalingActivity:
        """An activity that begins now, and ends now unless it is in progress."""
        now = self._last = max(self._clock.now(), self._last + APART_S)
        return ScalingActivity(
            account=target.account,
            resource=target.resource,
            id=str(uuid.uuid4()),
            begun=now,
            ended=None if status == IN_PROGRESS else now,
            description=description,
            cause=cause,
            status=status,
            message=message,
            low=target.low,
            high=target.high,
        )

    async def follow(self, meets: Meets) -> None:
        """Look what has become of those in progress."""
        for key, activity in list(self._open.items()):
            met = await meets(*key)
            if met is None and activity.capacity:
                del self._open[key]
                await self._end(activity, "Overridden", "The configuration was deleted.")
            elif met is None or met.status is Status.READY:
                del self._open[key]
                text = f"Successfully set provisioned concurrency to {activity.capacity}."
                await self._end(
                    activity, SUCCESSFUL, f"{text} Change successfully fulfilled by lambda."
                )
            elif met.status is Status.FAILED:
                del self._open[key]
                await self._end(activity, FAILED, met.reason)

    def forget(self, account: str, resource: str) -> None:
        """Follow nothing of this resource any more."""
        self._open.pop((account, resource), None)

    async def trim(self) -> None:
        """Remove what is older than six weeks."""
        await self._store.trim(before=self._clock.now() - KEPT_S)

    async def _end(self, activity: ScalingActivity, status: str, message: str) -> None:
        await self._store.put_activity(
            msgspec.structs.replace(
                activity, status=status, message=message, ended=self._clock.now()
            )
        )
