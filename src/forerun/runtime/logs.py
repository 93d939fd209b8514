"""The way of the user's log records, and of the runtime's own error reports, to the host.

Records go as whole events over the wire, so that one that spans lines stays one. What is printed goes through the pipe
on descriptors 1 and 2; it is flushed before each event, which keeps the order.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import time
import traceback
from _thread import allocate_lock
from collections import deque

from forerun.runtime import faults
from forerun.runtime.wire import Stream, pack_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"
_LEVELS = frozenset(("NOTSET", "DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL"))
_OWN_FIELDS = frozenset(
    """
    name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName
    created msecs relativeCreated thread threadName taskName processName process aws_request_id tenant_id
    """.split()  # noqa: SIM905  a word list
)
_write_json = json.JSONEncoder(ensure_ascii=False, default=str).encode


class Outlet:
    """Frames out of the sandbox from any thread, whole and in order, without ever waiting for another thread.

    A thread that finds the wire busy leaves its frame to the one that is writing: so a log call inside a signal handler
    or a finaliser cannot lock up. In a forked child the wire is closed at once and events go to standard error: two
    writers on one stream would tear each other's frames.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._frames: deque[bytes] = deque()
        self._busy = allocate_lock()
        self._forked = False
        os.register_at_fork(after_in_child=self._in_child)

    def _in_child(self) -> None:
        self._forked = True
        self._frames.clear()
        self._stream.sock.close()

    def adopt(self, stream: Stream) -> None:
        """Write to another stream from now on: in a copy of this process that a host made for that."""
        self._stream = stream
        self._frames.clear()
        self._busy = allocate_lock()
        self._forked = False

    def send(self, frame: bytes) -> None:
        """Write a frame; ``WireClosed`` when the host is gone or this is a forked child."""
        self._frames.append(frame)
        while self._frames and self._busy.acquire(blocking=False):
            try:
                while self._frames:
                    self._stream.send(self._frames.popleft())
            finally:
                self._busy.release()

    @property
    def forked(self) -> bool:
        """Whether this process is a child that the user's code forked."""
        return self._forked

    def log(self, text: str) -> None:
        """One log event, now."""
        text = text[:-1] if text.endswith("\n") else text
        if self._forked:
            with contextlib.suppress(OSError):
                os.write(2, text.encode("utf-8", "replace") + b"\n")
            return
        flush_output()
        self.send(pack_log(int(time.time() * 1000), text))


class LambdaLoggerHandler(logging.Handler):
    """The root logger's handler; some libraries look for it by AWS's name of it."""

    def __init__(self, outlet: Outlet, formatter: logging.Formatter) -> None:
        super().__init__()
        self.log_sink = outlet
        self.request_id = ""
        self.tenant_id: str | None = None
        self.setFormatter(formatter)
        self.addFilter(self._add_request)

    def _add_request(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.request_id
        record.tenant_id = self.tenant_id
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Format and send; what goes wrong is reported as ``logging`` does it, to standard error."""
        try:
            self.log_sink.log(self.format(record))
        except Exception:  # noqa: BLE001  a record of the user's may raise anything while it is formatted
            self.handleError(record)


class JsonFormatter(logging.Formatter):
    """AWS's JSON log format: one object a record, members without a value left out."""

    def __init__(self) -> None:
        super().__init__(datefmt=_TIME_FORMAT + "Z")

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON, its ``extra`` attributes included."""
        level = logging.getLevelName(min(50, max(0, record.levelno)) // 10 * 10)
        plain = isinstance(record.msg, dict) and not record.args
        members: dict[str, Any] = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": level,
            "message": record.msg if plain else record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[0] is not None:
            members["stackTrace"] = traceback.format_tb(record.exc_info[2])
            members["errorType"] = record.exc_info[0].__name__
            members["errorMessage"] = str(record.exc_info[1])
            members["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        members["requestId"] = getattr(record, "aws_request_id", None)
        members["tenantId"] = getattr(record, "tenant_id", None)
        for key, value in record.__dict__.items():
            if key not in _OWN_FIELDS and key not in members:
                members[key] = value
        return _write_json({key: value for key, value in members.items() if value is not None})


# Made before the fork: checking a format takes the time that a sandbox has not.
_AS_TEXT, _AS_JSON = logging.Formatter(_TEXT_FORMAT, _TIME_FORMAT), JsonFormatter()


def set_up_logging(outlet: Outlet, log_format: str, log_level: str) -> LambdaLoggerHandler:
    """Give the root logger AWS's handler; a level of AWS's (``TRACE`` too) applies to the JSON format only, as on AWS."""
    # AWS changes it for all formatters of the process; times of the user's own formats are UTC thereby.
    if logging.Formatter.converter is not time.gmtime:
        logging.Formatter.converter = time.gmtime
    handler = LambdaLoggerHandler(outlet, _AS_JSON if _is_json(log_format) else _AS_TEXT)
    root = logging.getLogger()
    level = "DEBUG" if log_level.upper() == "TRACE" else log_level.upper()
    if _is_json(log_format) and level in _LEVELS:
        root.setLevel(level)
    root.addHandler(handler)
    return handler


def log_error(outlet: Outlet, error: dict[str, Any], log_format: str) -> None:
    """Report an error object in the function's log, in its format."""
    if _is_json(log_format):
        stamp = time.strftime(_TIME_FORMAT + "Z", time.gmtime())
        outlet.log(_write_json({"timestamp": stamp, "level": "ERROR", **error}))
    else:
        outlet.log(faults.log_text(error))


def _is_json(log_format: str) -> bool:
    return log_format.upper() == "JSON"


def open_output() -> None:
    """Make ``sys.stdout`` and ``sys.stderr`` UTF-8, flushed at each line, whatever the interpreter began with."""
    for fd, name in ((1, "stdout"), (2, "stderr")):
        stream = _open_text(fd, getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, "__%s__" % name, stream)


def _open_text(fd: int, stream: Any) -> io.TextIOWrapper:
    if isinstance(stream, io.TextIOWrapper) and not stream.closed and stream.fileno() == fd:
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
        return stream
    return open(fd, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def flush_output() -> None:
    """Flush standard output and error, whatever the user's code has made of them."""
    streams = [sys.stdout, sys.stderr]
    streams += [own for own in (sys.__stdout__, sys.__stderr__) if own not in streams]
    for stream in streams:
        # Closed, replaced by anything at all, or without a reader.
        with contextlib.suppress(Exception):
            stream.flush()
