"""What subscribers of SNS get: endpoints, queues and functions that are real."""

import base64
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.endpoints import Endpoint
from tests.policies import allow
from tests.servers import Server, eventually

pytestmark = [pytest.mark.conformance, pytest.mark.slow]

PRINTS = "import json\ndef handler(event, context):\n    print('GOT ' + json.dumps(event))\n"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


def make_queue(server: Server, topic: str, *, fifo: bool = False) -> tuple[str, str]:
    """A queue that the topic may send to: its URL and ARN."""
    sqs = server.client("sqs")
    name = f"q-{uuid.uuid4().hex[:8]}" + (".fifo" if fifo else "")
    arn = f"arn:aws:sqs:{server.region}:{server.account}:{name}"
    from_topic = {"ArnEquals": {"aws:SourceArn": topic}}
    policy = allow("sqs:SendMessage", arn, "sns", Condition=from_topic)
    attributes = {"Policy": policy} | ({"FifoQueue": "true"} if fifo else {})
    return sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"], arn


def receive(server: Server, url: str, count: int = 1) -> list[dict[str, Any]]:
    sqs = server.client("sqs")
    found: list[dict[str, Any]] = []

    def enough() -> bool:
        answer = sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=1,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        for each in answer.get("Messages", ()):
            found.append(each)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
        return len(found) >= count

    eventually(enough, within=20)
    return found


def verified(body: dict[str, Any]) -> bool:
    """Check a notification as clients do: fetch the certificate, put the signed text together."""
    pem = urllib.request.urlopen(body["SigningCertURL"], timeout=10).read()
    key = x509.load_pem_x509_certificate(pem).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    names = ["Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn"]
    text = "".join(f"{name}\n{body[name]}\n" for name in [*names, "Type"] if name in body)
    digest = hashes.SHA256() if body["SignatureVersion"] == "2" else hashes.SHA1()
    key.verify(base64.b64decode(body["Signature"]), text.encode(), padding.PKCS1v15(), digest)
    return True


def test_an_endpoint_confirms_verifies_and_leaves(server, sns, topic, endpoint, refused):
    made = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=endpoint.url)
    assert made["SubscriptionArn"] == "pending confirmation"
    [listed] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert listed["SubscriptionArn"] == "PendingConfirmation"
    asked = endpoint.next()
    assert asked.headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
    assert asked.headers["x-amz-sns-topic-arn"] == topic
    assert asked.headers["content-type"] == "text/plain; charset=UTF-8"
    assert verified(asked.json())
    answer = urllib.request.urlopen(asked.json()["SubscribeURL"], timeout=10).read().decode()
    assert "<ConfirmSubscriptionResult><SubscriptionArn>" in answer
    [listed] = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    arn = listed["SubscriptionArn"]
    assert arn in answer

    message_id = sns.publish(TopicArn=topic, Message="hé", Subject="s")["MessageId"]
    told = endpoint.next()
    assert told.headers["x-amz-sns-message-type"] == "Notification"
    assert told.headers["x-amz-sns-subscription-arn"] == arn
    body = told.json()
    assert (body["Message"], body["Subject"], body["MessageId"]) == ("hé", "s", message_id)
    assert verified(body)
    forged = {**body, "Message": "other"}
    with pytest.raises(InvalidSignature):
        verified(forged)

    sns.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    sns.set_topic_attributes(TopicArn=topic, AttributeName="SignatureVersion", AttributeValue="2")
    sns.publish(TopicArn=topic, Message="raw")
    raw = endpoint.next()
    assert (raw.body, raw.headers["x-amz-sns-rawdelivery"]) == (b"raw", "true")

    urllib.request.urlopen(body["UnsubscribeURL"], timeout=10).read()
    left = endpoint.next()
    assert left.headers["x-amz-sns-message-type"] == "UnsubscribeConfirmation"
    assert verified(left.json())
    sns.publish(TopicArn=topic, Message="nobody hears this")
    sns.confirm_subscription(
        TopicArn=topic, Token=left.json()["Token"], AuthenticateOnUnsubscribe="true"
    )
    sns.publish(TopicArn=topic, Message="back")
    assert endpoint.next().body == b"back"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(body["UnsubscribeURL"], timeout=10)
    with caught.value as error:
        assert error.code == 403
        assert b"AuthorizationError" in error.read()
    sns.unsubscribe(SubscriptionArn=arn)
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_links_do_nothing_else_without_a_signature(server, topic):
    for query in (
        f"Action=Publish&TopicArn={topic}&Message=m",
        f"Action=DeleteTopic&TopicArn={topic}",
        "Action=ListTopics",
        "Action=ListUsers",
    ):
        assert server.request("GET", f"/?{query}").status == 403
    wrong = f"/?Action=ConfirmSubscription&TopicArn={topic}&Token=x"
    answer = server.request("GET", wrong)
    assert answer.status == 400
    assert b"<Code>InvalidParameter</Code>" in answer.body
    assert server.request("GET", "/SimpleNotificationService-x.pem").status == 404


