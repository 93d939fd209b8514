"""Buckets: made, found, set up and removed. Names are those of all accounts together."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from forerun.aio import Clock
from forerun.errors import AlreadyExists
from forerun.sources.buckets.errors import (
    BucketNotEmpty,
    BucketOwned,
    BucketTaken,
    NoSuchBucket,
    TooManyBuckets,
)
from forerun.sources.buckets.naming import BUCKET_TAGS, check_name, check_tags
from forerun.sources.buckets.notifying import (
    KINDS,
    Actor,
    check_configuration,
    trial_messages,
)
from forerun.sources.contract import Outbox
from forerun.storage.buckets import Bucket, BucketConfig, BucketStore

MOST = 10_000
REMEMBERED = 10_000

Validate = Callable[[Bucket, str], Awaitable[None]]
"""Whether a target (its ARN) lets the bucket send to it: ``BadNotification`` or ``AccessDenied`` when not."""


class Buckets:
    """What accounts own. ``validate`` asks the targets of notifications."""

    def __init__(
        self,
        store: BucketStore,
        outbox: Outbox,
        clock: Clock,
        *,
        region: str,
        validate: Validate | None = None,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._validate = validate
        self.region = region
        self._known: OrderedDict[str, Bucket] = OrderedDict()
        # What was read before a change must not be remembered after it.
        self._changes = 0

    async def find(self, name: str) -> Bucket:
        """The bucket of that name, whoever owns it; ``NoSuchBucket``."""
        known = self._known.get(name)
        if known is not None:
            self._known.move_to_end(name)
            return known
        changes = self._changes
        bucket = await self._store.find(name)
        if bucket is None:
            raise NoSuchBucket(name)
        if changes == self._changes:
            self._known[name] = bucket
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return bucket

    async def reread(self, name: str) -> Bucket:
        """As ``find``, though something else is remembered."""
        self._forget(name)
        return await self.find(name)

    async def used(self, account: str) -> int:
        """Bytes of all that is in an account's buckets."""
        return await self._store.used(account)

    async def create(self, account: str, name: str, tags: Mapping[str, str]) -> Bucket:
        """A new bucket; ``BadName``, ``BucketOwned``, ``BucketTaken``."""
        check_name(name)
        check_tags(tags, BUCKET_TAGS)
        if len(await self._store.of_account(account, limit=MOST)) >= MOST:
            raise TooManyBuckets(f"You have attempted to create more buckets than allowed: {MOST}")
        config = BucketConfig(tags=dict(tags))
        bucket = Bucket(name=name, account=account, created=self._clock.now(), config=config)
        try:
            await self._store.add(bucket)
        except AlreadyExists:
            owner = (await self.find(name)).account
            raise (BucketOwned if owner == account else BucketTaken)() from None
        return bucket

    async def page(
        self, account: str, *, prefix: str = "", after: str = "", limit: int = MOST
    ) -> list[Bucket]:
        """An account's buckets by name."""
        return await self._store.of_account(account, prefix=prefix, after=after, limit=limit)

    async def remove(self, bucket: Bucket) -> None:
        """Remove an empty one; ``BucketNotEmpty``, ``NoSuchBucket``."""
        if not await self._store.remove(bucket.name, self._clock.now()):
            self._forget(bucket.name)
            await self.find(bucket.name)
            raise BucketNotEmpty
        self._forget(bucket.name)

    async def set_policy(self, bucket: Bucket, policy: str) -> None:
        """Set its policy, which was checked; empty for none."""
        await self._configure(bucket, msgspec.structs.replace(bucket.config, policy=policy))

    async def set_tags(self, bucket: Bucket, tags: Mapping[str, str]) -> None:
        """Set its tags; ``BadTag``."""
        check_tags(tags, BUCKET_TAGS)
        await self._configure(bucket, msgspec.structs.replace(bucket.config, tags=dict(tags)))

    async def set_notifications(
        self, bucket: Bucket, config: Mapping[str, Any], actor: Actor, *, trial: bool
    ) -> None:
        """Set who is told of what; with ``trial`` targets are asked, and queues and topics get a message to try it.

        Raises ``BadNotification``.
        """
        check_configuration(config, self.region)
        if trial and self._validate is not None:
            for member, (arn, _) in KINDS.items():
                for each in config.get(member, ()):
                    await self._validate(bucket, each[arn])
        await self._configure(
            bucket, msgspec.structs.replace(bucket.config, notifications=dict(config))
        )
        if trial:
            now = self._clock.now()
            trials = trial_messages(config, bucket.name, bucket.account, actor, now)
            if trials:
                await self._outbox.send(trials)

    async def _configure(self, bucket: Bucket, config: BucketConfig) -> None:
        found = await self._store.configure(bucket.name, config)
        self._forget(bucket.name)
        if not found:
            raise NoSuchBucket(bucket.name)

    def _forget(self, name: str) -> None:
        self._changes += 1
        self._known.pop(name, None)
