"""What a function's configuration may be: AWS's limits and grammar, checked and applied in one pure step."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from forerun.control.rules import (
    require_length,
    require_match,
    require_one_of,
    require_range,
)
from forerun.errors import AccessDenied, InvalidInput
from forerun.model import FunctionVersion, LoggingConfig

TIMEOUT_S = 900
MEMORY_MB = 10240
EPHEMERAL_MB = 10240
ENVIRONMENT_BYTES = 4096
LAYERS = 5

_HANDLER = re.compile(r"[^\s]+")
_ROLE = re.compile(r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")
_VARIABLE = re.compile(r"[a-zA-Z]([a-zA-Z0-9_])+")
_TARGET = re.compile(r"(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()")
_DEAD_LETTERS = re.compile(r"arn:aws[a-zA-Z-]*:(sqs|sns):[a-z0-9-]+:\d{12}:[a-zA-Z0-9_-]{1,256}")
_LOG_GROUP = re.compile(r"[\.\-_/#A-Za-z0-9]+")
_APPLICATION_LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_SYSTEM_LEVELS = ("DEBUG", "INFO", "WARN")
_RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Members of a configuration that a client gives; ``None`` leaves what is there.

    ``logging`` has AWS's member names. Layers and code are resolved elsewhere, since they have to be looked up.
    """

    runtime: str | None = None
    handler: str | None = None
    role: str | None = None
    description: str | None = None
    timeout_s: int | None = None
    memory_mb: int | None = None
    ephemeral_mb: int | None = None
    environment: dict[str, str] | None = None
    layers: tuple[str, ...] | None = None
    tracing_mode: str | None = None
    snap_start: str | None = None
    logging: dict[str, str] | None = None
    dead_letter_arn: str | None = None
    kms_key_arn: str | None = None
    vpc: dict[str, Any] | None = None
    file_systems: tuple[dict[str, Any], ...] | None = None
    architectures: tuple[str, ...] | None = None


class Machine(msgspec.Struct, frozen=True):
    """What is installed here: AWS's names of the runtimes, and the architecture (``x86_64`` or ``arm64``)."""

    runtimes: tuple[str, ...]
    architecture: str


def changed(current: FunctionVersion, change: Change, machine: Machine) -> FunctionVersion:
    """``current`` with the change applied.

    Raises ``InvalidInput`` naming member and limit, ``AccessDenied`` for a role of another account.
    """
    _check_numbers(change)
    _check_texts(change, current.account)
    if change.runtime is not None:
        _check_runtime(change.runtime, machine)
    if change.architectures is not None:
        _check_architectures(change.architectures, machine)
    if change.environment is not None:
        _check_environment(change.environment)
    elif current.environment_error:
        raise InvalidInput(
            "The function's environment variables cannot be decrypted; give Environment anew to change the function."
        )
    given = {field: value for field in _PLAIN if (value := getattr(change, field)) is not None}
    if change.snap_start is not None:
        given["snap_start"] = change.snap_start == "PublishedVersions"
    if change.logging is not None:
        given["logging"] = _logging(current.logging, change.logging)
    for field in ("dead_letter_arn", "kms_key_arn"):
        if given.get(field) == "":
            given[field] = None
    if change.vpc is not None and not change.vpc.get("SubnetIds"):
        given["vpc"] = None
    new = msgspec.structs.replace(current, environment_error=False, **given)
    _check_snap_start(new)
    return new


_PLAIN = (
    "runtime",
    "handler",
    "role",
    "description",
    "timeout_s",
    "memory_mb",
    "ephemeral_mb",
    "environment",
    "tracing_mode",
    "dead_letter_arn",
    "kms_key_arn",
    "vpc",
    "file_systems",
    "architectures",
)


def _check_numbers(change: Change) -> None:
    if change.timeout_s is not None:
        require_range("timeout", change.timeout_s, 1, TIMEOUT_S)
    if change.memory_mb is not None:
        require_range("memorySize", change.memory_mb, 128, MEMORY_MB)
    if change.ephemeral_mb is not None:
        require_range("ephemeralStorage.size", change.ephemeral_mb, 512, EPHEMERAL_MB)


