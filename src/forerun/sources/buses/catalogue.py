"""Buses as users manage them: made, changed, listed, deleted, opened to others, tagged."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from forerun.aio import Clock
from forerun.errors import AlreadyExists, Conflict, InvalidInput, NotFound, PolicyTooLong
from forerun.sources.buses.limits import LimitExceeded, check_tags
from forerun.sources.buses.matching import Books
from forerun.sources.buses.names import BusName, Place, no_bus
from forerun.storage.buses import DEFAULT, BusStore, EventBus

BUSES = 100
POLICY_BYTES = 10_240

_POLICY = msgspec.json.Decoder(dict[str, Any])


class BusWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks a bus to be; ``None`` leaves what is."""

    description: str | None = None
    key: str | None = None
    dead_letter: str | None = None


class Buses:
    """The buses of all accounts. Each account has one named ``default``, which cannot be deleted."""

    def __init__(self, store: BusStore, books: Books, clock: Clock, *, region: str) -> None:
        self._store = store
        self._books = books
        self._clock = clock
        self._region = region

    async def create(
        self, account: str, name: str, wish: BusWish, tags: Mapping[str, str]
    ) -> EventBus:
        """Make one. ``AlreadyExists``, ``LimitExceeded``, ``InvalidInput``."""
        if "/" in name:
            raise InvalidInput("Event bus name must not contain '/'.")
        if name == DEFAULT:
            raise AlreadyExists(f"Event bus {name} already exists.")
        check_tags(tags)
        now = self._clock.now()
        bus = _wished(
            EventBus(account=account, name=name, tags=dict(tags), created=now, modified=now), wish
        )
        try:
            await self._store.add_bus(bus, most=BUSES)
        except AlreadyExists:
            raise AlreadyExists(f"Event bus {name} already exists.") from None
        except Conflict:
            if await self._store.bus(account, name) is not None:
                raise AlreadyExists(f"Event bus {name} already exists.") from None
            raise LimitExceeded from None
        self._books.changed(BusName(account, name))
        return bus

    async def update(self, account: str, name: str, wish: BusWish) -> EventBus:
        """Change what is given. ``NotFound``."""
        return await self._save(_wished(await self.find(account, name), wish))

    async def find(self, account: str, name: str) -> EventBus:
        """One bus. ``NotFound``."""
        found = await self._store.bus(account, name)
        if found is not None:
            return found
        if name != DEFAULT:
            raise no_bus(name)
        return EventBus(account=account, name=DEFAULT, created=0.0, modified=0.0)

    async def page(self, account: str, prefix: str, after: str, limit: int) -> list[EventBus]:
        """Buses by name."""
        found = await self._store.buses(account, prefix, after, limit)
        if DEFAULT.startswith(prefix) and after < DEFAULT:
            names = {each.name for each in found}
            if DEFAULT not in names:
                found = sorted(
                    [*found, await self.find(account, DEFAULT)], key=lambda bus: bus.name
                )
        return found[:limit]

    async def delete(self, account: str, name: str) -> None:
        """Delete one, if there is one, that has no rules. ``InvalidInput``."""
        if name == DEFAULT:
            raise InvalidInput("Cannot delete event bus default.")
        if not await self._store.remove_bus(account, name):
            raise InvalidInput("Event bus can't be deleted since it has rules.")
        self._books.changed(BusName(account, name))

    # Who may put events onto it

    async def set_policy(self, account: str, name: str, policy: str) -> None:
        """Replace the policy by a sound one, given as JSON. ``NotFound``, ``PolicyTooLong``."""
        if len(policy.encode()) > POLICY_BYTES:
            raise PolicyTooLong(f"The policy of an event bus has at most {POLICY_BYTES} bytes.")
        bus = await self.find(account, name)
        await self._save(msgspec.structs.replace(bus, policy=policy))

    async def allow(self, account: str, name: str, statement: Mapping[str, Any]) -> None:
        """Add a statement, or replace the one with its ``Sid``."""
        bus = await self.find(account, name)
        others = [each for each in _statements(bus) if each.get("Sid") != statement["Sid"]]
        await self.set_policy(account, name, _document([*others, statement]))

    async def disallow(self, account: str, name: str, statement_id: str) -> None:
        """Remove a statement. ``NotFound``."""
        bus = await self.find(account, name)
        if not bus.policy:
            raise NotFound("EventBus does not have a policy.")
        statements = _statements(bus)
        left = [each for each in statements if each.get("Sid") != statement_id]
        if len(left) == len(statements):
            raise NotFound("Statement with the provided id does not exist.")
        await self.set_policy(account, name, _document(left) if left else "")

    def arn(self, account: str, name: str) -> str:
        """The ARN of a bus."""
        return Place(self._region, account).bus_arn(name)

    # Tags

    async def tag(
        self, account: str, name: str, add: Mapping[str, str], remove: Sequence[str] = ()
    ) -> None:
        """Set some tags, remove others."""
        bus = await self.find(account, name)
        tags = {key: value for key, value in {**bus.tags, **add}.items() if key not in remove}
        check_tags(tags)
        await self._save(msgspec.structs.replace(bus, tags=tags))

    async def _save(self, bus: EventBus) -> EventBus:
        now = self._clock.now()
        changed = msgspec.structs.replace(bus, modified=now, created=bus.created or now)
        try:
            await self._store.save_bus(changed)
        except Conflict:
            raise no_bus(bus.name) from None
        self._books.changed(BusName(bus.account, bus.name))
        return changed


def _wished(bus: EventBus, wish: BusWish) -> EventBus:
    changes = {
        name: value for name, value in msgspec.structs.asdict(wish).items() if value is not None
    }
    return msgspec.structs.replace(bus, **changes)


def _statements(bus: EventBus) -> list[dict[str, Any]]:
    if not bus.policy:
        return []
    found = _POLICY.decode(bus.policy).get("Statement", [])
    return found if isinstance(found, list) else [found]


def _document(statements: Sequence[Mapping[str, Any]]) -> str:
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": statements}).decode()
