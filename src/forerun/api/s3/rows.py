"""Notifications of buckets as lines of ``GET /forerun/sources``."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forerun.api.sources import Rows
from forerun.sources.buckets import KINDS, Bucket, Buckets, bucket_arn

MOST = 1000


def bucket_rows(buckets: Buckets) -> Rows:
    """One row for each notification of an account's first thousand buckets; ``Events`` are those that it is sent for."""

    async def found(account: str) -> Sequence[Mapping[str, Any]]:
        return [
            row
            for bucket in await buckets.page(account, limit=MOST)
            for row in _rows(bucket, buckets.region)
        ]

    return found


def _rows(bucket: Bucket, region: str) -> Iterator[Mapping[str, Any]]:
    config = bucket.config.notifications
    row = {"Source": bucket_arn(bucket.name), "Kind": "bucket"}
    for member, (target, _) in KINDS.items():
        for each in config.get(member, ()):
            yield row | {"Id": each["Id"], "Target": each[target], "Events": list(each["Events"])}
    if config.get("EventBridgeConfiguration") is not None:
        bus = f"arn:aws:events:{region}:{bucket.account}:event-bus/default"
        yield row | {"Id": "EventBridge", "Target": bus, "Events": []}
