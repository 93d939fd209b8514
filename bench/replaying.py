"""Deploys the services of recorded call trees as functions, and plays the trees against a server.

``client`` is a boto3 Lambda client. Each played tree gets a trace id of its own, under which it can be asked for.
"""

import io
import json
import threading
import time
import uuid
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    from recording import Node
except ImportError:  # Imported from outside of this folder.
    from bench.recording import Node

SOURCE = Path(__file__).with_name("replayer.py")


@dataclass(frozen=True)
class Played:
    """One tree that was played: its trace id (32 hexadecimal digits), what the function answered, how long it took."""

    trace_id: str
    executions: int
    failed: int
    took_ms: float


def services_of(trees: Iterable[Node]) -> list[str]:
    """Every service that executes something in these trees."""
    return sorted({node.service for tree in trees for node in tree.executions()})


def deploy(client: Any, role: str, names: Iterable[str], **options: Any) -> None:
    """One function of the replayer for each name; ``options`` as of CreateFunction."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("replayer.py"), SOURCE.read_bytes())
    given = {"Runtime": "python3.11", "Timeout": 120, "MemorySize": 128, **options}
    for name in names:
        client.create_function(
            FunctionName=name,
            Handler="replayer.handler",
            Role=role,
            Code={"ZipFile": out.getvalue()},
            **given,
        )
        client.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20}
        )


def event_of(node: Node, **replay: Any) -> dict[str, Any]:
    """The event that makes the replayer do what ``node`` did; ``replay`` are settings of the whole tree."""
    event: dict[str, Any] = {
        "service": node.service,
        "operation": node.operation,
        "duration_ms": node.duration_ms,
        "steps": [
            {"at_ms": step.at_ms, "end_ms": step.end_ms, "node": event_of(step.node)}
            for step in node.steps
        ],
    }
    if node.outside:
        event["outside"] = True
    return {**event, "replay": replay} if replay else event


_said = threading.local()


def _say_trace(request: Any, **_: Any) -> None:
    request.headers["X-Amzn-Trace-Id"] = _said.trace


class Player:
    """Plays trees through functions called ``prefix`` and the service, from any number of threads.

    The trace id goes along in the request; ``replay`` are the other settings of the replayer.
    """

    def __init__(self, client: Any, prefix: str = "", **replay: Any) -> None:
        self._client = client
        self._replay = {"prefix": prefix, **replay}
        client.meta.events.register("before-sign.lambda.Invoke", _say_trace, unique_id="trace")

    def play(self, tree: Node) -> Played:
        """Run one tree and wait for its end."""
        begins, rest = f"{int(time.time()):08x}", uuid.uuid4().hex[:24]
        _said.trace = f"Root=1-{begins}-{rest};Sampled=1"
        reply = self._client.invoke(
            FunctionName=self._replay["prefix"] + tree.service,
            Payload=json.dumps(event_of(tree, **self._replay)),
        )
        body = json.loads(reply["Payload"].read())
        if "FunctionError" in reply:
            raise RuntimeError(f"{tree.service} failed: {json.dumps(body)[:500]}")
        return Played(begins + rest, body["executions"], body["failed"], body["took_ms"])
