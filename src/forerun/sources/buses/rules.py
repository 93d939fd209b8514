"""Rules and their targets as users manage them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.errors import AlreadyExists, Conflict, ForerunError, InvalidInput
from forerun.patterns import parse_pattern
from forerun.sources.buses.firing import Firer, first_due
from forerun.sources.buses.limits import RULES, TARGETS, LimitExceeded, ManagedRule, check_tags
from forerun.sources.buses.matching import Books
from forerun.sources.buses.names import BusName, Place, no_bus, no_rule
from forerun.sources.buses.targets import Given, check_arn, check_input
from forerun.storage.buses import DEFAULT, BusStore, RuleConfig, StoredRule, StoredTarget

TRIES = 5


class RuleWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks a rule to be; what is left out is not kept from before, but for its tags."""

    pattern: str = ""
    schedule: str = ""
    state: str = "ENABLED"
    description: str = ""
    role: str = ""
    tags: Mapping[str, str] = {}


class Refused(NamedTuple):
    """A target that could not be set or removed: AWS's code and sentence."""

    target: str
    code: str
    message: str


class Rules:
    """The rules of all accounts."""

    def __init__(
        self, store: BusStore, books: Books, firer: Firer, clock: Clock, *, region: str
    ) -> None:
        self._store = store
        self._books = books
        self._firer = firer
        self._clock = clock
        self._region = region

    async def put(self, account: str, bus: str, name: str, wish: RuleWish) -> StoredRule:
        """Make or replace one. ``InvalidPattern``, ``InvalidInput``, ``NotFound``, ``LimitExceeded``, ``ManagedRule``."""
        if not wish.pattern and not wish.schedule:
            raise InvalidInput("Parameter(s) EventPattern or ScheduleExpression must be specified.")
        if wish.pattern:
            parse_pattern(wish.pattern)
        if wish.schedule and bus != DEFAULT:
            raise InvalidInput("ScheduleExpression is supported only on the default event bus.")
        check_tags(wish.tags)
        if bus != DEFAULT and await self._store.bus(account, bus) is None:
            raise no_bus(bus)
        for _ in range(TRIES):
            old = await self._store.rule(account, bus, name)
            if old is not None and old.config.managed_by:
                raise ManagedRule
            config = RuleConfig(
                pattern=wish.pattern,
                schedule=wish.schedule,
                state=wish.state,
                description=wish.description,
                role=wish.role,
                tags=dict(wish.tags) if old is None else old.config.tags,
            )
            try:
                rule = StoredRule(account=account, bus=bus, name=name, config=config)
                return await self._save(rule, old)
            except (AlreadyExists, Conflict):
                if old is None and await self._store.rule(account, bus, name) is None:
                    # Neither there already nor accepted: the bus is full, or gone.
                    raise LimitExceeded from None
        raise Conflict(f"Rule {name} is being changed by others; try again.")

    async def find(self, account: str, bus: str, name: str) -> StoredRule:
        """One rule. ``NotFound``."""
        found = await self._store.rule(account, bus, name)
        if found is None:
            if bus != DEFAULT and await self._store.bus(account, bus) is None:
                raise no_bus(bus)
            raise no_rule(bus, name)
        return found

    async def page(
        self, account: str, bus: str, prefix: str, after: str, limit: int
    ) -> list[StoredRule]:
        """Rules of a bus by name. ``NotFound`` when there is no such bus."""
        await self._require_bus(account, bus)
        return await self._store.rules(account, bus, prefix, after, limit)

    async def set_state(self, account: str, bus: str, name: str, state: str) -> None:
        """Enable or disable one. ``NotFound``, ``ManagedRule``."""
        for _ in range(TRIES):
            old = await self._changeable(account, bus, name)
            config = msgspec.structs.replace(old.config, state=state)
            try:
                await self._save(msgspec.structs.replace(old, config=config), old)
            except Conflict:
                continue
            return
        raise Conflict(f"Rule {name} is being changed by others; try again.")

    async def delete(self, account: str, bus: str, name: str, *, force: bool = False) -> None:
        """Delete one, if there is one, that has no targets. ``InvalidInput``, ``NotFound`` without its bus."""
        await self._require_bus(account, bus)
        found = await self._store.rule(account, bus, name)
        if found is None:
            return
        if found.config.managed_by and not force:
            raise ManagedRule
        if not await self._store.remove_rule(found.id):
            raise InvalidInput("Rule can't be deleted since it has targets.")
        self._firer.set(found.id, None)
        self._books.changed(BusName(account, bus))

    # Targets

    async def put_targets(
        self, account: str, bus: str, name: str, given: Sequence[Given]
    ) -> list[Refused]:
        """Set targets by id; those that cannot be are told, and the others set.

        ``InvalidInput`` for inputs that are not acceptable, ``NotFound``, ``LimitExceeded``, ``ManagedRule``: none is set.
        """
        rule = await self._changeable(account, bus, name)
        place = Place(self._region, account)
        for each in given:
            check_input(each)
        refused: list[Refused] = []
        accepted: dict[str, StoredTarget] = {}
        for each in given:
            try:
                check_arn(each, place)
            except ForerunError as error:
                refused.append(Refused(each["Id"], "ValidationException", error.message))
            else:
                target = StoredTarget(id=each["Id"], arn=each["Arn"], given=dict(each))
                accepted[target.id] = target
        if accepted:
            try:
                fits = await self._store.put_targets(rule.id, list(accepted.values()), most=TARGETS)
            except Conflict:
                raise no_rule(bus, name) from None
            if not fits:
                raise LimitExceeded
            self._books.changed(BusName(account, bus))
        return refused

    async def remove_targets(
        self, account: str, bus: str, name: str, ids: Sequence[str], *, force: bool = False
    ) -> list[Refused]:
        """Remove targets by id; those that there are not are told. ``NotFound``, ``ManagedRule``."""
        rule = await self._changeable(account, bus, name, force=force)
        removed = await self._store.remove_targets(rule.id, ids)
        self._books.changed(BusName(account, bus))
        return [
            Refused(
                each,
                "ResourceNotFoundException",
                f"Rule '{name}' does not have a target with the Id '{each}'.",
            )
            for each in ids
            if each not in removed
        ]

    async def targets(
        self, account: str, bus: str, name: str, after: str, limit: int
    ) -> list[StoredTarget]:
        """Targets of a rule by id. ``NotFound``."""
        rule = await self.find(account, bus, name)
        return await self._store.targets(rule.id, after, limit)

    async def names_by_target(
        self, account: str, bus: str, arn: str, after: str, limit: int
    ) -> list[str]:
        """Names of the bus's rules with that target. ``NotFound`` when there is no such bus."""
        await self._require_bus(account, bus)
        return await self._store.rules_by_target(account, bus, arn, after, limit)

    async def waiting(
        self, account: str, limit: int
    ) -> list[tuple[StoredRule, StoredTarget | None]]:
        """Rules of an account that wait for events, by bus and name, once for each target."""
        found = await self._store.with_targets(account, limit)
        return [each for each in found if each[0].config.pattern]

    # Tags

    async def tag(
        self,
        account: str,
        bus: str,
        name: str,
        add: Mapping[str, str],
        remove: Sequence[str] = (),
    ) -> None:
        """Set some tags, remove others."""
        for _ in range(TRIES):
            old = await self.find(account, bus, name)
            tags = {**old.config.tags, **add}
            tags = {key: value for key, value in tags.items() if key not in remove}
            check_tags(tags)
            config = msgspec.structs.replace(old.config, tags=tags)
            try:
                await self._store.save_rule(msgspec.structs.replace(old, config=config))
            except Conflict:
                continue
            return
        raise Conflict(f"Rule {name} is being changed by others; try again.")

    async def _require_bus(self, account: str, bus: str) -> None:
        if bus != DEFAULT and await self._store.bus(account, bus) is None:
            raise no_bus(bus)

    async def _changeable(
        self, account: str, bus: str, name: str, *, force: bool = False
    ) -> StoredRule:
        found = await self.find(account, bus, name)
        if found.config.managed_by and not force:
            raise ManagedRule
        return found

    async def _save(self, rule: StoredRule, old: StoredRule | None) -> StoredRule:
        """Store it with its next firing."""
        rule = self._timed(rule, old)
        if old is None:
            rule_id = await self._store.add_rule(rule, most=RULES)
            rule = msgspec.structs.replace(rule, id=rule_id)
        else:
            rule = msgspec.structs.replace(
                rule, id=old.id, revision=old.revision, last=old.last, last_at=old.last_at
            )
            await self._store.save_rule(rule)
        self._firer.set(rule.id, rule.due)
        self._books.changed(BusName(rule.account, rule.bus))
        return rule

    def _timed(self, rule: StoredRule, old: StoredRule | None) -> StoredRule:
        """With its next firing, which stays as it is when nothing about its times has changed."""
        config = rule.config
        if not config.schedule:
            return msgspec.structs.replace(rule, due=None)
        if (
            old is not None
            and old.due is not None
            and (old.config.schedule, config.enabled) == (config.schedule, True)
        ):
            config = msgspec.structs.replace(config, anchor=old.config.anchor)
            return msgspec.structs.replace(rule, config=config, due=old.due)
        config = msgspec.structs.replace(config, anchor=self._clock.now())
        due = first_due(config)
        return msgspec.structs.replace(rule, config=config, due=due if config.enabled else None)
