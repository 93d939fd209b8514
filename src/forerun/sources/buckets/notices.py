"""Brings what happened to those who are told of it: what is owed is on disk with the change itself, and goes when it is handed over."""

import asyncio
import logging
import secrets
from collections.abc import Sequence

import msgspec

from forerun.aio import TaskOwner
from forerun.errors import ForerunError
from forerun.sources.buckets.notifying import Happening, messages_of
from forerun.sources.contract import Outbox
from forerun.storage.blobs import BlobStore
from forerun.storage.objects import Notice

log = logging.getLogger("forerun.buckets")

AGAIN_S = 5.0
BATCH = 256

_HAPPENING = msgspec.json.Decoder(Happening)


def new_id() -> str:
    """A name for a notice, an upload, or one content of an object; not to be guessed."""
    return secrets.token_hex(16)


def owed(happenings: Sequence[Happening]) -> list[tuple[str, bytes]]:
    """As notices to be stored with what happened; none of what nobody is told of."""
    return [(each.id, msgspec.json.encode(each)) for each in happenings if each.targets]


class Notices:
    """Hands notices to the outbox; ``start`` begins with those an earlier run still owes."""

    def __init__(self, store: BlobStore, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox
        self._owner = TaskOwner("bucket-notices")
        self._late = asyncio.Event()

    def start(self) -> None:
        """Begin to hand over what could not be handed over at once."""
        self._late.set()
        self._owner.spawn(self._catch_up(), name="catch-up")

    async def close(self) -> None:
        """What is owed stays for the next start."""
        await self._owner.close()

    async def tell(self, notices: Sequence[Notice]) -> None:
        """These have just been stored. When the outbox does not take them now they are handed over later."""
        if not notices:
            return
        try:
            await self._hand_over(notices)
        except ForerunError as error:
            log.warning("what happened in a bucket is told later: %s", error.message)
            self._late.set()

    async def _hand_over(self, notices: Sequence[Notice]) -> None:
        messages = [
            message
            for notice in notices
            for message in messages_of(_HAPPENING.decode(notice.body), notice.sequence)
        ]
        await self._outbox.send(messages)
        await self._store.paid([notice.id for notice in notices])

    async def _catch_up(self) -> None:
        while True:
            await self._late.wait()
            self._late.clear()
            try:
                while found := await self._store.owed(BATCH):
                    await self._hand_over(found)
            except ForerunError as error:
                log.warning("what happened in a bucket is told later: %s", error.message)
                await asyncio.sleep(AGAIN_S)
                self._late.set()
