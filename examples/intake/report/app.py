"""The function ``report``: called by the clock, it says what waits in the shop's queues."""

import os
import time
from datetime import datetime

import boto3

sqs = boto3.client("sqs")


def handler(event, context):
    """``event["due"]`` is the moment that was asked for."""
    late_ms = (time.time() - datetime.fromisoformat(event["due"]).timestamp()) * 1000
    found = {name: waiting(os.environ[name]) for name in ("INBOX", "DEAD")}
    print(
        f"report: {found['INBOX']} orders wait, {found['DEAD']} were given up; {late_ms:.0f} ms late"
    )
    return found


def waiting(url):
    """How many messages a queue holds that nobody has taken."""
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(found["Attributes"]["ApproximateNumberOfMessages"])
