"""Subscriptions: made, confirmed by those whose endpoint it is, changed and ended."""

import uuid
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.errors import AccessDenied, AlreadyExists, NotFound
from forerun.sources.topics.attributes import (
    require_subscription_attributes,
    same_attributes,
)
from forerun.sources.topics.catalog import Catalog, KnownTopic, subscription_arn
from forerun.sources.topics.confirmations import Confirmations, subscription_of
from forerun.sources.topics.naming import (
    HTTP,
    InvalidParameter,
    SubscriptionName,
    TooManyFilters,
    TooManySubscriptions,
    TopicName,
    require_endpoint,
)
from forerun.storage.topics import Following, Subscription, Topic, TopicStore

MAX_SUBSCRIPTIONS = 10_000
MAX_FIFO_SUBSCRIPTIONS = 100
MAX_FILTERED = 200
# One endpoint is asked to confirm so often at most: topics must not be a way to flood strangers.
ASKED_AGAIN_S = 5.0


class Subscriber(NamedTuple):
    """Who subscribes: the account that owns the subscription, and the principal."""

    account: str
    principal: str


class Subscriptions:
    """Who gets what is published."""

    def __init__(
        self,
        store: TopicStore,
        catalog: Catalog,
        confirmations: Confirmations,
        clock: Clock,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._confirmations = confirmations
        self._clock = clock

    async def subscribe(
        self,
        name: TopicName,
        who: Subscriber,
        protocol: str,
        endpoint: str | None,
        attributes: Mapping[str, str],
    ) -> Subscription:
        """A subscription of that endpoint: a new one, or the one that there is, if its attributes are these.

        An endpoint that is a URL is asked to confirm it, and gets nothing before it has.
        """
        known = await self._catalog.find(name)
        endpoint = require_endpoint(protocol, endpoint, fifo=known.topic.fifo)
        require_subscription_attributes(attributes, protocol)
        found = await self._find_endpoint(name, protocol, endpoint)
        if found is not None:
            return await self._again(known.topic, found, attributes)
        _require_room(known, attributes)
        pending = protocol in HTTP
        made = Subscription(
            account=name.account,
            topic=name.name,
            id=str(uuid.uuid4()),
            owner=who.account,
            protocol=protocol,
            endpoint=endpoint,
            attributes=dict(attributes),
            principal=who.principal,
            pending=pending,
            authenticated=not pending,
            created=self._clock.now(),
        )
        try:
            await self._store.subscribe(made)
        except AlreadyExists:
            other = await self._find_endpoint(name, protocol, endpoint)
            if other is not None:
                return await self._again(known.topic, other, attributes)
            raise
        self._catalog.forget(name)
        if pending:
            await self._confirmations.ask(known.topic, made, "SubscriptionConfirmation")
        return made

    async def _find_endpoint(
        self, name: TopicName, protocol: str, endpoint: str
    ) -> Subscription | None:
        return await self._store.by_endpoint(*name, protocol, endpoint)

    async def _again(
        self, topic: Topic, found: Subscription, attributes: Mapping[str, str]
    ) -> Subscription:
        if attributes and not same_attributes(attributes, found.attributes):
            raise InvalidParameter(
                "Attributes Reason: Subscription already exists with different attributes"
            )
        if not found.pending:
            return found
        now = self._clock.now()
        if now < found.created + ASKED_AGAIN_S:
            return found
        renewed = msgspec.structs.replace(found, created=now)
        await self._store.change(renewed)
        await self._confirmations.ask(topic, renewed, "SubscriptionConfirmation")
        return renewed

    async def confirm(
        self, name: TopicName, token: str, *, authenticated: bool, guarded: bool
    ) -> str:
        """The ARN of the subscription whose endpoint was sent this token; it gets messages from now on.

        ``guarded``: afterwards a link does not end it. Raises ``InvalidInput``.
        """
        known = await self._catalog.find(name)
        found = await self._of_token(known.topic, token)
        if found is None:
            raise InvalidParameter("Token")
        if found.pending:
            await self._store.change(
                msgspec.structs.replace(
                    found, pending=False, authenticated=authenticated, guarded=guarded
                )
            )
            self._catalog.forget(name)
        return subscription_arn(known.topic, found)

    async def unsubscribe(self, name: SubscriptionName, account: str | None) -> None:
        """End it in the name of an account, or (``None``) for somebody who has its link; nothing when there is none.

        Only the owner of a subscription or of its topic may; a link only where it was not confirmed otherwise, and only
        of a URL, which is told and can take it back.
        """
        topic_name = TopicName(name.account, name.topic)
        try:
            known = await self._catalog.find(topic_name)
        except NotFound:
            return
        found = await self._find(name)
        if found is None:
            return
        if account is None:
            if found.guarded or found.protocol not in HTTP:
                raise AccessDenied("Unsubscribe of this subscription must be signed")
            if found.pending:
                return
            waiting = msgspec.structs.replace(found, pending=True, created=self._clock.now())
            await self._store.change(waiting)
            self._catalog.forget(topic_name)
            await self._confirmations.ask(known.topic, waiting, "UnsubscribeConfirmation")
            return
        if account not in (found.owner, found.account):
            raise AccessDenied("The subscription belongs to another account")
        await self._store.unsubscribe(*name)
        self._catalog.forget(topic_name)

    async def get(self, name: SubscriptionName, account: str) -> tuple[Topic, Subscription]:
        """A subscription that an account owns, or whose topic it owns, and the topic; ``NotFound``."""
        found = await self._find(name)
        if found is None or account not in (found.owner, found.account):
            raise NotFound("Subscription does not exist")
        known = await self._catalog.find(TopicName(name.account, name.topic))
        return known.topic, found

    async def set(self, name: SubscriptionName, account: str, attribute: str, value: str) -> None:
        """Change an attribute; an empty value takes it away."""
        _, found = await self.get(name, account)
        attributes = {**found.attributes, attribute: value}
        if not value:
            del attributes[attribute]
        require_subscription_attributes(
            {attribute: value} if value else {}, found.protocol, changed=attribute
        )
        # A policy must also fit the scope, and a scope the policy.
        require_subscription_attributes(attributes, found.protocol, changed=attribute)
        if attribute == "FilterPolicy" and value and "FilterPolicy" not in found.attributes:
            topic = await self._catalog.find(TopicName(name.account, name.topic))
            _require_filtered(topic)
        await self._store.change(msgspec.structs.replace(found, attributes=attributes))
        self._catalog.forget(TopicName(name.account, name.topic))

    async def of_topic(self, name: TopicName, after: str, limit: int) -> list[Subscription]:
        """A topic's subscriptions, by id; ``NotFound``."""
        await self._catalog.find(name)
        return await self._store.subscriptions_page(*name, after, limit)

    async def owned(self, account: str, after: Following, limit: int) -> list[Subscription]:
        """The subscriptions that an account owns."""
        return await self._store.owned(account, after, limit)

    async def sweep(self) -> None:
        """Forget what was not confirmed in time, and what FIFO topics need not know any more."""
        for account, topic in await self._store.sweep(self._clock.now()):
            self._catalog.forget(TopicName(account, topic))

    async def _find(self, name: SubscriptionName) -> Subscription | None:
        return await self._store.subscription(*name)

    async def _of_token(self, topic: Topic, token: str) -> Subscription | None:
        named = subscription_of(token)
        if named is None:
            return None
        subscription = await self._store.subscription(topic.account, topic.name, named)
        if subscription is None or not self._confirmations.proves(subscription, token):
            return None
        return subscription


def _require_room(known: KnownTopic, attributes: Mapping[str, str]) -> None:
    most = MAX_FIFO_SUBSCRIPTIONS if known.topic.fifo else MAX_SUBSCRIPTIONS
    if len(known.subscribers) + known.pending >= most:
        raise TooManySubscriptions(
            f"Subscription limit of {most} exceeded for topic {known.topic.arn}"
        )
    if "FilterPolicy" in attributes:
        _require_filtered(known)


def _require_filtered(known: KnownTopic) -> None:
    if sum(each.wants is not None for each in known.subscribers) >= MAX_FILTERED:
        raise TooManyFilters(
            f"Filter policy limit of {MAX_FILTERED} exceeded for topic {known.topic.arn}"
        )
