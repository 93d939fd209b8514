"""Buckets: made, listed, removed, and what is set for them."""

import msgspec

from forerun.api.handlers import Members, plain
from forerun.api.protocol import ApiError
from forerun.api.s3.asking import Answer, Asked, Handler
from forerun.api.s3.conditions import not_implemented
from forerun.api.s3.headers import tag_set, tags_in
from forerun.api.s3.objects import owner_acl, owner_of, refuse_acl
from forerun.api.s3.tokens import from_token, to_token
from forerun.control.policies import MalformedPolicy, PolicyKind, parse_policy
from forerun.sources.buckets import KINDS, Buckets, bucket_arn

POLICY_BYTES = 20_480
# The region that is not named.
UNNAMED = "us-east-1"

_NOT_SET = {
    "GetBucketCors": ("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
    "GetBucketEncryption": (
        "ServerSideEncryptionConfigurationNotFoundError",
        "The server side encryption configuration was not found",
    ),
    "GetBucketLifecycleConfiguration": (
        "NoSuchLifecycleConfiguration",
        "The lifecycle configuration does not exist",
    ),
    "GetBucketOwnershipControls": (
        "OwnershipControlsNotFoundError",
        "The bucket ownership controls were not found",
    ),
    "GetBucketReplication": (
        "ReplicationConfigurationNotFoundError",
        "The replication configuration was not found",
    ),
    "GetBucketWebsite": (
        "NoSuchWebsiteConfiguration",
        "The specified bucket does not have a website configuration",
    ),
    "GetObjectLockConfiguration": (
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket",
    ),
    "GetPublicAccessBlock": (
        "NoSuchPublicAccessBlockConfiguration",
        "The public access block configuration was not found",
    ),
}
# Removing what is not set is done.
_REMOVED = (
    "DeleteBucketCors",
    "DeleteBucketEncryption",
    "DeleteBucketLifecycle",
    "DeleteBucketOwnershipControls",
    "DeleteBucketReplication",
    "DeleteBucketWebsite",
    "DeletePublicAccessBlock",
)


class BucketRoutes:
    """Handlers about buckets."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._region = buckets.region

    def routes(self) -> dict[str, Handler]:
        """Handlers by operation."""
        return {
            "ListBuckets": self.page,
            "CreateBucket": self.create,
            "HeadBucket": self.head,
            "DeleteBucket": self.delete,
            "GetBucketLocation": self.location,
            "GetBucketVersioning": _nothing,
            "GetBucketLogging": _nothing,
            "GetBucketAccelerateConfiguration": _nothing,
            "GetBucketRequestPayment": _owner_pays,
            "GetBucketAcl": self.get_acl,
            "PutBucketAcl": self.put_acl,
            "GetBucketTagging": self.get_tags,
            "PutBucketTagging": self.put_tags,
            "DeleteBucketTagging": self.delete_tags,
            "GetBucketPolicy": self.get_policy,
            "PutBucketPolicy": self.put_policy,
            "DeleteBucketPolicy": self.delete_policy,
            "GetBucketPolicyStatus": self.policy_status,
            "GetBucketNotificationConfiguration": self.get_notifications,
            "PutBucketNotificationConfiguration": self.put_notifications,
            **{name: _absent(*told) for name, told in _NOT_SET.items()},
            **dict.fromkeys(_REMOVED, _nothing),
        }

    async def page(self, asked: Asked) -> Members:
        """The caller's buckets by name."""
        request = asked.request
        most = request.MaxBuckets or 10_000
        prefix, token = request.Prefix or "", request.ContinuationToken
        after = from_token(token) if token else ""
        found = await self._buckets.page(
            asked.caller.account, prefix=prefix, after=after, limit=most + 1
        )
        answer: Members = {
            "Owner": owner_of(asked.caller.account),
            "Buckets": [{"Name": each.name, "CreationDate": each.created} for each in found[:most]],
        }
        if request.Prefix:
            answer["Prefix"] = prefix
        if request.MaxBuckets or request.Prefix:
            for each in answer["Buckets"]:
                each["BucketRegion"] = self._region
        if len(found) > most:
            answer["ContinuationToken"] = to_token(found[most - 1].name)
        return answer

    async def create(self, asked: Asked) -> Members:
        """A new bucket in this region."""
        request = asked.request
        config = request.CreateBucketConfiguration
        place = config.LocationConstraint if config is not None else None
        if place and place != self._region:
            text = f"The {place} location constraint is incompatible for the region specific endpoint this request was sent to."
            raise ApiError("IllegalLocationConstraintException", text, 400)
        if request.ObjectLockEnabledForBucket:
            raise not_implemented("Object Lock is not served here")
        if config is not None and (config.Bucket is not None or config.Location is not None):
            raise not_implemented("Directory buckets are not served here")
        tags = {tag.Key: tag.Value for tag in (config.Tags or ())} if config is not None else {}
        bucket = await self._buckets.create(asked.caller.account, request.Bucket, tags)
        return {"Location": f"/{bucket.name}"}

    async def head(self, _asked: Asked) -> Answer:
        """Tell that it is there, and in which region."""
        headers = [
            (b"x-amz-bucket-region", self._region.encode()),
            (b"content-type", b"application/xml"),
        ]
        return Answer(200, headers, length=0)

    async def delete(self, asked: Asked) -> Members:
        """Remove an empty bucket."""
        await self._buckets.remove(asked.bucket)
        return {}

    async def location(self, _asked: Asked) -> Members:
        """The region."""
        return {"LocationConstraint": "" if self._region == UNNAMED else self._region}

    async def get_acl(self, asked: Asked) -> Members:
        """The owner has everything."""
        return owner_acl(asked.bucket)

    async def put_acl(self, asked: Asked) -> Members:
        """Nothing but what holds anyway can be set."""
        refuse_acl(asked)
        return {}

    async def get_tags(self, asked: Asked) -> Members:
        """Its tags."""
        tags = asked.bucket.config.tags
        if not tags:
            raise ApiError("NoSuchTagSet", "The TagSet does not exist", 404)
        return tag_set(tags)

    async def put_tags(self, asked: Asked) -> Members:
        """Replace them."""
        await self._buckets.set_tags(asked.bucket, tags_in(asked.request.Tagging))
        return {}

    async def delete_tags(self, asked: Asked) -> Members:
        """Remove them."""
        await self._buckets.set_tags(asked.bucket, {})
        return {}

    async def get_policy(self, asked: Asked) -> Members:
        """Its policy as it was set."""
        return {"Policy": _policy(asked)}

    async def put_policy(self, asked: Asked) -> Members:
        """Replace it."""
        policy: str = asked.request.Policy
        check_policy(asked.bucket.name, policy)
        await self._buckets.set_policy(asked.bucket, policy)
        return {}

    async def delete_policy(self, asked: Asked) -> Members:
        """Remove it."""
        await self._buckets.set_policy(asked.bucket, "")
        return {}

    async def policy_status(self, asked: Asked) -> Members:
        """Whether the policy lets everybody do something."""
        policy = parse_policy(_policy(asked), PolicyKind.RESOURCE)
        public = any(
            each.allow and each.principals is not None and each.principals.everyone
            for each in policy.statements
        )
        return {"PolicyStatus": {"IsPublic": public}}

    async def get_notifications(self, asked: Asked) -> Members:
        """Who is told of what."""
        return dict(asked.bucket.config.notifications)

    async def put_notifications(self, asked: Asked) -> Members:
        """Replace it; targets are asked unless the client says not to."""
        config = plain(asked.request.NotificationConfiguration)
        for member in KINDS:
            for number, each in enumerate(config.get(member, ())):
                each.setdefault("Id", f"{asked.caller.request_id}-{member[:1]}{number}")
        await self._buckets.set_notifications(
            asked.bucket,
            config,
            asked.actor,
            trial=not asked.request.SkipDestinationValidation,
        )
        return {}


async def _nothing(_asked: Asked) -> Members:
    return {}


async def _owner_pays(_asked: Asked) -> Members:
    return {"Payer": "BucketOwner"}


def _absent(code: str, message: str) -> Handler:
    async def tell(_asked: Asked) -> Members:
        raise ApiError(code, message, 404)

    return tell


def _policy(asked: Asked) -> str:
    policy = asked.bucket.config.policy
    if not policy:
        raise ApiError("NoSuchBucketPolicy", "The bucket policy does not exist", 404)
    return policy


def check_policy(name: str, text: str) -> None:
    """``MalformedPolicy`` unless it is a policy about this bucket and what is in it."""
    if len(text.encode()) > POLICY_BYTES:
        raise MalformedPolicy(f"Policies must be at most {POLICY_BYTES} bytes")
    parse_policy(text, PolicyKind.RESOURCE)
    document = msgspec.json.decode(text)
    statements = document["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        resources = statement.get("Resource", statement.get("NotResource"))
        for resource in resources if isinstance(resources, list) else [resources]:
            arn = bucket_arn(name)
            if resource != arn and not str(resource).startswith((arn + "/", arn + "*")):
                raise MalformedPolicy("Policy has invalid resource")
