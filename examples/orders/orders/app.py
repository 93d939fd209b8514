"""The function ``orders``: takes an order, has it priced and reserved, and lets the confirmation follow by itself.

It calls ``pricing`` with boto3, ``stock`` by plain HTTP, and ``confirm`` as an Event, which nobody waits for.
"""

import base64
import json
import os
import urllib.error
import urllib.request
import uuid
from urllib.parse import urlsplit

import boto3
from checking import merged, problems_of

functions = boto3.client("lambda")


class Rejected(Exception):
    """The order cannot be taken; ``reasons`` are for the customer."""

    def __init__(self, *reasons):
        super().__init__("; ".join(reasons))
        self.reasons = list(reasons)


def handler(event, context):
    """An order, called directly or through the function's URL."""
    through_url = isinstance(event, dict) and "requestContext" in event
    try:
        answer = take(_body(event) if through_url else event)
    except Rejected as rejection:
        answer = {"status": "rejected", "reasons": rejection.reasons}
    if not through_url:
        return answer
    return {
        "statusCode": 200 if answer["status"] == "accepted" else 422,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(answer),
    }


def take(order):
    """Check, price, reserve, and hand over to ``confirm``."""
    if problems := problems_of(order):
        raise Rejected(*problems)
    order_id = order.get("id") or f"o-{uuid.uuid4().hex[:12]}"
    country, items = order["customer"]["country"], merged(order["items"])
    price = ask_pricing({"country": country, "items": items, "coupon": order.get("coupon")})
    reservation = post(
        os.environ["STOCK_URL"] + "reserve", {"order": order_id, "country": country, "items": items}
    )
    print(f"order {order_id}: {price['total']} {price['currency']}, {len(items)} products")
    functions.invoke(
        FunctionName=os.environ["CONFIRM_FUNCTION"],
        InvocationType="Event",
        Payload=json.dumps(
            {
                "order": order_id,
                "customer": order["customer"],
                "price": price,
                "reservation": reservation["token"],
                "days": reservation["days"],
            }
        ),
    )
    return {
        "status": "accepted",
        "order": order_id,
        "total": price["total"],
        "currency": price["currency"],
        "tax": price["tax"],
        "shipping": price["shipping"],
        "delivery_days": reservation["days"],
    }


def ask_pricing(request):
    """``pricing``'s answer; its refusals become ours."""
    answer = functions.invoke(
        FunctionName=os.environ["PRICING_FUNCTION"], Payload=json.dumps(request)
    )
    result = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise Rejected(result.get("errorMessage", "the order cannot be priced"))
    return result


def post(url, content):
    """POST JSON to a function's URL and return its JSON.

    A platform that sets AWS_ENDPOINT_URL answers for its functions' host names at that address; elsewhere the
    host name is asked itself.
    """
    host = urlsplit(url).netloc
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        url = endpoint.rstrip("/") + urlsplit(url).path
    request = urllib.request.Request(
        url,
        data=json.dumps(content).encode(),
        headers={"content-type": "application/json", "host": host},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise
        raise Rejected(*json.load(error)["missing"]) from None


def _body(event):
    body = event.get("body") or ""
    try:
        return json.loads(base64.b64decode(body) if event.get("isBase64Encoded") else body)
    except ValueError:
        raise Rejected("the body is not JSON") from None
