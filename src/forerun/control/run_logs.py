"""The log lines of a run, as they are stored and as ``LogType: Tail`` shows them."""

from collections.abc import Sequence

from forerun.model import (
    FunctionVersion,
    InitFailure,
    InitReport,
    InvocationRecord,
    LogLine,
    Outcome,
)
from forerun.sandbox import Report, end_lines, init_failed_lines, report_of, start_lines


def log_of_failed_init(
    function: FunctionVersion, failure: InitFailure, record: InvocationRecord
) -> list[LogLine]:
    """Those of a call whose sandbox could not load the code."""
    time_ms = int(record.timings.answered * 1000)
    log = function.logging
    report = Report(
        request_id=record.request_id,
        duration_ms=failure.duration_ms,
        memory_mb=function.memory_mb,
        max_memory_mb=0,
        status=failure.status,
        error_type=failure.error_type,
        crashed=True,
    )
    return [
        *failure.logs,
        *init_failed_lines(failure, time_ms=time_ms, logging=log),
        *start_lines(record.request_id, function.version, time_ms=time_ms, logging=log),
        *end_lines(report, time_ms=time_ms, logging=log),
    ]


def log_of_run(
    function: FunctionVersion, outcome: Outcome, init: InitReport | None, record: InvocationRecord
) -> list[LogLine]:
    """Those of a call that ran: init where it was the first, what was written, and the platform's own lines."""
    restored = init is not None and init.restored
    report = report_of(
        record.request_id,
        outcome,
        memory_mb=function.memory_mb,
        init_ms=None if restored else record.init_ms,
        restore_ms=record.init_ms if restored else None,
        trace_id=record.trace_id,
    )
    started_ms, ended_ms = int(outcome.started * 1000), int(outcome.ended * 1000)
    log = function.logging
    return [
        *(init.logs if init is not None else ()),
        *start_lines(record.request_id, function.version, time_ms=started_ms, logging=log),
        *_as_written(outcome.logs, ended_ms),
        *end_lines(report, time_ms=ended_ms, logging=log),
    ]


def _as_written(lines: Sequence[LogLine], ended_ms: int) -> list[LogLine]:
    """Lines in the order they were written, none later than the next nor than the end.

    What is printed has the time it was read at, which on a busy machine is later than it was written.
    """
    found: list[LogLine] = []
    latest_ms = ended_ms
    for line in reversed(lines):
        latest_ms = min(latest_ms, line.time_ms)
        found.append(line if line.time_ms == latest_ms else LogLine(latest_ms, line.text))
    found.reverse()
    return found
