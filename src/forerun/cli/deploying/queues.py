"""Queues and their policies, brought to the wanted state and left alone where they are there already."""

from typing import Any

from forerun.cli.deploying.functions import CREATED, UNCHANGED, UPDATED, Ensured
from forerun.cli.deploying.intrinsics import Made
from forerun.cli.deploying.shaping import alike, same_json, tags_of, text, texts
from forerun.cli.deploying.site import Properties, Result, Site, also_changed

# What an attribute is that the template leaves out, so that a value which was taken out does not linger.
_DEFAULTS = {
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "RedriveAllowPolicy": "",
    "RedrivePolicy": "",
    "VisibilityTimeout": "30",
}
_FIFO_DEFAULTS = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
_NO_ATTRIBUTES = frozenset({"QueueName", "Tags"})


def ensure_queue(site: Site, label: str, name: str, wanted: Properties) -> Result:
    """``AWS::SQS::Queue``."""
    client = site.clients("sqs")
    given = {key: text(value) for key, value in wanted.items() if key not in _NO_ATTRIBUTES}
    tags = tags_of(wanted.get("Tags"), label)
    try:
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
    except client.exceptions.QueueDoesNotExist:
        url = client.create_queue(QueueName=name, Attributes=given, tags=tags)["QueueUrl"]
        ensured = Ensured(CREATED, {})
    else:
        ensured = also_changed(
            Ensured(UNCHANGED, {}), _update(client, url, given), _tag(client, url, tags)
        )
    arn = site.arn("sqs", name)
    return ensured, Made(url, {"Arn": arn, "QueueName": name, "QueueUrl": url}), ""


def ensure_queue_policy(site: Site, label: str, _name: str, wanted: Properties) -> Result:
    """``AWS::SQS::QueuePolicy``."""
    client = site.clients("sqs")
    action = UNCHANGED
    for url in texts(wanted["Queues"], f"{label}.Queues"):
        current = client.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])
        before = current.get("Attributes", {}).get("Policy")
        if not same_json(before, wanted["PolicyDocument"]):
            policy = text(wanted["PolicyDocument"])
            client.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
            action = UPDATED if before or action == UPDATED else CREATED
    return Ensured(action, {}), Made(label, {"Id": label}), ""


def _update(client: Any, url: str, given: dict[str, str]) -> bool:
    answer = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    current = answer.get("Attributes", {})
    fifo = _FIFO_DEFAULTS if current.get("FifoQueue") == "true" else {}
    full = {**_DEFAULTS, **fifo, **given}
    defaults = {**_DEFAULTS, **fifo}
    changed = {
        key: value
        for key, value in full.items()
        if not alike(current.get(key, defaults.get(key)), value)
    }
    if changed:
        client.set_queue_attributes(QueueUrl=url, Attributes=changed)
    return bool(changed)


def _tag(client: Any, url: str, tags: dict[str, str]) -> bool:
    current = client.list_queue_tags(QueueUrl=url).get("Tags", {})
    if all(current.get(key) == value for key, value in tags.items()):
        return False
    client.tag_queue(QueueUrl=url, Tags=tags)
    return True
