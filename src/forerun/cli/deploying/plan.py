"""Which resources a template makes, in which order; everything not served is named before anything is changed. Pure."""

import graphlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forerun.cli.deploying.intrinsics import Scope, references
from forerun.cli.failures import Failure

SERVED: Mapping[str, frozenset[str]] = {
    "AWS::Lambda::Function": frozenset(
        [
            "Architectures",
            "Code",
            "DeadLetterConfig",
            "Description",
            "Environment",
            "EphemeralStorage",
            "FileSystemConfigs",
            "FunctionName",
            "Handler",
            "KmsKeyArn",
            "Layers",
            "LoggingConfig",
            "MemorySize",
            "PackageType",
            "ReservedConcurrentExecutions",
            "Role",
            "Runtime",
            "SnapStart",
            "Tags",
            "Timeout",
            "TracingConfig",
            "VpcConfig",
        ]
    ),
    "AWS::Lambda::LayerVersion": frozenset(
        [
            "CompatibleArchitectures",
            "CompatibleRuntimes",
            "Content",
            "Description",
            "LayerName",
            "LicenseInfo",
        ]
    ),
    "AWS::Lambda::Version": frozenset(
        ["FunctionName", "Description", "CodeSha256", "ProvisionedConcurrencyConfig"]
    ),
    "AWS::Lambda::Alias": frozenset(
        [
            "FunctionName",
            "FunctionVersion",
            "Name",
            "Description",
            "ProvisionedConcurrencyConfig",
            "RoutingConfig",
        ]
    ),
    "AWS::ApplicationAutoScaling::ScalableTarget": frozenset(
        [
            "MaxCapacity",
            "MinCapacity",
            "ResourceId",
            "RoleARN",
            "ScalableDimension",
            "ScheduledActions",
            "ServiceNamespace",
            "SuspendedState",
        ]
    ),
    "AWS::ApplicationAutoScaling::ScalingPolicy": frozenset(
        [
            "PolicyName",
            "PolicyType",
            "PredictiveScalingPolicyConfiguration",
            "ResourceId",
            "ScalableDimension",
            "ScalingTargetId",
            "ServiceNamespace",
            "StepScalingPolicyConfiguration",
            "TargetTrackingScalingPolicyConfiguration",
        ]
    ),
    "AWS::Lambda::Url": frozenset(
        ["TargetFunctionArn", "Qualifier", "AuthType", "Cors", "InvokeMode"]
    ),
    "AWS::Lambda::Permission": frozenset(
        [
            "Action",
            "EventSourceToken",
            "FunctionName",
            "FunctionUrlAuthType",
            "InvokedViaFunctionUrl",
            "Principal",
            "PrincipalOrgID",
            "SourceAccount",
            "SourceArn",
        ]
    ),
    "AWS::Lambda::EventInvokeConfig": frozenset(
        [
            "DestinationConfig",
            "FunctionName",
            "MaximumEventAgeInSeconds",
            "MaximumRetryAttempts",
            "Qualifier",
        ]
    ),
    "AWS::IAM::Role": frozenset(
        [
            "AssumeRolePolicyDocument",
            "Description",
            "ManagedPolicyArns",
            "MaxSessionDuration",
            "Path",
            "Policies",
            "RoleName",
            "Tags",
        ]
    ),
}
"""Resource types and the properties of each that are applied."""

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
    """``Failure`` naming every section, resource, property and event source that is not served yet."""
    problems = [f"section {name}" for name in template if name not in _SECTIONS]
    for name, resource in _active(template, scope).items():
        kind, properties = str(resource.get("Type")), resource.get("Properties") or {}
        if kind not in SERVED:
            problems.append(f"{name} ({kind})")
            continue
        problems += [f"{name}.{key} ({kind})" for key in properties if key not in SERVED[kind]]
    _raise(problems)


def refuse_event_sources(template: Mapping[str, Any]) -> None:
    """The same for the ``Events`` of SAM functions, named as the user wrote them."""
    _raise(
        [
            f"{name}.Events.{event} ({source.get('Type')})"
            for name, resource in (template.get("Resources") or {}).items()
            for event, source in ((resource.get("Properties") or {}).get("Events") or {}).items()
        ]
    )


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
