"""The platform's own lines in a function's log, as AWS writes them: START, END, REPORT, and their JSON forms.

Pure. In Text format every line is written; in JSON format each event has a level, and the function's system log level
decides. As on AWS, the billed duration of a first invocation includes its init.
"""

import json
import math

import msgspec

from forerun.model import InitFailure, LoggingConfig, LogLine, Outcome, iso_time

_LEVELS = {"TRACE": 0, "DEBUG": 1, "INFO": 2, "WARN": 3}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What an invocation came to. Durations in milliseconds.

    ``status`` is ``success``, ``error`` or ``timeout``; ``crashed`` says that the sandbox ended with it: then the Text
    report names status and error type. ``init_ms`` or ``restore_ms`` are given for the first invocation of a sandbox.
    """

    request_id: str
    duration_ms: float
    memory_mb: int
    max_memory_mb: int
    status: str = "success"
    error_type: str | None = None
    crashed: bool = False
    init_ms: float | None = None
    restore_ms: float | None = None
    produced_bytes: int = 0
    trace_id: str = ""

    @property
    def billed_ms(self) -> int:
        """Whole milliseconds, init or restore included."""
        return math.ceil(self.duration_ms + (self.init_ms or 0.0) + (self.restore_ms or 0.0))


def report_of(
    request_id: str,
    outcome: Outcome,
    *,
    memory_mb: int,
    init_ms: float | None = None,
    restore_ms: float | None = None,
    trace_id: str = "",
) -> Report:
    """The report of an outcome."""
    return Report(
        request_id=request_id,
        duration_ms=max(0.0, outcome.ended - outcome.started) * 1000,
        memory_mb=memory_mb,
        max_memory_mb=outcome.max_memory_mb,
        status=outcome.status,
        error_type=outcome.error_type,
        crashed=not outcome.alive,
        init_ms=init_ms,
        restore_ms=restore_ms,
        produced_bytes=len(outcome.payload),
        trace_id=trace_id,
    )


def start_lines(
    request_id: str, version: str, *, time_ms: int, logging: LoggingConfig, trace_id: str = ""
) -> list[LogLine]:
    """What comes before the function's own lines; may be empty in JSON format."""
    if not _is_json(logging):
        return [LogLine(time_ms, f"START RequestId: {request_id} Version: {version}")]
    record: dict[str, object] = {"requestId": request_id, "version": version}
    _trace(record, trace_id)
    return _events(logging, ("INFO", time_ms, "platform.start", record))


def end_lines(report: Report, *, time_ms: int, logging: LoggingConfig) -> list[LogLine]:
    """What comes after the function's own lines; may be empty in JSON format."""
    if not _is_json(logging):
        return [LogLine(time_ms, text) for text in _text_end(report, time_ms)]
    ok = report.status == "success"
    done: dict[str, object] = {"requestId": report.request_id, "status": report.status}
    metrics: dict[str, object] = {
        "durationMs": round(report.duration_ms, 3),
        "billedDurationMs": report.billed_ms,
        "memorySizeMB": report.memory_mb,
        "maxMemoryUsedMB": report.max_memory_mb,
    }
    if report.init_ms is not None:
        metrics["initDurationMs"] = round(report.init_ms, 3)
    if report.restore_ms is not None:
        metrics["restoreDurationMs"] = round(report.restore_ms, 3)
    whole: dict[str, object] = {"requestId": report.request_id, "metrics": metrics}
    whole["status"] = report.status
    if report.error_type is not None:
        done["errorType"] = whole["errorType"] = report.error_type
    _trace(done, report.trace_id)
    _trace(whole, report.trace_id)
    done["metrics"] = {
        "durationMs": round(report.duration_ms, 3),
        "producedBytes": report.produced_bytes,
    }
    return _events(
        logging,
        ("DEBUG" if ok else "WARN", time_ms, "platform.runtimeDone", done),
        ("INFO" if ok else "WARN", time_ms, "platform.report", whole),
    )


def init_failed_lines(
    failure: InitFailure,
    *,
    time_ms: int,
    logging: LoggingConfig,
    init_type: str = "on-demand",
    phase: str = "init",
) -> list[LogLine]:
    """The INIT_REPORT of an init that failed; ``phase`` is ``init`` or ``invoke`` (init again within an invocation)."""
    if not _is_json(logging):
        text = (
            f"INIT_REPORT Init Duration: {failure.duration_ms:.2f} ms\tPhase: {phase}\t"
            f"Status: {failure.status}"
        )
        if failure.status != "timeout":
            text += f"\tError Type: {failure.error_type}"
        return [LogLine(time_ms, text)]
    record: dict[str, object] = {
        "initializationType": init_type,
        "phase": phase,
        "status": failure.status,
        "errorType": failure.error_type,
        "metrics": {"durationMs": round(failure.duration_ms, 3)},
    }
    return _events(logging, ("WARN", time_ms, "platform.initReport", record))


def _text_end(report: Report, time_ms: int) -> list[str]:
    lines = []
    if report.status == "timeout":
        seconds = report.duration_ms / 1000
        lines.append(
            f"{iso_time(time_ms / 1000)} {report.request_id} Task timed out after {seconds:.2f} seconds\n"
        )
    lines.append(f"END RequestId: {report.request_id}")
    text = (
        f"REPORT RequestId: {report.request_id}\tDuration: {report.duration_ms:.2f} ms\t"
        f"Billed Duration: {report.billed_ms} ms\tMemory Size: {report.memory_mb} MB\t"
        f"Max Memory Used: {report.max_memory_mb} MB\t"
    )
    if report.init_ms is not None:
        text += f"Init Duration: {report.init_ms:.2f} ms\t"
    if report.restore_ms is not None:
        text += (
            f"Restore Duration: {report.restore_ms:.2f} ms\t"
            f"Billed Restore Duration: {math.ceil(report.restore_ms)} ms\t"
        )
    if report.status == "timeout":
        text += "Status: timeout"
    elif report.crashed:
        text += f"Status: error\tError Type: {report.error_type or 'Runtime.Unknown'}"
    if root := _trace_root(report.trace_id):
        text += f"\nXRAY TraceId: {root}\t"
    lines.append(text)
    return lines


def _is_json(logging: LoggingConfig) -> bool:
    return logging.format.upper() == "JSON"


def _events(
    logging: LoggingConfig, *events: tuple[str, int, str, dict[str, object]]
) -> list[LogLine]:
    least = _LEVELS.get(logging.system_level.upper(), _LEVELS["INFO"])
    return [
        LogLine(
            time_ms,
            json.dumps(
                {"time": iso_time(time_ms / 1000), "type": kind, "record": record},
                separators=(",", ":"),
            ),
        )
        for level, time_ms, kind, record in events
        if _LEVELS[level] >= least
    ]


def _trace(record: dict[str, object], trace_id: str) -> None:
    if trace_id:
        record["tracing"] = {"type": "X-Amzn-Trace-Id", "value": trace_id}


def _trace_root(trace_id: str) -> str:
    """The root of an X-Ray header that is sampled, else empty: AWS names sampled traces only."""
    parts = dict(part.strip().partition("=")[::2] for part in trace_id.split(";"))
    return parts.get("Root", "") if parts.get("Sampled") == "1" else ""
