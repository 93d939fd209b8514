"""Keeps what rules remember: when an absence's event was seen last within a tenth of a second, all else within a second.

What is lost with a killed server is at most that; and what executions it missed stands in their records (``recovery``).
"""

import logging

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.control.metaevents.rules import Key, Memory, Rule
from forerun.errors import ForerunError
from forerun.storage.metaevents import MemoryRow, MetaeventStore, SeenRow

log = logging.getLogger("forerun.metaevents")

SEEN_S = 0.05
MEMORY_S = 1.0
AT_ONCE = 64

_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(Memory).decode


class Notebook:
    """Writes behind; ``start`` then ``close``, once each."""

    def __init__(self, store: MetaeventStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._changed: dict[Key, Rule] = {}
        self._seen: dict[tuple[str, str, int], SeenRow] = {}
        self._owner = TaskOwner("metaevent-notebook")
        self.failed = 0

    def start(self) -> None:
        """Begin to write."""
        self._owner.spawn(self._run(), name="write")

    async def close(self) -> None:
        """Write what is left, and stop."""
        await self._owner.close()
        await self._write_seen()
        await self._write_memories(len(self._changed))

    def changed(self, rule: Rule) -> None:
        """What the rule remembers is to be written."""
        self._changed[rule.key] = rule

    def saw(self, rule: Rule, seen: dict[int, float]) -> None:
        """The events of these absences were seen."""
        account, name = rule.key
        for part, at in seen.items():
            self._seen[account, name, part] = SeenRow(account, name, part, rule.row.revision, at)

    def forget(self, key: Key) -> None:
        """The rule is gone, or another one."""
        self._changed.pop(key, None)
        for each in [each for each in self._seen if each[:2] == key]:
            del self._seen[each]

    async def write_now(self, rule: Rule) -> None:
        """Write what a rule remembers, synced: its job was sent. Where that fails it is tried again later."""
        self._changed.pop(rule.key, None)
        try:
            await self._store.remember([_row(rule)], durable=True)
        except ForerunError as error:
            self._fail(error)
            self.changed(rule)

    async def restore(self, rules: dict[Key, Rule]) -> None:
        """Give the rules what was remembered. Raises ``StorageFailed``."""
        for row in await self._store.memories():
            rule = rules.get((row.account, row.name))
            if rule is None:
                continue
            try:
                rule.restore(_DECODE(row.memory))
            except (msgspec.DecodeError, ValueError) as error:
                log.warning(
                    "what %s/%s remembered cannot be read: %s", row.account, row.name, error
                )
        for seen in await self._store.seen():
            if rule := rules.get((seen.account, seen.name)):
                known = rule.memory.state.seen
                known[seen.part] = max(seen.at, known.get(seen.part, 0.0))

    async def _run(self) -> None:
        written_at = self._clock.monotonic()
        while True:
            await self._clock.sleep(SEEN_S)
            await self._write_seen()
            now = self._clock.monotonic()
            if now - written_at >= MEMORY_S:
                written_at = now
                await self._write_memories(len(self._changed))

    async def _write_seen(self) -> None:
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            await self._store.saw(list(seen.values()))
        except ForerunError as error:
            self._fail(error)
            self._seen = seen | self._seen

    async def _write_memories(self, most: int) -> None:
        """A few at a time, so that the loop serves others in between; none whose job is not sent yet."""
        for _ in range(0, most, AT_ONCE):
            ready = [rule for rule in self._changed.values() if not rule.unsent][:AT_ONCE]
            for rule in ready:
                del self._changed[rule.key]
            try:
                await self._store.remember([_row(rule) for rule in ready])
            except ForerunError as error:
                self._fail(error)
                for rule in ready:
                    self._changed.setdefault(rule.key, rule)
                return

    def _fail(self, error: ForerunError) -> None:
        self.failed += 1
        log.warning("what metaevents remember is not written: %s", error.message)


def _row(rule: Rule) -> MemoryRow:
    row = rule.row
    return MemoryRow(row.account, row.name, row.revision, _ENCODE(rule.memory))
