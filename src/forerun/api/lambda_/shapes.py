"""Between AWS's members and the platform's values: what every resource of the Lambda API needs to read and print."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from forerun.api.caller import Caller
from forerun.api.handlers import Members
from forerun.control.paging import Page
from forerun.errors import AccessDenied, InvalidInput, NotFound
from forerun.model import FunctionVersion, function_arn, parse_function_ref


class FunctionName(NamedTuple):
    """The function that a request is about."""

    account: str
    name: str
    qualifier: str | None


def function_of(caller: Caller, request: Any) -> FunctionName:
    """Read FunctionName (a name, a partial or a whole ARN) and Qualifier.

    Raises ``InvalidInput`` when they contradict each other, ``NotFound`` for another region, ``AccessDenied`` for
    another account: its functions can be invoked, not managed.
    """
    text = request.FunctionName
    ref = parse_function_ref(text)
    qualifier = getattr(request, "Qualifier", None)
    if ref.qualifier and qualifier and ref.qualifier != qualifier:
        raise InvalidInput(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    if ref.region and ref.region != caller.region:
        raise NotFound(
            f"Functions from '{ref.region}' are not reachable in this region ('{caller.region}')"
        )
    if ref.account and ref.account != caller.account:
        raise AccessDenied(
            f"{caller.principal_arn} is not authorized to manage {text}, which belongs to another account"
        )
    return FunctionName(caller.account, ref.name, ref.qualifier or qualifier)


def unqualified(caller: Caller, request: Any) -> FunctionName:
    """Like ``function_of`` for operations on whole functions; a qualifier in the name is refused."""
    function = function_of(caller, request)
    if function.qualifier is not None:
        raise InvalidInput(
            f"{request.FunctionName} names a version or an alias; this operation is about the whole function"
        )
    return function


def moment(seconds: float) -> str:
    """Epoch seconds as Lambda prints times: ``2026-11-21T06:30:42.000+0000``."""
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}+0000"


def listing(member: str, page: Page[Any], show: Callable[[Any], Any]) -> Members:
    """A page as ``{member: [...], NextMarker: ...}``."""
    return {member: [show(item) for item in page.items], "NextMarker": page.marker}


def configuration(function: FunctionVersion, qualifier: str | None = None) -> Members:
    """A version as AWS's FunctionConfiguration; the ARN ends in ``qualifier`` if one was asked for."""
    arn = (
        function_arn(function.region, function.account, function.name, qualifier)
        if qualifier
        else function.arn
    )
    numbered = function.version != "$LATEST"
    return {
        "FunctionName": function.name,
        "FunctionArn": arn,
        "Runtime": function.runtime,
        "Role": function.role,
        "Handler": function.handler,
        "CodeSize": function.code_size,
        "Description": function.description,
        "Timeout": function.timeout_s,
        "MemorySize": function.memory_mb,
        "LastModified": moment(function.last_modified),
        "CodeSha256": function.code_sha256,
        "Version": function.version,
        "VpcConfig": _vpc(function),
        "DeadLetterConfig": {"TargetArn": function.dead_letter_arn}
        if function.dead_letter_arn
        else None,
        "Environment": _environment(function),
        "KMSKeyArn": function.kms_key_arn,
        "TracingConfig": {"Mode": function.tracing_mode},
        "RevisionId": function.revision_id,
        "Layers": [
            {"Arn": layer, "CodeSize": size}
            for layer, size in zip(function.layers, function.layer_sizes, strict=True)
        ]
        or None,
        "State": function.state,
        "StateReason": function.state_reason,
        "StateReasonCode": function.state_reason_code,
        "LastUpdateStatus": function.last_update_status,
        "FileSystemConfigs": list(function.file_systems) or None,
        "PackageType": function.package_type,
        "Architectures": list(function.architectures),
        "EphemeralStorage": {"Size": function.ephemeral_mb},
        "SnapStart": {
            "ApplyOn": "PublishedVersions" if function.snap_start else "None",
            "OptimizationStatus": "On" if function.snap_start and numbered else "Off",
        },
        "LoggingConfig": _logging(function),
    }


def _vpc(function: FunctionVersion) -> Members | None:
    if not function.vpc:
        return None
    return {"SubnetIds": [], "SecurityGroupIds": [], "VpcId": "", **function.vpc}


def _environment(function: FunctionVersion) -> Members | None:
    if function.environment_error:
        return {
            "Error": {
                "ErrorCode": "AccessDeniedException",
                "Message": "The environment variables cannot be decrypted with this platform's key.",
            }
        }
    return {"Variables": function.environment} if function.environment else None


def _logging(function: FunctionVersion) -> Members:
    logging = function.logging
    shown: Members = {"LogFormat": logging.format, "LogGroup": logging.group}
    if logging.format == "JSON":
        shown["ApplicationLogLevel"] = logging.application_level
        shown["SystemLogLevel"] = logging.system_level
    return shown
