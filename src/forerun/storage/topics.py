"""Topics, subscriptions, and what FIFO topics have taken lately."""

import asyncio
from typing import Any, NamedTuple

import msgspec

from forerun.errors import AlreadyExists
from forerun.storage.db import Db, Statement
from forerun.storage.sealing import Sealer, SigningPair, make_signing_pair

_PURPOSE = "topics"
_SWEPT = 1000
_ALL = 1 << 62
# As AWS: a token to confirm with is good for so long.
CONFIRMED_WITHIN_S = 3 * 86_400.0


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic. ``attributes`` are those that were set, under AWS's names; ``policy`` is JSON, ``""`` for AWS's default one."""

    account: str
    name: str
    arn: str
    attributes: dict[str, str] = {}
    policy: str = ""
    tags: dict[str, str] = {}
    created: float = 0.0

    @property
    def fifo(self) -> bool:
        """Whether its messages are in order and come once."""
        return self.name.endswith(".fifo")


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets what is published to a topic. ``account`` and ``topic`` name the topic, ``owner`` is who subscribed.

    ``attributes`` are those that were set, under AWS's names. ``pending``: its endpoint has not confirmed it yet, since
    ``created``. ``guarded``: a link does not end it.
    """

    account: str
    topic: str
    id: str
    owner: str
    protocol: str
    endpoint: str
    attributes: dict[str, str] = {}
    principal: str = ""
    pending: bool = False
    authenticated: bool = True
    guarded: bool = False
    created: float = 0.0

    @property
    def expires(self) -> float | None:
        """When it is forgotten unless it is confirmed; ``None`` when it is."""
        return self.created + CONFIRMED_WITHIN_S if self.pending else None


class Taken(NamedTuple):
    """A message that a FIFO topic knows: its id, its number in the order, and whether it was handed on."""

    message: str
    sequence: int
    sent: bool


class Following(NamedTuple):
    """Where a page goes on: after this one. All empty to begin."""

    account: str = ""
    topic: str = ""
    id: str = ""


_TOPIC = msgspec.json.Decoder(Topic)
_SUBSCRIPTION = msgspec.json.Decoder(Subscription)


