"""Topics on a real database, an outbox that is looked into and a clock that stands still."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sources.topic_rig import (
    ACCOUNT,
    BASE,
    FUNCTION,
    OTHER,
    QUEUE,
    URL,
    WHO,
    Rig,
    topics,
)

from forerun.errors import AccessDenied, ForerunError, InvalidInput, NotFound, StorageFailed
from forerun.model import Message, Origin
from forerun.sources.topics import (
    make_attribute,
)
from forerun.sources.topics.notifications import Notification, signed_text
from forerun.storage.topics import Following


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with topics(tmp_path) as made:
        yield made


def verify(certificate: bytes, notification: dict[str, Any], text: bytes) -> None:
    key = x509.load_pem_x509_certificate(certificate).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    digest = hashes.SHA256() if notification["SignatureVersion"] == "2" else hashes.SHA1()
    key.verify(base64.b64decode(notification["Signature"]), text, padding.PKCS1v15(), digest)


async def test_every_subscriber_gets_what_its_protocol_wants(rig: Rig) -> None:
    topic = await rig.topic()
    await rig.subscribe(topic, "lambda", FUNCTION)
    await rig.subscribe(topic, "sqs", QUEUE, RawMessageDelivery="true")
    await rig.subscribe(topic, "sqs", f"{QUEUE}2")
    attributes = {
        "k": make_attribute("k", "String", "v", None),
        "b": make_attribute("b", "Binary", None, "AAE="),
    }
    message_id = await rig.publish(topic, "hello", subject="s", attributes=attributes)
    by_target = {each.target: each for each in rig.sent()}
    assert {each.principal for each in by_target.values()} == {"sns.amazonaws.com"}
    record = json.loads(by_target[FUNCTION].payload)["Records"][0]
    assert record["EventSource"] == "aws:sns"
    assert record["Sns"]["MessageId"] == message_id
    assert record["Sns"]["MessageAttributes"]["b"] == {"Type": "Binary", "Value": "AAE="}
    assert (record["Sns"]["Message"], record["Sns"]["Subject"]) == ("hello", "s")
    raw = by_target[QUEUE]
    assert raw.payload == b"hello"
    assert json.loads(raw.attributes["MessageAttributes"]) == {
        "k": {"DataType": "String", "StringValue": "v"},
        "b": {"DataType": "Binary", "BinaryValue": "AAE="},
    }
    body = json.loads(by_target[f"{QUEUE}2"].payload)
    assert (body["Type"], body["Message"]) == ("Notification", "hello")
    assert len({each.id for each in by_target.values()}) == 3


@pytest.mark.parametrize("version", ["1", "2"])
async def test_signatures_are_those_that_clients_check(rig: Rig, version: str) -> None:
    topic = await rig.topic(SignatureVersion=version)
    await rig.subscribe(topic, "sqs", QUEUE)
    for subject in ("", "a subject"):
        await rig.publish(topic, "hé\nllo", subject=subject)
        body = json.loads(rig.sent()[0].payload)
        path = body["SigningCertURL"].removeprefix(BASE)
        certificate = await rig.signatory.certificate(path)
        assert certificate is not None
        names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
        text = "".join(f"{name}\n{body[name]}\n" for name in names if name in body)
        verify(certificate, body, text.encode())
    rig.restart()
    assert await rig.signatory.certificate(path) == certificate, "the pair is kept"
    assert await rig.signatory.certificate(path + "x") is None


@pytest.mark.databases
async def test_urls_get_nothing_before_they_have_confirmed(rig: Rig) -> None:
    topic = await rig.topic()
    name = await rig.subscribe(topic, "http", URL)
    [asked] = rig.sent()
    body = json.loads(asked.payload)
    assert asked.attributes["header:x-amz-sns-message-type"] == "SubscriptionConfirmation"
    assert body["Token"] in body["SubscribeURL"]
    certificate = await rig.signatory.certificate(body["SigningCertURL"].removeprefix(BASE))
    fields = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    assert certificate is not None
    verify(certificate, body, "".join(f"{each}\n{body[each]}\n" for each in fields).encode())
    await rig.publish(topic)
    assert rig.sent() == []
    for wrong in ("", "x" * 160, body["Token"][:-1] + "é", body["Token"][:32] + "0" * 128):
        with pytest.raises(InvalidInput, match="Token"):
            await rig.subscriptions.confirm(topic, wrong, authenticated=False, guarded=False)
    for _ in range(2):
        arn = await rig.subscriptions.confirm(
            topic, body["Token"], authenticated=False, guarded=False
        )
        assert arn.endswith(name.id)
    await rig.publish(topic)
    assert [each.target for each in rig.sent()] == [URL]


async def test_a_url_is_asked_again_but_not_flooded(rig: Rig) -> None:
    topic = await rig.topic()
    name = await rig.subscribe(topic, "http", URL)
    assert await rig.subscribe(topic, "http", URL) == name
    first = json.loads(rig.sent()[0].payload)["Token"]
    assert rig.sent() == []
    await rig.clock.advance(10.0)
    await rig.subscribe(topic, "http", URL)
    [again] = rig.sent()
    assert json.loads(again.payload)["Token"] != first


@pytest.mark.databases
async def test_what_is_not_confirmed_in_three_days_is_forgotten(rig: Rig) -> None:
    topic = await rig.topic()
    await rig.subscribe(topic, "http", URL)
    token = json.loads(rig.sent()[0].payload)["Token"]
    await rig.clock.advance(3 * 86_400.0 + 1)
    with pytest.raises(InvalidInput, match="Token"):
        await rig.subscriptions.confirm(topic, token, authenticated=False, guarded=False)
    await rig.subscriptions.sweep()
    assert await rig.subscriptions.of_topic(topic, "", 10) == []


@pytest.mark.databases
async def test_a_link_ends_a_url_and_its_token_brings_it_back(rig: Rig) -> None:
    topic = await rig.topic()
    url = await rig.subscribe(topic, "http", URL)
    token = json.loads(rig.sent()[0].payload)["Token"]
    await rig.subscriptions.confirm(topic, token, authenticated=False, guarded=False)
    await rig.clock.advance(1.0)
    await rig.subscriptions.unsubscribe(url, None)
    await rig.publish(topic)
    [told] = rig.sent()
    assert told.attributes["header:x-amz-sns-message-type"] == "UnsubscribeConfirmation"
    again = json.loads(told.payload)["Token"]
    assert again != token
    await rig.subscriptions.confirm(topic, again, authenticated=True, guarded=True)
    await rig.publish(topic)
    assert len(rig.sent()) == 1
    with pytest.raises(AccessDenied):
        await rig.subscriptions.unsubscribe(url, None)
    queue = await rig.subscribe(topic, "sqs", QUEUE)
    with pytest.raises(AccessDenied):
        await rig.subscriptions.unsubscribe(queue, None)
    with pytest.raises(AccessDenied):
        await rig.subscriptions.unsubscribe(queue, OTHER)
    with pytest.raises(NotFound):
        await rig.subscriptions.get(queue, OTHER)
    for name in (queue, url):
        await rig.subscriptions.unsubscribe(name, ACCOUNT)
        await rig.subscriptions.unsubscribe(name, ACCOUNT)
    assert await rig.subscriptions.owned(ACCOUNT, Following(), 10) == []


async def test_filter_policies_choose(rig: Rig) -> None:
    topic = await rig.topic()
    await rig.subscribe(topic, "sqs", f"{QUEUE}a", FilterPolicy='{"n": [{"numeric": [">", 1]}]}')
    await rig.subscribe(
        topic, "sqs", f"{QUEUE}b", FilterPolicy='{"a": ["x"]}', FilterPolicyScope="MessageBody"
    )
    number = {"n": make_attribute("n", "Number", "2", None)}
    several = {"n": make_attribute("n", "String.Array", "[1, 5]", None)}
    for message, attributes, wanted in (
        ("m", number, "a"),
        ("m", several, "a"),
        ("m", {}, ""),
        ('{"a": "x"}', {}, "b"),
        ('{"a": "x"}', number, "ab"),
        ('{"a":', number, "a"),
    ):
        await rig.publish(topic, message, attributes=attributes)
        assert "".join(sorted(each.target[-1] for each in rig.sent())) == wanted, message


@pytest.mark.databases
async def test_a_structured_message_has_a_text_for_each_protocol(rig: Rig) -> None:
    topic = await rig.topic()
    await rig.subscribe(topic, "sqs", QUEUE, RawMessageDelivery="true")
    await rig.subscribe(topic, "lambda", FUNCTION)
    await rig.publish(topic, '{"default": "d", "sqs": "for queues"}', structured=True)
    texts = {each.target: each.payload for each in rig.sent()}
    assert texts[QUEUE] == b"for queues"
    assert json.loads(texts[FUNCTION])["Records"][0]["Sns"]["Message"] == "d"
    for message in ("{", "[]", "{}", '{"default": 1}'):
        with pytest.raises(InvalidInput, match="Message Structure"):
            await rig.publish(topic, message, structured=True)


@pytest.mark.databases
async def test_fifo_topics_take_a_message_once_and_keep_the_order(rig: Rig) -> None:
    topic = await rig.topic("t.fifo", ContentBasedDeduplication="true")
    await rig.subscribe(topic, "sqs", f"{QUEUE}.fifo")
    first = await rig.publish(topic, "1", group="g", deduplication="d")
    assert await rig.publish(topic, "other", group="g", deduplication="d") == first
    await rig.publish(topic, "2", group="g")
    await rig.publish(topic, "2", group="g")
    sent = rig.sent()
    assert [each.attributes["MessageGroupId"] for each in sent] == ["g", "g"]
    bodies = [json.loads(each.payload) for each in sent]
    assert [each["Message"] for each in bodies] == ["1", "2"]
    assert "Signature" not in bodies[0]
    numbers = [each["SequenceNumber"] for each in bodies]
    assert numbers == sorted(numbers)
    assert len(numbers[0]) == 20
    await rig.clock.advance(301.0)
    assert await rig.publish(topic, "1", group="g", deduplication="d") != first
    rig.sent()
    await asyncio.gather(*(rig.publish(topic, str(n), group="g") for n in range(10, 30)))
    numbers = [json.loads(each.payload)["SequenceNumber"] for each in rig.sent()]
    assert numbers == sorted(set(numbers))
    with pytest.raises(InvalidInput, match="MessageGroupId parameter is required"):
        await rig.publish(topic)


@pytest.mark.databases
async def test_a_fifo_message_that_was_not_handed_on_is_sent_under_the_same_id(rig: Rig) -> None:
    topic = await rig.topic("t.fifo")
    await rig.subscribe(topic, "sqs", f"{QUEUE}.fifo")
    rig.outbox.fails = StorageFailed("full")
    with pytest.raises(StorageFailed):
        await rig.publish(topic, group="g", deduplication="d")
    rig.outbox.fails = None
    rig.restart()
    first = await rig.publish(topic, group="g", deduplication="d")
    second = await rig.publish(topic, group="g", deduplication="d")
    assert first == second
    assert len(rig.sent()) == 1


async def test_what_others_send_to_a_topic_has_the_same_id_each_time(rig: Rig) -> None:
    topic = await rig.topic()
    await rig.subscribe(topic, "sqs", QUEUE)
    arn = (await rig.topics.get(topic)).topic.arn
    message = Message(
        id="rule/1",
        account=ACCOUNT,
        source="arn:aws:events:us-home-1:123456789012:rule/r",
        principal="events.amazonaws.com",
        target=arn,
        payload=b"{}",
        attributes={
            "Subject": "s",
            "MessageAttributes": '{"k":{"DataType":"String","StringValue":"v"}}',
        },
        origin=Origin(trace_id="1" * 32),
    )
    assert list(await rig.publisher.take([message, message])) == [None, None]
    first, second = rig.sent()
    assert first.id == second.id
    assert first.origin.trace_id == "1" * 32
    assert json.loads(first.payload)["MessageAttributes"] == {"k": {"Type": "String", "Value": "v"}}
    missing = Message(
        id="2", account=ACCOUNT, source="s", principal="p", target=f"{arn}x", payload=b"m"
    )
    broken = Message(
        id="3", account=ACCOUNT, source="s", principal="p", target=arn, payload=b"\xff"
    )
    refused = await rig.publisher.take([missing, broken, message])
    assert [type(each) for each in refused] == [NotFound, InvalidInput, type(None)]
    with pytest.raises(NotFound):
        await rig.publisher.policy(f"{arn}x")


async def test_redrive_and_delivery_policies_go_with_the_message(rig: Rig) -> None:
    topic = await rig.topic()
    await rig.subscribe(
        topic, "sqs", QUEUE, RedrivePolicy=json.dumps({"deadLetterTargetArn": f"{QUEUE}-dead"})
    )
    await rig.publish(topic)
    assert rig.sent()[0].dead_letter == f"{QUEUE}-dead"
    await rig.subscribe(
        topic, "http", URL, DeliveryPolicy='{"healthyRetryPolicy": {"numRetries": 7}}'
    )
    assert rig.sent()[0].retry.retries == 7


@pytest.mark.parametrize(
    ("protocol", "endpoint", "words"),
    [
        ("email", "a@example.com", "email is not served here"),
        ("sms", "+491234", "sms is not served here"),
        ("pigeon", "x", "does not support this protocol string: pigeon"),
        ("sqs", URL, "SQS endpoint ARN"),
        ("lambda", "f", "Lambda endpoint ARN"),
        ("http", "https://example.com", "must match the specified protocol"),
        ("http", "http://", "Unsupported endpoint"),
        ("http", "http://[x/", "Unsupported endpoint"),
        ("http", "http://example.com/a b", "Unsupported endpoint"),
        ("http", "http://example.com/" + "x" * 2048, "2048"),
        ("sqs", None, "Endpoint"),
        ("sqs", f"{QUEUE}.fifo", "FIFO SQS Queues can not be subscribed"),
    ],
    ids=lambda value: (value or "")[:24],
)
async def test_endpoints_that_are_refused(
    rig: Rig, protocol: str, endpoint: str | None, words: str
) -> None:
    topic = await rig.topic()
    with pytest.raises(ForerunError, match=words.replace("+", r"\+")):
        await rig.subscriptions.subscribe(topic, WHO, protocol, endpoint, {})


def test_signed_text_is_in_the_order_of_names() -> None:
    notification = Notification(
        id="i", topic="t", subscription="s", message="m", timestamp="now", subject="u"
    )
    wanted = (
        b"Message\nm\nMessageId\ni\nSubject\nu\nTimestamp\nnow\nTopicArn\nt\nType\nNotification\n"
    )
    assert signed_text(notification) == wanted


@given(st.text(max_size=20), st.text(max_size=12), st.none() | st.text(max_size=12))
def test_attributes_that_clients_make_up_are_taken_or_refused(
    name: str, kind: str, text: str | None
) -> None:
    for each in (kind, "String", "Number", "Binary", "String.Array"):
        try:
            made = make_attribute(name, each, text, text)
        except InvalidInput:
            continue
        assert made.value == text
