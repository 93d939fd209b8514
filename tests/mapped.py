"""Queues that feed functions, for tests against a real server: a queue and what can be asked of it, mappings, records."""

from collections import Counter

from tests.servers import Server, eventually

NOTHING = "def handler(event, context):\n    return None\n"
# Where results can be seen from outside: functions of these tests write what they saw into a queue.
TELL = """
import json, os, time
import boto3

sqs = boto3.client("sqs")

def tell(value):
    sqs.send_message(QueueUrl=os.environ["TOLD"], MessageBody=json.dumps(value))
"""


class Queue:
    """A queue and what can be asked of it."""

    def __init__(self, server: Server, name: str, **attributes: str):
        self.client = server.client("sqs")
        self.url = self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        self.arn = found["Attributes"]["QueueArn"]

    def send(self, *bodies: str, group: str = "") -> None:
        """Send them in batches of ten, in order."""
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(place), "MessageBody": body}
                | (
                    {"MessageGroupId": group, "MessageDeduplicationId": f"{group}-{start + place}"}
                    if group
                    else {}
                )
                for place, body in enumerate(bodies[start : start + 10])
            ]
            sent = self.client.send_message_batch(QueueUrl=self.url, Entries=entries)
            assert len(sent["Successful"]) == len(entries), sent

    def left(self) -> int:
        """Messages that are there, visible or not."""
        found = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["All"])
        return sum(
            int(found["Attributes"][f"ApproximateNumberOfMessages{which}"])
            for which in ("", "NotVisible", "Delayed")
        )

    def empty(self) -> bool:
        return self.left() == 0

    def take(self) -> list[str]:
        """All bodies that can be received now; they are deleted."""
        bodies = []
        while found := self.client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in found:
                bodies.append(message["Body"])
                self.client.delete_message(
                    QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"]
                )
        return bodies


def map_to(server: Server, queue: Queue, function: str, **more):
    """Let a queue feed a function; returns how to ask for the mapping."""
    made = server.lambda_.create_event_source_mapping(
        FunctionName=function, EventSourceArn=queue.arn, **({"BatchSize": 1} | more)
    )
    get = lambda: server.lambda_.get_event_source_mapping(UUID=made["UUID"])  # noqa: E731
    eventually(lambda: get()["State"] in ("Enabled", "Disabled"), what="the mapping's state")
    return get


def ended(server: Server, function: str) -> Counter[str]:
    """How many runs of a function ended how, of those that are on record."""
    return Counter(each["status"] for each in server.invocations(function, 1000))


def row_of(server: Server, queue: Queue) -> dict:
    rows = server.platform("/forerun/sources")["Sources"]
    [row] = [each for each in rows if each["Source"] == queue.arn and each["Kind"] == "mapping"]
    return row
