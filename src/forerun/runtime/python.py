"""Runs a Python handler: the last thing a sandbox turns into, with all privileges given up.

It speaks frames (``forerun.runtime.wire``) with the host and behaves towards the user's code as AWS's managed Python
runtime does. It is written for the zygote: everything is imported before the fork, nothing here starts a thread.

The user's code shares the process and can reach anything in it, the wire included; what it does there harms its own
sandbox only, which the host destroys when the frames make no sense. The wire is on a high descriptor that programs
started by the function do not inherit.

Differences from AWS, on purpose: variables that the interpreter reads at its start (``PYTHONHASHSEED``,
``PYTHONWARNINGS`` ...) have no effect, and the notice ``LAMBDA_WARNING`` before init errors is left out.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import resource
import socket
import sys
import time
import traceback
import types

from forerun.runtime import (
    bytecode,
    calls,
    faults,
    imports,
    instrument,
    logs,
    preloading,
    snapshots,
)
from forerun.runtime.answers import JSON_TYPE, Marshaller, read_event
from forerun.runtime.context import Facts, LambdaContext
from forerun.runtime.faults import describe
from forerun.runtime.handler import find_handler, open_code_paths
from forerun.runtime.wire import (
    INITED,
    INVOKE,
    RESTORE,
    RESULT,
    Stream,
    WireClosed,
    pack,
    pack_encoded,
    split_headed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_ESCAPES_NON_ASCII = sys.version_info < (3, 12)
_TRACE = "_X_AMZN_TRACE_ID"
_now = time.time


def serve(stream: Stream, assignment: dict[str, Any]) -> NoReturn:
    """Import the handler, report it (INITED), and answer INVOKE frames until the host closes the stream.

    ``assignment`` is ``forerun.runtime.assignment.Assignment``. Never returns: the process ends with the stream
    (status 0), after an init error (1), or as the user's code ends it.
    """
    runtime = Runtime(stream, assignment)
    runtime.init()
    runtime.run()


class Runtime:
    """One function in one process.

    ``init`` then ``run`` is ``serve``. For SnapStart a host may keep the process after ``init`` as a template, fork it,
    and call ``adopt`` with the copy's own stream, then ``run`` in the copy.
    """

    def __init__(self, stream: Stream, assignment: dict[str, Any]) -> None:
        self._assignment = assignment
        self._stream = _hide(stream)
        self._outlet = logs.Outlet(self._stream)
        self._marshaller = Marshaller(ascii_only=_ESCAPES_NON_ASCII)
        self._format: str = assignment.get("log_format", "Text")
        self._snap_start = assignment.get("init_type") == "snap-start"
        self._restored = not self._snap_start
        self._trace = ""
        self._facts = Facts(assignment, self._outlet.log)
        self._handler: Callable[[Any, Any], Any]
        self._log_handler: logs.LambdaLoggerHandler

    def init(self) -> None:
        """Set up the process, import the handler, run the hooks for before a snapshot, and send INITED.

        Ends the process when any of it fails: status 1, for the hooks 64, or what the user's code exits with.
        """
        began = time.perf_counter()
        self._set_up()
        error_type = status = None
        measure = self._measure()
        try:
            if self._snap_start:
                snapshots.offer_registry()
            self._handler = find_handler(self._assignment["handler"])
            if self._snap_start:
                error_type, status = faults.BEFORE_SNAPSHOT, 64
                snapshots.run_before_snapshot()
                if self._assignment.get("template"):
                    error_type, status = faults.NO_SNAPSHOT, 1
                    snapshots.refuse_threads()
        except Exception as failure:  # noqa: BLE001  the user's module may raise anything
            error = describe(failure)
            self._fail_init(began, error, error_type or error["errorType"], status or 1)
        except BaseException as leaving:  # noqa: BLE001  sys.exit, or an interrupt
            self._exit_init(began, leaving)
        finally:
            measure.end()
        self._send_inited({"ms": _since(began), "imports": measure.imports()})

    def _measure(self) -> imports.Measure:
        """Begin to measure what init imports."""
        given = self._assignment
        measure = imports.Measure(
            given["task_root"], given["code_paths"], given.get("library_paths", ())
        )
        measure.begin()
        return measure

    def adopt(self, stream: Stream) -> None:
        """Continue in a forked copy of an initialised process, on a stream of its own; RESTORE is to come."""
        self._stream = _hide(stream)
        self._outlet.adopt(self._stream)
        self._restored = False

    def run(self) -> NoReturn:
        """Answer frames until the host closes the stream."""
        receive = self._stream.receive
        try:
            while True:
                kind, body = receive(with_fds=False)
                if kind == INVOKE:
                    self._invoke(body)
                elif kind == RESTORE:
                    self._restore(body)
                else:
                    _end(1)
        except WireClosed:
            _end(0)
        except BaseException:  # noqa: BLE001  raised by a signal handler of the user's between invocations
            traceback.print_exc()
            _end(1)

    def _set_up(self) -> None:
        given = self._assignment
        os.environ.clear()
        os.environ.update(given["environment"])
        time.tzset()
        logs.open_output()
        with contextlib.suppress(OSError):
            os.chdir(given["task_root"])
        sys.argv = [given["task_root"]]
        # The zygote's own main module is nobody's business, and multiprocessing would run it again.
        sys.modules["__main__"] = types.ModuleType("__main__")
        bytecode.use(given.get("bytecode", ()))
        open_code_paths(given["code_paths"])
        instrument.install()
        sys.path += [path for path in given.get("library_paths", ()) if path not in sys.path]
        snapshots.refresh_numbers()
        preloading.renew()
        self._log_handler = logs.set_up_logging(
            self._outlet, self._format, given.get("log_level", "")
        )

    def _invoke(self, body: bytes) -> None:
        head, payload = split_headed(body)
        request_id: str = head["request_id"]
        self._log_handler.request_id = request_id
        self._log_handler.tenant_id = head.get("tenant_id")
        trace = head.get("trace_id") or ""
        if trace != self._trace:
            self._set_trace(trace)
        monitored = head.get("monitored")
        if monitored:
            calls.begin(self._outlet, head)
        error: dict[str, Any] | None = None
        content_type = JSON_TYPE
        started = _now()
        try:
            if not self._restored:
                self._after_restore()
            context = LambdaContext(self._facts, head)
            answer = self._handler(read_event(payload), context)
            result, content_type = self._marshaller.result(answer)
            if len(result) > faults.MAX_RESPONSE:
                error = faults.too_large(request_id)
        except Exception as failure:  # noqa: BLE001  the user's code may raise anything
            error = describe(failure, request_id)
        except BaseException as leaving:  # noqa: BLE001  sys.exit, or an interrupt
            self._exit_invoke(request_id, started, leaving)
        ended = _now()
        if self._outlet.forked:
            # The user's code forked and let the child return: only the parent answers.
            _end(0)
        cpu_ms = calls.end() if monitored else 0.0
        if error is not None:
            logs.log_error(self._outlet, error, self._format)
            self._answer(
                {"started": started, "ended": ended, "error": error["errorType"], "cpu_ms": cpu_ms},
                error,
            )
            return
        logs.flush_output()
        text = '{"started":%.6f,"ended":%.6f' % (started, ended)
        if content_type is not JSON_TYPE:
            text += ',"content_type":"%s"' % content_type
        text += ',"cpu_ms":%.3f}' % cpu_ms if monitored else "}"
        self._outlet.send(pack_encoded(RESULT, text.encode(), result))

    def _answer(self, head: dict[str, Any], error: dict[str, Any]) -> None:
        logs.flush_output()
        payload = self._marshaller.encode(error)
        if len(payload) > faults.MAX_RESPONSE:
            payload = self._marshaller.encode(faults.too_large(error.get("requestId", "")))
        self._outlet.send(pack_encoded(RESULT, self._marshaller.encode(head), payload))

    def _set_trace(self, trace: str) -> None:
        self._trace = trace
        if trace:
            os.environ[_TRACE] = trace
        else:
            os.environ.pop(_TRACE, None)

    def _restore(self, body: bytes) -> None:
        began = time.perf_counter()
        if body:
            given = read_event(body)
            os.environ.update(given.get("environment", {}))
            if "log_stream" in given:
                self._facts.stream = given["log_stream"]
        try:
            self._after_restore()
        except Exception as failure:  # noqa: BLE001  a hook of the user's may raise anything
            self._fail_init(began, describe(failure), faults.AFTER_RESTORE, 65)
        except BaseException as leaving:  # noqa: BLE001  sys.exit, or an interrupt
            self._exit_init(began, leaving)
        self._send_inited({"ms": _since(began), "restored": True})

    def _after_restore(self) -> None:
        self._restored = True
        snapshots.refresh_randomness()
        snapshots.run_after_restore()

    def _send_inited(self, report: dict[str, Any]) -> None:
        logs.flush_output()
        try:
            self._outlet.send(pack(INITED, self._marshaller.encode(report)))
        except WireClosed:
            _end(0)

    def _fail_init(
        self, began: float, error: dict[str, Any], error_type: str, status: int
    ) -> NoReturn:
        logs.log_error(self._outlet, error, self._format)
        self._send_inited({"ms": _since(began), "error": error, "error_type": error_type})
        _end(status)

    def _exit_init(self, began: float, leaving: BaseException) -> NoReturn:
        status = _exit_status(leaving)
        error = {"errorType": faults.EXIT, "errorMessage": faults.exit_reason(status)}
        self._send_inited(
            {"ms": _since(began), "error": error, "error_type": faults.EXIT, "exit": status}
        )
        _end(status)

    def _exit_invoke(self, request_id: str, started: float, leaving: BaseException) -> NoReturn:
        status = _exit_status(leaving)
        if not self._outlet.forked:
            reason = "RequestId: %s %s" % (request_id, faults.exit_reason(status))
            head = {"started": started, "ended": _now(), "error": faults.EXIT, "exit": status}
            if calls.current is not None:
                head["cpu_ms"] = calls.end()
            with contextlib.suppress(WireClosed):
                self._answer(head, {"errorType": faults.EXIT, "errorMessage": reason})
        _end(status)


def _hide(stream: Stream) -> Stream:
    """Move the wire to a high descriptor that is closed on exec: code that counts descriptors from 3 stays clear of it."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    lowest = 0 if limit < 256 else min(limit - 24, 1000)
    fd = fcntl.fcntl(stream.sock.fileno(), fcntl.F_DUPFD_CLOEXEC, lowest)
    stream.sock.close()
    stream.sock = socket.socket(fileno=fd)
    stream.sock.settimeout(None)
    return stream


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)


def _exit_status(leaving: BaseException) -> int:
    """Leave as the interpreter would: exit functions run, the reason is printed; returns the status."""
    if not isinstance(leaving, SystemExit):
        traceback.print_exception(type(leaving), leaving, leaving.__traceback__)
        status = 1
    elif leaving.code is None:
        status = 0
    elif isinstance(leaving.code, int):
        status = leaving.code & 0xFF
    else:
        print(leaving.code, file=sys.stderr)
        status = 1
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()  # noqa: SLF001  the process must end by os._exit, being a fork of the zygote
    return status


def _end(status: int) -> NoReturn:
    """End this process without running what a parent process has registered for its exit."""
    logs.flush_output()
    os._exit(status)
