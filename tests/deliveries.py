"""What tests of deliveries do with a server: events, queues, rules, and dead letters."""

import json
from urllib.parse import urlencode

from tests.policies import allow
from tests.servers import Server, eventually

QUICK = {"FORERUN_EVENTS_RETRY_S": "0.05"}
FAILS = """
def handler(event, context):
    if event.get("poison"):
        raise ValueError("poisoned")
    return event
"""
FIXED = """
def handler(event, context):
    return {"memory": context.memory_limit_in_mb, "left_ms": context.get_remaining_time_in_millis()}
"""


def letters(server: Server, **query):
    found = server.platform(f"/forerun/dead-letters?{urlencode(query)}")
    return found["DeadLetters"]


def post(server: Server, name, **wish):
    path, body = f"/forerun/{name}", json.dumps(wish).encode()
    answer = server.request(
        "POST", path, body, server.signed("POST", path, body, service="forerun")
    )
    assert answer.status == 200, answer
    return answer.json()


def send(server, name, **event):
    server.lambda_.invoke(
        FunctionName=name, InvocationType="Event", Payload=json.dumps(event).encode()
    )


def make_queue(server, name, **attributes):
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, found["Attributes"]["QueueArn"]


def taken(server, url, *, most=10):
    """All that is in a queue, deleted on the way."""
    sqs, found = server.client("sqs"), []
    while True:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=most,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        if not messages:
            return found
        found += messages
        entries = [
            {"Id": str(index), "ReceiptHandle": each["ReceiptHandle"]}
            for index, each in enumerate(messages)
        ]
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)


def collected(server, url, count, *, within=20.0):
    found = []

    def enough():
        found.extend(taken(server, url))
        return len(found) >= count

    eventually(enough, within=within, what=f"{count} messages")
    return found


def rule_to(server, name, *targets):
    events = server.client("events")
    arn = events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))["RuleArn"]
    given = [{"Id": str(number), "Arn": target} for number, target in enumerate(targets)]
    assert events.put_targets(Rule=name, Targets=given)["FailedEntryCount"] == 0
    return arn


def let_in(server, name, rule):
    server.lambda_.add_permission(
        FunctionName=name,
        StatementId="events",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=rule,
    )


def open_queue(server, url, arn):
    policy = allow("sqs:SendMessage", arn, "events")
    server.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
