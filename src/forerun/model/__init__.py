"""The nouns: frozen values and the legal moves between their states. Pure: no clock, no loop, no files."""

from forerun.model.execution import (
    WITH_SDK,
    Call,
    Credentials,
    InitFailure,
    InitReport,
    InvocationRecord,
    LogLine,
    Outcome,
    ResponseSink,
    SandboxSpec,
    StartType,
    Timings,
)
from forerun.model.functions import (
    DestinationConfig,
    Egress,
    EventInvokeConfig,
    FunctionVersion,
    LoggingConfig,
)
from forerun.model.names import Arn, function_arn, layer_arn, parse_function_ref

__all__ = [
    "WITH_SDK",
    "Arn",
    "Call",
    "Credentials",
    "DestinationConfig",
    "Egress",
    "EventInvokeConfig",
    "FunctionVersion",
    "InitFailure",
    "InitReport",
    "InvocationRecord",
    "LogLine",
    "LoggingConfig",
    "Outcome",
    "ResponseSink",
    "SandboxSpec",
    "StartType",
    "Timings",
    "function_arn",
    "layer_arn",
    "parse_function_ref",
]
