"""Makes the part that keeps objects and tells what happens to them: S3."""

from collections.abc import Mapping, Sequence
from functools import partial

from forerun.api.s3.buckets import BucketRoutes
from forerun.api.s3.door import S3Service
from forerun.api.s3.listings import ListingRoutes
from forerun.api.s3.objects import ObjectRoutes
from forerun.api.s3.packages import BucketPackages
from forerun.api.s3.rights import Rights
from forerun.api.s3.rows import bucket_rows
from forerun.api.s3.uploads import UploadRoutes
from forerun.app.delivery import Delivery
from forerun.app.ground import Ground, Part
from forerun.app.state import OBJECTS
from forerun.control.delivery.permission import Permission, Sender
from forerun.control.once import ObjectState
from forerun.errors import ForerunError
from forerun.model import Arn
from forerun.sources import Sink
from forerun.sources.buckets import (
    PRINCIPAL,
    Bucket,
    Buckets,
    BucketStore,
    Collector,
    Contents,
    Notices,
    Objects,
    Uploads,
    bucket_arn,
    errors,
)
from forerun.storage.blobs import BlobStore
from forerun.storage.objects import ObjectStore
from forerun.storage.uploads import UploadStore


def make_buckets(ground: Ground, delivery: Delivery, others: Sequence[Part]) -> Part:
    """Construct it; ``others`` are the sources whose sinks its notifications may go to."""
    settings, clock = ground.settings, ground.clock
    db = ground.state.messages
    sinks = {sink.service: sink for part in others for sink in part.sinks}
    buckets = Buckets(
        BucketStore(db),
        delivery.outbox,
        clock,
        region=settings.server.region,
        validate=partial(_validate, delivery.permission, sinks),
    )
    contents = Contents(settings.server.data_dir / OBJECTS, ground.state.vault)
    blobs = BlobStore(db)
    notices = Notices(blobs, delivery.outbox)
    collector = Collector(blobs, contents, clock)
    objects = Objects(
        ObjectStore(db),
        contents,
        notices,
        clock,
        buckets=buckets,
        quota=settings.limits.bucket_bytes,
    )
    rights = Rights(ground.services.authorizer)
    by_object = ObjectRoutes(buckets, objects, rights)
    uploads = Uploads(UploadStore(db), objects, notices, clock)
    packages = BucketPackages(buckets, objects, rights, settings.limits.code_zipped_bytes)
    ground.services.package_source.connect(packages.read)

    async def start() -> None:
        await contents.start()
        notices.start()
        collector.start()

    async def close() -> None:
        await collector.close()
        await notices.close()
        await contents.close()

    handlers = {
        **BucketRoutes(buckets).routes(),
        **by_object.routes(),
        **ListingRoutes(objects).routes(),
        **UploadRoutes(uploads, by_object).routes(),
    }
    return Part(
        s3=S3Service(handlers, buckets, rights),
        dependencies={"s3": ObjectState(buckets, objects)},
        rows=bucket_rows(buckets),
        start=start,
        close=close,
    )


async def _validate(
    permission: Permission, sinks: Mapping[str, Sink], bucket: Bucket, target: str
) -> None:
    """``BadNotification`` unless the target is there and its policy lets the bucket send to it."""
    sender = Sender(account=bucket.account, source=bucket_arn(bucket.name), principal=PRINCIPAL)
    service = Arn.parse(target).service
    try:
        if service == "lambda":
            await permission.function(sender, target)
        elif service in sinks:
            permission.require(sender, target, await sinks[service].policy(target))
        else:
            raise errors.BadNotification(f"{service} is not served here")
    except ForerunError as error:
        text = "Unable to validate the following destination configurations"
        raise errors.BadNotification(f"{text}: {error.message}") from None
