"""What a sandbox is told when it gets its function; used by the host, which writes it, and documents what `python` reads.

The values are the same for every runtime: `python` takes them from the ASSIGN frame, programs of other runtimes find
what they need in ``environment``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict


class Assignment(TypedDict, total=False):
    """JSON of the ASSIGN frame; all but ``library_paths``, ``bytecode``, ``runtime_dir`` and ``template`` is required.

    ``environment`` is final and complete. ``code_paths`` come before the standard library on ``sys.path``,
    ``library_paths`` last. ``bytecode`` are pairs of a folder of code and the pack of its compiled modules.
    ``log_format`` is ``Text`` or ``JSON``; ``log_level`` applies to JSON. ``init_type`` is ``on-demand``,
    ``provisioned-concurrency`` or ``snap-start``; ``template`` says that copies of the process will be made.
    """

    handler: str
    runtime: str
    region: str
    function_name: str
    function_version: str
    memory_mb: int
    log_group: str
    log_stream: str
    log_format: str
    log_level: str
    system_log_level: str
    task_root: str
    runtime_dir: str
    code_paths: list[str]
    library_paths: list[str]
    bytecode: list[tuple[str, str]]
    init_type: str
    template: bool
    environment: dict[str, str]


class InvokeHead(TypedDict, total=False):
    """JSON head of an INVOKE frame; the first three are required.

    ``client_context`` and ``identity`` are JSON texts, as the Runtime API has them in headers. ``monitored`` asks for
    SPAN frames of the calls that are made, and for trace information on them: that of ``trace_id``, with W3C's
    ``tracestate`` and ``baggage`` as they came in.
    """

    request_id: str
    invoked_arn: str
    deadline_ms: int
    trace_id: str
    client_context: str | None
    identity: str | None
    tenant_id: str | None
    monitored: bool
    tracestate: str
    baggage: str


class ResultHead(TypedDict, total=False):
    """JSON head of a RESULT frame; ``error`` names the error's type.

    ``exit`` is there when the process ends right after this frame, with that status. ``content_type`` is there
    when it is not ``application/json``. ``cpu_ms`` is the process's CPU time of a monitored invocation.
    """

    started: float
    ended: float
    error: str
    content_type: str
    exit: int
    cpu_ms: float


class Inited(TypedDict, total=False):
    """JSON of an INITED frame; ``ms`` is always there.

    ``error`` is an error object and ``error_type`` what AWS calls it; ``exit`` is the status when the user's code
    ended the process: then ``errorMessage`` wants ``RequestId: ID `` before it. ``restored`` answers a RESTORE.
    """

    ms: float
    error: dict[str, object]
    error_type: str
    exit: int
    restored: bool


class Restore(TypedDict, total=False):
    """JSON of a RESTORE frame: what is different in this copy. The body may be empty."""

    environment: dict[str, str]
    log_stream: str


TASK_ROOT = "/var/task"
RUNTIME_DIR = "/var/runtime"
LAYERS_ROOT = "/opt"
# The loader reads it when an interpreter starts: a zygote must be started with it already.
LIBRARY_PATH = (
    "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
)
PROGRAM_PATH = "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"


def environment_for(
    assignment: Assignment,
    user: Mapping[str, str],
    *,
    credentials: tuple[str, str, str] | None = None,
    endpoint_url: str | None = None,
    runtime_api: str | None = None,
    daemon: str | None = None,
) -> dict[str, str]:
    """All variables of the function: AWS's defaults, the user's, and AWS's reserved ones, the later winning.

    ``credentials`` are key id, secret and session token. ``endpoint_url`` leads the AWS SDKs to this platform and can be
    overridden by the user. ``runtime_api`` (``host:port``) is for runtimes that speak the Runtime API, and
    ``daemon`` where segments of traces are sent to.
    """
    task_root = assignment.get("task_root", TASK_ROOT)
    runtime_dir = assignment.get("runtime_dir", RUNTIME_DIR)
    runtime = assignment["runtime"]
    region = assignment["region"]
    found = {
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": PROGRAM_PATH,
        "LD_LIBRARY_PATH": LIBRARY_PATH,
        **_language_defaults(runtime, runtime_dir),
    }
    if endpoint_url is not None:
        found["AWS_ENDPOINT_URL"] = endpoint_url
    found.update(user)
    found.update(
        {
            "_HANDLER": assignment["handler"],
            "LAMBDA_TASK_ROOT": task_root,
            "LAMBDA_RUNTIME_DIR": runtime_dir,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_LAMBDA_FUNCTION_NAME": assignment["function_name"],
            "AWS_LAMBDA_FUNCTION_VERSION": assignment["function_version"],
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(assignment["memory_mb"]),
            "AWS_LAMBDA_LOG_GROUP_NAME": assignment["log_group"],
            "AWS_LAMBDA_LOG_STREAM_NAME": assignment["log_stream"],
            "AWS_LAMBDA_INITIALIZATION_TYPE": assignment.get("init_type", "on-demand"),
            "AWS_LAMBDA_LOG_FORMAT": assignment.get("log_format", "Text"),
        }
    )
    if not runtime.startswith("provided"):
        found["AWS_EXECUTION_ENV"] = "AWS_Lambda_" + runtime
    if found["AWS_LAMBDA_LOG_FORMAT"].upper() == "JSON":
        found["AWS_LAMBDA_LOG_LEVEL"] = assignment.get("log_level", "INFO")
    if credentials is not None:
        (
            found["AWS_ACCESS_KEY_ID"],
            found["AWS_SECRET_ACCESS_KEY"],
            found["AWS_SESSION_TOKEN"],
        ) = credentials
    if runtime_api is not None:
        found["AWS_LAMBDA_RUNTIME_API"] = runtime_api
    if daemon is not None:
        found["AWS_XRAY_DAEMON_ADDRESS"] = daemon
        found["AWS_XRAY_CONTEXT_MISSING"] = "LOG_ERROR"
    return found


def _language_defaults(runtime: str, runtime_dir: str) -> dict[str, str]:
    if runtime.startswith("python"):
        return {"PYTHONPATH": runtime_dir}
    if runtime.startswith("nodejs"):
        major = runtime[len("nodejs") :].partition(".")[0]
        return {
            "NODE_PATH": "/opt/nodejs/node%s/node_modules:/opt/nodejs/node_modules:%s/node_modules"
            % (major, runtime_dir)
        }
    return {}


def python_paths(
    runtime: str,
    user: Mapping[str, str],
    *,
    task_root: str = TASK_ROOT,
    layers_root: str | None = LAYERS_ROOT,
    runtime_dir: str = RUNTIME_DIR,
) -> tuple[list[str], list[str]]:
    """``code_paths`` and ``library_paths`` of a Python runtime (``python3.11``), the user's PYTHONPATH in its place."""
    code = [task_root]
    code += [path for path in user.get("PYTHONPATH", "").split(":") if path.startswith("/")]
    if layers_root is not None:
        code += [
            f"{layers_root}/python/lib/{runtime}/site-packages",
            f"{layers_root}/python",
        ]
    return code, [runtime_dir]
