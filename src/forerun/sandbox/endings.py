"""How a sandbox came to its end, in the words that AWS uses towards the client. Pure."""

import json
import os
import signal
from dataclasses import dataclass, replace

from forerun.model import InitFailure, LogLine, Outcome, iso_time

EXIT_ERROR = "Runtime.ExitError"
TIMED_OUT = "Sandbox.Timedout"
INVALID_ENTRYPOINT = "Runtime.InvalidEntrypoint"
NO_BOOTSTRAP = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
_SIGNALS: dict[int, str] = {
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGHUP: "hangup",
    signal.SIGILL: "illegal instruction",
    signal.SIGINT: "interrupt",
    signal.SIGKILL: "killed",
    signal.SIGPIPE: "broken pipe",
    signal.SIGQUIT: "quit",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGTERM: "terminated",
    signal.SIGTRAP: "trace/breakpoint trap",
}


@dataclass(frozen=True)
class Exit:
    """The end of a sandbox's first process: wait status, processes killed for memory, most bytes ever held.

    ``reason`` and ``error_type`` replace what the status would say.
    """

    status: int
    oom: int = 0
    peak: int = 0
    reason: str | None = None
    error_type: str = EXIT_ERROR

    def with_memory(self, other: "Exit") -> "Exit":
        """This end with the memory numbers of ``other``."""
        return replace(self, oom=other.oom, peak=other.peak)


def read_exit(body: bytes) -> Exit:
    """What a launcher says in an EXITED frame: ``{"status": n}`` or ``{"error": type}``; ``ValueError`` otherwise."""
    told = json.loads(body)
    if not isinstance(told, dict):
        raise ValueError("EXITED is no object")  # noqa: TRY004  one error for all bad frames
    if "error" in told:
        return Exit(0, reason=NO_BOOTSTRAP, error_type=INVALID_ENTRYPOINT)
    return Exit(int(told["status"]) if isinstance(told.get("status"), int) else 0)


def exit_reason(exit_: Exit) -> str:
    """``Runtime exited with error: exit status 1`` and the like."""
    if exit_.reason is not None:
        return exit_.reason
    if exit_.oom:
        return "Runtime exited with error: signal: killed"
    if os.WIFSIGNALED(exit_.status):
        number = os.WTERMSIG(exit_.status)
        name = _SIGNALS.get(number, f"signal {number}")
        return f"Runtime exited with error: signal: {name}"
    code = os.WEXITSTATUS(exit_.status)
    if code == 0:
        return "Runtime exited without providing a reason"
    return f"Runtime exited with error: exit status {code}"


def exited(request_id: str, exit_: Exit) -> Outcome:
    """The sandbox ended while it ran an invocation."""
    return Outcome(
        payload=_payload(exit_.error_type, f"RequestId: {request_id} Error: {exit_reason(exit_)}"),
        error="Unhandled",
        error_type=exit_.error_type,
        status="error",
        alive=False,
    )


def timed_out(request_id: str, limit_s: float) -> Outcome:
    """The invocation reached its deadline."""
    return Outcome(
        payload=_payload(
            TIMED_OUT, f"RequestId: {request_id} Error: Task timed out after {limit_s:.2f} seconds"
        ),
        error="Unhandled",
        error_type=TIMED_OUT,
        status="timeout",
        alive=False,
    )


def timeout_line(request_id: str, limit_s: float, now: float) -> LogLine:
    """The line that AWS writes into the function's log."""
    text = f"{iso_time(now)} {request_id} Task timed out after {limit_s:.2f} seconds"
    return LogLine(int(now * 1000), text)


def init_exited(exit_: Exit, duration_ms: float) -> InitFailure:
    """The sandbox ended during init."""
    return InitFailure(
        payload=_payload(exit_.error_type, f"Error: {exit_reason(exit_)}"),
        error_type=exit_.error_type,
        duration_ms=duration_ms,
    )


def init_timed_out(limit_s: float, duration_ms: float) -> InitFailure:
    """Init did not end in time."""
    return InitFailure(
        payload=_payload(TIMED_OUT, f"Error: Task timed out after {limit_s:.2f} seconds"),
        error_type=TIMED_OUT,
        duration_ms=duration_ms,
        status="timeout",
    )


def _payload(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()
