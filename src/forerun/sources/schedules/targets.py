"""What schedules may call, and the message that it gets. Pure.

Functions, queues, topics and buses by their ARN, and three operations of AWS's universal targets.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from forerun.errors import InvalidInput, Unsupported
from forerun.model import Arn, Message, RetryPolicy, function_arn, iso_time, parse_function_ref
from forerun.sources.schedules.plan import max_age_s
from forerun.storage.schedules import StoredSchedule

PRINCIPAL = "scheduler.amazonaws.com"
UNIVERSAL = "arn:aws:scheduler:::aws-sdk:"
INPUT_BYTES = 256 * 1024
RETRIES = 185
_SERVED = (
    "functions, queues, topics, event buses, aws-sdk:lambda:invoke, aws-sdk:sqs:sendMessage and "
    "aws-sdk:sns:publish are"
)
_PARAMETERS = {
    "EcsParameters": "ecs", "KinesisParameters": "kinesis", "SageMakerPipelineParameters": "sagemaker",
    "SqsParameters": "sqs", "EventBridgeParameters": "events",
    "EventBridgePutEventsV2Parameters": "event buses v2",
    "EventBridgePutRawEventsParameters": "event buses v2",
}  # fmt: skip
_KINDS = {
    "lambda": re.compile(r"function:[A-Za-z0-9-_]{1,64}(:(\$LATEST|[A-Za-z0-9-_]{1,128}))?"),
    "sqs": re.compile(r"[A-Za-z0-9-_]{1,80}(\.fifo)?"),
    "sns": re.compile(r"[A-Za-z0-9-_]{1,256}(\.fifo)?"),
    "events": re.compile(r"event-bus/[A-Za-z0-9-_./]{1,256}"),
}


class Place(NamedTuple):
    """Whose schedule it is and where."""

    region: str
    account: str


class Sent(NamedTuple):
    """What goes where."""

    target: str
    payload: bytes
    attributes: dict[str, str]


def schedule_arn(region: str, account: str, group: str, name: str) -> str:
    """``arn:aws:scheduler:REGION:ACCOUNT:schedule/GROUP/NAME``."""
    return f"arn:aws:scheduler:{region}:{account}:schedule/{group}/{name}"


def group_arn(region: str, account: str, name: str) -> str:
    """``arn:aws:scheduler:REGION:ACCOUNT:schedule-group/NAME``."""
    return f"arn:aws:scheduler:{region}:{account}:schedule-group/{name}"


def check_target(target: Mapping[str, Any], place: Place) -> None:
    """Raises ``InvalidInput`` or ``Unsupported`` saying what of a Target cannot be."""
    given = target.get("Input")
    if given is not None and len(given.encode()) > INPUT_BYTES:
        raise InvalidInput(f"Target.Input must be at most {INPUT_BYTES} bytes")
    role = Arn.parse(target["RoleArn"])
    if role.account != place.account:
        raise InvalidInput("Target.RoleArn must be a role of the schedule's own account")
    dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn")
    if dead_letters is not None and _is_fifo(dead_letters):
        raise InvalidInput("Target.DeadLetterConfig.Arn must be the ARN of a standard queue")
    service = _service(target["Arn"])
    for member, wanted in _PARAMETERS.items():
        if target.get(member) and wanted != service:
            raise InvalidInput(f"Target.{member} is not acceptable for the target {target['Arn']}")
    _make(target, _NOBODY, place)


def make_message(schedule: StoredSchedule, moment: float, due: float, region: str) -> Message:
    """The message of one firing. Its id is the same whenever it is made for the same moment."""
    target, place = schedule.config.target, Place(region, schedule.account)
    arn = schedule_arn(region, schedule.account, schedule.group, schedule.name)
    message_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{arn}?{schedule.id}&{moment!r}"))
    sent = _make(target, Firing(arn, moment, message_id), place)
    retries = (target.get("RetryPolicy") or {}).get("MaximumRetryAttempts")
    return Message(
        id=message_id,
        account=schedule.account,
        source=arn,
        principal=PRINCIPAL,
        role=target["RoleArn"],
        target=sent.target,
        payload=sent.payload,
        attributes=sent.attributes,
        occurred_at=due,
        retry=RetryPolicy(
            retries=RETRIES if retries is None else retries, max_age_s=max_age_s(schedule.config)
        ),
        dead_letter=(target.get("DeadLetterConfig") or {}).get("Arn") or "",
    )


class Firing(NamedTuple):
    """What an input may ask of a firing."""

    arn: str
    moment: float
    message_id: str

    @property
    def time(self) -> str:
        """The scheduled time as AWS writes it."""
        return iso_time(self.moment, "seconds")

    def fill(self, text: str) -> str:
        """The input with its context attributes replaced."""
        if "<aws.scheduler." not in text:
            return text
        for name, value in (
            ("schedule-arn", self.arn),
            ("scheduled-time", self.time),
            ("execution-id", self.message_id.replace("-", "")[:16]),
            ("attempt-number", "1"),
        ):
            text = text.replace(f"<aws.scheduler.{name}>", value)
        return text


_NOBODY = Firing("", 0.0, "")


def _service(arn: str) -> str:
    """``lambda``, ``sqs``, ``sns``, ``events`` or ``universal``."""
    if arn.startswith(UNIVERSAL):
        return "universal"
    try:
        parsed = Arn.parse(arn)
    except InvalidInput:
        raise InvalidInput("Provided Arn is not in correct format.") from None
    kind = _KINDS.get(parsed.service)
    if kind is None:
        raise Unsupported(f"{arn} is not served as a target of schedules; {_SERVED}")
    if not re.fullmatch(r"\d{12}", parsed.account) or not kind.fullmatch(parsed.resource):
        raise InvalidInput("Provided Arn is not in correct format.")
    return parsed.service


def _make(target: Mapping[str, Any], firing: Firing, place: Place) -> Sent:
    arn, given = target["Arn"], target.get("Input")
    text = None if given is None else firing.fill(given)
    service = _service(arn)
    if service == "universal":
        return _universal(arn.removeprefix(UNIVERSAL), text, firing, place)
    if service == "events":
        return _to_bus(arn, target.get("EventBridgeParameters"), text, firing)
    payload = _notification(firing, place) if text is None else text.encode()
    if service == "lambda":
        _json(payload, "Target.Input")
    attributes = {}
    if service == "sqs":
        attributes = _grouped(
            arn, (target.get("SqsParameters") or {}).get("MessageGroupId"), firing.message_id
        )
    return Sent(arn, payload, attributes)


def _to_bus(
    arn: str, parameters: Mapping[str, Any] | None, text: str | None, firing: Firing
) -> Sent:
    if not parameters:
        raise InvalidInput("Target.EventBridgeParameters is required for an event bus")
    detail = b"{}" if text is None else text.encode()
    if not isinstance(_json(detail, "Target.Input"), dict):
        raise InvalidInput("Target.Input must be a JSON object for an event bus")
    attributes = {
        "Source": parameters["Source"],
        "DetailType": parameters["DetailType"],
        "Resources": msgspec.json.encode([firing.arn]).decode(),
    }
    return Sent(arn, detail, attributes)


def _grouped(arn: str, group: str | None, duplicate: str) -> dict[str, str]:
    if _is_fifo(arn):
        if not group:
            raise InvalidInput("Target.SqsParameters.MessageGroupId is required for a FIFO queue")
        return {"MessageGroupId": group, "MessageDeduplicationId": duplicate}
    return {"MessageGroupId": group} if group else {}


def _notification(firing: Firing, place: Place) -> bytes:
    """What a target gets for which no input was given."""
    return msgspec.json.encode(
        {
            "version": "0",
            "id": firing.message_id,
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": place.account,
            "time": firing.time,
            "region": place.region,
            "resources": [firing.arn],
            "detail": "{}",
        }
    )


# Universal targets: the operation's own request as Input


def _universal(operation: str, text: str | None, firing: Firing, place: Place) -> Sent:
    make = _OPERATIONS.get(operation)
    if make is None:
        raise Unsupported(
            f"{UNIVERSAL}{operation} is not served as a target of schedules; {_SERVED}"
        )
    request = _json((text or "").encode(), "Target.Input")
    if not isinstance(request, dict):
        raise InvalidInput(f"Target.Input must be the request of {operation} as a JSON object")
    return make(request, firing, place)


def _invoke(request: dict[str, Any], _firing: Firing, place: Place) -> Sent:
    ref = parse_function_ref(_text(request, "FunctionName"))
    qualifier = _text(request, "Qualifier", required=False) or ref.qualifier
    arn = function_arn(place.region, ref.account or place.account, ref.name, qualifier)
    payload = request.get("Payload")
    if isinstance(payload, str):
        _json(payload.encode(), "Target.Input.Payload")
        return Sent(arn, payload.encode(), {})
    return Sent(arn, b"{}" if payload is None else msgspec.json.encode(payload), {})


def _send(request: dict[str, Any], firing: Firing, place: Place) -> Sent:
    path = urlsplit(_text(request, "QueueUrl")).path.strip("/").split("/")
    if len(path) < 2 or not _KINDS["sqs"].fullmatch(path[-1]) or not path[-2].isdigit():
        raise InvalidInput("Target.Input.QueueUrl is not the URL of a queue")
    arn = f"arn:aws:sqs:{place.region}:{path[-2]}:{path[-1]}"
    duplicate = _text(request, "MessageDeduplicationId", required=False) or firing.message_id
    attributes = _grouped(arn, _text(request, "MessageGroupId", required=False), duplicate)
    return Sent(arn, _text(request, "MessageBody").encode(), attributes | _attributes(request))


def _publish(request: dict[str, Any], firing: Firing, _place: Place) -> Sent:
    arn = _text(request, "TopicArn")
    if _service(arn) != "sns":
        raise InvalidInput("Target.Input.TopicArn is not the ARN of a topic")
    attributes = _attributes(request)
    if subject := _text(request, "Subject", required=False):
        attributes["Subject"] = subject
    if group := _text(request, "MessageGroupId", required=False):
        duplicate = _text(request, "MessageDeduplicationId", required=False)
        attributes["MessageGroupId"] = group
        attributes["MessageDeduplicationId"] = duplicate or firing.message_id
    return Sent(arn, _text(request, "Message").encode(), attributes)


_OPERATIONS: Mapping[str, Callable[[dict[str, Any], Firing, Place], Sent]] = {
    "lambda:invoke": _invoke,
    "sqs:sendMessage": _send,
    "sns:publish": _publish,
}


def _attributes(request: dict[str, Any]) -> dict[str, str]:
    given = request.get("MessageAttributes")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InvalidInput("Target.Input.MessageAttributes must be a JSON object")
    return {"MessageAttributes": msgspec.json.encode(given).decode()}


def _text(request: dict[str, Any], name: str, *, required: bool = True) -> str:
    value = request.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"Target.Input.{name} must be a text that is not empty")
    return value


def _json(payload: bytes, name: str) -> Any:
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{name} must be well-formed JSON: {error}") from None


def _is_fifo(arn: str) -> bool:
    return arn.endswith(".fifo")
