"""Which resources a template makes, in which order; everything not served is named before anything is changed. Pure."""

import graphlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forerun.cli.deploying.intrinsics import Scope, is_call, references
from forerun.cli.deploying.served import ARNS, EVENTS, INSIDE, REQUIRED, SERVED, SERVERLESS
from forerun.cli.failures import Failure

_SECTIONS = frozenset(
    [
        "AWSTemplateFormatVersion",
        "Conditions",
        "Description",
        "Globals",
        "Mappings",
        "Metadata",
        "Outputs",
        "Parameters",
        "Resources",
        "Transform",
    ]
)


@dataclass(frozen=True, slots=True)
class Planned:
    """One resource of the template, its properties not yet resolved."""

    logical_id: str
    type: str
    properties: Mapping[str, Any]


def parameter_values(declared: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The value of every parameter; ``Failure`` for unknown, missing or wrong ones."""
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise Failure(f"The template has no parameter {', '.join(unknown)}.")
    missing = [n for n, item in declared.items() if n not in given and "Default" not in item]
    if missing:
        raise Failure(
            f"The template needs {', '.join(missing)}.", f"Give --parameter {missing[0]}=VALUE"
        )
    return {
        name: _parameter(name, item, given.get(name, item.get("Default")))
        for name, item in declared.items()
    }


def refuse_unserved(template: Mapping[str, Any], scope: Scope) -> None:
    """``Failure`` naming every section, resource, property and part of one that is not served yet."""
    problems = [f"section {name}" for name in template if name not in _SECTIONS]
    for name, resource in _active(template, scope).items():
        kind, properties = str(resource.get("Type")), resource.get("Properties") or {}
        if kind not in SERVED:
            problems.append(f"{name} ({kind})")
            continue
        problems += [f"{name}.{key} ({kind})" for key in properties if key not in SERVED[kind]]
        for key, value in properties.items():
            inner = INSIDE.get((kind, key))
            if inner is not None:
                problems += [f"{name}.{key}.{each} ({kind})" for each in _beyond(inner, value)]
            if (services := ARNS.get((kind, key))) is not None:
                arns = _foreign(services, value, scope)
                problems += [f"{name}.{key} {arn} ({kind})" for arn in arns]
    _raise(problems)
    for name, resource in _active(template, scope).items():
        kind, properties = str(resource.get("Type")), resource.get("Properties") or {}
        missing = [key for key in REQUIRED.get(kind, ()) if key not in properties]
        if missing:
            raise Failure(f"{name} ({kind}) needs {' and '.join(missing)}.")


def _beyond(served: frozenset[str], value: Any) -> list[str]:
    """The members of an object, or of each object of a list, that are not served."""
    items = value if isinstance(value, list) else [value]
    return [
        key
        for item in items
        if isinstance(item, dict) and not is_call(item)
        for key in item
        if key not in served
    ]


def _foreign(services: frozenset[str], value: Any, scope: Scope) -> list[str]:
    """ARNs of other services, of those that are known before anything is made."""
    found = []
    for item in value if isinstance(value, list) else [value]:
        arn = item.get("Arn") if isinstance(item, dict) and "Arn" in item else item
        if set(references(arn)) <= set(scope.parameters):
            text = str(scope.resolve(arn))
            if text.startswith("arn:") and text.split(":")[2] not in services:
                found.append(text)
    return found


def refuse_unserved_sam(template: Mapping[str, Any]) -> None:
    """The same for what SAM turns into other resources, named as the user wrote it."""
    problems = []
    for name, resource in (template.get("Resources") or {}).items():
        kind = str(resource.get("Type"))
        prefix, _, short = kind.rpartition("::")
        if prefix == "AWS::Serverless" and short not in SERVERLESS:
            problems.append(f"{name} ({kind})")
            continue
        events = (resource.get("Properties") or {}).get("Events")
        if prefix != "AWS::Serverless" or not isinstance(events, dict):
            continue
        for event, source in events.items():
            if not isinstance(source, dict):
                raise Failure(f"{name}.Events.{event} is not written as Type and Properties.")
            if source.get("Type") not in EVENTS:
                problems.append(f"{name}.Events.{event} ({source.get('Type')})")
    _raise(problems)


def in_order(template: Mapping[str, Any], scope: Scope) -> list[Planned]:
    """The resources, each after those it refers to; ``Failure`` when they refer to each other in a circle."""
    resources = _active(template, scope)
    graph: dict[str, list[str]] = {}
    for name, resource in resources.items():
        needs = {*references(resource.get("Properties") or {}), *_depends_on(resource)}
        graph[name] = sorted(needs & set(resources))
        unknown = needs - set(resources) - set(scope.parameters)
        absent = sorted(unknown - set(template.get("Resources") or {}))
        if absent:
            raise Failure(
                f"{name} refers to {', '.join(absent)}, which the template does not have."
            )
    try:
        order = list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        circle = " -> ".join(error.args[1])
        raise Failure(f"Resources refer to each other in a circle: {circle}") from None
    return [
        Planned(name, resources[name]["Type"], resources[name].get("Properties") or {})
        for name in order
    ]


def _active(template: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    resources = template.get("Resources")
    if not isinstance(resources, dict) or not resources:
        raise Failure("The template has no resources.")
    return {
        name: resource
        for name, resource in resources.items()
        if "Condition" not in resource or scope.holds(resource["Condition"])
    }


def _depends_on(resource: Mapping[str, Any]) -> list[str]:
    needs = resource.get("DependsOn") or []
    return [needs] if isinstance(needs, str) else list(needs)


def _parameter(name: str, declared: Mapping[str, Any], value: Any) -> Any:
    allowed = declared.get("AllowedValues")
    if allowed and str(value) not in {str(item) for item in allowed}:
        raise Failure(f"Parameter {name} is one of {', '.join(map(str, allowed))}, not {value}.")
    kind = str(declared.get("Type", "String"))
    if kind == "Number":
        try:
            float(str(value))
        except ValueError:
            raise Failure(f"Parameter {name} is a number, not {value!r}.") from None
    if kind == "CommaDelimitedList" or kind.startswith("List<"):
        return [item.strip() for item in str(value).split(",")] if value != "" else []
    return value if isinstance(value, list) else str(value)


def _raise(problems: list[str]) -> None:
    if problems:
        raise Failure(
            f"Not served yet, nothing was changed: {'; '.join(problems)}.",
            "Take it out of the template to deploy the rest.",
        )
