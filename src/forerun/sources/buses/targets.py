"""Targets of rules: which are acceptable, and the message that one gets for an event. Pure."""

import re
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from forerun.errors import InvalidInput, Unsupported
from forerun.model import Arn, Message, RetryPolicy
from forerun.patterns import (
    About,
    Form,
    Part,
    UnknownVariable,
    Whole,
    parse_constant,
    parse_path,
    parse_template,
)
from forerun.sources.buses.envelope import PRINCIPAL, Event, forwarding
from forerun.sources.buses.names import Place
from forerun.storage.buses import StoredTarget

Given = Mapping[str, Any]
"""AWS's Target, without what was left out."""

_KINDS = {
    "lambda": re.compile(r"function:[A-Za-z0-9-_]{1,64}(:(\$LATEST|[A-Za-z0-9-_]{1,128}))?"),
    "sqs": re.compile(r"[A-Za-z0-9-_]{1,80}(\.fifo)?"),
    "sns": re.compile(r"[A-Za-z0-9-_]{1,256}(\.fifo)?"),
    "events": re.compile(r"event-bus/[A-Za-z0-9-_./]{1,256}"),
}
_SERVED = "functions, queues, topics and event buses are"
_PARAMETERS = (
    "KinesisParameters", "RunCommandParameters", "EcsParameters", "BatchParameters", "HttpParameters",
    "RedshiftDataParameters", "SageMakerPipelineParameters", "AppSyncParameters",
)  # fmt: skip
_INPUTS = ("Input", "InputPath", "InputTransformer")
_ACCOUNT = re.compile(r"\d{12}")


class Aim(NamedTuple):
    """A target, ready to be given events."""

    id: str
    arn: str
    service: str
    form: Form
    role: str
    group: str
    retry: RetryPolicy
    dead_letter: str


def check_arn(given: Given, place: Place) -> None:
    """Raises ``InvalidInput`` or ``Unsupported`` when it cannot be a target of a rule here."""
    arn, name = given["Arn"], given["Id"]
    try:
        parsed = Arn.parse(arn)
    except InvalidInput:
        raise InvalidInput(
            f"Parameter {arn} is not valid. Reason: Provided Arn is not in correct format."
        ) from None
    kind = _KINDS.get(parsed.service)
    if kind is None:
        raise Unsupported(f"{arn} is not served as a target of rules; {_SERVED}")
    if not _ACCOUNT.fullmatch(parsed.account) or not kind.fullmatch(parsed.resource):
        raise InvalidInput(
            f"Parameter {arn} is not valid. Reason: Provided Arn is not in correct format."
        )
    if parsed.region != place.region:
        raise Unsupported(f"{arn} is not in the region {place.region}; no other is served")
    for member in _PARAMETERS:
        if given.get(member):
            raise Unsupported(f"{member} is not served for the target {name}")
    if parsed.service == "sqs" and arn.endswith(".fifo") and not _group(given):
        raise InvalidInput(f"Parameter(s) SqsParameters must be specified for target: {name}.")
    if parsed.service == "events" and any(given.get(member) for member in _INPUTS):
        raise Unsupported(
            f"Input, InputPath and InputTransformer are not served for an event bus, the target {name}"
        )


def check_input(given: Given) -> None:
    """Raises ``InvalidInput`` when what the target shall be given, or its dead-letter queue, is not acceptable."""
    name = given["Id"]
    if sum(given.get(member) is not None for member in _INPUTS) > 1:
        raise InvalidInput(
            f"Only one of Input, InputPath, or InputTransformer must be provided for target {name}."
        )
    _form(given)
    dead_letter = _dead_letter(given)
    if dead_letter:
        arn = Arn.parse(dead_letter)
        if arn.service != "sqs" or dead_letter.endswith(".fifo"):
            raise InvalidInput(
                f"DeadLetterConfig.Arn of target {name} must be the ARN of a standard queue"
            )


def aim_of(target: StoredTarget) -> Aim:
    """What a stored target is."""
    given = target.given
    policy = given.get("RetryPolicy") or {}
    default = RetryPolicy()
    retries = policy.get("MaximumRetryAttempts")
    age = policy.get("MaximumEventAgeInSeconds")
    return Aim(
        id=target.id,
        arn=target.arn,
        service=Arn.parse(target.arn).service,
        form=_form(given),
        role=given.get("RoleArn") or "",
        group=_group(given),
        retry=RetryPolicy(
            retries=default.retries if retries is None else retries,
            max_age_s=default.max_age_s if age is None else float(age),
        ),
        dead_letter=_dead_letter(given),
    )


class Occurrence(NamedTuple):
    """An event on a bus of ``account``, read once for all that want it; ``now`` in epoch seconds, ``ingested`` as text."""

    event: Event
    values: Mapping[str, Any]
    encoded: bytes
    account: str
    now: float
    ingested: str


def message_to(aim: Aim, rule_arn: str, rule_name: str, occurrence: Occurrence) -> Message:
    """What a target gets. The id is that of event and target."""
    event = occurrence.event
    if aim.service == "events":
        payload, attributes = event.detail, forwarding(event)
    else:
        about = About(rule_arn, rule_name, occurrence.ingested)
        payload, attributes = aim.form.make(occurrence.values, occurrence.encoded, about), {}
        if aim.group:
            attributes = {"MessageGroupId": aim.group}
            if aim.arn.endswith(".fifo"):
                unique = uuid.uuid5(uuid.NAMESPACE_URL, f"{rule_arn}?{event.id}:{aim.id}")
                attributes["MessageDeduplicationId"] = str(unique)
    return Message(
        id=f"{event.id}:{aim.id}",
        account=occurrence.account,
        source=rule_arn,
        principal=PRINCIPAL,
        role=aim.role,
        target=aim.arn,
        payload=payload,
        attributes=attributes,
        origin=event.origin,
        occurred_at=occurrence.now,
        retry=aim.retry,
        dead_letter=aim.dead_letter,
    )


def _form(given: Given) -> Form:
    name = given["Id"]
    try:
        if (text := given.get("Input")) is not None:
            return parse_constant(text)
        if (path := given.get("InputPath")) is not None:
            return Part(parse_path(path))
        if (transformer := given.get("InputTransformer")) is not None:
            paths = transformer.get("InputPathsMap") or {}
            return parse_template(paths, transformer["InputTemplate"])
    except UnknownVariable as error:
        raise InvalidInput(
            f"InputTemplate for target {name} contains invalid placeholder {error.name}."
        ) from None
    except InvalidInput as error:
        raise InvalidInput(f"Invalid input for target {name}: {error.message}") from None
    return Whole()


def _group(given: Given) -> str:
    return (given.get("SqsParameters") or {}).get("MessageGroupId") or ""


def _dead_letter(given: Given) -> str:
    return (given.get("DeadLetterConfig") or {}).get("Arn") or ""
