"""Metaevents below ``/forerun/``: rules over what the platform knows of itself, made, looked at, tried and deleted."""

from typing import Any

from forerun.aio import Clock
from forerun.api.caller import Caller
from forerun.api.platform import Command, Query, Route
from forerun.control.authorization import Authorizer
from forerun.control.delivery.permission import require_sending
from forerun.control.metaevents import Metaevents, detail, summary, try_criteria
from forerun.errors import InvalidInput
from forerun.metaevents import criteria_schema


class MetaeventRoutes:
    """The caller's own account only."""

    def __init__(self, metaevents: Metaevents, authorizer: Authorizer, clock: Clock) -> None:
        self._metaevents = metaevents
        self._authorizer = authorizer
        self._clock = clock

    def routes(self) -> dict[str, Route]:
        """What is asked, by name, for ``PlatformRoutes``."""
        return {
            "metaevents": self.get_metaevents,
            "metaevent": self.get_metaevent,
            "metaevents-schema": self.get_schema,
        }

    def commands(self) -> dict[str, Command]:
        """What is done, by name."""
        return {
            "put-metaevent": self.put_metaevent,
            "delete-metaevent": self.delete_metaevent,
            "test-metaevent": self.try_metaevent,
        }

    async def get_metaevents(self, caller: Caller, _query: Query) -> object:
        """All rules, each in short."""
        await self._metaevents.settle()
        now = self._clock.now()
        rules = self._metaevents.list(caller.account)
        return {"Metaevents": [summary(rule, now) for rule in rules]}

    async def get_metaevent(self, caller: Caller, query: Query) -> object:
        """The rule ``Name``: its criteria, what holds of them, its last evaluations and jobs, and why it did not fire."""
        await self._metaevents.settle()
        rule = self._metaevents.get(caller.account, _name(query.get("Name")))
        return {"Metaevent": detail(rule, self._clock.now())}

    async def get_schema(self, _caller: Caller, _query: Query) -> object:
        """JSON Schema of criteria."""
        return criteria_schema()

    async def put_metaevent(self, caller: Caller, given: dict[str, Any]) -> object:
        """Make or change a rule: ``Name``, ``When``, ``Job``, and optionally ``Input`` or ``InputTransformer``,
        ``Description``, ``Enabled``, ``Cooldown``. Who puts it must itself be allowed to invoke the job."""
        rule = await self._metaevents.put(
            caller.account, given, lambda job: require_sending(self._authorizer, caller, job)
        )
        return {"Metaevent": detail(rule, self._clock.now())}

    async def delete_metaevent(self, caller: Caller, given: dict[str, Any]) -> object:
        """Remove the rule ``Name``."""
        if unknown := given.keys() - {"Name"}:
            raise InvalidInput(f"There is no {min(unknown)}; there is Name")
        await self._metaevents.delete(caller.account, _name(given.get("Name")))
        return {}

    async def try_metaevent(self, _caller: Caller, given: dict[str, Any]) -> object:
        """What ``When`` would do with ``Events``; nothing is run."""
        return try_criteria(given)


def _name(given: object) -> str:
    if not isinstance(given, str) or not given:
        raise InvalidInput("Name must be that of a metaevent")
    return given
