"""The ARN that an operation is about, for the question whether the caller may do it; ``*`` where it names none."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from forerun.api.caller import Caller
from forerun.errors import ForerunError, InvalidInput
from forerun.model import function_arn, layer_arn, parse_function_ref
from forerun.sources.buses import Place
from forerun.sources.queues import queue_arn
from forerun.sources.schedules import DEFAULT, group_arn, schedule_arn
from forerun.sources.topics import TopicName

_QUEUE_PATH = re.compile(r"([0-9]{12})/([A-Za-z0-9_.-]{1,80})/?", re.ASCII)


def action_of(service: str, operation: str) -> str:
    """What policies call an operation: those on a batch are allowed like those on one (``sqs:SendMessage``)."""
    if service in ("sqs", "sns"):
        operation = operation.removesuffix("Batch")
    return operation


def resource_of(service: str, caller: Caller, request: Any) -> str:
    """Read it off the parsed request.

    An ARN is told in the one partition that there is: whatever it says there, it means what policies name so.
    """
    find = _BY_SERVICE.get(service)
    found = find(caller, request) if find is not None else "*"
    if found.startswith("arn:") and not found.startswith("arn:aws:"):
        _, _, rest = found.removeprefix("arn:").partition(":")
        return f"arn:aws:{rest}"
    return found


def _iam(caller: Caller, request: Any) -> str:
    for member, kind in (("RoleName", "role"), ("UserName", "user"), ("PolicyName", "policy")):
        if name := getattr(request, member, None):
            return f"arn:aws:iam::{caller.account}:{kind}/{name}"
    return getattr(request, "PolicyArn", None) or "*"


def _events(caller: Caller, request: Any) -> str:
    if arn := getattr(request, "ResourceARN", None):
        return str(arn)
    place = Place(caller.region, caller.account)
    if hasattr(request, "Event"):
        return "*"
    entries = getattr(request, "Entries", None)
    named = entries[0].EventBusName if entries else getattr(request, "EventBusName", None)
    if entries or hasattr(request, "StatementId"):
        return _event_bus(place, named)
    if hasattr(request, "EventBusName"):
        rule = getattr(request, "Rule", None) or getattr(request, "Name", None)
        return _event_bus(place, named, rule or "*")
    if hasattr(request, "NamePrefix"):
        return place.bus_arn("*")
    return _event_bus(place, getattr(request, "Name", None))


def _event_bus(place: Place, named: str | None, rule: str = "") -> str:
    """A bus that a client named, or a rule of it."""
    try:
        owner, bus = place.bus(named)
    except ForerunError:
        return "*"
    owned = Place(place.region, owner)
    return owned.rule_arn(bus, rule) if rule else owned.bus_arn(bus)


def _logs(caller: Caller, request: Any) -> str:
    name = getattr(request, "logGroupName", None)
    if not name:
        return "*"
    stream = getattr(request, "logStreamName", None)
    rest = f"log-stream:{stream}" if stream else "*"
    return f"arn:aws:logs:{caller.region}:{caller.account}:log-group:{name}:{rest}"


def _scheduler(caller: Caller, request: Any) -> str:
    # Lists name no resource; requests about groups know no group beside the name.
    name = getattr(request, "Name", None)
    if name is None:
        return getattr(request, "ResourceArn", None) or "*"
    if not hasattr(request, "GroupName"):
        return group_arn(caller.region, caller.account, name)
    return schedule_arn(caller.region, caller.account, request.GroupName or DEFAULT, name)


def _sns(caller: Caller, request: Any) -> str:
    # Operations on subscriptions name no resource, as on AWS: who owns them is asked where they are kept.
    if name := getattr(request, "Name", None):
        return TopicName(caller.account, name).arn(caller.region)
    for member in ("TopicArn", "TargetArn", "ResourceArn"):
        if arn := getattr(request, member, None):
            return str(arn)
    return "*"


def _sqs(caller: Caller, request: Any) -> str:
    if name := getattr(request, "QueueName", None):
        owner = getattr(request, "QueueOwnerAWSAccountId", None) or caller.account
        return queue_arn(caller.region, owner, name)
    if url := getattr(request, "QueueUrl", None):
        owner, name = queue_path(url)
        if name:
            return queue_arn(caller.region, owner, name)
    return getattr(request, "SourceArn", None) or "*"


def queue_path(url: str) -> tuple[str, str]:
    """Account and name of a queue's URL, whose host means nothing; empty parts when it is none."""
    path = url.partition("://")[2].partition("/")[2] if "://" in url else url.lstrip("/")
    found = _QUEUE_PATH.fullmatch(path)
    return (found[1], found[2]) if found else ("", "")


def _sts(_caller: Caller, request: Any) -> str:
    return getattr(request, "RoleArn", None) or "*"


def _autoscaling(caller: Caller, request: Any) -> str:
    # Targets are named by what the platform calls them, which requests but those about tags do not know.
    anything = f"arn:aws:application-autoscaling:{caller.region}:{caller.account}:scalable-target/*"
    return getattr(request, "ResourceARN", None) or anything


def _lambda(caller: Caller, request: Any) -> str:
    name = getattr(request, "FunctionName", None)
    if name:
        try:
            ref = parse_function_ref(name)
        except InvalidInput:
            return "*"
        qualifier = ref.qualifier or getattr(request, "Qualifier", None)
        account = ref.account or caller.account
        return function_arn(caller.region, account, ref.name, qualifier)
    layer = getattr(request, "LayerName", None)
    if layer:
        if layer.startswith("arn:"):
            return str(layer)
        return layer_arn(
            caller.region, caller.account, layer, getattr(request, "VersionNumber", None)
        )
    return getattr(request, "Resource", None) or "*"


_BY_SERVICE: Mapping[str, Callable[[Caller, Any], str]] = {
    "application-autoscaling": _autoscaling,
    "events": _events,
    "lambda": _lambda,
    "iam": _iam,
    "logs": _logs,
    "scheduler": _scheduler,
    "sns": _sns,
    "sqs": _sqs,
    "sts": _sts,
}
