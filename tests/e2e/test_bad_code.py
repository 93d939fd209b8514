"""Code that fails, hangs, hoards or attacks: the caller gets a clear error, the platform and the next call are fine."""

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.servers import Server, eventually, package

pytestmark = pytest.mark.slow

MB = 1024 * 1024


@pytest.fixture(autouse=True)
def unharmed(server: Server):
    """After each test here the server is the same process and serves another function."""
    yield
    assert server.process.poll() is None
    assert server.request("GET", "/health").status == 200
    assert server.call(server.function("def handler(event, context):\n    return event\n"), 1) == 1


def when_told(harm: str, imports: str = "os, sys, time") -> str:
    """A handler that does harm when its event says so, and is fine otherwise."""
    body = "".join(f"        {line}\n" for line in harm.splitlines())
    return (
        f"import {imports}\ndef handler(event, context):\n    if event:\n{body}    return 'fine'\n"
    )


LOADING = {
    "handler": (
        "def other(event, context):\n    return 1\n",
        "Runtime.HandlerNotFound",
        "Handler 'handler' missing on module 'lambda_function'",
    ),
    "syntax": (
        "def handler(event, context)\n    return 1\n",
        "Runtime.UserCodeSyntaxError",
        "Syntax error in module 'lambda_function'",
    ),
    "import": (
        "import nowhere\ndef handler(event, context):\n    return 1\n",
        "Runtime.ImportModuleError",
        "Unable to import module 'lambda_function': No module named 'nowhere'",
    ),
    "raise": ("raise RuntimeError('not today')\n", "RuntimeError", "not today"),
    "exit": ("import sys\nsys.exit(3)\n", "Runtime.ExitError", ""),
    "os-exit": ("import os\nos._exit(3)\n", "Runtime.ExitError", "exit status 3"),
    "recursion": ("def f():\n    f()\nf()\n", "RecursionError", ""),
}


@pytest.mark.parametrize("case", LOADING)
def test_code_that_does_not_load(server: Server, case: str):
    source, error_type, message = LOADING[case]
    name = server.function(source)
    for _ in range(2):
        error = server.failure(name)
        assert error["errorType"] == error_type, error
        assert message in error["errorMessage"]
    code = {"lambda_function.py": "def handler(event, context):\n    return 'mended'\n"}
    server.lambda_.update_function_code(FunctionName=name, ZipFile=package(code))
    assert server.call(name) == "mended"


def test_module_that_is_not_there(server: Server):
    error = server.failure(server.function({"other.py": ""}))
    assert error["errorType"] == "Runtime.ImportModuleError"


@pytest.mark.parametrize(
    ("harm", "error_type", "message"),
    [
        ("while True: pass", "Sandbox.Timedout", r"Task timed out after 1\.00 seconds"),
        ("time.sleep(60)", "Sandbox.Timedout", r"Task timed out after 1\.00 seconds"),
        ("os._exit(0)", "Runtime.ExitError", "Runtime exited without providing a reason"),
        ("os._exit(7)", "Runtime.ExitError", "Runtime exited with error: exit status 7"),
        ("sys.exit(4)", "Runtime.ExitError", "exit status 4"),
        (
            "import ctypes; ctypes.string_at(0)",
            "Runtime.ExitError",
            "Runtime exited with error: signal: segmentation fault",
        ),
        ("return {1, 2}", "Runtime.MarshalError", "set is not JSON serializable"),
        ("raise ValueError('x' * 9_000_000)", "ValueError|Function.ResponseSizeTooLarge", ""),
    ],
    ids=["loop", "sleep", "exit-0", "exit-7", "sys-exit", "segfault", "no-json", "huge-error"],
)
def test_handlers_that_fail(server: Server, harm: str, error_type: str, message: str):
    name = server.function(when_told(harm), Timeout=1)
    assert server.call(name) == "fine"
    error = server.failure(name, 1)
    assert re.fullmatch(error_type, error["errorType"]), str(error)[:500]
    assert re.search(message, error["errorMessage"]), error["errorMessage"]
    assert server.call(name) == "fine"


