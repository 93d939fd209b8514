"""What user code may do to its runtime, and how it ends."""

import json
import signal

import pytest

from forerun.runtime import wire


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("3", 3, "exited with error: exit status 3"),
        ("", 0, "exited without providing a reason"),
        ("'words'", 1, "exited with error: exit status 1"),
    ],
)
@pytest.mark.parametrize("phase", ["init", "invoke"])
def test_sys_exit(start, phase, code, status, reason):
    where = "def handler(e, c):\n    " if phase == "invoke" else ""
    driver = start(f"import sys, atexit\natexit.register(print, 'bye')\n{where}sys.exit({code})\n")
    if phase == "init":
        report = driver.inited()
        assert report["exit"] == status
        error = report["error"]
        prefix = ""
    else:
        driver.inited()
        head, payload = driver.invoke_raw(b"1")
        assert (head["error"], head["exit"]) == ("Runtime.ExitError", status)
        error = json.loads(payload)
        prefix = "RequestId: req-1 "
    assert error == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"{prefix}Error: Runtime {reason}",
    }
    assert driver.process.wait(5) == status
    assert driver.output().endswith("bye\n")


def test_hard_exit_closes_the_wire(start):
    driver = start("import os\ndef handler(e, c):\n    print('last words')\n    os._exit(4)")
    driver.inited()
    with pytest.raises(wire.WireClosed):
        driver.invoke()
    assert driver.process.wait(5) == 4
    assert driver.output() == "last words\n"


def test_the_runtime_ends_when_the_host_goes(start):
    driver = start("def handler(e, c): return 1")
    driver.inited()
    driver.stream.sock.close()
    assert driver.process.wait(5) == 0


ABUSES = {
    "closed descriptors": "os.close(1); os.close(2)",
    "closed streams": "sys.stdout.close(); sys.stderr.close()",
    "no streams": "sys.stdout = sys.stderr = None",
    "strange streams": "sys.stdout = object()",
    "low descriptors closed": "os.closerange(3, 100)",
    "child": "subprocess.run([sys.executable, '-c', 'import os; os.closerange(3, 2000)'])",
    "forked child that returns": "child = os.fork() or os.setsid(); child and os.waitpid(child, 0)",
    "forked child that logs": "os.fork() or (logging.error('child'), os._exit(0)); os.wait()",
    "thread that prints": "threading.Thread(target=print, args=('t',)).start()",
    "cleared modules": "sys.modules.clear()",
    "replaced json": "json.loads = json.dumps = json.JSONEncoder.encode = None",
    "no handlers": "logging.getLogger().handlers.clear()",
    "another folder": "os.chdir('/')",
    "empty path": "sys.path.clear(); os.environ.clear()",
    "logs from threads": "[threading.Thread(target=logging.error, args=('x' * 90000,)).start() "
    "for _ in range(8)]",
}


@pytest.mark.parametrize("abuse", ABUSES.values(), ids=ABUSES)
def test_what_user_code_may_do_without_harm(start, abuse):
    driver = start(
        f"""
        import json, logging, os, subprocess, sys, threading
        def handler(event, context):
            if event == "abuse":
                {abuse}
            return [event]
        """
    )
    driver.inited()
    for event in ("abuse", "next", "last"):
        assert driver.invoke(event) == (None, [event])


def test_an_exception_between_invocations_ends_the_runtime(start):
    driver = start(
        """
        import signal
        def handler(event, context):
            def late(*_): raise RuntimeError("late")
            signal.signal(signal.SIGUSR1, late)
        """
    )
    driver.inited()
    driver.invoke()
    driver.process.send_signal(signal.SIGUSR1)
    assert driver.process.wait(5) == 1
    assert "RuntimeError: late" in driver.output()


def test_a_module_named_like_one_the_runtime_needs_does_no_harm(start, tmp_path, interpreter):
    (tmp_path / "socket.py").write_text("NAME = 'mine'")
    for name in ("json", "struct", "datetime", "random"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not wanted')")
    source = "import socket, json\ndef handler(e, c): return [socket.NAME, json.loads('1')]"
    driver = start(source, interpreter=interpreter)
    driver.inited()
    assert driver.invoke() == (None, ["mine", 1])
