"""Operations on topics, their policies and their tags."""

from typing import Any

import msgspec

from forerun.api.caller import Caller
from forerun.api.handlers import Handler
from forerun.control.paging import from_marker, to_page
from forerun.control.policies import MalformedPolicy, PolicyKind, parse_policy
from forerun.control.statements import principal_of
from forerun.errors import InvalidInput
from forerun.sources.topics import (
    InvalidParameter,
    KnownTopic,
    TopicName,
    Topics,
    default_policy,
    effective_delivery,
    parse_topic_arn,
)

PAGE = 100
POLICY_CHARACTERS = 30_720
_ACTIONS = {
    each.lower(): each
    for each in (
        "AddPermission",
        "DeleteTopic",
        "GetTopicAttributes",
        "ListSubscriptionsByTopic",
        "Publish",
        "Receive",
        "RemovePermission",
        "SetTopicAttributes",
        "Subscribe",
    )
}


class TopicRoutes:
    """Answers the operations of ``sns`` on topics."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    def routes(self) -> dict[str, Handler]:
        """Operation name to handler."""
        return {
            "CreateTopic": self.create,
            "DeleteTopic": self.delete,
            "ListTopics": self.list_topics,
            "GetTopicAttributes": self.attributes,
            "SetTopicAttributes": self.set_attribute,
            "AddPermission": self.add_permission,
            "RemovePermission": self.remove_permission,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.tags,
        }

    async def create(self, caller: Caller, request: Any) -> dict[str, Any]:
        """CreateTopic; for a topic that there is already, its ARN."""
        attributes = dict(request.Attributes or {})
        if policy := attributes.get("Policy"):
            _require_policy(policy)
        if request.DataProtectionPolicy:
            raise InvalidParameter("DataProtectionPolicy Reason: it is not served here")
        topic = await self._topics.create(
            caller.account,
            request.Name,
            attributes,
            {tag.Key: tag.Value for tag in request.Tags or ()},
        )
        return {"TopicArn": topic.arn}

    async def delete(self, caller: Caller, request: Any) -> dict[str, Any]:
        """DeleteTopic."""
        await self._topics.delete(parse_topic_arn(request.TopicArn, caller.region))
        return {}

    async def list_topics(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListTopics, a hundred at a time."""
        (after,) = from_marker(request.NextToken, ("",))
        topics = await self._topics.page(caller.account, str(after), PAGE + 1)
        page = to_page(topics, [(each.name,) for each in topics], PAGE)
        shown = [{"TopicArn": each.arn} for each in page.items]
        return {"Topics": shown, "NextToken": page.marker}

    async def attributes(self, caller: Caller, request: Any) -> dict[str, Any]:
        """GetTopicAttributes."""
        known = await self._topics.get(parse_topic_arn(request.TopicArn, caller.region))
        return {"Attributes": _printed(known)}

    async def set_attribute(self, caller: Caller, request: Any) -> dict[str, Any]:
        """SetTopicAttributes."""
        name = parse_topic_arn(request.TopicArn, caller.region)
        value = request.AttributeValue or ""
        if request.AttributeName == "Policy":
            if value:
                _require_policy(value)
            await self._topics.set_policy(name, value)
        else:
            await self._topics.set(name, request.AttributeName, value)
        return {}

    async def add_permission(self, caller: Caller, request: Any) -> dict[str, Any]:
        """AddPermission: a statement for accounts."""
        name, policy, statements = await self._statements(caller, request)
        if any(each.get("Sid") == request.Label for each in statements):
            raise InvalidParameter("Statement already exists")
        unknown = [each for each in request.ActionName if each.lower() not in _ACTIONS]
        if unknown or not request.ActionName:
            raise InvalidParameter("Policy statement action out of service scope!")
        if not request.AWSAccountId:
            raise InvalidParameter("AWSAccountId")
        try:
            principals = [principal_of(account) for account in request.AWSAccountId]
        except InvalidInput:
            raise InvalidParameter("AWSAccountId") from None
        arns = [each["AWS"] for each in principals if isinstance(each, dict) and "AWS" in each]
        if len(arns) != len(principals):
            raise InvalidParameter("AWSAccountId")
        statement = {
            "Sid": request.Label,
            "Effect": "Allow",
            "Principal": {"AWS": arns[0] if len(arns) == 1 else arns},
            "Action": [f"SNS:{_ACTIONS[each.lower()]}" for each in request.ActionName],
            "Resource": request.TopicArn,
        }
        await self._set_statements(name, policy, [*statements, statement])
        return {}

    async def remove_permission(self, caller: Caller, request: Any) -> dict[str, Any]:
        """RemovePermission; nothing when there is no such statement, as on AWS."""
        name, policy, statements = await self._statements(caller, request)
        left = [each for each in statements if each.get("Sid") != request.Label]
        if len(left) != len(statements):
            await self._set_statements(name, policy, left)
        return {}

    async def _statements(
        self, caller: Caller, request: Any
    ) -> tuple[TopicName, dict[str, Any], list[dict[str, Any]]]:
        name = parse_topic_arn(request.TopicArn, caller.region)
        topic = (await self._topics.get(name)).topic
        policy = msgspec.json.decode(topic.policy or default_policy(topic), type=dict[str, Any])
        statements = policy.get("Statement", [])
        return name, policy, statements if isinstance(statements, list) else [statements]

    async def _set_statements(
        self, name: TopicName, policy: dict[str, Any], statements: list[dict[str, Any]]
    ) -> None:
        text = (
            msgspec.json.encode({**policy, "Statement": statements}).decode() if statements else ""
        )
        if text:
            _require_policy(text)
        await self._topics.set_policy(name, text)

    async def tag(self, caller: Caller, request: Any) -> dict[str, Any]:
        """TagResource."""
        name = parse_topic_arn(request.ResourceArn, caller.region, "ResourceArn")
        await self._topics.tag(name, {tag.Key: tag.Value for tag in request.Tags})
        return {}

    async def untag(self, caller: Caller, request: Any) -> dict[str, Any]:
        """UntagResource."""
        name = parse_topic_arn(request.ResourceArn, caller.region, "ResourceArn")
        await self._topics.tag(name, {}, remove=tuple(request.TagKeys))
        return {}

    async def tags(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListTagsForResource."""
        name = parse_topic_arn(request.ResourceArn, caller.region, "ResourceArn")
        tags = await self._topics.tags(name)
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def _require_policy(text: str) -> None:
    if len(text) > POLICY_CHARACTERS:
        raise InvalidParameter(f"Policy Error: it has more than {POLICY_CHARACTERS} characters")
    try:
        parse_policy(text, PolicyKind.RESOURCE)
    except MalformedPolicy as error:
        raise InvalidParameter(f"Policy Error: {error.message}") from None


def _printed(known: KnownTopic) -> dict[str, str]:
    topic = known.topic
    retry = effective_delivery(topic.attributes.get("DeliveryPolicy", ""))
    effective = {
        "http": {
            "defaultHealthyRetryPolicy": retry,
            "disableSubscriptionOverrides": False,
            "defaultRequestPolicy": {"headerContentType": "text/plain; charset=UTF-8"},
        }
    }
    printed = {
        "TopicArn": topic.arn,
        "Owner": topic.account,
        "DisplayName": "",
        "Policy": topic.policy or default_policy(topic),
        "EffectiveDeliveryPolicy": msgspec.json.encode(effective).decode(),
        "SubscriptionsConfirmed": str(len(known.subscribers)),
        "SubscriptionsPending": str(known.pending),
        "SubscriptionsDeleted": "0",
    }
    if topic.fifo:
        printed |= {"FifoTopic": "true", "ContentBasedDeduplication": "false"}
    return printed | topic.attributes
