"""Who is told of what happens in a bucket, and in which words: AWS's event messages. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

import msgspec

from forerun.errors import InvalidInput
from forerun.model import Arn, Message, Origin, iso_time
from forerun.sources.buckets.errors import BadNotification

PRINCIPAL = "s3.amazonaws.com"
MOST = 100

# Where a configuration names its target, by the member that holds the list; and the service the target must be of.
KINDS: Mapping[str, tuple[str, str]] = {
    "LambdaFunctionConfigurations": ("LambdaFunctionArn", "lambda"),
    "QueueConfigurations": ("QueueArn", "sqs"),
    "TopicConfigurations": ("TopicArn", "sns"),
}
_EVENTS = frozenset(
    [f"s3:ObjectCreated:{each}" for each in ("*", "Put", "Post", "Copy", "CompleteMultipartUpload")]
    + [f"s3:ObjectRemoved:{each}" for each in ("*", "Delete", "DeleteMarkerCreated")]
)
# Events of what is not served here; they may be asked for and never happen.
_NEVER = frozenset(
    {
        "s3:ReducedRedundancyLostObject",
        "s3:ObjectRestore:*",
        "s3:ObjectRestore:Post",
        "s3:ObjectRestore:Completed",
        "s3:ObjectRestore:Delete",
        "s3:Replication:*",
        "s3:Replication:OperationFailedReplication",
        "s3:Replication:OperationNotTracked",
        "s3:Replication:OperationMissedThreshold",
        "s3:Replication:OperationReplicatedAfterThreshold",
        "s3:LifecycleTransition",
        "s3:IntelligentTiering",
        "s3:LifecycleExpiration:*",
        "s3:LifecycleExpiration:Delete",
        "s3:LifecycleExpiration:DeleteMarkerCreated",
        "s3:ObjectAcl:Put",
        "s3:ObjectTagging:*",
        "s3:ObjectTagging:Put",
        "s3:ObjectTagging:Delete",
    }
)
# Names of events: as EventBridge tells them (detail type, reason).
_BUS = {
    "ObjectCreated:Put": ("Object Created", "PutObject"),
    "ObjectCreated:Post": ("Object Created", "POST Object"),
    "ObjectCreated:Copy": ("Object Created", "CopyObject"),
    "ObjectCreated:CompleteMultipartUpload": ("Object Created", "CompleteMultipartUpload"),
    "ObjectRemoved:Delete": ("Object Deleted", "DeleteObject"),
}


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """On whose account, and in which request, something happens."""

    account: str
    principal: str
    request_id: str
    source_ip: str = ""
    origin: Origin = Origin()


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is told, by which of the configurations."""

    arn: str
    configuration: str = ""


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One change of an object: ``event`` without ``s3:``; ``at`` in epoch seconds; ``etag`` and ``size`` are those of the new content."""

    id: str
    event: str
    bucket: str
    account: str
    region: str
    key: str
    at: float
    actor: Actor
    targets: tuple[Target, ...]
    etag: str = ""
    size: int = 0


def targets_of(config: Mapping[str, Any], event: str, key: str, bus_arn: str) -> tuple[Target, ...]:
    """Who is told of ``event`` on ``key``."""
    found = [
        Target(arn=each[arn_member], configuration=each["Id"])
        for member, (arn_member, _) in KINDS.items()
        for each in config.get(member, ())
        if any(_names(pattern, event) for pattern in each["Events"]) and _passes(each, key)
    ]
    if config.get("EventBridgeConfiguration") is not None:
        found.append(Target(arn=bus_arn))
    return tuple(found)


def _names(pattern: str, event: str) -> bool:
    wanted = pattern.removeprefix("s3:")
    return wanted == event or (wanted.endswith("*") and event.startswith(wanted[:-1]))


def _rules(each: Mapping[str, Any]) -> list[tuple[str, str]]:
    rules = each.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    return [(rule["Name"].lower(), rule["Value"]) for rule in rules]


def _passes(each: Mapping[str, Any], key: str) -> bool:
    return all(
        key.startswith(value) if name == "prefix" else key.endswith(value)
        for name, value in _rules(each)
    )


def check_configuration(config: Mapping[str, Any], region: str) -> None:
    """``BadNotification`` unless each part names events, a target of the right kind here, and filters that do not overlap."""
    seen: list[tuple[str, str, str]] = []
    ids: set[str] = set()
    count = sum(len(config.get(member, ())) for member in KINDS)
    if count > MOST:
        raise BadNotification(f"A bucket may have at most {MOST} notification configurations")
    for member, (arn_member, service) in KINDS.items():
        for each in config.get(member, ()):
            _check_target(each[arn_member], service, region)
            if each["Id"] in ids:
                raise BadNotification(
                    "Same ID used for multiple configurations. IDs must be unique"
                )
            ids.add(each["Id"])
            prefix, suffix = _check_filter(each)
            for event in each["Events"]:
                if event not in _EVENTS and event not in _NEVER:
                    raise BadNotification(f"The event '{event}' is not supported for notifications")
                if any(_overlap(other, (event, prefix, suffix)) for other in seen):
                    raise BadNotification(
                        "Configurations overlap. Configurations on the same bucket cannot share a common event type."
                    )
            seen.extend((event, prefix, suffix) for event in each["Events"])


def _check_target(arn: str, service: str, region: str) -> None:
    try:
        found = Arn.parse(arn)
    except InvalidInput:
        raise BadNotification("The ARN could not be parsed") from None
    if found.service != service or found.region != region:
        raise BadNotification("The ARN is not well formed: " + arn)


def _check_filter(each: Mapping[str, Any]) -> tuple[str, str]:
    found: dict[str, str] = {}
    for name, value in _rules(each):
        if name not in {"prefix", "suffix"}:
            raise BadNotification("filter rule name must be either prefix or suffix")
        if name in found:
            raise BadNotification(f"Cannot specify more than one {name} rule in a filter.")
        if len(value.encode()) > 1024:
            raise BadNotification("The size of the prefix or suffix must be at most 1024 bytes")
        found[name] = value
    return found.get("prefix", ""), found.get("suffix", "")


def _overlap(one: tuple[str, str, str], other: tuple[str, str, str]) -> bool:
    events = _names(one[0], other[0].removeprefix("s3:")) or _names(
        other[0], one[0].removeprefix("s3:")
    )
    prefixes = one[1].startswith(other[1]) or other[1].startswith(one[1])
    suffixes = one[2].endswith(other[2]) or other[2].endswith(one[2])
    return events and prefixes and suffixes


def bucket_arn(name: str) -> str:
    """``arn:aws:s3:::NAME``."""
    return f"arn:aws:s3:::{name}"


def messages_of(what: Happening, sequence: int) -> list[Message]:
    """What is sent to each target."""
    return [
        _message(what, f"{what.id}-{number}", target, sequence)
        for number, target in enumerate(what.targets)
    ]


def _message(what: Happening, message_id: str, target: Target, sequence: int) -> Message:
    arn = bucket_arn(what.bucket)
    attributes: dict[str, str] = {}
    sequencer = f"{sequence:018X}"
    service = _service(target.arn)
    if service == "events":
        kind, detail = _detail(what, sequencer)
        attributes = {
            "Source": "aws.s3",
            "DetailType": kind,
            "Resources": json.dumps([arn]),
        }
        payload = msgspec.json.encode(detail)
    else:
        payload = msgspec.json.encode({"Records": [_record(what, target, sequencer)]})
        if service == "sns":
            attributes = {"Subject": "Amazon S3 Notification"}
    return Message(
        id=message_id,
        account=what.account,
        source=arn,
        principal=PRINCIPAL,
        target=target.arn,
        payload=payload,
        attributes=attributes,
        origin=what.actor.origin,
        occurred_at=what.at,
    )


def _record(what: Happening, target: Target, sequencer: str) -> dict[str, Any]:
    content: dict[str, Any] = {"key": quote_plus(what.key, safe="/")}
    if not what.event.startswith("ObjectRemoved"):
        content |= {"size": what.size, "eTag": what.etag}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": what.region,
        "eventTime": iso_time(what.at),
        "eventName": what.event,
        "userIdentity": {"principalId": f"AWS:{what.actor.principal}"},
        "requestParameters": {"sourceIPAddress": what.actor.source_ip},
        "responseElements": {
            "x-amz-request-id": what.actor.request_id,
            "x-amz-id-2": what.actor.request_id,
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": target.configuration,
            "bucket": {
                "name": what.bucket,
                "ownerIdentity": {"principalId": what.account},
                "arn": bucket_arn(what.bucket),
            },
            "object": content | {"sequencer": sequencer},
        },
    }


def _detail(what: Happening, sequencer: str) -> tuple[str, dict[str, Any]]:
    kind, reason = _BUS[what.event]
    content: dict[str, Any] = {"key": what.key}
    if kind == "Object Created":
        content |= {"size": what.size, "etag": what.etag}
    detail = {
        "version": "0",
        "bucket": {"name": what.bucket},
        "object": content | {"sequencer": sequencer},
        "request-id": what.actor.request_id,
        "requester": what.actor.account,
        "source-ip-address": what.actor.source_ip,
        "reason": reason,
    }
    if kind == "Object Deleted":
        detail["deletion-type"] = "Permanently Deleted"
    return kind, detail


def trial_messages(
    config: Mapping[str, Any], bucket: str, account: str, actor: Actor, at: float
) -> list[Message]:
    """What queues and topics are sent when they are configured."""
    arns: Sequence[str] = sorted(
        {
            each[arn]
            for member, (arn, service) in KINDS.items()
            if service != "lambda"
            for each in config.get(member, ())
        }
    )
    trial = {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": iso_time(at),
        "Bucket": bucket,
        "RequestId": actor.request_id,
        "HostId": actor.request_id,
    }
    return [
        Message(
            id=f"s3-test-{actor.request_id}-{number}",
            account=account,
            source=bucket_arn(bucket),
            principal=PRINCIPAL,
            target=arn,
            payload=msgspec.json.encode(trial),
            attributes={"Subject": "Amazon S3 Notification"} if _service(arn) == "sns" else {},
            origin=actor.origin,
            occurred_at=at,
        )
        for number, arn in enumerate(arns)
    ]


def _service(arn: str) -> str:
    return arn.split(":", 3)[2]
