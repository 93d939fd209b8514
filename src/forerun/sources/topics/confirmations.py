"""Asks endpoints whether they want messages: nobody gets them who has not said so."""

import hmac
import uuid

from forerun.aio import Clock
from forerun.model import Message, iso_time
from forerun.sources import Outbox
from forerun.sources.topics.attributes import retry_policy
from forerun.sources.topics.catalog import subscription_arn
from forerun.sources.topics.fanout import PRINCIPAL, Place
from forerun.sources.topics.notifications import (
    Notification,
    confirm_link,
    confirmation_text,
    http_headers,
    json_form,
)
from forerun.sources.topics.signatory import Signatory
from forerun.storage.topics import Subscription, Topic

_ID_HEX = 32


class Confirmations:
    """Sends tokens to endpoints, and knows them when they come back. ``key`` is a secret that they are made with."""

    def __init__(
        self, outbox: Outbox, signatory: Signatory, *, clock: Clock, place: Place, key: bytes
    ) -> None:
        self._outbox = outbox
        self._signatory = signatory
        self._clock = clock
        self._place = place
        self._key = key

    async def ask(self, topic: Topic, subscription: Subscription, kind: str) -> None:
        """Send an endpoint a token; ``kind`` is ``SubscriptionConfirmation`` or ``UnsubscribeConfirmation``."""
        await self._signatory.ready()
        token = self._token(subscription)
        now = self._clock.now()
        notification = Notification(
            kind=kind,
            id=str(uuid.uuid4()),
            topic=topic.arn,
            subscription=subscription_arn(topic, subscription),
            message=confirmation_text(topic.arn, kind),
            timestamp=iso_time(now),
            token=token,
            link=confirm_link(self._place.base_url, topic.arn, token),
        )
        seal = self._signatory.seal(notification, topic.attributes.get("SignatureVersion", "1"))
        message = Message(
            id=notification.id,
            account=topic.account,
            source=topic.arn,
            principal=PRINCIPAL,
            target=subscription.endpoint,
            payload=json_form(notification, seal),
            attributes=http_headers(notification, raw=False),
            occurred_at=now,
            retry=retry_policy(subscription.attributes.get("DeliveryPolicy", "")),
        )
        await self._outbox.send([message])

    def proves(self, subscription: Subscription, token: str) -> bool:
        """Whether a token was sent to the subscription's endpoint, and not too long ago."""
        if not token.isascii() or not hmac.compare_digest(self._token(subscription), token):
            return False
        expires = subscription.expires
        return expires is None or expires > self._clock.now()

    def _token(self, subscription: Subscription) -> str:
        """Which subscription, and a proof that it was sent to its endpoint."""
        each = subscription
        text = f"{each.account}:{each.topic}:{each.id}:{each.created!r}"
        return each.id.replace("-", "") + hmac.digest(self._key, text.encode(), "sha512").hex()


def subscription_of(token: str) -> str | None:
    """The id of the subscription that a token names, without proof; ``None`` when it names none."""
    try:
        return str(uuid.UUID(hex=token[:_ID_HEX]))
    except ValueError:
        return None
