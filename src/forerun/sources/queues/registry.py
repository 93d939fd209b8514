"""Which queues there are: made, changed, listed, purged and removed. All are known in memory; the store has them too."""

import asyncio
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence

import msgspec

from forerun.aio import Clock
from forerun.errors import Conflict, InvalidInput
from forerun.sources.queues.attributes import (
    allows_redrive,
    check_name,
    normalized,
    settings_of,
    shown,
)
from forerun.sources.queues.faults import (
    BadAttributeValue,
    NoSuchQueue,
    PurgeRunning,
    QueueExists,
)
from forerun.sources.queues.permissions import with_permission, without_permission
from forerun.sources.queues.queue import Numbers, Queue, parse_arn
from forerun.storage.queue_messages import QueueMessages
from forerun.storage.queues import QueueRecord, QueueStore

PURGE_S = 60.0
TAGS = 50


class Queues:
    """All queues of all accounts; ``start`` first."""

    def __init__(
        self, store: QueueStore, messages: QueueMessages, clock: Clock, region: str
    ) -> None:
        self._store = store
        self._messages = messages
        self._clock = clock
        self._region = region
        self._numbers = Numbers(clock.now)
        self._queues: dict[tuple[str, str], Queue] = {}
        self._names: dict[str, list[str]] = {}
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Read them, and count their messages."""
        counts, last = await self._messages.counts()
        self._numbers.begin(last)
        for record in await self._store.all():
            self._numbers.begin(record.id)
            self._enter(Queue(record, self._region, counts.pop(record.id, 0)))
        await self._store.discard(list(counts))

    def number(self) -> int:
        """A new number for a message."""
        return self._numbers.next()

    def all(self) -> list[Queue]:
        """Every queue."""
        return list(self._queues.values())

    def of(self, account: str) -> list[Queue]:
        """Every queue of an account, by name."""
        return [self._queues[account, name] for name in self._names.get(account, ())]

    def find(self, account: str, name: str) -> Queue:
        """One queue; ``NoSuchQueue`` when there is none."""
        found = self._queues.get((account, name))
        if found is None:
            raise NoSuchQueue
        return found

    def by_arn(self, arn: str) -> Queue:
        """One queue; ``NoSuchQueue`` when there is none."""
        try:
            region, account, name = parse_arn(arn)
        except InvalidInput:
            raise NoSuchQueue(f"'{arn}' is not the ARN of a queue") from None
        if region != self._region:
            raise NoSuchQueue(f"There are no queues of the region {region} here")
        found = self._queues.get((account, name))
        if found is None:
            raise NoSuchQueue(f"The queue {arn} does not exist")
        return found

    def page(self, account: str, *, prefix: str = "", after: str = "", most: int) -> list[Queue]:
        """Queues of an account by name, from after ``after`` on."""
        names = self._names.get(account, [])
        found = []
        for name in names[bisect_right(names, after) :]:
            if name.startswith(prefix):
                found.append(self._queues[account, name])
                if len(found) >= most:
                    break
        return found

    def sources_of(self, queue: Queue) -> list[Queue]:
        """Queues of the account whose dead letters go to ``queue``, by name."""
        return [
            other
            for other in self.of(queue.record.account)
            if other.settings.redrive is not None and other.settings.redrive.target == queue.arn
        ]

    async def create(
        self, account: str, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]
    ) -> Queue:
        """Make one, or return the one that is there when it has these attributes; ``QueueExists`` when others."""
        ordered = attributes.get("FifoQueue", "").lower() == "true"
        check_name(name, ordered=ordered)
        wanted = normalized(attributes, ordered=ordered, new=True)
        _check_tags(tags)
        async with self._changing:
            found = self._queues.get((account, name))
            if found is not None:
                _require_same(found, wanted)
                return found
            now = self._clock.now()
            record = QueueRecord(
                id=self._numbers.next(),
                account=account,
                name=name,
                created_at=now,
                modified_at=now,
                attributes={key: value for key, value in wanted.items() if value},
                tags=dict(tags),
            )
            queue = Queue(record, self._region)
            self._check_redrive(queue, record.attributes)
            await self._store.add(record)
            self._enter(queue)
        return queue

    async def set_attributes(self, queue: Queue, attributes: Mapping[str, str]) -> None:
        """Change some; an empty value takes one away."""
        wanted = normalized(attributes, ordered=queue.settings.ordered, new=False)
        async with self._changing:
            merged = {**queue.record.attributes, **wanted}
            new = {key: value for key, value in merged.items() if value}
            self._check_redrive(queue, new)
            await self._replace(queue, attributes=new, modified_at=self._clock.now())

    async def tag(
        self, queue: Queue, *, add: Mapping[str, str], remove: Sequence[str] = ()
    ) -> None:
        """Set and take away tags."""
        async with self._changing:
            tags = {**queue.record.tags, **add}
            tags = {key: value for key, value in tags.items() if key not in remove}
            _check_tags(tags)
            await self._replace(queue, tags=tags)

    async def add_permission(
        self, queue: Queue, label: str, accounts: Sequence[str], actions: Sequence[str]
    ) -> None:
        """Let accounts do these actions (``SendMessage``, ``*``) with the queue."""
        async with self._changing:
            policy = with_permission(queue.settings.policy, queue.arn, label, accounts, actions)
            await self._replace(queue, attributes={**queue.record.attributes, "Policy": policy})

    async def remove_permission(self, queue: Queue, label: str) -> None:
        """Take back what was allowed under a label."""
        async with self._changing:
            policy = without_permission(queue.settings.policy, label)
            attributes = {**queue.record.attributes, "Policy": policy}
            new = {key: value for key, value in attributes.items() if value}
            await self._replace(queue, attributes=new)

    async def purge(self, queue: Queue) -> None:
        """Forget all of its messages; ``PurgeRunning`` when that was done less than a minute ago."""
        async with self._changing:
            now = self._clock.now()
            if abs(now - queue.record.purged_at) < PURGE_S:
                raise PurgeRunning(
                    f"Only one PurgeQueue operation on {queue.record.name} is allowed every 60 seconds."
                )
            await self._replace(queue, id=self._numbers.next(), purged_at=now)
            queue.total = 0

    async def delete(self, queue: Queue) -> None:
        """Remove it and its messages; who waits at it goes away with nothing."""
        async with self._changing:
            if queue.gone:
                raise NoSuchQueue
            await self._store.remove(queue.record)
            queue.gone = True
            account, name = queue.record.account, queue.record.name
            del self._queues[account, name]
            self._names[account].remove(name)
        queue.line.wake_all()

    async def _replace(self, queue: Queue, **changes: object) -> None:
        if queue.gone:
            raise NoSuchQueue
        record = msgspec.structs.replace(queue.record, **changes)
        try:
            await self._store.replace(record, old=queue.record)
        except Conflict:
            raise NoSuchQueue from None
        queue.become(record)

    def _enter(self, queue: Queue) -> None:
        account, name = queue.record.account, queue.record.name
        self._queues[account, name] = queue
        insort(self._names.setdefault(account, []), name)

    def _check_redrive(self, queue: Queue, attributes: Mapping[str, str]) -> None:
        redrive = settings_of(attributes).redrive
        if redrive is None:
            return
        start = f"Value {attributes['RedrivePolicy'][:1024]} for parameter RedrivePolicy is invalid. Reason: "
        region, account, name = parse_arn(redrive.target)
        if (region, account) != (self._region, queue.record.account):
            raise BadAttributeValue(
                start + "Dead letter target must be in the same account and region."
            )
        target = self._queues.get((account, name))
        if target is None or target is queue:
            raise BadAttributeValue(start + "Dead letter target does not exist.")
        if target.settings.ordered != (attributes.get("FifoQueue") == "true"):
            raise BadAttributeValue(
                start + "Dead-letter queue must be same type of queue as the source."
            )
        if not allows_redrive(target.record.attributes, queue.arn):
            raise BadAttributeValue(
                start + "Dead letter target does not allow this queue to use it."
            )


def _require_same(queue: Queue, wanted: Mapping[str, str]) -> None:
    present = shown(queue.record.attributes)
    for name, value in wanted.items():
        if present.get(name, "") != value:
            raise QueueExists(
                f"A queue already exists with the same name and a different value for attribute {name}"
            )
    if queue.settings.ordered and wanted.get("FifoQueue") != "true":
        raise QueueExists(
            "A queue already exists with the same name and a different value for attribute FifoQueue"
        )


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > TAGS:
        raise InvalidInput(f"Too many tags added for queue; it can have at most {TAGS}.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or key.lower().startswith("aws:"):
            raise InvalidInput(
                f"Tag keys must be between 1 and 128 characters in length and not begin with aws:, not '{key[:200]}'."
            )
        if len(value) > 256:
            raise InvalidInput("Tag values must be between 0 and 256 characters in length.")
