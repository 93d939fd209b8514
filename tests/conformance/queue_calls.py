"""What tests of queues ask of boto3 all the time."""

from typing import Any

GONE = "AWS.SimpleQueueService.NonExistentQueue"
MOST = 1_048_576


def receive(sqs, url: str, **more: Any) -> list[dict[str, Any]]:
    return sqs.receive_message(QueueUrl=url, **more).get("Messages", [])


def attributes(sqs, url: str) -> dict[str, str]:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def entries(*ids: str, body: str = "x") -> list[dict[str, Any]]:
    return [{"Id": each, "MessageBody": body} for each in ids]
