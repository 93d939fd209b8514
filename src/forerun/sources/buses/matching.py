"""Finds what events are wanted by: the rules of each bus, compiled once and kept in memory until one is changed."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import msgspec

from forerun.model import Message
from forerun.patterns import PatternIndex, parse_pattern
from forerun.sources.buses.envelope import Event, event_time
from forerun.sources.buses.names import BusName, Place, no_bus
from forerun.sources.buses.targets import Aim, Occurrence, aim_of, message_to
from forerun.storage.buses import DEFAULT, BusStore, EventBus, StoredRule, StoredTarget

MOST_BUSES = 1000
MOST_RULES = 5000


class Book(msgspec.Struct, frozen=True):
    """What is kept of one bus, and its rules that act on events."""

    exists: bool
    policy: str
    index: PatternIndex[int]
    rules: Mapping[int, tuple[str, str, tuple[Aim, ...]]]
    """ARN, name and targets by id."""

    def messages(self, event: Event, *, account: str, now: float) -> Iterator[Message]:
        """What an event on the bus of ``account`` leads to. ``InvalidInput`` when its detail is no JSON object."""
        values = event.values()
        found = self.index.matching(values) if self.rules else ()
        if not found:
            return
        occurrence = Occurrence(event, values, event.encoded(), account, now, event_time(now))
        for rule_id in sorted(found):
            arn, name, aims = self.rules[rule_id]
            for aim in aims:
                yield message_to(aim, arn, name, occurrence)


class Books:
    """Books by bus, read when they are needed; ``changed`` is told of every change."""

    def __init__(self, store: BusStore, *, region: str) -> None:
        self._store = store
        self._region = region
        self._books: OrderedDict[BusName, Book] = OrderedDict()
        self._rules = 0
        self._changes = 0

    async def of(self, bus: BusName) -> Book:
        """The rules of a bus as they are now. ``NotFound`` when there is no such bus."""
        book = await self._read(bus)
        if not book.exists and bus.name != DEFAULT:
            raise no_bus(bus.name)
        return book

    async def _read(self, bus: BusName) -> Book:
        book = self._books.get(bus)
        if book is not None:
            self._books.move_to_end(bus)
            return book
        changes = self._changes
        rules = [rule async for rule in _all_rules(self._store, bus)]
        targets: dict[int, list[StoredTarget]] = {}
        for rule_id, target in await self._store.targets_of_bus(*bus):
            targets.setdefault(rule_id, []).append(target)
        kept = await self._store.bus(*bus)
        book = compile_book(kept, rules, targets, Place(self._region, bus.account))
        if changes == self._changes:
            self._keep(bus, book)
        return book

    def changed(self, bus: BusName) -> None:
        """A rule of the bus, or the bus itself, was changed."""
        self._changes += 1
        book = self._books.pop(bus, None)
        if book is not None:
            self._rules -= len(book.rules)

    def _keep(self, bus: BusName, book: Book) -> None:
        if bus in self._books:
            return
        self._books[bus] = book
        self._rules += len(book.rules)
        while len(self._books) > MOST_BUSES or (self._rules > MOST_RULES and len(self._books) > 1):
            _, old = self._books.popitem(last=False)
            self._rules -= len(old.rules)


def compile_book(
    kept: EventBus | None,
    rules: Sequence[StoredRule],
    targets: Mapping[int, Sequence[StoredTarget]],
    place: Place,
) -> Book:
    """Of the rules, those that are enabled, have a pattern and have targets; ``None`` for a bus without a row."""
    index: PatternIndex[int] = PatternIndex()
    compiled: dict[int, tuple[str, str, tuple[Aim, ...]]] = {}
    for rule in rules:
        aims = targets.get(rule.id)
        if rule.config.enabled and rule.config.pattern and aims:
            index.add(rule.id, parse_pattern(rule.config.pattern))
            arn = place.rule_arn(rule.bus, rule.name)
            compiled[rule.id] = arn, rule.name, tuple(aim_of(each) for each in aims)
    return Book(kept is not None, kept.policy if kept is not None else "", index, compiled)


async def _all_rules(store: BusStore, bus: BusName) -> AsyncIterator[StoredRule]:
    after = ""
    while page := await store.rules(bus.account, bus.name, "", after, 500):
        for rule in page:
            yield rule
        after = page[-1].name
