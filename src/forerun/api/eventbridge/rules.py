"""Rules and their targets."""

from collections.abc import Sequence
from typing import Any

from forerun.api.caller import Caller
from forerun.api.eventbridge.reading import (
    SERVICE,
    begin_page,
    own_bus,
    place_of,
    tags_of,
    without_empty,
)
from forerun.api.handlers import Handler, Members, plain
from forerun.control.authorization import Authorizer
from forerun.control.paging import to_page
from forerun.errors import Unsupported
from forerun.sources.buses import Refused, Rules, RuleWish
from forerun.storage.buses import StoredRule

_STATES = ("ENABLED", "DISABLED")


class RuleRoutes:
    """Answers the operations on rules and targets. Who names a role must be allowed to pass it on."""

    def __init__(self, rules: Rules, authorizer: Authorizer) -> None:
        self._rules = rules
        self._authorizer = authorizer

    def routes(self) -> dict[str, Handler]:
        """Operation name to handler."""
        return {
            "PutRule": self.put,
            "DescribeRule": self.describe,
            "ListRules": self.list,
            "EnableRule": self.enable,
            "DisableRule": self.disable,
            "DeleteRule": self.delete,
            "PutTargets": self.put_targets,
            "RemoveTargets": self.remove_targets,
            "ListTargetsByRule": self.list_targets,
            "ListRuleNamesByTarget": self.list_by_target,
        }

    async def put(self, caller: Caller, request: Any) -> Members:
        """PutRule: what is left out is not kept."""
        state = request.State or "ENABLED"
        if state not in _STATES:
            raise Unsupported(f"The state {state} is not served; ENABLED and DISABLED are")
        self._require_role(caller, request.RoleArn)
        wish = RuleWish(
            pattern=request.EventPattern or "",
            schedule=request.ScheduleExpression or "",
            state=state,
            description=request.Description or "",
            role=request.RoleArn or "",
            tags=tags_of(request.Tags),
        )
        bus = own_bus(caller, request)
        await self._rules.put(caller.account, bus, request.Name, wish)
        return {"RuleArn": place_of(caller).rule_arn(bus, request.Name)}

    async def describe(self, caller: Caller, request: Any) -> Members:
        """DescribeRule."""
        bus = own_bus(caller, request)
        rule = await self._rules.find(caller.account, bus, request.Name)
        return {**_printed(caller, rule), "CreatedBy": caller.account}

    async def list(self, caller: Caller, request: Any) -> Members:
        """ListRules."""
        after, size = begin_page(request)
        bus, prefix = own_bus(caller, request), request.NamePrefix or ""
        found = await self._rules.page(caller.account, bus, prefix, after, size + 1)
        page = to_page(found, [(rule.name,) for rule in found], size)
        rules = [_printed(caller, rule) for rule in page.items]
        return {"Rules": rules, "NextToken": page.marker}

    async def enable(self, caller: Caller, request: Any) -> Members:
        """EnableRule."""
        await self._rules.set_state(
            caller.account, own_bus(caller, request), request.Name, "ENABLED"
        )
        return {}

    async def disable(self, caller: Caller, request: Any) -> Members:
        """DisableRule."""
        await self._rules.set_state(
            caller.account, own_bus(caller, request), request.Name, "DISABLED"
        )
        return {}

    async def delete(self, caller: Caller, request: Any) -> Members:
        """DeleteRule: its targets have to be removed first."""
        bus = own_bus(caller, request)
        await self._rules.delete(caller.account, bus, request.Name, force=bool(request.Force))
        return {}

    async def put_targets(self, caller: Caller, request: Any) -> Members:
        """PutTargets."""
        given = [plain(target) for target in request.Targets]
        for target in given:
            self._require_role(caller, target.get("RoleArn"))
        bus = own_bus(caller, request)
        return _refused(await self._rules.put_targets(caller.account, bus, request.Rule, given))

    async def remove_targets(self, caller: Caller, request: Any) -> Members:
        """RemoveTargets."""
        bus, force = own_bus(caller, request), bool(request.Force)
        refused = await self._rules.remove_targets(
            caller.account, bus, request.Rule, request.Ids, force=force
        )
        return _refused(refused)

    async def list_targets(self, caller: Caller, request: Any) -> Members:
        """ListTargetsByRule."""
        after, size = begin_page(request)
        bus = own_bus(caller, request)
        found = await self._rules.targets(caller.account, bus, request.Rule, after, size + 1)
        page = to_page(found, [(target.id,) for target in found], size)
        return {"Targets": [target.given for target in page.items], "NextToken": page.marker}

    async def list_by_target(self, caller: Caller, request: Any) -> Members:
        """ListRuleNamesByTarget."""
        after, size = begin_page(request)
        bus = own_bus(caller, request)
        found = await self._rules.names_by_target(
            caller.account, bus, request.TargetArn, after, size + 1
        )
        page = to_page(found, [(name,) for name in found], size)
        return {"RuleNames": page.items, "NextToken": page.marker}

    def _require_role(self, caller: Caller, role: str | None) -> None:
        if role:
            self._authorizer.require_pass_role(caller, role, SERVICE)


def _printed(caller: Caller, rule: StoredRule) -> Members:
    config = rule.config
    return without_empty(
        {
            "Name": rule.name,
            "Arn": place_of(caller).rule_arn(rule.bus, rule.name),
            "EventPattern": config.pattern,
            "ScheduleExpression": config.schedule,
            "State": config.state,
            "Description": config.description,
            "RoleArn": config.role,
            "ManagedBy": config.managed_by,
            "EventBusName": rule.bus,
        }
    )


def _refused(refused: Sequence[Refused]) -> Members:
    return {
        "FailedEntryCount": len(refused),
        "FailedEntries": [
            {"TargetId": each.target, "ErrorCode": each.code, "ErrorMessage": each.message}
            for each in refused
        ],
    }
