"""Buckets, whom they tell of their objects, and their policies; left alone where they are there already."""

from collections.abc import Mapping
from typing import Any

from forerun.cli.deploying.functions import CREATED, UNCHANGED, UPDATED, Ensured
from forerun.cli.deploying.intrinsics import Made
from forerun.cli.deploying.shaping import an_object, fit_members, objects, same_json, tags_of, text
from forerun.cli.deploying.site import Properties, Result, Site, also_changed
from forerun.cli.failures import Failure

_TOLD = "NotificationConfiguration"
# Who is told: the member of the template and what names the target in it, then the same in the API.
_KINDS = (
    ("LambdaConfigurations", "Function", "LambdaFunctionConfigurations", "LambdaFunctionArn"),
    ("QueueConfigurations", "Queue", "QueueConfigurations", "QueueArn"),
    ("TopicConfigurations", "Topic", "TopicConfigurations", "TopicArn"),
)


def ensure_bucket(site: Site, label: str, name: str, wanted: Properties) -> Result:
    """``AWS::S3::Bucket``; whom it shall tell must let it."""
    client = site.clients("s3")
    tags = tags_of(wanted.get("Tags"), label)
    if made := not _exists(client, name):
        client.create_bucket(Bucket=name)
    ensured = also_changed(
        Ensured(CREATED if made else UNCHANGED, {}),
        _tell(client, name, label, an_object(wanted.get(_TOLD), f"{label}.{_TOLD}")),
        _tag(client, name, tags),
    )
    domain = f"{name}.s3.{site.region}.amazonaws.com"
    attributes = {
        "Arn": f"arn:aws:s3:::{name}",
        "DomainName": f"{name}.s3.amazonaws.com",
        "RegionalDomainName": domain,
    }
    return ensured, Made(name, attributes), ""


def ensure_bucket_policy(site: Site, label: str, _name: str, wanted: Properties) -> Result:
    """``AWS::S3::BucketPolicy``."""
    client, bucket = site.clients("s3"), str(wanted["Bucket"])
    before = _unless(client, "NoSuchBucketPolicy", "get_bucket_policy", bucket).get("Policy")
    if same_json(before, wanted["PolicyDocument"]):
        action = UNCHANGED
    else:
        client.put_bucket_policy(Bucket=bucket, Policy=text(wanted["PolicyDocument"]))
        action = UPDATED if before else CREATED
    return Ensured(action, {}), Made(bucket, {"Id": label}), ""


def notifications(given: Mapping[str, Any], label: str) -> dict[str, Any]:
    """``NotificationConfiguration`` of a template as the API has it; pure."""
    found: dict[str, Any] = {}
    for source, target, member, arn in _KINDS:
        configurations = [
            _configuration(each, target, arn, f"{label}.{source}")
            for each in objects(given.get(source), f"{label}.{source}")
        ]
        if configurations:
            found[member] = configurations
    member = "EventBridgeConfiguration"
    bridge = an_object(given.get(member), f"{label}.{member}")
    if member in given and text(bridge.get("EventBridgeEnabled", True)).lower() == "true":
        found[member] = {}
    return found


def _configuration(each: Mapping[str, Any], target: str, arn: str, where: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = {arn: each[target], "Events": [each["Event"]]}
    except KeyError as error:
        raise Failure(f"{where} needs {error.args[0]}.") from None
    key = an_object(
        an_object(each.get("Filter"), f"{where}.Filter").get("S3Key"), f"{where}.Filter.S3Key"
    )
    rules = objects(key.get("Rules"), f"{where}.Filter.S3Key.Rules")
    if rules:
        found["Filter"] = {"Key": {"FilterRules": [dict(rule) for rule in rules]}}
    return found


def _tell(client: Any, bucket: str, label: str, given: Mapping[str, Any]) -> bool:
    wanted = notifications(given, label)
    current = client.get_bucket_notification_configuration(Bucket=bucket)
    current.pop("ResponseMetadata", None)
    if _without_ids(current) == _without_ids(wanted):
        return False
    operation = "PutBucketNotificationConfiguration"
    given = {"Bucket": bucket, "NotificationConfiguration": wanted}
    client.put_bucket_notification_configuration(**fit_members(client, operation, given, label))
    return True


def _without_ids(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """For comparison: the API makes up ids, and writes ``prefix`` as it likes."""
    found: dict[str, Any] = {}
    for key, value in configuration.items():
        if isinstance(value, list):
            found[key] = sorted(_compared(each) for each in value)
        else:
            found[key] = value
    return found


def _compared(each: Mapping[str, Any]) -> list[str]:
    rules = ((each.get("Filter") or {}).get("Key") or {}).get("FilterRules") or ()
    filters = sorted(f"{rule['Name'].lower()}={rule['Value']}" for rule in rules)
    targets = sorted(str(each[arn]) for _, _, _, arn in _KINDS if arn in each)
    return [*targets, *sorted(each["Events"]), *filters]


def _exists(client: Any, name: str) -> bool:
    import botocore.exceptions

    try:
        client.head_bucket(Bucket=name)
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in {"404", "NoSuchBucket"}:
            return False
        if error.response["Error"]["Code"] in {"403", "AccessDenied"}:
            raise Failure(
                f"The bucket {name} is somebody else's, or this key may not see it.",
                "Names of buckets are shared by all accounts: choose another one.",
            ) from None
        raise
    return True


def _tag(client: Any, name: str, tags: dict[str, str]) -> bool:
    answer = _unless(client, "NoSuchTagSet", "get_bucket_tagging", name)
    known = {each["Key"]: each["Value"] for each in answer.get("TagSet", ())}
    if all(known.get(key) == value for key, value in tags.items()):
        return False
    listed = [{"Key": key, "Value": value} for key, value in {**known, **tags}.items()]
    client.put_bucket_tagging(Bucket=name, Tagging={"TagSet": listed})
    return True


def _unless(client: Any, code: str, operation: str, bucket: str) -> dict[str, Any]:
    """The answer of an operation; empty when it is refused with ``code``, for there is nothing."""
    import botocore.exceptions

    try:
        answer: dict[str, Any] = getattr(client, operation)(Bucket=bucket)
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] == code:
            return {}
        raise
    return answer
