"""Dead letters, wherever they are kept: listed, shown, tried again, forgotten.

A letter is sent again before it is removed: a server that dies in between leaves it, and sending it once more changes
nothing as long as the first is on its way.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.control.delivery.permission import OWN
from forerun.control.paging import Page, from_marker, to_marker
from forerun.control.rules import require_range
from forerun.errors import ForerunError, InvalidInput, NotFound
from forerun.model import Arn, DeadLetter, Message
from forerun.sources import Shelf
from forerun.storage.dead_letters import DeadLetterStore

log = logging.getLogger("forerun.dead-letters")

MOST_AT_ONCE = 10_000
"""Letters that one request sends again or forgets."""

# Letters that are read at once, and their bytes that are held for one request.
_PAGE = 32
_PAGE_BYTES = 16 * 1024 * 1024
_TOGETHER = 32
_SWEEP_S = 60.0
_MEMORY_MB = (128, 10_240)
_TIMEOUT_S = (1, 900)


class Again(Protocol):
    """Sends a message that was given up."""

    async def run_again(self, message: Message, *, memory_mb: int = 0, timeout_s: int = 0) -> None:
        """Return when it is on disk. Raises ``ForerunError`` when its target cannot be given it."""
        ...


class Which(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters; empty means any. ``target`` is an ARN, a URL, or the name of a function or queue."""

    target: str = ""
    reason: str = ""
    shelf: str = ""

    def fits(self, letter: DeadLetter) -> bool:
        """Whether the letter is one of them."""
        target = letter.message.target
        return (
            (not self.reason or letter.reason == self.reason)
            and (not self.shelf or letter.shelf == self.shelf)
            and (not self.target or target == self.target or self.target in _names(target))
        )


class Bounds(NamedTuple):
    """How much of an account the platform keeps: letters, their bytes, and for how many seconds."""

    letters: int
    bytes: int
    age_s: float


class Skipped(NamedTuple):
    """A letter that stays where it is, and why."""

    id: str
    shelf: str
    why: str


class Done(NamedTuple):
    """What a request did: how many letters, those that it could not, and whether there were more than it takes at once."""

    letters: int
    skipped: list[Skipped]
    more: bool


