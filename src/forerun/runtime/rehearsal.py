"""Runs a first assignment and a first invocation for nobody, while nobody waits.

After a fork every page that is written for the first time costs a fault of several microseconds. Going the whole way
once while a sandbox waits moves that, 1 to 2 ms, out of the way of the first caller; and once in the zygote, what is made
for the first time (caches, specialised bytecode) is made for all. Nothing of it stays: module table, search path and
log handlers are as before, and the environment is empty, as it is before an assignment.
"""

from __future__ import annotations

import logging
import os
import socket
import sys

from forerun.runtime import python, wire

_HANDLER = "forerun/runtime/rehearsal.handler"
_SOURCE = (
    "import os\n\n\ndef handler(event, context):\n    return {'path': os.sep, 'event': event}\n"
)


def handler(event: object, context: object) -> dict[str, object]:
    """The function that is rehearsed with."""
    return {"event": event, "time": str(context)}


def rehearse() -> None:
    """Initialise and invoke `handler` in this process, over a wire of its own."""
    # The module table is not copied: that would write to the page of every module there is.
    path, argv, own = list(sys.path), list(sys.argv), sys.modules[__name__]
    near, far = socket.socketpair()
    stream = wire.Stream(near)
    try:
        runtime = python.Runtime(
            stream,
            {
                "handler": _HANDLER,
                "runtime": "python",
                "region": "",
                "function_name": "rehearsal",
                "function_version": "$LATEST",
                "memory_mb": 128,
                "log_group": "",
                "log_stream": "",
                "task_root": "/",
                "code_paths": ["/var/task"],
                "library_paths": ["/var/runtime"],
                "environment": {"A%d" % number: "B" for number in range(24)},
            },
        )
        del sys.modules[__name__]
        runtime.init()
        compile(_SOURCE, "rehearsal", "exec")
        head = {
            "request_id": "0",
            "invoked_arn": "",
            "deadline_ms": 0,
            "trace_id": "Root=1-00000000-000000000000000000000000",
            "monitored": True,
        }
        body = wire.pack_headed(wire.INVOKE, head, b'{"a": [1, 2.5, "c", null]}')[5:]
        runtime._invoke(body)  # noqa: SLF001  `run` would not return
    finally:
        far.close()
        stream.sock.close()
        sys.path[:], sys.argv = path, argv
        sys.modules[__name__] = own
        sys.path_importer_cache.pop("/var/task", None)
        logging.getLogger().handlers.clear()
        os.environ.clear()
