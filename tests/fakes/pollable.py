"""A source in memory that event source mappings can take from: messages hidden for a time, groups in order."""

import asyncio
import itertools

import msgspec

from forerun.errors import NotFound, StorageFailed
from forerun.model import Origin
from forerun.sources import Backlog, Pulled

NOTHING = Origin()


class _Kept(msgspec.Struct):
    id: str
    body: bytes
    group: str
    sent_at: float
    shown_at: float
    origin: Origin = NOTHING
    received: int = 0
    receipt: str = ""


class FakePollable:
    """Stands in for ``forerun.sources.Pollable`` with one source, ``arn``.

    ``fails`` is raised by ``receive`` while it is set, ``finish_fails`` is how often ``finish`` fails; ``asked`` are the numbers of messages that were asked for, ``taken`` the
    ids in the order in which they were given, ``finished`` those that were finished; ``waiting`` counts who waits.
    """

    service = "sqs"

    def __init__(self, clock, arn, *, hide_s=30.0, service="sqs"):
        self.service = service
        self.arn = arn
        self.hides_s = hide_s
        self.fails = None
        self.finish_fails = 0
        self.missing = False
        self.asked, self.taken, self.finished, self.released = [], [], [], []
        self.waiting = 0
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._numbers = itertools.count(1)
        self._sent = asyncio.Event()

    def __len__(self):
        return len(self._kept)

    def send(self, *bodies, group="", origin=NOTHING):
        """Put messages there; their ids."""
        ids = []
        now = self._clock.now()
        for body in bodies:
            number = f"m{next(self._numbers)}"
            text = body if isinstance(body, bytes) else msgspec.json.encode(body)
            self._kept[number] = _Kept(number, text, group, now, now, origin)
            ids.append(number)
        self._sent.set()
        return ids

    def received(self, message_id):
        return self._kept[message_id].received

    async def receive(self, arn, *, most, wait_s, hide_s=0.0):
        if self.missing or arn != self.arn:
            raise NotFound("The specified queue does not exist.")
        if self.fails is not None:
            raise self.fails
        self.asked.append(most)
        if not self._visible():
            self._sent.clear()
            self.waiting += 1
            try:
                async with asyncio.timeout(wait_s):
                    await self._sent.wait()
            except TimeoutError:
                return []
            finally:
                self.waiting -= 1
        return [self._give(kept, hide_s or self.hides_s) for kept in self._visible()[:most]]

    async def finish(self, arn, receipts):
        if self.finish_fails:
            self.finish_fails -= 1
            raise StorageFailed("the disk is full")
        for receipt in receipts:
            message_id = receipt.partition("/")[0]
            kept = self._kept.get(message_id)
            if kept is not None and kept.receipt == receipt:
                del self._kept[message_id]
                self.finished.append(message_id)
        self._sent.set()

    async def release(self, arn, receipts, *, delay_s, begun=True):
        for receipt in receipts:
            kept = self._kept.get(receipt.partition("/")[0])
            if kept is not None and kept.receipt == receipt:
                kept.shown_at = self._clock.now() + delay_s
                kept.received -= 0 if begun else 1
                self.released.append((kept.id, delay_s, begun))
        self._sent.set()

    async def hide_s(self, arn):
        if self.missing or arn != self.arn:
            raise NotFound("The specified queue does not exist.")
        return self.hides_s

    async def backlog(self, arn):
        visible = self._visible()
        oldest = min((kept.sent_at for kept in visible), default=self._clock.now())
        return Backlog(
            visible=len(visible),
            hidden=len(self._kept) - len(visible),
            oldest_s=self._clock.now() - oldest,
        )

    def wake(self):
        """Let who waits look again: time has gone on."""
        self._sent.set()

    def _visible(self):
        now = self._clock.now()
        locked = {kept.group for kept in self._kept.values() if kept.group and kept.shown_at > now}
        return [
            kept
            for kept in self._kept.values()
            if kept.shown_at <= now and kept.group not in locked
        ]

    def _give(self, kept, hide_s):
        now = self._clock.now()
        kept.received += 1
        kept.shown_at = now + hide_s
        kept.receipt = f"{kept.id}/{next(self._numbers)}"
        self.taken.append(kept.id)
        body = kept.body.decode()
        record = {"messageId": kept.id, "body": body, "receiptHandle": kept.receipt}
        return Pulled(
            id=kept.id,
            receipt=kept.receipt,
            record=msgspec.json.encode(record),
            body=msgspec.json.encode({"body": body}),
            group=kept.group,
            received=kept.received,
            sent_at=kept.sent_at,
            taken_at=now,
            origin=kept.origin,
        )
