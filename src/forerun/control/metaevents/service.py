"""Rules of metaevents as their owners handle them: put, look at, delete. It also starts and stops what is behind them."""

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from forerun.aio import Clock
from forerun.control.metaevents.notebook import Notebook
from forerun.control.metaevents.recovery import catch_up_with_records
from forerun.control.metaevents.rules import Definition, Key, Rule, read_definition
from forerun.control.metaevents.watcher import Watcher
from forerun.control.registry import Registry
from forerun.errors import Conflict, ForerunError, InvalidInput, NotFound
from forerun.model import parse_function_ref
from forerun.settings import MetaeventSettings
from forerun.storage import InvocationStore
from forerun.storage.metaevents import MetaeventStore, RuleRow

log = logging.getLogger("forerun.metaevents")

_NAME = re.compile(r"[a-zA-Z0-9-_]{1,64}\Z")
_GIVEN = {
    "Name",
    "When",
    "Job",
    "Input",
    "InputTransformer",
    "Description",
    "Enabled",
    "Cooldown",
}


def _anybody(_job: str) -> None:
    """Nobody is asked."""


class Metaevents:
    """The rules of all accounts; ``start`` then ``close``, once each."""

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        store: MetaeventStore,
        watcher: Watcher,
        notebook: Notebook,
        registry: Registry,
        invocations: InvocationStore,
        clock: Clock,
        settings: MetaeventSettings,
        region: str,
    ) -> None:
        self._store = store
        self._watcher = watcher
        self._notebook = notebook
        self._registry = registry
        self._invocations = invocations
        self._clock = clock
        self._settings = settings
        self._region = region
        self._rules: dict[Key, Rule] = {}
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Take up the rules where an earlier server left them. Raises ``StorageFailed``."""
        for row in await self._store.rules():
            try:
                self._rules[row.account, row.name] = self._rule(row)
            except (ForerunError, msgspec.DecodeError) as error:
                log.warning(
                    "the rule %s/%s cannot be read and rests: %s", row.account, row.name, error
                )
        await self._notebook.restore(self._rules)
        for rule in self._rules.values():
            if rule.definition.enabled:
                await catch_up_with_records(rule, self._invocations)
                self._watcher.put(rule)
        self._notebook.start()
        self._watcher.start()

    async def close(self) -> None:
        """Raise nothing more, and write down what is remembered."""
        await self._watcher.close()
        await self._notebook.close()

    async def put(
        self, account: str, given: Mapping[str, Any], allow: Callable[[str], None] = _anybody
    ) -> Rule:
        """Make a rule, or change it. While its criteria stay the same and it stays enabled, it goes on as it was.

        ``allow`` is asked with the ARN of the job's function, and raises when who puts it may not have that run.
        Raises ``InvalidInput``, ``NotFound`` for a job's function that is none, ``Conflict`` for too many rules.
        """
        if unknown := given.keys() - _GIVEN:
            raise InvalidInput(f"There is no {min(unknown)}; there are {', '.join(sorted(_GIVEN))}")
        name = given.get("Name")
        if not isinstance(name, str) or not _NAME.match(name):
            raise InvalidInput("Name must be 1 to 64 letters, digits, '-' and '_'")
        definition = read_definition(given, account, self._region)
        allow(definition.job)
        job = parse_function_ref(definition.job)
        await self._registry.resolve(account, job.name, job.qualifier, 0.0)
        async with self._changing:
            return await self._put(account, name, definition)

    async def delete(self, account: str, name: str) -> None:
        """Remove a rule with all it remembers; ``NotFound`` when there is none."""
        async with self._changing:
            rule = self.get(account, name)
            await self._store.delete(account, name)
            del self._rules[rule.key]
            self._watcher.remove(rule.key)
            self._notebook.forget(rule.key)

    def get(self, account: str, name: str) -> Rule:
        """One rule; ``NotFound`` when there is none."""
        rule = self._rules.get((account, name))
        if rule is None:
            raise NotFound(f"There is no metaevent {name[:64]}")
        return rule

    def list(self, account: str) -> list[Rule]:
        """The rules of an account by name."""
        return sorted(
            (rule for key, rule in self._rules.items() if key[0] == account),
            key=lambda rule: rule.row.name,
        )

    async def settle(self) -> None:
        """Return when what was told so far is judged."""
        await self._watcher.settle()

    async def _put(self, account: str, name: str, definition: Definition) -> Rule:
        now, before = self._clock.now(), self._rules.get((account, name))
        goes_on = before is not None and _goes_on(before.definition, definition)
        row = RuleRow(
            account=account,
            name=name,
            revision=before.row.revision if before and goes_on else secrets.token_hex(8),
            since=before.row.since if before and goes_on else now,
            created=before.row.created if before else now,
            modified=now,
            definition=msgspec.json.encode(definition),
        )
        if not await self._store.put(row, most=self._settings.max_rules):
            raise Conflict(
                f"The account has {self._settings.max_rules} metaevents already (metaevents.max_rules)"
            )
        rule = self._rule(row)
        if before is not None and goes_on:
            rule.restore(before.memory)
        else:
            self._notebook.forget(rule.key)
        self._rules[rule.key] = rule
        if definition.enabled:
            self._watcher.put(rule)
        else:
            self._watcher.remove(rule.key)
        self._notebook.changed(rule)
        return rule

    def _rule(self, row: RuleRow) -> Rule:
        return Rule(row, self._settings.rule_per_minute)


def _goes_on(before: Definition, after: Definition) -> bool:
    """Whether the rule remembers what it knew: its criteria are the same, and it was not off."""
    return before.when == after.when and before.enabled and after.enabled
