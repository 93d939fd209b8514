"""What a sandbox is told about its function: the ASSIGN frame's content, from a ``SandboxSpec``. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from forerun.model import Egress, SandboxSpec
from forerun.runtime.assignment import (
    LAYERS_ROOT,
    RUNTIME_DIR,
    TASK_ROOT,
    environment_for,
    python_paths,
)
from forerun.runtime.jail import DAEMON_PORT

if TYPE_CHECKING:
    from forerun.runtime.assignment import Assignment

RUNTIME_API_PORT = 9001
DAEMON_ADDRESS = f"127.0.0.1:{DAEMON_PORT}"
PLATFORM_PORT = 4566
PLATFORM_INSIDE = f"127.0.0.1:{PLATFORM_PORT}"


class Folders(NamedTuple):
    """Where code, layers and what the runtime brings are, as the function sees them."""

    task_root: str = TASK_ROOT
    layers_root: str = LAYERS_ROOT
    runtime_dir: str = RUNTIME_DIR


def assignment_for(
    spec: SandboxSpec,
    *,
    folders: Folders | None = None,
    endpoint_url: str | None = f"http://127.0.0.1:{PLATFORM_PORT}",
    runtime_api: str | None = None,
    daemon: str | None = None,
) -> Assignment:
    """The assignment of ``spec``; without an egress to the platform there is no ``endpoint_url`` in it.

    ``daemon`` is the address that segments of traces are sent to.
    """
    task_root, layers_root, runtime_dir = folders or Folders()
    layers = layers_root if spec.layers_dir is not None else None
    code_paths, library_paths = python_paths(
        spec.runtime,
        spec.environment,
        task_root=task_root,
        layers_root=layers,
        runtime_dir=runtime_dir,
    )
    assignment: Assignment = {
        "handler": spec.handler,
        "runtime": spec.runtime,
        "region": spec.region,
        "function_name": spec.name,
        "function_version": spec.version,
        "memory_mb": spec.memory_mb,
        "log_group": spec.logging.group,
        "log_stream": spec.log_stream,
        "log_format": spec.logging.format,
        "log_level": spec.logging.application_level,
        "system_log_level": spec.logging.system_level,
        "task_root": task_root,
        "runtime_dir": runtime_dir,
        "code_paths": code_paths,
        "library_paths": library_paths,
        "init_type": _init_type(spec),
    }
    credentials = spec.credentials
    secrets = None
    if credentials is not None:
        secrets = (
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token,
        )
    assignment["environment"] = environment_for(
        assignment,
        spec.environment,
        credentials=secrets,
        endpoint_url=None if spec.egress is Egress.NONE else endpoint_url,
        runtime_api=runtime_api,
        daemon=daemon,
    )
    return assignment


def _init_type(spec: SandboxSpec) -> str:
    """AWS's word for why the code is being initialised."""
    if spec.snap_start:
        return "snap-start"
    return "provisioned-concurrency" if spec.provisioned else "on-demand"
