"""Event buses, rules and their targets, brought to the wanted state and left alone where they are there already."""

from collections.abc import Mapping
from typing import Any

from forerun.cli.deploying.functions import CREATED, UNCHANGED, UPDATED, Ensured
from forerun.cli.deploying.intrinsics import Made
from forerun.cli.deploying.shaping import alike, fit_members, same_json, tags_of, text
from forerun.cli.deploying.site import Properties, Result, Site, also_changed
from forerun.cli.failures import Failure

DEFAULT_BUS = "default"
_AT_ONCE = 10
_NO_MEMBERS = frozenset({"Name", "Tags", "Targets"})


def ensure_bus(site: Site, label: str, name: str, wanted: Properties) -> Result:
    """``AWS::Events::EventBus``."""
    client = site.clients("events")
    description = text(wanted.get("Description"))
    tags = _listed(wanted, label)
    try:
        current = client.describe_event_bus(Name=name)
    except client.exceptions.ResourceNotFoundException:
        more = {"Description": description} if description else {}
        current = client.create_event_bus(Name=name, Tags=tags, **more)
        current["Arn"] = current["EventBusArn"]
        ensured = Ensured(CREATED, {})
    else:
        ensured = Ensured(UNCHANGED, {})
        if current.get("Description", "") != description:
            client.update_event_bus(Name=name, Description=description)
            ensured = Ensured(UPDATED, {})
    policy = wanted.get("Policy")
    differs = policy is not None and not same_json(current.get("Policy"), policy)
    if differs:
        client.put_permission(EventBusName=name, Policy=text(policy))
    ensured = also_changed(ensured, differs, _tag(client, current["Arn"], tags))
    return ensured, Made(name, {"Arn": current["Arn"], "Name": name}), ""


def ensure_rule(site: Site, label: str, name: str, wanted: Properties) -> Result:
    """``AWS::Events::Rule``; targets that the template does not have are removed."""
    client = site.clients("events")
    own = {key: value for key, value in wanted.items() if key not in _NO_MEMBERS}
    given = fit_members(client, "PutRule", {"Name": name, "State": "ENABLED", **own}, label)
    bus = given.get("EventBusName", DEFAULT_BUS)
    tags = _listed(wanted, label)
    where = {"EventBusName": bus}
    try:
        current = client.describe_rule(Name=name, **where)
    except client.exceptions.ResourceNotFoundException:
        arn = client.put_rule(**given, Tags=tags)["RuleArn"]
        ensured = Ensured(CREATED, {})
    else:
        arn = current["Arn"]
        differs = not _same_rule(given, current)
        if differs:
            client.put_rule(**given)
        ensured = also_changed(Ensured(UNCHANGED, {}), differs, _tag(client, arn, tags))
    shaped = fit_members(
        client, "PutTargets", {"Rule": name, "Targets": wanted.get("Targets") or []}, label
    )
    changed = _ensure_targets(client, {"Rule": name, **where}, label, shaped["Targets"])
    short = str(bus).rpartition("/")[2]
    ref = name if short == DEFAULT_BUS else f"{short}|{name}"
    detail = given.get("ScheduleExpression") or short
    return also_changed(ensured, changed), Made(ref, {"Arn": arn}), detail


def _same_rule(given: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    plain = ("ScheduleExpression", "State", "Description", "RoleArn")
    return same_json(given.get("EventPattern"), current.get("EventPattern")) and all(
        alike(given.get(key), current.get(key)) for key in plain
    )


def _ensure_targets(
    client: Any, at: dict[str, str], label: str, targets: list[dict[str, Any]]
) -> bool:
    pages = client.get_paginator("list_targets_by_rule").paginate(**at)
    current = {each["Id"]: each for page in pages for each in page["Targets"]}
    changed = [each for each in targets if not same_json(current.get(each["Id"]), each)]
    for first in range(0, len(changed), _AT_ONCE):
        some = changed[first : first + _AT_ONCE]
        _require_done(label, client.put_targets(**at, Targets=some))
    gone = sorted(current.keys() - {each["Id"] for each in targets})
    for first in range(0, len(gone), _AT_ONCE):
        names = gone[first : first + _AT_ONCE]
        _require_done(label, client.remove_targets(**at, Ids=names))
    return bool(changed or gone)


def _require_done(label: str, answer: Mapping[str, Any]) -> None:
    for entry in answer.get("FailedEntries") or ():
        raise Failure(
            f"{label}: target {entry['TargetId']} was refused: "
            f"{entry.get('ErrorMessage')} ({entry.get('ErrorCode')})"
        )


def _listed(wanted: Properties, label: str) -> list[dict[str, str]]:
    tags = tags_of(wanted.get("Tags"), label)
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tag(client: Any, arn: str, tags: list[dict[str, str]]) -> bool:
    if not tags:
        return False
    known = client.list_tags_for_resource(ResourceARN=arn).get("Tags", [])
    if all(tag in known for tag in tags):
        return False
    client.tag_resource(ResourceARN=arn, Tags=tags)
    return True
