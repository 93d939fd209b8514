"""Event source mappings, brought to the wanted state and left alone where they are there already."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from forerun.cli.deploying.functions import CREATED, UNCHANGED, UPDATED, Ensured
from forerun.cli.deploying.intrinsics import Made
from forerun.cli.deploying.shaping import alike, fit_members, same_json, tags_of
from forerun.cli.deploying.site import Properties, Result, Site, also_changed
from forerun.cli.failures import Failure
from forerun.model import parse_function_ref

_SETTLED_WITHIN_S = 60.0
_POLL_S = 0.1
# What a mapping is told to be where the template says nothing.
_DEFAULTS: Mapping[str, Any] = {
    "BatchSize": 10,
    "FilterCriteria": {},
    "FunctionResponseTypes": [],
    "MaximumBatchingWindowInSeconds": 0,
    "ScalingConfig": {},
}
_UNSETTLED = frozenset({"Creating", "Updating", "Enabling", "Disabling", "Deleting"})


def ensure_mapping(
    site: Site,
    label: str,
    _name: str,
    wanted: Properties,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """``AWS::Lambda::EventSourceMapping``; returns when it polls, or is disabled as it shall be."""
    client = site.clients("lambda")
    tags = tags_of(wanted.get("Tags"), label)
    own = {key: value for key, value in wanted.items() if key != "Tags"}
    given = fit_members(client, "CreateEventSourceMapping", own, label)
    enabled = given.setdefault("Enabled", True)
    current = _find(client, site, given)
    if current is None:
        more = {"Tags": tags} if tags else {}
        current = client.create_event_source_mapping(**given, **more)
        ensured = Ensured(CREATED, {})
    else:
        changes = _changes(given, current, enabled=enabled)
        if changes:
            client.update_event_source_mapping(UUID=current["UUID"], **changes)
        ensured = Ensured(UPDATED if changes else UNCHANGED, {})
        ensured = also_changed(ensured, _tag(client, current["EventSourceMappingArn"], tags))
    uuid = str(current["UUID"])
    site.claimed.add(uuid)
    state = _settle(client, label, uuid, sleep)
    made = Made(uuid, {"Id": uuid, "EventSourceMappingArn": current["EventSourceMappingArn"]})
    return ensured, made, state


def _find(client: Any, site: Site, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The mapping of the same source and function; rather one of the same qualifier than of another."""
    wanted = parse_function_ref(given["FunctionName"])
    pages = client.get_paginator("list_event_source_mappings").paginate(
        FunctionName=wanted.name, EventSourceArn=given["EventSourceArn"]
    )
    found: list[dict[str, Any]] = [
        each
        for page in pages
        for each in page["EventSourceMappings"]
        if each["UUID"] not in site.claimed and each["State"] != "Deleting"
    ]
    found.sort(
        key=lambda each: parse_function_ref(each["FunctionArn"]).qualifier != wanted.qualifier
    )
    return found[0] if found else None


def _changes(
    given: Mapping[str, Any], current: Mapping[str, Any], *, enabled: bool
) -> dict[str, Any]:
    full = {**_DEFAULTS, **given}
    wanted = parse_function_ref(full.pop("FunctionName"))
    del full["EventSourceArn"], full["Enabled"]
    # Patterns are texts of JSON in which ``1`` is not ``"1"``.
    changes = {
        key: value
        for key, value in full.items()
        if not (same_json if key == "FilterCriteria" else alike)(
            value, current.get(key, _DEFAULTS.get(key))
        )
    }
    if parse_function_ref(current["FunctionArn"]).qualifier != wanted.qualifier:
        changes["FunctionName"] = given["FunctionName"]
    if enabled != (current["State"] in {"Enabled", "Enabling", "Creating"}):
        changes["Enabled"] = enabled
    return changes


def _settle(client: Any, label: str, uuid: str, sleep: Callable[[float], None]) -> str:
    for _ in range(int(_SETTLED_WITHIN_S / _POLL_S)):
        current = client.get_event_source_mapping(UUID=uuid)
        if current["State"] not in _UNSETTLED:
            return str(current["State"])
        sleep(_POLL_S)
    raise Failure(f"{label} is still {current['State']} after {_SETTLED_WITHIN_S:.0f} s.")


def _tag(client: Any, arn: str, tags: dict[str, str]) -> bool:
    if not tags:
        return False
    known = client.list_tags(Resource=arn).get("Tags", {})
    if all(known.get(key) == value for key, value in tags.items()):
        return False
    client.tag_resource(Resource=arn, Tags=tags)
    return True