class TopicStore:
    """Topics over ``Db``."""

    def __init__(self, db: Db, sealer: Sealer) -> None:
        self._db = db
        self._sealer = sealer

    async def add(self, topic: Topic) -> None:
        """Store a new one; ``AlreadyExists`` when there is one of that name."""
        await self._db.write(
            Statement(
                "INSERT INTO topics (account, name, config) VALUES ($1, $2, $3)",
                (topic.account, topic.name, msgspec.json.encode(topic)),
            )
        )

    async def find(self, account: str, name: str) -> Topic | None:
        """One topic."""
        rows = await self._db.fetch(
            "SELECT config FROM topics WHERE account = $1 AND name = $2", account, name
        )
        return _TOPIC.decode(rows[0][0]) if rows else None

    async def replace(self, topic: Topic) -> None:
        """Change it; ``Conflict`` when it is gone."""
        await self._db.write(
            Statement(
                "UPDATE topics SET config = $1 WHERE account = $2 AND name = $3",
                (msgspec.json.encode(topic), topic.account, topic.name),
                1,
            )
        )

    async def remove(self, account: str, name: str) -> None:
        """Delete it with its subscriptions."""
        await self._db.write(
            Statement("DELETE FROM topics WHERE account = $1 AND name = $2", (account, name))
        )

    async def page(self, account: str, after: str, limit: int) -> list[Topic]:
        """An account's topics by name, after ``after``."""
        rows = await self._db.fetch(
            "SELECT config FROM topics WHERE account = $1 AND name > $2 ORDER BY name LIMIT $3",
            account,
            after,
            limit,
        )
        return [_TOPIC.decode(row[0]) for row in rows]

    async def count(self, account: str) -> int:
        """How many topics an account has."""
        rows = await self._db.fetch("SELECT count(*) FROM topics WHERE account = $1", account)
        return int(rows[0][0])

    async def subscribe(self, subscription: Subscription) -> None:
        """Store a new one; ``AlreadyExists`` when the endpoint is subscribed."""
        each = subscription
        await self._db.write(
            Statement(
                "INSERT INTO subscriptions VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                (
                    each.account,
                    each.topic,
                    each.id,
                    each.owner,
                    each.protocol,
                    each.endpoint,
                    msgspec.json.encode(each),
                    each.expires,
                ),
            )
        )

    async def change(self, subscription: Subscription) -> None:
        """Change one; ``Conflict`` when it is gone."""
        each = subscription
        await self._db.write(
            Statement(
                "UPDATE subscriptions SET config = $1, expires = $2 WHERE account = $3 AND topic = $4 AND id = $5",
                (msgspec.json.encode(each), each.expires, each.account, each.topic, each.id),
                1,
            )
        )

    async def unsubscribe(self, account: str, topic: str, subscription: str) -> None:
        """Delete one."""
        await self._db.write(
            Statement(
                "DELETE FROM subscriptions WHERE account = $1 AND topic = $2 AND id = $3",
                (account, topic, subscription),
            )
        )

    async def subscription(
        self, account: str, topic: str, subscription: str
    ) -> Subscription | None:
        """One of them."""
        rows = await self._db.fetch(
            "SELECT config FROM subscriptions WHERE account = $1 AND topic = $2 AND id = $3",
            account,
            topic,
            subscription,
        )
        return _SUBSCRIPTION.decode(rows[0][0]) if rows else None

    async def by_endpoint(
        self, account: str, topic: str, protocol: str, endpoint: str
    ) -> Subscription | None:
        """The one of an endpoint."""
        rows = await self._db.fetch(
            "SELECT config FROM subscriptions WHERE account = $1 AND topic = $2 AND protocol = $3 AND endpoint = $4",
            account,
            topic,
            protocol,
            endpoint,
        )
        return _SUBSCRIPTION.decode(rows[0][0]) if rows else None

    async def subscriptions(self, account: str, topic: str) -> list[Subscription]:
        """All of one topic, in the order of their ids."""
        return await self.subscriptions_page(account, topic, "", _ALL)

    async def subscriptions_page(
        self, account: str, topic: str, after: str, limit: int
    ) -> list[Subscription]:
        """Those of one topic with ids after ``after``."""
        rows = await self._db.fetch(
            "SELECT config FROM subscriptions WHERE account = $1 AND topic = $2 AND id > $3 ORDER BY id LIMIT $4",
            account,
            topic,
            after,
            limit,
        )
        return [_SUBSCRIPTION.decode(row[0]) for row in rows]

    async def owned(self, owner: str, after: Following, limit: int) -> list[Subscription]:
        """Those that an account owns."""
        rows = await self._db.fetch(
            "SELECT config FROM subscriptions WHERE owner = $1 AND (account, topic, id) > ($2, $3, $4)"
            " ORDER BY account, topic, id LIMIT $5",
            owner,
            *after,
            limit,
        )
        return [_SUBSCRIPTION.decode(row[0]) for row in rows]

    async def take(
        self, topic: Topic, deduplication: str, message: str, *, now: float, until: float
    ) -> Taken:
        """Give a FIFO message its place; of one that is known since less than its time what it got then."""
        key: tuple[Any, ...] = (topic.account, topic.name, deduplication)
        rows = await self._db.fetch(
            "SELECT message, sequence, sent FROM topic_deduplications"
            " WHERE account = $1 AND topic = $2 AND deduplication = $3 AND until > $4",
            *key,
            now,
        )
        if rows:
            return Taken(rows[0][0], rows[0][1], bool(rows[0][2]))
        _, written = await self._db.write(
            Statement(
                "UPDATE topics SET sequence = sequence + 1 WHERE account = $1 AND name = $2",
                key[:2],
                1,
            ),
            Statement(
                "INSERT INTO topic_deduplications (account, topic, deduplication, message, sequence, until)"
                " SELECT $1, $2, $3, $4, sequence, $5 FROM topics WHERE account = $1 AND name = $2"
                " ON CONFLICT (account, topic, deduplication) DO UPDATE SET message = excluded.message,"
                " sequence = excluded.sequence, sent = 0, until = excluded.until RETURNING sequence",
                (*key, message, until),
            ),
        )
        return Taken(message, int(written[0][0]), sent=False)

    async def handed_on(self, topic: Topic, deduplication: str) -> None:
        """It needs not be sent again; when this is lost, it is sent again under the same id."""
        await self._db.write(
            Statement(
                "UPDATE topic_deduplications SET sent = 1 WHERE account = $1 AND topic = $2 AND deduplication = $3",
                (topic.account, topic.name, deduplication),
            ),
            durable=False,
        )

    async def sweep(self, now: float) -> list[tuple[str, str]]:
        """Forget what FIFO topics need not know any more, some at a time, and what was not confirmed: of which topics."""
        gone, _ = await self._db.write(
            Statement(
                "DELETE FROM subscriptions WHERE expires <= $1 RETURNING account, topic", (now,)
            ),
            Statement(
                "DELETE FROM topic_deduplications WHERE (account, topic, deduplication) IN"
                " (SELECT account, topic, deduplication FROM topic_deduplications WHERE until <= $1 LIMIT $2)",
                (now, _SWEPT),
            ),
            durable=False,
        )
        return sorted({(row[0], row[1]) for row in gone})

    async def signing_pair(self, host: str, now: float) -> SigningPair:
        """What notifications are signed with; made once, for a server that clients know as ``host``."""
        pair = await self._find_pair()
        if pair is not None:
            return pair
        made = await asyncio.to_thread(make_signing_pair, host, now)
        try:
            await self._db.write(
                Statement(
                    "INSERT INTO signing_pairs VALUES ($1, $2, $3)",
                    (
                        _PURPOSE,
                        self._sealer.seal(made.private_key, _PURPOSE.encode()),
                        made.certificate,
                    ),
                )
            )
        except AlreadyExists:
            # Another one was faster: signatures must be of one pair.
            return await self._find_pair() or made
        return made

    async def _find_pair(self) -> SigningPair | None:
        rows = await self._db.fetch(
            "SELECT sealed, certificate FROM signing_pairs WHERE purpose = $1", _PURPOSE
        )
        if not rows:
            return None
        return SigningPair(self._sealer.open(rows[0][0], _PURPOSE.encode()), rows[0][1])
