"""EventBridge Scheduler: schedules and their groups, as AWS's clients ask for them."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.handlers import Handler, Members, plain
from forerun.control.authorization import Authorizer
from forerun.control.paging import from_marker, to_page
from forerun.control.rules import require_one_of
from forerun.errors import InvalidInput, NotFound
from forerun.model import Arn
from forerun.sources.schedules import DEFAULT, Schedules, Wish, group_arn, schedule_arn
from forerun.storage.schedules import ScheduleGroup, StoredSchedule

PAGE = 100
SERVICE = "scheduler.amazonaws.com"


class SchedulerRoutes:
    """Answers the operations of ``scheduler``. Who sets a schedule must be allowed to pass its role on."""

    def __init__(self, schedules: Schedules, authorizer: Authorizer) -> None:
        self._schedules = schedules
        self._authorizer = authorizer

    def routes(self) -> dict[str, Handler]:
        """Operation name to handler."""
        return {
            "CreateSchedule": self.create,
            "UpdateSchedule": self.update,
            "GetSchedule": self.get,
            "ListSchedules": self.list,
            "DeleteSchedule": self.delete,
            "CreateScheduleGroup": self.create_group,
            "GetScheduleGroup": self.get_group,
            "ListScheduleGroups": self.list_groups,
            "DeleteScheduleGroup": self.delete_group,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.tags,
        }

    async def create(self, caller: Caller, request: Any) -> Members:
        """CreateSchedule."""
        wish = self._wish(caller, request)
        await self._schedules.create(caller.account, wish, request.ClientToken)
        return {"ScheduleArn": _arn(caller, wish.group, wish.name)}

    async def update(self, caller: Caller, request: Any) -> Members:
        """UpdateSchedule: what is left out gets its default, as on AWS."""
        wish = self._wish(caller, request)
        await self._schedules.update(caller.account, wish, request.ClientToken)
        return {"ScheduleArn": _arn(caller, wish.group, wish.name)}

    async def get(self, caller: Caller, request: Any) -> Members:
        """GetSchedule."""
        group = request.GroupName or DEFAULT
        return _shown(caller, await self._schedules.find(caller.account, group, request.Name))

    async def list(self, caller: Caller, request: Any) -> Members:
        """ListSchedules."""
        size = request.MaxResults or PAGE
        group, name = from_marker(request.NextToken, ("", ""))
        found = await self._schedules.page(
            caller.account,
            (str(group), str(name)),
            size + 1,
            group=request.GroupName or "",
            prefix=request.NamePrefix or "",
            state=request.State or "",
        )
        page = to_page(found, [(each.group, each.name) for each in found], size)
        shown = [_summary(caller, each) for each in page.items]
        return {"Schedules": shown, "NextToken": page.marker}

    async def delete(self, caller: Caller, request: Any) -> Members:
        """DeleteSchedule."""
        group = request.GroupName or DEFAULT
        await self._schedules.delete(caller.account, group, request.Name, request.ClientToken)
        return {}

    async def create_group(self, caller: Caller, request: Any) -> Members:
        """CreateScheduleGroup."""
        tags = _tags(request.Tags)
        await self._schedules.create_group(caller.account, request.Name, tags, request.ClientToken)
        return {"ScheduleGroupArn": group_arn(caller.region, caller.account, request.Name)}

    async def get_group(self, caller: Caller, request: Any) -> Members:
        """GetScheduleGroup."""
        return _shown_group(caller, await self._schedules.group(caller.account, request.Name))

    async def list_groups(self, caller: Caller, request: Any) -> Members:
        """ListScheduleGroups."""
        size = request.MaxResults or PAGE
        after = str(from_marker(request.NextToken, ("",))[0])
        found = await self._schedules.groups(
            caller.account, request.NamePrefix or "", after, size + 1
        )
        page = to_page(found, [(each.name,) for each in found], size)
        shown = [_shown_group(caller, each) for each in page.items]
        return {"ScheduleGroups": shown, "NextToken": page.marker}

    async def delete_group(self, caller: Caller, request: Any) -> Members:
        """DeleteScheduleGroup: its schedules go behind the answer."""
        await self._schedules.delete_group(caller.account, request.Name, request.ClientToken)
        return {}

    async def tag(self, caller: Caller, request: Any) -> Members:
        """TagResource."""
        name = _group_of(caller, request.ResourceArn)
        await self._schedules.tag(caller.account, name, _tags(request.Tags))
        return {}

    async def untag(self, caller: Caller, request: Any) -> Members:
        """UntagResource."""
        name = _group_of(caller, request.ResourceArn)
        await self._schedules.tag(caller.account, name, {}, tuple(request.TagKeys))
        return {}

    async def tags(self, caller: Caller, request: Any) -> Members:
        """ListTagsForResource."""
        group = await self._schedules.group(caller.account, _group_of(caller, request.ResourceArn))
        return {"Tags": [{"Key": key, "Value": value} for key, value in group.tags.items()]}

    def _wish(self, caller: Caller, request: Any) -> Wish:
        state, after = request.State or "ENABLED", request.ActionAfterCompletion or "NONE"
        require_one_of("state", state, ("ENABLED", "DISABLED"))
        require_one_of("actionAfterCompletion", after, ("NONE", "DELETE"))
        target = plain(request.Target)
        self._authorizer.require_pass_role(caller, target["RoleArn"], SERVICE)
        return Wish(
            group=request.GroupName or DEFAULT,
            name=request.Name,
            expression=request.ScheduleExpression,
            target=target,
            zone=request.ScheduleExpressionTimezone or "UTC",
            since=request.StartDate,
            until=request.EndDate,
            window_minutes=_window(request.FlexibleTimeWindow),
            enabled=state == "ENABLED",
            description=request.Description,
            key_arn=request.KmsKeyArn,
            delete_after=after == "DELETE",
        )


def _window(given: Any) -> int:
    """Minutes; 0 for none."""
    require_one_of("flexibleTimeWindow.mode", given.Mode, ("OFF", "FLEXIBLE"))
    minutes = given.MaximumWindowInMinutes
    if given.Mode == "OFF":
        if minutes is not None:
            raise InvalidInput(
                "MaximumWindowInMinutes must not be given when the mode of FlexibleTimeWindow is OFF."
            )
        return 0
    if minutes is None:
        raise InvalidInput(
            "MaximumWindowInMinutes is required when the mode of FlexibleTimeWindow is FLEXIBLE."
        )
    return int(minutes)


def _tags(given: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for tag in given or ():
        if tag.Key.lower().startswith("aws:"):
            raise InvalidInput("aws: prefixed tag key names are not allowed for external use.")
        if tag.Key in found:
            raise InvalidInput(f"The tag {tag.Key} is given twice.")
        found[tag.Key] = tag.Value
    return found


def _group_of(caller: Caller, text: str) -> str:
    arn = Arn.parse(text)
    name = arn.resource.removeprefix("schedule-group/")
    if group_arn(caller.region, caller.account, name) != text:
        raise NotFound(f"Schedule group {text} does not exist.")
    return name


def _arn(caller: Caller, group: str, name: str) -> str:
    return schedule_arn(caller.region, caller.account, group, name)


def _summary(caller: Caller, schedule: StoredSchedule) -> Members:
    return {
        "Arn": _arn(caller, schedule.group, schedule.name),
        "Name": schedule.name,
        "GroupName": schedule.group,
        "State": "ENABLED" if schedule.enabled else "DISABLED",
        "CreationDate": schedule.config.created,
        "LastModificationDate": schedule.config.modified,
        "Target": {"Arn": schedule.config.target["Arn"]},
    }


def _shown(caller: Caller, schedule: StoredSchedule) -> Members:
    config = schedule.config
    retry = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}
    given = config.target.get("RetryPolicy") or {}
    window: Members = {"Mode": "FLEXIBLE" if config.window_minutes else "OFF"}
    if config.window_minutes:
        window["MaximumWindowInMinutes"] = config.window_minutes
    return {
        **_summary(caller, schedule),
        "ScheduleExpression": config.expression,
        "ScheduleExpressionTimezone": config.zone,
        "StartDate": config.since,
        "EndDate": config.until,
        "Description": config.description,
        "KmsKeyArn": config.key_arn,
        "Target": {**config.target, "RetryPolicy": {**retry, **given}},
        "FlexibleTimeWindow": window,
        "ActionAfterCompletion": "DELETE" if config.delete_after else "NONE",
    }


def _shown_group(caller: Caller, group: ScheduleGroup) -> Members:
    return {
        "Arn": group_arn(caller.region, caller.account, group.name),
        "Name": group.name,
        "State": "DELETING" if group.deleting else "ACTIVE",
        "CreationDate": group.created,
        "LastModificationDate": group.modified,
    }
