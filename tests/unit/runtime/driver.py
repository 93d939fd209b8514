"""Drives the Python runtime in a real interpreter over a real socket, as a host does."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from forerun.model import OutgoingCall
from forerun.runtime import assignment as assignments
from forerun.runtime import wire

ROOT = "1-5759e988-bd862e3fe1be46a994272793"
TRACE_ID = ROOT[2:].replace("-", "")
SIGNED = "53995c3f42cd8ad8-1-10-0123456789abcdef"
TRACE = f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1;Forerun={SIGNED}"
SOURCE = Path(assignments.__file__).parents[2]
STARTER = """
import sys
sys.path[:0] = [{source!r}]
import json, socket
from forerun.runtime import python, wire
stream = wire.Stream(socket.socket(fileno={fd}))
kind, body = stream.receive()
assert kind == wire.ASSIGN
python.serve(stream, json.loads(body))
"""


def _interpreters():
    """The oldest and newest supported interpreters that are installed, and this one."""
    found = {}
    for minor in (9, 13):
        name = f"python3.{minor}"
        places = [*Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/{name}"), shutil.which(name)]
        found.update({str(place): None for place in places[:1] if place})
    return [*found, sys.executable]


INTERPRETERS = _interpreters()


class Driver:
    """One runtime process; ``with`` ends it."""

    def __init__(
        self, folder, handler="app.handler", *, interpreter=sys.executable, user=None, **facts
    ):
        self.folder = folder
        ours, theirs = socket.socketpair()
        ours.settimeout(20)
        self.stream = wire.Stream(ours)
        starter = STARTER.format(source=str(SOURCE), fd=theirs.fileno())
        self.process = subprocess.Popen(
            [interpreter, "-I", "-S", "-B", "-c", starter],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={},
        )
        theirs.close()
        os.set_blocking(self.process.stdout.fileno(), False)
        self.logs = []
        self.spans = {}
        given = {
            "handler": handler,
            "runtime": "python3.11",
            "region": "eu-central-1",
            "function_name": "fn",
            "function_version": "7",
            "memory_mb": 256,
            "log_group": "/aws/lambda/fn",
            "log_stream": "2026/01/01/[7]abc",
            "log_format": "Text",
            "log_level": "INFO",
            "task_root": str(folder),
            "code_paths": [str(folder)],
            **facts,
        }
        given["environment"] = assignments.environment_for(given, user or {})
        self.send(wire.pack(wire.ASSIGN, json.dumps(given).encode()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.sock.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self.process.stdout.close()

    def send(self, frame):
        self.stream.send(frame)

    def receive(self, kind):
        while True:
            got, body = self.stream.receive()
            if got == wire.LOG:
                self.logs.append(wire.split_log(body)[1])
            elif got == wire.SPAN:
                call = msgspec.json.decode(body, type=OutgoingCall)
                self.spans.setdefault(call.span_id, []).append(call)
            else:
                assert got == kind
                return body

    def inited(self):
        return json.loads(self.receive(wire.INITED))

    def restore(self, **changes):
        self.send(wire.pack(wire.RESTORE, json.dumps(changes).encode() if changes else b""))
        return self.inited()

    def invoke_raw(self, payload, **head):
        head = {
            "request_id": "req-1",
            "invoked_arn": "arn:aws:lambda:eu-central-1:000000000000:function:fn",
            "deadline_ms": int(time.time() * 1000) + 3000,
            **head,
        }
        self.send(wire.pack_headed(wire.INVOKE, head, payload))
        return wire.split_headed(self.receive(wire.RESULT))

    def invoke(self, event=None, **head):
        head, payload = self.invoke_raw(json.dumps(event).encode(), **head)
        return head.get("error"), json.loads(payload)

    def monitored(self, event=None, *, trace=TRACE, **head):
        """Invoke a monitored execution: what it returned, and the last word of each call it made."""
        self.spans = {}
        error, answer = self.invoke(event, monitored=True, trace_id=trace, **head)
        assert error is None, answer
        return answer, [told[-1] for told in self.spans.values()]

    def output(self):
        """What was printed so far; complete up to the last frame."""
        try:
            return (os.read(self.process.stdout.fileno(), 1 << 20) or b"").decode()
        except BlockingIOError:
            return ""