class DeadLetters:
    """The letters of all shelves. ``start`` then ``close``: in between what exceeds the bounds is removed."""

    def __init__(
        self, *, store: DeadLetterStore, again: Again, bounds: Bounds, clock: Clock
    ) -> None:
        self._store = store
        self._shelves: list[Shelf] = [store]
        self._again = again
        self._bounds = bounds
        self._clock = clock
        self._owner = TaskOwner("dead-letters")
        self.removed = 0

    def add(self, shelves: Sequence[Shelf]) -> None:
        """Letters are found on these, too, from now on."""
        self._shelves.extend(shelves)

    def start(self) -> None:
        """Begin to keep the bounds."""
        self._owner.spawn(self._keep_bounds(), name="bounds")

    async def close(self) -> None:
        """Leave it."""
        await self._owner.close()

    async def page(
        self, account: str, which: Which, marker: str | None, size: int
    ) -> Page[DeadLetter]:
        """At most ``size`` letters, fewer where they are large, shelf by shelf, the oldest of each first."""
        held = 0
        index, after = from_marker(marker, (0, ""))
        found: list[DeadLetter] = []
        for number in range(max(0, int(index)), len(self._shelves)):
            last = str(after) if number == index else ""
            while letters := await self._shelves[number].letters(account, after=last, limit=_PAGE):
                for letter in letters:
                    last = letter.id
                    if which.fits(letter):
                        found.append(letter)
                        held += len(letter.message.payload)
                        if len(found) == size or held >= _PAGE_BYTES:
                            return Page(found, to_marker((number, last)))
                if len(letters) < _PAGE:
                    break
        return Page(found)

    async def one(self, account: str, letter_id: str) -> DeadLetter:
        """A letter; ``NotFound``."""
        return (await self._find(account, letter_id))[1]

    async def redrive(
        self,
        account: str,
        letters: Sequence[str] | Which,
        *,
        memory_mb: int | None = None,
        timeout_s: int | None = None,
    ) -> Done:
        """Send letters again, by their ids or all that fit, and remove those that are on their way.

        ``memory_mb`` and ``timeout_s`` hold for that one run of those that are for functions; others are skipped then.
        Raises ``InvalidInput`` for numbers out of range.
        """
        if memory_mb is not None:
            require_range("MemorySize", memory_mb, *_MEMORY_MB)
        if timeout_s is not None:
            require_range("Timeout", timeout_s, *_TIMEOUT_S)

        async def redrive(shelf: Shelf, letter: DeadLetter) -> None:
            if (memory_mb or timeout_s) and ":lambda:" not in letter.message.target:
                raise InvalidInput(
                    "MemorySize and Timeout are for letters to functions; send this one again without them"
                )
            await self._again.run_again(
                _anew(letter), memory_mb=memory_mb or 0, timeout_s=timeout_s or 0
            )
            await shelf.remove(account, letter.id)

        return await self._each(account, letters, redrive)

    async def delete(self, account: str, letters: Sequence[str] | Which) -> Done:
        """Forget letters, by their ids or all that fit."""

        async def delete(shelf: Shelf, letter: DeadLetter) -> None:
            await shelf.remove(account, letter.id)

        return await self._each(account, letters, delete)

    async def counts(self, account: str) -> dict[str, int]:
        """How many letters the platform keeps of an account, and their bytes."""
        held = (await self._store.sizes()).get(account)
        return {"letters": held.letters if held else 0, "bytes": held.bytes if held else 0}

    async def _each(
        self,
        account: str,
        letters: Sequence[str] | Which,
        act: Callable[[Shelf, DeadLetter], Awaitable[None]],
    ) -> Done:
        if isinstance(letters, Which):
            ids, more = await self._ids(account, letters)
        else:
            ids, more = list(dict.fromkeys(letters)), False
        skipped: list[Skipped] = []
        for start in range(0, len(ids), _TOGETHER):
            part = ids[start : start + _TOGETHER]
            answers = await asyncio.gather(*(self._act(account, each, act) for each in part))
            skipped += [answer for answer in answers if answer is not None]
        return Done(len(ids) - len(skipped), skipped, more)

    async def _ids(self, account: str, which: Which) -> tuple[list[str], bool]:
        """Those of the letters that fit, and whether there are more than are handled at once."""
        ids: list[str] = []
        marker: str | None = None
        while True:
            page = await self.page(account, which, marker, MOST_AT_ONCE - len(ids))
            ids += [letter.id for letter in page.items]
            marker = page.marker
            if marker is None or len(ids) >= MOST_AT_ONCE:
                return ids, marker is not None

    async def _act(
        self,
        account: str,
        letter_id: str,
        act: Callable[[Shelf, DeadLetter], Awaitable[None]],
    ) -> Skipped | None:
        shelf_name = ""
        try:
            shelf, letter = await self._find(account, letter_id)
            shelf_name = letter.shelf
            await act(shelf, letter)
        except ForerunError as error:
            return Skipped(letter_id, shelf_name, error.message)
        return None

    async def _find(self, account: str, letter_id: str) -> tuple[Shelf, DeadLetter]:
        for shelf in self._shelves:
            letter = await shelf.letter(account, letter_id)
            if letter is not None:
                return shelf, letter
        raise NotFound(f"There is no dead letter {letter_id[:200]}")

    async def _keep_bounds(self) -> None:
        while True:
            try:
                await self.sweep()
            except ForerunError as error:
                log.warning("dead letters are not trimmed: %s", error.message)
            await asyncio.sleep(_SWEEP_S)

    async def sweep(self) -> int:
        """Remove what is too old, and the oldest of accounts that have too much; how many."""
        bounds = self._bounds
        removed = await self._store.expire(self._clock.now() - bounds.age_s)
        for account, held in (await self._store.sizes()).items():
            if held.letters > bounds.letters or held.bytes > bounds.bytes:
                removed += await self._store.trim(account, rows=bounds.letters, size=bounds.bytes)
        if removed:
            self.removed += removed
            log.warning("%d dead letters were removed: too old, or too many of an account", removed)
        return removed


def _names(target: str) -> tuple[str, ...]:
    """What a target is called without its ARN: a queue's or a function's name, with its qualifier and without."""
    try:
        resource = Arn.parse(target).resource.removeprefix("function:")
    except InvalidInput:
        return ()
    return resource, resource.partition(":")[0]


def _anew(letter: DeadLetter) -> Message:
    """The letter's message as a new one: its chain begins again, and inside of the account its owner's wish is leave enough."""
    message = letter.message
    changes: dict[str, object] = {
        "id": f"{message.id}/redriven/{letter.id}",
        "origin": msgspec.structs.replace(message.origin, lineage=""),
    }
    if message.target.startswith("arn:") and Arn.parse(message.target).account == message.account:
        changes |= {"principal": f"redrive{OWN}", "role": ""}
    return msgspec.structs.replace(message, **changes)
