"""Scalable targets: between which bounds the provisioned concurrency of a version or an alias is kept."""

import uuid
from collections.abc import Sequence

import msgspec

from forerun.aio import Clock
from forerun.control.capacity.scaling import (
    PAGE,
    TAGS,
    TARGETS,
    LimitReached,
    TaggedMissing,
    Touched,
    after_token,
    no_target,
    page_of,
    parse_resource,
    require_bounds,
    require_page,
)
from forerun.control.lookup import Lookup
from forerun.control.paging import Page
from forerun.errors import InvalidInput, NotFound
from forerun.storage.autoscaling import AutoscalingStore, ScalableTarget


class TargetChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a client gives of a target; ``None`` leaves what is there."""

    low: int | None = None
    high: int | None = None
    out_suspended: bool | None = None
    in_suspended: bool | None = None
    schedule_suspended: bool | None = None


class ScalableTargets:
    """Registers, lists, tags and deregisters; ``touched`` hears of every change."""

    def __init__(
        self, *, store: AutoscalingStore, lookup: Lookup, clock: Clock, touched: Touched
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._clock = clock
        self._touched = touched

    async def register(
        self, account: str, resource: str, change: TargetChange, tags: dict[str, str] | None = None
    ) -> ScalableTarget:
        """Register a resource, or change what is registered. Raises ``InvalidInput``, ``LimitReached``."""
        parsed = parse_resource(resource)
        require_bounds(change.low, change.high)
        old = await self._store.target(account, resource)
        given = {
            name: value
            for name in change.__struct_fields__
            if (value := getattr(change, name)) is not None
        }
        if old is None:
            if change.low is None or change.high is None:
                raise InvalidInput(
                    "Both minimum and maximum capacity are required to register a new scalable target"
                )
            await self._require_new(account, *parsed)
            old = ScalableTarget(
                account=account,
                resource=resource,
                id=uuid.uuid4().hex,
                low=change.low,
                high=change.high,
                created=self._clock.now(),
            )
        target = msgspec.structs.replace(old, **given, tags=_tagged(old.tags, tags or {}))
        require_bounds(target.low, target.high)
        await self._store.put_target(target)
        self._touched(account, resource)
        return target

    async def find(self, account: str, resource: str) -> ScalableTarget:
        """A target; ``NotFound`` when the resource is not registered."""
        found = await self._store.target(account, resource)
        if found is None:
            raise no_target(resource)
        return found

    async def page(
        self,
        account: str,
        token: str | None,
        limit: int | None,
        resources: Sequence[str] | None = None,
    ) -> Page[ScalableTarget]:
        """Targets by resource; only of ``resources`` if given."""
        size = require_page(limit)
        (after,) = after_token(token, "")
        if resources:
            if len(resources) > PAGE:
                raise InvalidInput(f"resourceIds must have at most {PAGE} members")
            asked = [await self._store.target(account, name) for name in sorted(set(resources))]
            found = [each for each in asked if each is not None and each.resource > after]
        else:
            found = await self._store.targets(account, after, size + 1)
        return page_of(found, lambda each: (each.resource,), size)

    async def deregister(self, account: str, resource: str) -> None:
        """Delete a target with its policies and scheduled actions; the capacity stays as it is."""
        if not await self._store.remove_target(account, resource):
            raise no_target(resource)
        self._touched(account, resource)

    async def tagged(self, account: str, arn: str) -> ScalableTarget:
        """The target with this ARN."""
        found = await self._store.target_by_id(account, arn.rpartition("/")[2])
        if found is None or f":{account}:" not in arn:
            raise TaggedMissing(f"No scalable target found for resource ARN: {arn}")
        return found

    async def tag(self, account: str, arn: str, tags: dict[str, str]) -> None:
        """Set some tags and leave the others."""
        target = await self.tagged(account, arn)
        await self._store.put_target(
            msgspec.structs.replace(target, tags=_tagged(target.tags, tags))
        )

    async def untag(self, account: str, arn: str, keys: Sequence[str]) -> None:
        """Remove the tags with these keys, as far as they are there."""
        target = await self.tagged(account, arn)
        left = {key: value for key, value in target.tags.items() if key not in keys}
        await self._store.put_target(msgspec.structs.replace(target, tags=left))

    async def _require_new(self, account: str, name: str, qualifier: str) -> None:
        try:
            await self._lookup.version(account, name, qualifier)
        except NotFound as error:
            raise InvalidInput(error.message) from None
        if await self._store.count_targets(account) >= TARGETS:
            raise LimitReached(f"An account has at most {TARGETS} scalable targets")


class TooManyTags(InvalidInput):
    """A scalable target has at most 50 tags."""


def _tagged(old: dict[str, str], added: dict[str, str]) -> dict[str, str]:
    for key, value in added.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise InvalidInput(
                "A tag's key must have 1 to 128 characters and not begin with aws:, its value at most 256"
            )
    tags = old | added
    if len(tags) > TAGS:
        raise TooManyTags
    return tags
