"""Operations on subscriptions; two of them are served without a signature, to whoever has a link."""

from collections.abc import Callable
from typing import Any

import msgspec

from forerun.api.caller import Caller
from forerun.api.handlers import Handler
from forerun.api.sns.topics import PAGE
from forerun.api.sources import Rows
from forerun.control.paging import Page, from_marker, to_page
from forerun.sources.topics import (
    InvalidParameter,
    Subscriber,
    Subscriptions,
    TopicName,
    effective_delivery,
    parse_subscription_arn,
    parse_topic_arn,
)
from forerun.storage.topics import Following, Subscription

SHOWN = 1000


class SubscriptionRoutes:
    """Answers the operations of ``sns`` on subscriptions."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        self._subscriptions = subscriptions

    def routes(self) -> dict[str, Handler]:
        """Operation name to handler."""
        return {
            "Subscribe": self.subscribe,
            "ConfirmSubscription": self.confirm,
            "Unsubscribe": self.unsubscribe,
            "ListSubscriptions": self.list_owned,
            "ListSubscriptionsByTopic": self.list_by_topic,
            "GetSubscriptionAttributes": self.attributes,
            "SetSubscriptionAttributes": self.set_attribute,
        }

    def unsigned(self) -> dict[str, Handler]:
        """What links in notifications ask for."""
        return {
            "ConfirmSubscription": self.confirm_by_link,
            "Unsubscribe": self.unsubscribe_by_link,
        }

    def rows(self, region: str, sent: Callable[[str], int]) -> Rows:
        """The subscriptions of an account among all sources; ``sent`` counts messages by a subscription's id."""

        async def found(account: str) -> list[dict[str, Any]]:
            return [
                {
                    "Source": TopicName(each.account, each.topic).arn(region),
                    "Target": each.endpoint,
                    "Kind": "subscription",
                    "Id": each.id,
                    "State": "Pending" if each.pending else "Confirmed",
                    "Sent": sent(each.id),
                }
                for each in await self._subscriptions.owned(account, Following(), SHOWN)
            ]

        return found

    async def subscribe(self, caller: Caller, request: Any) -> dict[str, Any]:
        """Subscribe; an endpoint that has to confirm has no ARN to show yet."""
        made = await self._subscriptions.subscribe(
            parse_topic_arn(request.TopicArn, caller.region),
            Subscriber(caller.account, caller.principal_arn),
            request.Protocol,
            request.Endpoint,
            dict(request.Attributes or {}),
        )
        if made.pending and not request.ReturnSubscriptionArn:
            return {"SubscriptionArn": "pending confirmation"}
        return {"SubscriptionArn": _arn(caller, made)}

    async def confirm(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ConfirmSubscription."""
        return await self._confirm(caller, request, authenticated=True)

    async def confirm_by_link(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ConfirmSubscription, unsigned."""
        return await self._confirm(caller, request, authenticated=False)

    async def _confirm(
        self, caller: Caller, request: Any, *, authenticated: bool
    ) -> dict[str, Any]:
        arn = await self._subscriptions.confirm(
            parse_topic_arn(request.TopicArn, caller.region),
            request.Token,
            authenticated=authenticated,
            guarded=authenticated and (request.AuthenticateOnUnsubscribe or "").lower() == "true",
        )
        return {"SubscriptionArn": arn}

    async def unsubscribe(self, caller: Caller, request: Any) -> dict[str, Any]:
        """Unsubscribe."""
        name = parse_subscription_arn(request.SubscriptionArn, caller.region)
        await self._subscriptions.unsubscribe(name, caller.account)
        return {}

    async def unsubscribe_by_link(self, caller: Caller, request: Any) -> dict[str, Any]:
        """Unsubscribe, unsigned."""
        name = parse_subscription_arn(request.SubscriptionArn, caller.region)
        await self._subscriptions.unsubscribe(name, None)
        return {}

    async def list_owned(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListSubscriptions: those of the caller's account, a hundred at a time."""
        after = Following(*map(str, from_marker(request.NextToken, ("", "", ""))))
        found = await self._subscriptions.owned(caller.account, after, PAGE + 1)
        keys = [(each.account, each.topic, each.id) for each in found]
        return _page(caller, to_page(found, keys, PAGE))

    async def list_by_topic(self, caller: Caller, request: Any) -> dict[str, Any]:
        """ListSubscriptionsByTopic."""
        name = parse_topic_arn(request.TopicArn, caller.region)
        (after,) = from_marker(request.NextToken, ("",))
        found = await self._subscriptions.of_topic(name, str(after), PAGE + 1)
        return _page(caller, to_page(found, [(each.id,) for each in found], PAGE))

    async def attributes(self, caller: Caller, request: Any) -> dict[str, Any]:
        """GetSubscriptionAttributes."""
        name = parse_subscription_arn(request.SubscriptionArn, caller.region)
        topic, found = await self._subscriptions.get(name, caller.account)
        printed = {
            "SubscriptionArn": request.SubscriptionArn,
            "TopicArn": topic.arn,
            "Owner": found.owner,
            "Protocol": found.protocol,
            "Endpoint": found.endpoint,
            "SubscriptionPrincipal": found.principal,
            "PendingConfirmation": _flag(value=found.pending),
            "ConfirmationWasAuthenticated": _flag(value=found.authenticated),
            "RawMessageDelivery": "false",
        }
        if "FilterPolicy" in found.attributes:
            printed["FilterPolicyScope"] = "MessageAttributes"
        if found.protocol in ("http", "https"):
            policy = found.attributes.get("DeliveryPolicy") or topic.attributes.get(
                "DeliveryPolicy", ""
            )
            effective = {"healthyRetryPolicy": effective_delivery(policy)}
            printed["EffectiveDeliveryPolicy"] = msgspec.json.encode(effective).decode()
        return {"Attributes": printed | found.attributes}

    async def set_attribute(self, caller: Caller, request: Any) -> dict[str, Any]:
        """SetSubscriptionAttributes."""
        if not request.AttributeName:
            raise InvalidParameter("AttributeName")
        name = parse_subscription_arn(request.SubscriptionArn, caller.region)
        await self._subscriptions.set(
            name, caller.account, request.AttributeName, request.AttributeValue or ""
        )
        return {}


def _topic_arn(caller: Caller, subscription: Subscription) -> str:
    return TopicName(subscription.account, subscription.topic).arn(caller.region)


def _arn(caller: Caller, subscription: Subscription) -> str:
    return f"{_topic_arn(caller, subscription)}:{subscription.id}"


def _page(caller: Caller, page: Page[Subscription]) -> dict[str, Any]:
    shown = [
        {
            "SubscriptionArn": "PendingConfirmation" if each.pending else _arn(caller, each),
            "Owner": each.owner,
            "Protocol": each.protocol,
            "Endpoint": each.endpoint,
            "TopicArn": _topic_arn(caller, each),
        }
        for each in page.items
    ]
    return {"Subscriptions": shown, "NextToken": page.marker}


def _flag(*, value: bool) -> str:
    return "true" if value else "false"
