"""The function ``intake``: hands each order of the queue to ``orders``; what fails comes again, or ends in ``orders-dead``."""

import json
import os
import time

import boto3

functions = boto3.client("lambda")


def handler(event, context):
    """A batch of messages; those that could not be processed are named, so that the others are not repeated."""
    begun = time.time()
    failed = []
    for record in event["Records"]:
        waited_ms = begun * 1000 - int(record["attributes"]["SentTimestamp"])
        try:
            order = json.loads(record["body"])
            answer = functions.invoke(
                FunctionName=os.environ["ORDERS_FUNCTION"], Payload=json.dumps(order)
            )
            result = json.load(answer["Payload"])
            print(
                f"from the queue: {order['id']} {result['status']}, taken after {waited_ms:.0f} ms"
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            print(f"not an order: {error!r}")
            failed.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failed}