def test_fan_out_to_a_function_and_a_queue(server, sns, topic):
    name = server.function(PRINTS)
    function = f"arn:aws:lambda:{server.region}:{server.account}:function:{name}"
    server.lambda_.add_permission(
        FunctionName=name,
        StatementId="sns",
        Action="lambda:InvokeFunction",
        Principal="sns.amazonaws.com",
        SourceArn=topic,
    )
    url, arn = make_queue(server, topic)
    raw_url, raw_arn = make_queue(server, topic)
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=function)
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"FilterPolicy": json.dumps({"kind": ["wanted"]})},
    )
    sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=raw_arn, Attributes={"RawMessageDelivery": "true"}
    )
    kind = {"kind": {"DataType": "String", "StringValue": "wanted"}}
    sns.publish(TopicArn=topic, Message="not wanted")
    message_id = sns.publish(TopicArn=topic, Message="hello", MessageAttributes=kind)["MessageId"]

    [message] = receive(server, url)
    body = json.loads(message["Body"])
    assert (body["Message"], body["MessageId"]) == ("hello", message_id)
    assert verified(body)
    raw = {each["Body"]: each for each in receive(server, raw_url, 2)}
    assert raw["hello"]["MessageAttributes"]["kind"]["StringValue"] == "wanted"
    logs = server.client("logs")

    def printed() -> list[dict[str, Any]]:
        if not logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]:
            return []
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        texts = [each["message"] for each in events if each["message"].startswith("GOT ")]
        return [json.loads(each[4:])["Records"][0] for each in texts]

    eventually(lambda: len(printed()) == 2, within=20)
    record = next(each for each in printed() if each["Sns"]["Message"] == "hello")
    assert record["EventSource"] == "aws:sns"
    assert record["EventSubscriptionArn"].startswith(f"{topic}:")
    assert record["Sns"]["MessageAttributes"] == {"kind": {"Type": "String", "Value": "wanted"}}


def test_batches_tell_what_failed(server, sns, topic, refused):
    url, arn = make_queue(server, topic)
    sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
    )
    answer = sns.publish_batch(
        TopicArn=topic,
        PublishBatchRequestEntries=[
            {"Id": "1", "Message": "one"},
            {"Id": "2", "Message": "two", "Subject": "x" * 101},
            {"Id": "3", "Message": "three"},
        ],
    )
    assert [each["Id"] for each in answer["Successful"]] == ["1", "3"]
    [failed] = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("2", "InvalidParameter", True)
    assert {each["Body"] for each in receive(server, url, 2)} == {"one", "three"}
    for entries, code in [
        ([{"Id": str(n), "Message": "m"} for n in range(11)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "1", "Message": "m"}] * 2, "BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "Message": "m"}], "InvalidBatchEntryId"),
        ([{"Id": str(n), "Message": "m" * 140_000} for n in range(2)], "BatchRequestTooLong"),
    ]:
        with refused(code, 400):
            sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)


def test_a_fifo_topic_feeds_a_fifo_queue(server, sns, refused):
    name = f"t-{uuid.uuid4().hex[:8]}.fifo"
    attributes = {"FifoTopic": "true", "ContentBasedDeduplication": "true"}
    topic = sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]
    url, arn = make_queue(server, topic, fifo=True)
    sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
    )
    with refused("InvalidParameter", 400) as error:
        sns.publish(TopicArn=topic, Message="m")
    assert "MessageGroupId parameter is required" in error.message
    numbers = [
        sns.publish(TopicArn=topic, Message=str(n // 2), MessageGroupId="g")["SequenceNumber"]
        for n in range(10)
    ]
    assert len(set(numbers)) == 5
    assert numbers == sorted(numbers)
    found = receive(server, url, 5)
    assert [each["Body"] for each in found] == [str(n) for n in range(5)]
    assert {each["Attributes"]["MessageGroupId"] for each in found} == {"g"}
    sns.delete_topic(TopicArn=topic)