def _check_texts(change: Change, account: str) -> None:
    if change.handler is not None:
        require_length("handler", change.handler, 0, 128)
        require_match("handler", change.handler, _HANDLER)
    if change.description is not None:
        require_length("description", change.description, 0, 256)
    if change.role is not None:
        require_match("role", change.role, _ROLE)
        if change.role.split(":")[4] != account:
            raise AccessDenied("Cross-account pass role is not allowed.")
    if change.tracing_mode is not None:
        require_one_of("tracingConfig.mode", change.tracing_mode, ("Active", "PassThrough"))
    if change.snap_start is not None:
        require_one_of("snapStart.applyOn", change.snap_start, ("PublishedVersions", "None"))
    if change.dead_letter_arn is not None:
        require_match("deadLetterConfig.targetArn", change.dead_letter_arn, _TARGET)
        if change.dead_letter_arn and not _DEAD_LETTERS.fullmatch(change.dead_letter_arn):
            raise InvalidInput(
                "The provided dead letter config TargetArn is not the ARN of a standard SQS queue or SNS topic: "
                f"{change.dead_letter_arn}"
            )
    if change.kms_key_arn is not None:
        require_match("kMSKeyArn", change.kms_key_arn, _TARGET)


def _check_snap_start(function: FunctionVersion) -> None:
    if function.snap_start and not function.runtime.startswith("python"):
        raise InvalidInput(f"{function.runtime} is not supported for SnapStart enabled functions.")


def _check_runtime(runtime: str, machine: Machine) -> None:
    if runtime not in machine.runtimes:
        installed = ", ".join(machine.runtimes) or "none"
        raise InvalidInput(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{installed}]: these are the runtimes installed on this machine"
        )


def _check_architectures(architectures: Sequence[str], machine: Machine) -> None:
    if tuple(architectures) != (machine.architecture,):
        raise InvalidInput(
            f"Architectures {list(architectures)} cannot run here: this machine is {machine.architecture}"
        )


def _check_environment(environment: dict[str, str]) -> None:
    for key in environment:
        require_match("environment.variables", key, _VARIABLE)
    prefix = "Lambda was unable to configure your environment variables because the environment variables you have provided "
    if reserved := sorted(_RESERVED & environment.keys()):
        raise InvalidInput(
            f"{prefix}contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(reserved)}"
        )
    if any("\0" in value for value in environment.values()):
        raise InvalidInput(f"{prefix}contains a NUL character, which no process can be given.")
    measured = msgspec.json.encode(environment)
    if len(measured) > ENVIRONMENT_BYTES:
        raise InvalidInput(
            f"{prefix}exceeded the 4KB limit. String measured: {measured[:200].decode(errors='ignore')}..."
        )


def _logging(current: LoggingConfig, given: dict[str, str]) -> LoggingConfig:
    format_ = given.get("LogFormat", current.format)
    require_one_of("loggingConfig.logFormat", format_, ("JSON", "Text"))
    levels = {"ApplicationLogLevel": _APPLICATION_LEVELS, "SystemLogLevel": _SYSTEM_LEVELS}
    for member, allowed in levels.items():
        if member in given:
            require_one_of(f"loggingConfig.{member[0].lower()}{member[1:]}", given[member], allowed)
            if format_ != "JSON":
                raise InvalidInput(
                    f"{member} is not supported when LogFormat is set to Text. Remove {member} from your request or "
                    "change the LogFormat to JSON and try again."
                )
    if "LogGroup" in given:
        require_length("loggingConfig.logGroup", given["LogGroup"], 1, 512)
        require_match("loggingConfig.logGroup", given["LogGroup"], _LOG_GROUP)
    return LoggingConfig(
        group=given.get("LogGroup", current.group),
        format=format_,
        application_level=given.get("ApplicationLogLevel", current.application_level),
        system_level=given.get("SystemLogLevel", current.system_level),
    )
