"""Schedules and their groups, brought to the wanted state and left alone where they are there already."""

from collections.abc import Mapping
from typing import Any

from forerun.cli.deploying.functions import CREATED, UNCHANGED, UPDATED, Ensured
from forerun.cli.deploying.intrinsics import Made
from forerun.cli.deploying.shaping import alike, fit_members, same_json, tags_of
from forerun.cli.deploying.site import Properties, Result, Site, also_changed

DEFAULT_GROUP = "default"
# What a schedule is told to be where the template says nothing.
_DEFAULTS: Mapping[str, Any] = {
    "Description": None,
    "EndDate": None,
    "ScheduleExpressionTimezone": "UTC",
    "StartDate": None,
    "State": "ENABLED",
}
_RETRY = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}


def ensure_schedule(site: Site, label: str, name: str, wanted: Properties) -> Result:
    """``AWS::Scheduler::Schedule``."""
    client = site.clients("scheduler")
    given = fit_members(client, "CreateSchedule", {**wanted, "Name": name}, label)
    group = given.get("GroupName", DEFAULT_GROUP)
    try:
        current = client.get_schedule(Name=name, GroupName=group)
    except client.exceptions.ResourceNotFoundException:
        client.create_schedule(**given)
        action = CREATED
    else:
        action = UNCHANGED if _same(given, current) else UPDATED
        if action == UPDATED:
            client.update_schedule(**given)
    arn = site.arn("scheduler", f"schedule/{group}/{name}")
    return Ensured(action, {}), Made(name, {"Arn": arn}), given.get("ScheduleExpression", "")


def ensure_group(site: Site, label: str, name: str, wanted: Properties) -> Result:
    """``AWS::Scheduler::ScheduleGroup``."""
    client = site.clients("scheduler")
    tags = tags_of(wanted.get("Tags"), label)
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    arn = site.arn("scheduler", f"schedule-group/{name}")
    try:
        client.get_schedule_group(Name=name)
    except client.exceptions.ResourceNotFoundException:
        client.create_schedule_group(Name=name, Tags=listed)
        ensured = Ensured(CREATED, {})
    else:
        known = client.list_tags_for_resource(ResourceArn=arn).get("Tags", [])
        differs = any(tag not in known for tag in listed)
        if differs:
            client.tag_resource(ResourceArn=arn, Tags=listed)
        ensured = also_changed(Ensured(UNCHANGED, {}), differs)
    return ensured, Made(name, {"Arn": arn}), ""


def _same(given: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    full = {**_DEFAULTS, **given}
    target = dict(full.pop("Target", {}))
    now = dict(current["Target"])
    retry = {**_RETRY, **target.pop("RetryPolicy", {})}
    return (
        alike(retry, now.pop("RetryPolicy", _RETRY))
        and same_json(target.pop("Input", None), now.pop("Input", None))
        and alike(target, now)
        and all(alike(value, current.get(key)) for key, value in full.items() if key in current)
        and not any(value is not None and key not in current for key, value in full.items())
    )
