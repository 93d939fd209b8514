"""SNS as AWS's own clients ask for it."""

import contextlib
import json
import subprocess
import uuid
from typing import Any

import pytest
from tests.servers import FORERUN, clean_environment, eventually

pytestmark = [pytest.mark.conformance, pytest.mark.slow]


def test_topics(server, sns, refused):
    name = f"t-{uuid.uuid4().hex[:8]}"
    arn = f"arn:aws:sns:{server.region}:{server.account}:{name}"
    made = sns.create_topic(
        Name=name, Attributes={"DisplayName": "shown"}, Tags=[{"Key": "a", "Value": "b"}]
    )
    assert made["TopicArn"] == arn
    assert sns.create_topic(Name=name)["TopicArn"] == arn
    with refused("InvalidParameter", 400) as error:
        sns.create_topic(Name=name, Attributes={"DisplayName": "other"})
    assert "already exists with different attributes" in error.message
    with refused("InvalidParameter", 400) as error:
        sns.create_topic(Name=name, Tags=[{"Key": "a", "Value": "c"}])
    assert "already exists with different tags" in error.message
    attributes = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert (attributes["DisplayName"], attributes["Owner"]) == ("shown", server.account)
    assert attributes["SubscriptionsConfirmed"] == "0"
    sns.set_topic_attributes(TopicArn=arn, AttributeName="SignatureVersion", AttributeValue="2")
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["SignatureVersion"] == "2"
    sns.tag_resource(ResourceArn=arn, Tags=[{"Key": "c", "Value": "d"}])
    sns.untag_resource(ResourceArn=arn, TagKeys=["a"])
    assert sns.list_tags_for_resource(ResourceArn=arn)["Tags"] == [{"Key": "c", "Value": "d"}]
    pages = sns.get_paginator("list_topics").paginate()
    assert arn in [each["TopicArn"] for page in pages for each in page["Topics"]]
    for _ in range(2):
        sns.delete_topic(TopicArn=arn)
    with refused("NotFound", 404) as error:
        sns.get_topic_attributes(TopicArn=arn)
    assert error.message == "Topic does not exist"
    with refused("ResourceNotFound", 404):
        sns.list_tags_for_resource(ResourceArn=arn)


def test_policies(server, sns, topic, refused):
    sns.add_permission(
        TopicArn=topic, Label="l", AWSAccountId=["111122223333"], ActionName=["Publish"]
    )

    def statements() -> dict[str, Any]:
        policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
        return {each["Sid"]: each for each in policy["Statement"]}

    assert statements()["l"]["Principal"] == {"AWS": "arn:aws:iam::111122223333:root"}
    assert statements()["l"]["Action"] == ["SNS:Publish"]
    with refused("InvalidParameter", 400) as error:
        sns.add_permission(
            TopicArn=topic, Label="l", AWSAccountId=["111122223333"], ActionName=["Publish"]
        )
    assert error.message == "Invalid parameter: Statement already exists"
    with refused("InvalidParameter", 400) as error:
        sns.add_permission(
            TopicArn=topic, Label="m", AWSAccountId=["111122223333"], ActionName=["Fly"]
        )
    assert "out of service scope" in error.message
    sns.remove_permission(TopicArn=topic, Label="l")
    assert list(statements()) == ["__default_statement_ID"]
    with refused("InvalidParameter", 400) as error:
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue="{")
    assert "Policy Error" in error.message


