"""What each subscriber gets of one publication."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from forerun.model import Message, Origin, iso_time
from forerun.patterns.filter_policies import FilterScope
from forerun.sources.topics.catalog import KnownTopic, Subscriber
from forerun.sources.topics.notifications import (
    Notification,
    Seal,
    http_headers,
    json_form,
    lambda_form,
    queue_attributes,
    unsubscribe_link,
)
from forerun.sources.topics.publication import Publication, filter_values, parsed_body
from forerun.sources.topics.signatory import Signatory

PRINCIPAL = "sns.amazonaws.com"


class Published(NamedTuple):
    """What became of a message; ``sequence`` is empty but for FIFO topics."""

    id: str
    sequence: str = ""


class Place(NamedTuple):
    """Where topics are: their region, and where clients reach the server."""

    region: str
    base_url: str


class FanOut:
    """Makes what each subscriber gets of one publication; what is the same for several is made once."""

    def __init__(
        self,
        known: KnownTopic,
        publication: Publication,
        published: Published,
        signatory: Signatory,
        base_url: str,
        now: float,
    ) -> None:
        self._topic = known.topic
        self._publication = publication
        self._published = published
        self._signatory = signatory
        self._base_url = base_url
        self._now = now
        self._timestamp = iso_time(now)
        self._version = known.topic.attributes.get("SignatureVersion", "1")
        self._texts: dict[str, str] = {}
        self._seals: dict[str, Seal] = {}
        self._bodies: dict[str, Any] = {}
        self._values: Mapping[str, Sequence[Any]] | None = None

    def wanted(self, subscriber: Subscriber) -> bool:
        """Whether its filter policy lets the message through."""
        if subscriber.wants is None:
            return True
        if self._values is None:
            self._values = filter_values(self._publication.attributes)
        return subscriber.wants.wants(
            self._values,
            self._body(subscriber) if subscriber.wants.scope is FilterScope.BODY else None,
        )

    def message(self, subscriber: Subscriber, origin: Origin, deduplication: str) -> Message:
        """The message for a subscriber."""
        subscription = subscriber.subscription
        notification = self._notification(subscriber)
        payload, attributes = self._payload(subscriber, notification)
        if subscription.protocol == "sqs":
            attributes |= self._ordering(deduplication)
        return Message(
            id=f"{self._published.id}/{subscription.id}",
            account=self._topic.account,
            source=self._topic.arn,
            principal=PRINCIPAL,
            target=subscription.endpoint,
            payload=payload,
            attributes=attributes,
            origin=origin,
            occurred_at=self._now,
            retry=subscriber.retry,
            dead_letter=subscriber.dead_letter,
        )

    def _ordering(self, deduplication: str) -> dict[str, str]:
        found = {}
        if self._publication.group:
            found["MessageGroupId"] = self._publication.group
        if deduplication:
            found["MessageDeduplicationId"] = deduplication
        return found

    def _payload(
        self, subscriber: Subscriber, notification: Notification
    ) -> tuple[bytes, dict[str, str]]:
        protocol = subscriber.subscription.protocol
        if protocol == "lambda":
            return lambda_form(notification, self._seal(notification)), {}
        raw = subscriber.raw
        if protocol == "sqs":
            if raw:
                attributes = self._publication.attributes
                given = {"MessageAttributes": queue_attributes(attributes)} if attributes else {}
                return notification.message.encode(), given
            seal = None if self._topic.fifo else self._seal(notification)
            return json_form(notification, seal), {}
        headers = http_headers(notification, raw=raw)
        if raw:
            return notification.message.encode(), headers
        return json_form(notification, self._seal(notification)), headers

    def _notification(self, subscriber: Subscriber) -> Notification:
        return Notification(
            id=self._published.id,
            topic=self._topic.arn,
            subscription=subscriber.arn,
            message=self._text(subscriber.subscription.protocol),
            timestamp=self._timestamp,
            subject=self._publication.subject,
            attributes=self._publication.attributes,
            link=unsubscribe_link(self._base_url, subscriber.arn),
            sequence=self._published.sequence,
        )

    def _text(self, protocol: str) -> str:
        if protocol not in self._texts:
            self._texts[protocol] = self._publication.text_for(protocol)
        return self._texts[protocol]

    def _body(self, subscriber: Subscriber) -> Any:
        text = self._text(subscriber.subscription.protocol)
        if text not in self._bodies:
            self._bodies[text] = parsed_body(text)
        return self._bodies[text]

    def _seal(self, notification: Notification) -> Seal:
        """Signatures cost most, and depend on the text alone."""
        seal = self._seals.get(notification.message)
        if seal is None:
            seal = self._signatory.seal(notification, self._version)
            self._seals[notification.message] = seal
        return seal
