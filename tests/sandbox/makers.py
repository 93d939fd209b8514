"""Makes specs, calls and handlers for sandboxes on the real kernel."""

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from forerun.model.execution import Call, SandboxSpec
from forerun.model.functions import Egress, LoggingConfig
from forerun.sandbox import own_interpreter

RUNTIME = own_interpreter().runtime
IS_ROOT = os.geteuid() == 0


def make_spec(code: Path, **changes: Any) -> SandboxSpec:
    values: dict[str, Any] = {
        "key": "k",
        "account": "000000000001",
        "region": "us-home-1",
        "name": "f",
        "version": "$LATEST",
        "function_arn": "arn:aws:lambda:us-home-1:000000000001:function:f",
        "role": "arn:aws:iam::000000000001:role/r",
        "runtime": RUNTIME,
        "handler": "app.handler",
        "memory_mb": 128,
        "ephemeral_mb": 64,
        "timeout_s": 10,
        "environment": {},
        "code_dir": str(code),
        "layers_dir": None,
        "egress": Egress.PLATFORM,
        "logging": LoggingConfig(group="/aws/lambda/f"),
        "log_stream": "2026/01/01/[$LATEST]0123",
    }
    return SandboxSpec(**{**values, **changes})


def make_call(payload: Any = None, *, seconds: float = 10.0) -> Call:
    return Call(
        request_id=str(uuid.uuid4()),
        payload=json.dumps(payload).encode(),
        invoked_arn="arn:aws:lambda:us-home-1:000000000001:function:f",
        deadline_ms=int((time.time() + seconds) * 1000),
    )


def write_code(folder: Path, source: str, name: str = "app.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(source)
    folder.chmod(0o755)
    return folder
