"""Who may do what to which bucket: the caller's own policies, and the bucket's."""

from collections.abc import Mapping

from forerun.api.caller import Caller
from forerun.control.authorization import Authorizer
from forerun.errors import AccessDenied
from forerun.sources.buckets import Bucket, bucket_arn

# Where the action is not called as the operation is.
_ACTIONS: Mapping[str, str] = {
    "CompleteMultipartUpload": "PutObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteBucketTagging": "PutBucketTagging",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketCors": "GetBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListBuckets": "ListAllMyBuckets",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListParts": "ListMultipartUploadParts",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
}


def action_of(operation: str) -> str:
    """What a policy calls an operation."""
    return "s3:" + _ACTIONS.get(operation, operation)


class Rights:
    """Asks the authorizer; ``anonymous`` callers have what the bucket's policy gives to everybody."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def require(
        self,
        caller: Caller,
        action: str,
        bucket: Bucket | str,
        key: str = "",
        context: Mapping[str, str] | None = None,
    ) -> None:
        """Return when the caller may do it to the bucket, or to the object ``key`` in it; ``AccessDenied``.

        A bucket that is only a name is still to be made.
        """
        name = bucket if isinstance(bucket, str) else bucket.name
        resource = bucket_arn(name) + (f"/{key}" if key else "") if name else "*"
        policy = bucket.config.policy or None if isinstance(bucket, Bucket) else None
        if not caller.account:
            facts = {"aws:SourceIp": caller.source_ip, **(context or {})}
            self._authorizer.require_public(action, resource, resource_policy=policy, context=facts)
            return
        self._authorizer.require(
            caller,
            action,
            resource,
            resource_policy=policy,
            context=context,
            owner=bucket.account if isinstance(bucket, Bucket) else "",
        )

    def allows(self, caller: Caller, action: str, bucket: Bucket, key: str = "") -> bool:
        """As ``require``, with an answer."""
        try:
            self.require(caller, action, bucket, key)
        except AccessDenied:
            return False
        return True