def test_a_timeout_says_so_in_the_log(server: Server):
    name = server.function(when_told("while True: pass"), Timeout=1)
    reply = server.lambda_.invoke(FunctionName=name, Payload=b"1", LogType="Tail")
    request = reply["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    text = base64.b64decode(reply["LogResult"]).decode()
    assert f"{request} Task timed out after 1.00 seconds" in text
    assert "Status: timeout" in text
    record = eventually(lambda: server.invocations(name))[0]
    assert record["status"] == "timeout"


def test_memory_hog(server: Server):
    name = server.function(
        when_told("hoard = [bytearray(1 << 20) for _ in range(4096)]"), Timeout=20
    )
    assert server.call(name) == "fine"
    error = server.failure(name, 1)
    if server.mode == "jail":
        assert error["errorType"] == "Runtime.ExitError", error
        assert "Runtime exited with error: signal: killed" in error["errorMessage"]
        record = eventually(
            lambda: [r for r in server.invocations(name) if r["status"] == "error"]
        )[0]
        assert record["max_memory_mb"] >= 100
    assert server.call(name) == "fine"


@pytest.mark.root
def test_memory_of_all_processes_counts(server: Server):
    harm = (
        "for _ in range(8):\n"
        "    if not os.fork():\n"
        "        hoard = bytearray(64 << 20)\n"
        "        for at in range(0, len(hoard), 4096): hoard[at] = 1\n"
        "        time.sleep(30)\n"
        "os.wait()\n"
    )
    name = server.function(when_told(harm), Timeout=5)
    reply = server.lambda_.invoke(FunctionName=name, Payload=b"1")
    assert reply.get("FunctionError") == "Unhandled" or reply["Payload"].read() == b'"fine"'
    (record,) = eventually(lambda: server.invocations(name))
    assert record["max_memory_mb"] <= 129
    assert server.call(name) == "fine"


@pytest.mark.root
def test_fork_bomb(server: Server):
    harm = (
        "while True:\n    try:\n        os.fork()\n    except OSError:\n        time.sleep(0.01)\n"
    )
    name = server.function(when_told(harm), Timeout=2, MemorySize=256)
    assert server.call(name) == "fine"
    error = server.failure(name, 1)
    assert error["errorType"] in ("Sandbox.Timedout", "Runtime.ExitError")
    assert server.call(name) == "fine"


@pytest.mark.root
def test_processes_are_bounded(server: Server):
    harm = (
        "n = 0\n"
        "try:\n"
        "    while n < 5000:\n"
        "        if not os.fork():\n"
        "            time.sleep(30)\n"
        "            os._exit(0)\n"
        "        n += 1\n"
        "except OSError as error:\n"
        "    return [n, error.errno]\n"
    )
    name = server.function(when_told(harm), Timeout=20, MemorySize=2048)
    forks, errno = server.call(name, 1)
    assert 900 <= forks <= 1024
    assert errno == 11


def test_huge_output(server: Server):
    harm = "for n in range(20_000): print(str(n) * 200)"
    name = server.function(when_told(harm), Timeout=20, MemorySize=256)
    assert server.call(name, 1) == "fine"
    assert server.call(name) == "fine"


def test_one_line_of_20_mb(server: Server):
    name = server.function(
        when_told("sys.stdout.write('x' * 20_000_000)"), Timeout=20, MemorySize=256
    )
    assert server.call(name, 1) == "fine"
    assert server.call(name) == "fine"


@pytest.mark.parametrize(
    "harm",
    [
        "os.close(1); os.close(2)",
        "sys.stdout.close(); sys.stderr.close()",
        "sys.stdout = None; sys.stderr = None",
        "os.close(0)",
        "print('\\udcff')",
        "sys.stdout.buffer.write(bytes(range(256)))",
    ],
    ids=["fds", "files", "none", "stdin", "surrogate", "bytes"],
)
def test_closed_and_broken_output(server: Server, harm: str):
    name = server.function(when_told(f"{harm}\nreturn 'done'"))
    reply = server.lambda_.invoke(FunctionName=name, Payload=b"1")
    body = json.loads(reply["Payload"].read())
    assert body == "done" or reply.get("FunctionError") == "Unhandled"
    for _ in range(3):
        assert server.call(name) == "fine"


def test_garbage_into_every_descriptor(server: Server):
    """Nothing a function writes to descriptors it did not open confuses the platform."""
    harm = (
        "for fd in range(3, 1024):\n"
        "    try:\n"
        "        os.write(fd, b'\\xff' * 5000)\n"
        "    except OSError:\n"
        "        pass\n"
    )
    name = server.function(when_told(harm), Timeout=3)
    assert server.call(name) == "fine"
    server.lambda_.invoke(FunctionName=name, Payload=b"1")
    assert server.call(name) == "fine"


def test_every_descriptor_closed(server: Server):
    name = server.function(when_told("os.closerange(0, 4096)"), Timeout=2)
    assert server.call(name) == "fine"
    server.lambda_.invoke(FunctionName=name, Payload=b"1")
    assert server.call(name) == "fine"


@pytest.mark.root
def test_killing_everything_in_reach(server: Server):
    harm = (
        "import signal\n"
        "seen = [int(p) for p in os.listdir('/proc') if p.isdigit()]\n"
        "if os.getuid() == 0 or len(seen) > 5:\n"
        "    return ['not isolated', os.getuid(), seen]\n"
        "try:\n"
        "    os.kill(-1, signal.SIGKILL)\n"
        "except ProcessLookupError:\n"
        "    pass\n"
        "return 'still here'\n"
    )
    name = server.function(when_told(harm), Timeout=5)
    slow = server.function(
        "import time\ndef handler(event, context):\n    time.sleep(2)\n    return 'whole'\n",
        Timeout=9,
    )
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(server.call, slow)
        reply = server.lambda_.invoke(FunctionName=name, Payload=b"1")
        body = json.loads(reply["Payload"].read())
        assert body == "still here" or reply.get("FunctionError"), body
        assert other.result(20) == "whole"
    assert server.call(name) == "fine"


def test_killing_the_children_it_has(server: Server):
    harm = "import signal, subprocess\nchild = subprocess.Popen(['/bin/sleep', '60'])\nos.kill(child.pid, signal.SIGKILL)\nreturn child.wait(5)"
    name = server.function(when_told(harm), Timeout=5)
    assert server.call(name, 1) == -9
    assert server.call(name) == "fine"


@pytest.mark.root
def test_filled_tmp(server: Server):
    harm = (
        "n = 0\n"
        "try:\n"
        "    with open('/tmp/big', 'wb', buffering=0) as file:\n"
        "        while True:\n"
        "            n += file.write(bytes(1 << 20))\n"
        "except OSError as error:\n"
        "    return [n >> 20, error.errno]\n"
    )
    name = server.function(when_told(harm), Timeout=20, MemorySize=2048)
    written, errno = server.call(name, 1)
    assert errno == 28
    assert 480 <= written <= 513
    assert server.call(name) == "fine"


def test_ten_thousand_open_files(server: Server):
    harm = (
        "files = []\n"
        "try:\n"
        "    for _ in range(10_000): files.append(open('/dev/null'))\n"
        "except OSError as error:\n"
        "    return [len(files), error.errno]\n"
    )
    name = server.function(when_told(harm), Timeout=10)
    opened, errno = server.call(name, 1)
    assert errno == 24
    assert 900 <= opened <= 1024
    assert server.call(name) == "fine"


def test_background_threads_do_not_answer_for_others(server: Server):
    harm = (
        "import threading\n"
        "def late():\n"
        "    while True:\n"
        "        time.sleep(0.001); print('late')\n"
        "threading.Thread(target=late, daemon=True).start()\n"
    )
    name = server.function(when_told(harm), Timeout=3)
    assert server.call(name, 1) == "fine"
    for _ in range(5):
        assert server.call(name) == "fine"


NODE = {
    "loop": ("while (true) {}", "Sandbox.Timedout"),
    "exit": ("process.exit(5)", "Runtime.ExitError"),
    "late": (
        "setTimeout(() => { throw new Error('late') }, 1); await new Promise(() => {})",
        "Error|Runtime.*",
    ),
    "cycle": ("const a = {}; a.a = a; return a", "Error"),
}


@pytest.mark.parametrize("case", NODE)
def test_node_handlers_that_fail(server: Server, case: str):
    harm, error_type = NODE[case]
    code = (
        f"export const handler = async (event) => {{ if (event.bad) {{ {harm} }} return 'fine' }};"
    )
    name = server.function(
        {"index.mjs": code}, runtime="nodejs20.x", handler="index.handler", Timeout=2
    )
    assert server.call(name, {}) == "fine"
    error = server.failure(name, {"bad": 1})
    assert re.fullmatch(error_type, error["errorType"]), error
    assert server.call(name, {}) == "fine"


def test_a_node_promise_that_nothing_will_keep(server: Server):
    """With nothing left to wait for, the answer is null, as AWS's."""
    code = "export const handler = () => new Promise(() => {});"
    name = server.function({"index.mjs": code}, runtime="nodejs20.x", handler="index.handler")
    assert server.call(name) is None
    assert server.call(name) is None


@pytest.mark.parametrize(
    ("files", "error_type"),
    [
        ({"other.js": "1"}, "Runtime.ImportModuleError"),
        ({"index.js": "exports.other = 1"}, "Runtime.HandlerNotFound"),
        ({"index.js": "exports.handler = (("}, "Runtime.UserCodeSyntaxError"),
        ({"index.js": "throw new RangeError('no')"}, "RangeError"),
    ],
    ids=["module", "handler", "syntax", "raise"],
)
def test_node_code_that_does_not_load(server: Server, files: dict[str, str], error_type: str):
    name = server.function(files, runtime="nodejs20.x", handler="index.handler")
    assert server.failure(name)["errorType"] == error_type


@pytest.mark.parametrize(
    "script",
    ["#!/bin/sh\nexit 1\n", "#!/nonexistent\n", "no program at all"],
    ids=["exits", "interpreter", "text"],
)
def test_bootstraps_that_do_not_start(server: Server, script: str):
    name = server.function(
        package({"bootstrap": script}, mode=0o755), runtime="provided.al2023", handler="x"
    )
    assert server.failure(name)["errorType"].startswith("Runtime.")


def test_no_bootstrap(server: Server):
    name = server.function({"readme": "x"}, runtime="provided.al2023", handler="x")
    error = server.failure(name)
    assert error["errorType"].startswith("Runtime.")
    assert "bootstrap" in error["errorMessage"]