def test_requests_that_are_refused(server, sns, topic, refused):
    for arguments, message in [
        ({"Message": ""}, "Invalid parameter: Empty message"),
        ({"Message": "x" * 262_145}, "Invalid parameter: Message too long"),
        ({"Message": "m", "Subject": "x" * 101}, "Invalid parameter: Subject"),
        ({"Message": "m", "Subject": "a\nb"}, "Invalid parameter: Subject"),
        (
            {"Message": "{}", "MessageStructure": "json"},
            "Invalid parameter: Message Structure - No default entry in JSON message body",
        ),
    ]:
        with refused("InvalidParameter", 400) as error:
            sns.publish(TopicArn=topic, **arguments)
        assert error.message == message
    with refused("ParameterValueInvalid", 400) as error:
        attributes = {"k": {"DataType": "Odd", "StringValue": "v"}}
        sns.publish(TopicArn=topic, Message="m", MessageAttributes=attributes)
    assert "invalid message attribute type" in error.message
    with refused("InvalidParameter", 400) as error:
        sns.publish(TopicArn="t", Message="m")
    assert error.message == (
        "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1"
    )
    with refused("NotFound", 404):
        sns.publish(TopicArn=f"{topic}x", Message="m")
    with refused("InvalidParameter", 400) as error:
        sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="a@example.com")
    assert "email is not served here" in error.message
    with refused("InvalidParameter", 400) as error:
        sns.create_topic(Name="a b")
    assert error.message == "Invalid parameter: Topic Name"
    with refused("InvalidParameter", 400) as error:
        queue_arn = f"arn:aws:sqs:{server.region}:{server.account}:q"
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=queue_arn,
            Attributes={"FilterPolicy": '{"a": []}'},
        )
    assert error.message == (
        "Invalid parameter: Attributes Reason: FilterPolicy: Empty arrays are not allowed"
    )
    with refused("NotFound", 404) as error:
        sns.get_subscription_attributes(SubscriptionArn=f"{topic}:{uuid.uuid4()}")
    assert error.message == "Subscription does not exist"


def test_other_accounts_need_the_topics_leave(server, sns, topic, refused, tmp_path):
    made = subprocess.run(
        [str(FORERUN), "account", "create", "other", "--data", str(server.data), "--json"],
        env=clean_environment(tmp_path),
        capture_output=True,
        check=True,
        timeout=30,
    )
    key = json.loads(made.stdout)
    other = server.client(
        "sns",
        aws_access_key_id=key["access_key_id"],
        aws_secret_access_key=key["secret_access_key"],
    )
    queue_arn = f"arn:aws:sqs:{server.region}:{key['account']}:q"

    def known() -> bool:
        with contextlib.suppress(other.exceptions.ClientError):
            return other.list_topics()["Topics"] == []
        return False

    eventually(known, within=20)
    for act in (
        lambda: other.publish(TopicArn=topic, Message="m"),
        lambda: other.get_topic_attributes(TopicArn=topic),
        lambda: other.delete_topic(TopicArn=topic),
        lambda: other.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn),
        lambda: other.publish(TopicArn=f"{topic}-missing", Message="m"),
    ):
        with refused("AuthorizationError", 403):
            act()
    sns.add_permission(
        TopicArn=topic,
        Label="other",
        AWSAccountId=[key["account"]],
        ActionName=["Publish", "Subscribe"],
    )
    assert other.publish(TopicArn=topic, Message="m")["MessageId"]
    made = other.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue_arn)["SubscriptionArn"]
    [listed] = other.list_subscriptions()["Subscriptions"]
    assert (listed["SubscriptionArn"], listed["Owner"]) == (made, key["account"])
    assert listed not in sns.list_subscriptions()["Subscriptions"]
    with refused("AuthorizationError", 403):
        other.delete_topic(TopicArn=topic)
    other.unsubscribe(SubscriptionArn=made)
    assert other.list_subscriptions()["Subscriptions"] == []


def test_the_command_line(clients):
    def aws(*arguments: str) -> Any:
        endpoint = ("--endpoint-url", clients.server.endpoint)
        text = clients.run("aws", *endpoint, "sns", *arguments, "--output", "json")
        return json.loads(text) if text.strip() else None

    topic = aws("create-topic", "--name", f"t-{uuid.uuid4().hex[:8]}")["TopicArn"]
    queue_arn = f"arn:aws:sqs:{clients.server.region}:{clients.server.account}:q"
    made = aws(
        "subscribe", "--topic-arn", topic, "--protocol", "sqs", "--notification-endpoint", queue_arn
    )  # fmt: skip
    attributes = aws("get-subscription-attributes", "--subscription-arn", made["SubscriptionArn"])
    assert attributes["Attributes"]["Endpoint"] == queue_arn
    attribute = '{"k":{"DataType":"String","StringValue":"v"}}'
    assert aws(
        "publish", "--topic-arn", topic, "--message", "m", "--message-attributes", attribute
    )["MessageId"]  # fmt: skip
    aws("delete-topic", "--topic-arn", topic)
    left = aws("list-subscriptions")["Subscriptions"]
    assert made["SubscriptionArn"] not in [each["SubscriptionArn"] for each in left]
