"""What a client is told when the runtime or the user's code fails: AWS's error objects and their log lines.

An error object is ``{"errorMessage", "errorType", "requestId", "stackTrace"}``. Stack traces begin at the first frame
that is not the runtime's own, and carry no column marks, as AWS's do.
"""

from __future__ import annotations

import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

MARSHAL = "Runtime.MarshalError"
UNMARSHAL = "Runtime.UnmarshalError"
SYNTAX = "Runtime.UserCodeSyntaxError"
HANDLER_NOT_FOUND = "Runtime.HandlerNotFound"
IMPORT_MODULE = "Runtime.ImportModuleError"
BUILT_IN_CONFLICT = "Runtime.BuiltInModuleConflict"
MALFORMED_HANDLER = "Runtime.MalformedHandlerName"
BEFORE_SNAPSHOT = "Runtime.BeforeSnapshotError"
AFTER_RESTORE = "Runtime.AfterRestoreError"
NO_SNAPSHOT = "Runtime.NoSnapshot"
CONTEXT = "Runtime.LambdaContextUnmarshalError"
EXIT = "Runtime.ExitError"
TOO_LARGE = "Function.ResponseSizeTooLarge"

MAX_RESPONSE = 6 * 1024 * 1024 + 100
_OWN_FOLDER = __file__.rpartition("/")[0] + "/"
_HARD_SPACE = "\u00a0"


class Fault(Exception):
    """A failure that AWS's runtime names itself; ``trace`` is the ready stack trace, if any."""

    def __init__(self, error_type: str, message: str, trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.trace = trace or []

    def describe(self, request_id: str = "") -> dict[str, Any]:
        """The error object."""
        return error_object(self.error_type, self.message, self.trace, request_id)


def error_object(
    error_type: str, message: str, trace: list[str], request_id: str = ""
) -> dict[str, Any]:
    """AWS's error object, members in AWS's order."""
    return {
        "errorMessage": message,
        "errorType": error_type,
        "requestId": request_id,
        "stackTrace": trace,
    }


def describe(error: BaseException, request_id: str = "") -> dict[str, Any]:
    """The error object of an exception that came out of the user's code."""
    if isinstance(error, Fault):
        return error.describe(request_id)
    try:
        message = str(error)
    except Exception as second:  # noqa: BLE001  a __str__ of the user's may raise anything
        message = "<unprintable %s: %s>" % (type(error).__name__, type(second).__name__)
    return error_object(
        type(error).__name__, message, _foreign_frames(error.__traceback__), request_id
    )


def _foreign_frames(tb: TracebackType | None) -> list[str]:
    while (
        tb is not None
        and tb.tb_next is not None
        and tb.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER)
    ):
        tb = tb.tb_next
    return traceback.format_list(
        [(f.filename, f.lineno or 0, f.name, f.line) for f in traceback.extract_tb(tb)]
    )


def too_large(request_id: str = "") -> dict[str, Any]:
    """The error object for a response beyond the limit."""
    message = (
        "Response payload size exceeded maximum allowed payload size (%d bytes)." % MAX_RESPONSE
    )
    return error_object(TOO_LARGE, message, [], request_id)


def exit_reason(code: int, signal_name: str | None = None) -> str:
    """AWS's words for a process that ended: by exit status, or by a signal (``killed``, ``segmentation fault``)."""
    if signal_name is not None:
        return "Error: Runtime exited with error: signal: %s" % signal_name
    if code == 0:
        return "Error: Runtime exited without providing a reason"
    return "Error: Runtime exited with error: exit status %d" % code


def log_text(error: dict[str, Any]) -> str:
    """The log event of an error object in Text format: several lines, indented with hard spaces as AWS's."""
    head = "[ERROR]"
    if error["errorType"]:
        head += " " + error["errorType"]
    if error["errorMessage"]:
        head += (": " if error["errorType"] else " ") + error["errorMessage"]
    lines = [head, "Traceback (most recent call last):"]
    for element in error["stackTrace"]:
        for line in element.splitlines():
            bare = line.lstrip(" ")
            lines.append(_HARD_SPACE * (len(line) - len(bare)) + bare)
    return "\n".join(lines)
