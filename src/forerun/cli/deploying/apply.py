"""Applying a template: one method per resource type; what each gives to ``Ref`` and ``Fn::GetAtt`` is kept."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from forerun.cli.deploying.buckets import ensure_bucket, ensure_bucket_policy
from forerun.cli.deploying.bundling import Package, bundle, bundle_text
from forerun.cli.deploying.capacity import CapacityWriter
from forerun.cli.deploying.functions import Ensured, FunctionWriter
from forerun.cli.deploying.intrinsics import Made
from forerun.cli.deploying.layers_and_roles import RoleWriter, ensure_layer
from forerun.cli.deploying.mappings import ensure_mapping
from forerun.cli.deploying.naming import physical_name
from forerun.cli.deploying.plan import Planned
from forerun.cli.deploying.queues import ensure_queue, ensure_queue_policy
from forerun.cli.deploying.rules import ensure_bus, ensure_rule
from forerun.cli.deploying.schedules import ensure_group, ensure_schedule
from forerun.cli.deploying.site import Properties, Result, Site, also_changed
from forerun.cli.deploying.template import Template
from forerun.cli.deploying.topics import ensure_subscription, ensure_topic, ensure_topic_policy
from forerun.cli.failures import Failure
from forerun.cli.output import Progress
from forerun.model import parse_function_ref

# CloudFormation resets what a template leaves out; so a value taken out of a template does not linger.
_DEFAULTS: Properties = {
    "DeadLetterConfig": {"TargetArn": ""},
    "Description": "",
    "Layers": [],
    "MemorySize": 128,
    "Timeout": 3,
}
_NOT_CONFIGURATION = frozenset(
    {"Code", "FunctionName", "KmsKeyArn", "ReservedConcurrentExecutions", "Tags"}
)
_INTEGERS = frozenset(
    {
        "MaxSessionDuration",
        "MaximumEventAgeInSeconds",
        "MaximumRetryAttempts",
        "MemorySize",
        "ReservedConcurrentExecutions",
        "Timeout",
    }
)


@dataclass(frozen=True, slots=True)
class Applied:
    """One line of the summary."""

    logical_id: str
    type: str
    action: str
    physical_id: str
    detail: str = ""

    def as_json(self) -> dict[str, str]:
        """For machines."""
        return asdict(self)


class Applier:
    """Applies one template to one server."""

    def __init__(self, template: Template, stack_name: str, clients: Callable[[str], Any]) -> None:
        # To make a client takes a tenth of a second.
        clients = functools.cache(clients)
        self._template = template
        self._stack_name = stack_name
        self._lambda = clients("lambda")
        self._functions = FunctionWriter(self._lambda)
        self._clients = clients
        pseudo = template.scope.parameters
        self._site = Site(clients, str(pseudo["AWS::Region"]), str(pseudo["AWS::AccountId"]))
        self._capacity = CapacityWriter(clients)
        self._packages: dict[str, Package] = {}

    def prepare(self) -> None:
        """Make every package, so that a missing file or one too large is found before anything is changed."""
        for planned in self._template.resources:
            for key in ("Code", "Content"):
                if key in planned.properties:
                    self._packages[planned.logical_id] = self._package(planned, key)

    def apply(self, progress: Progress) -> list[Applied]:
        """Bring every resource to its wanted state, in order."""
        done = []
        for planned in self._template.resources:
            progress(f"{planned.logical_id} ({planned.type})")
            properties = _typed(self._template.scope.resolve(dict(planned.properties)))
            ensured, made, detail = self._apply(planned, properties)
            self._template.scope.made[planned.logical_id] = made
            done.append(Applied(planned.logical_id, planned.type, ensured.action, made.ref, detail))
        return done

    def outputs(self) -> dict[str, str]:
        """The template's outputs, after ``apply``."""
        scope = self._template.scope
        return {
            name: str(scope.resolve(item.get("Value")))
            for name, item in self._template.outputs.items()
            if "Condition" not in item or scope.holds(item["Condition"])
        }

    def _package(self, planned: Planned, key: str) -> Package:
        code = planned.properties[key]
        if (path := self._template.local_code(code)) is not None:
            return bundle(path)
        text = self._template.scope.resolve(code.get("ZipFile"))
        if not isinstance(text, str):
            raise Failure(f"{planned.logical_id}.{key} must be a local path or a text.")
        runtime = str(self._template.scope.resolve(planned.properties.get("Runtime")))
        return bundle_text("index.js" if runtime.startswith("nodejs") else "index.py", text)

    def _apply(self, planned: Planned, properties: Properties) -> Result:
        label, kind = planned.logical_id, planned.type
        name = physical_name(self._stack_name, self._site.account, label, kind, properties)
        if (write := _SOURCES.get(kind)) is not None:
            return write(self._site, label, name, properties)
        return _APPLY[kind](self, label, name, properties)

    def function(self, label: str, name: str, wanted: Properties) -> Result:
        """``AWS::Lambda::Function``."""
        configuration = {k: v for k, v in wanted.items() if k not in _NOT_CONFIGURATION}
        if "KmsKeyArn" in wanted:
            configuration["KMSKeyArn"] = wanted["KmsKeyArn"]
        variables = (configuration.get("Environment") or {}).get("Variables") or {}
        configuration["Environment"] = {
            "Variables": {key: _text(value) for key, value in variables.items()}
        }
        tags = {str(item["Key"]): str(item["Value"]) for item in wanted.get("Tags", [])}
        ensured = self._functions.ensure_function(
            name, self._packages[label], {**_DEFAULTS, **configuration}, tags=tags
        )
        self._functions.ensure_concurrency(name, wanted.get("ReservedConcurrentExecutions"))
        arn = ensured.answer["FunctionArn"]
        return ensured, Made(name, {"Arn": arn}), str(ensured.answer.get("Runtime", ""))

    def layer(self, label: str, name: str, wanted: Properties) -> Result:
        """``AWS::Lambda::LayerVersion``."""
        rest = {k: v for k, v in wanted.items() if k not in {"Content", "LayerName"}}
        ensured = ensure_layer(self._lambda, name, self._packages[label], rest)
        arn = ensured.answer["LayerVersionArn"]
        return ensured, Made(arn, {"LayerVersionArn": arn}), f"version {ensured.answer['Version']}"

    def version(self, _label: str, _name: str, wanted: Properties) -> Result:
        """``AWS::Lambda::Version``."""
        function = parse_function_ref(wanted["FunctionName"]).name
        ensured = self._functions.publish(
            function, wanted.get("Description", ""), wanted.get("CodeSha256")
        )
        arn, number = ensured.answer["FunctionArn"], ensured.answer["Version"]
        ensured = self._provisioned(ensured, function, number, wanted)
        if "ProvisionedConcurrencyConfig" in wanted:
            self._capacity.give_up_others(function, number)
        return ensured, Made(arn, {"Version": number, "FunctionArn": arn}), f"version {number}"

    def alias(self, _label: str, _name: str, wanted: Properties) -> Result:
        """``AWS::Lambda::Alias``."""
        function = parse_function_ref(wanted["FunctionName"]).name
        routing = (wanted.get("RoutingConfig") or {}).get("AdditionalVersionWeights", [])
        weights = {str(item["FunctionVersion"]): float(item["FunctionWeight"]) for item in routing}
        ensured = self._functions.ensure_alias(
            function,
            wanted["Name"],
            {
                "FunctionVersion": str(wanted["FunctionVersion"]),
                "Description": wanted.get("Description", ""),
                "RoutingConfig": {"AdditionalVersionWeights": weights} if weights else {},
            },
        )
        arn = ensured.answer["AliasArn"]
        ensured = self._provisioned(ensured, function, wanted["Name"], wanted)
        return ensured, Made(arn, {"AliasArn": arn}), f"version {wanted['FunctionVersion']}"

    def _provisioned(
        self, ensured: Ensured, function: str, qualifier: str, wanted: Properties
    ) -> Ensured:
        changed = self._capacity.ensure_provisioned(
            function, qualifier, wanted.get("ProvisionedConcurrencyConfig")
        )
        return also_changed(ensured, changed)

    def scalable_target(self, _label: str, _name: str, wanted: Properties) -> Result:
        """``AWS::ApplicationAutoScaling::ScalableTarget``."""
        ensured = self._capacity.ensure_target(wanted)
        detail = f"{wanted.get('MinCapacity')} to {wanted.get('MaxCapacity')}"
        return ensured, Made(ensured.answer["Ref"]), detail

    def scaling_policy(self, label: str, _name: str, wanted: Properties) -> Result:
        """``AWS::ApplicationAutoScaling::ScalingPolicy``."""
        ensured = self._capacity.ensure_policy(label, wanted)
        return ensured, Made(ensured.answer["PolicyARN"]), str(wanted.get("PolicyType", ""))

    def url(self, _label: str, _name: str, wanted: Properties) -> Result:
        """``AWS::Lambda::Url``."""
        rest = {k: v for k, v in wanted.items() if k != "TargetFunctionArn"}
        ensured = self._functions.ensure_url(wanted["TargetFunctionArn"], rest)
        answer = ensured.answer
        attributes = {"FunctionUrl": answer["FunctionUrl"], "FunctionArn": answer["FunctionArn"]}
        return ensured, Made(answer["FunctionArn"], attributes), answer["FunctionUrl"]

    def permission(self, label: str, _name: str, wanted: Properties) -> Result:
        """``AWS::Lambda::Permission``."""
        rest = {k: v for k, v in wanted.items() if k != "FunctionName"}
        ensured = self._functions.ensure_permission(wanted["FunctionName"], label, rest)
        statement = ensured.answer["Id"]
        return ensured, Made(statement, {"Id": statement}), str(wanted.get("Principal", ""))

    def event_config(self, _label: str, _name: str, wanted: Properties) -> Result:
        """``AWS::Lambda::EventInvokeConfig``."""
        rest = {k: v for k, v in wanted.items() if k != "FunctionName"}
        ensured = self._functions.ensure_event_config(wanted["FunctionName"], rest)
        return ensured, Made(str(ensured.answer["FunctionArn"])), ""

    def role(self, _label: str, name: str, wanted: Properties) -> Result:
        """``AWS::IAM::Role``."""
        ensured = RoleWriter(self._clients("iam")).ensure_role(name, wanted)
        attributes = {"Arn": ensured.answer["Arn"], "RoleId": ensured.answer.get("RoleId")}
        return ensured, Made(name, attributes), ""


_APPLY: Mapping[str, Callable[[Applier, str, str, Properties], Result]] = {
    "AWS::Lambda::Function": Applier.function,
    "AWS::Lambda::LayerVersion": Applier.layer,
    "AWS::Lambda::Version": Applier.version,
    "AWS::Lambda::Alias": Applier.alias,
    "AWS::Lambda::Url": Applier.url,
    "AWS::Lambda::Permission": Applier.permission,
    "AWS::Lambda::EventInvokeConfig": Applier.event_config,
    "AWS::IAM::Role": Applier.role,
    "AWS::ApplicationAutoScaling::ScalableTarget": Applier.scalable_target,
    "AWS::ApplicationAutoScaling::ScalingPolicy": Applier.scaling_policy,
}

_SOURCES: Mapping[str, Callable[[Site, str, str, Properties], Result]] = {
    "AWS::Lambda::EventSourceMapping": ensure_mapping,
    "AWS::SQS::Queue": ensure_queue,
    "AWS::SQS::QueuePolicy": ensure_queue_policy,
    "AWS::SNS::Topic": ensure_topic,
    "AWS::SNS::TopicPolicy": ensure_topic_policy,
    "AWS::SNS::Subscription": ensure_subscription,
    "AWS::Events::EventBus": ensure_bus,
    "AWS::Events::Rule": ensure_rule,
    "AWS::Scheduler::Schedule": ensure_schedule,
    "AWS::Scheduler::ScheduleGroup": ensure_group,
    "AWS::S3::Bucket": ensure_bucket,
    "AWS::S3::BucketPolicy": ensure_bucket_policy,
}


def _text(value: Any) -> str:
    """Environment values as CloudFormation writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _typed(properties: dict[str, Any]) -> dict[str, Any]:
    """Parameters are texts; the API wants numbers where it says so."""
    for key in _INTEGERS & properties.keys():
        try:
            properties[key] = int(properties[key])
        except (TypeError, ValueError):
            raise Failure(f"{key} must be a whole number, not {properties[key]!r}.") from None
    storage = properties.get("EphemeralStorage")
    if isinstance(storage, dict) and str(storage.get("Size", "")).isdigit():
        properties["EphemeralStorage"] = {"Size": int(storage["Size"])}
    return properties
