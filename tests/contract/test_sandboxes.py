"""One suite for both ways of making sandboxes: what the host room relies on holds for each."""

import asyncio
import contextlib
import json
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contract.programs import BOOTSTRAP, HANDLER
from tests.sandbox.makers import RUNTIME, make_call, make_spec, write_code

from forerun.errors import NoSuchRuntime, SandboxDead
from forerun.model.execution import InitFailure, InitReport, Outcome
from forerun.sandbox import (
    JailSandboxes,
    JailSettings,
    ProcessSandboxes,
    ProcessSettings,
    Sandbox,
    Sandboxes,
    find_nodes,
    own_interpreter,
    search_folders,
)


@pytest.fixture(params=[pytest.param("jail", marks=pytest.mark.root), "process"])
async def sandboxes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Sandboxes]:
    own = own_interpreter()
    interpreters = {own.runtime: own, **find_nodes(search_folders("/usr/bin"))}
    exits: list[Sandbox] = []
    made: JailSandboxes | ProcessSandboxes
    if request.param == "jail":
        made = JailSandboxes(
            JailSettings(
                data_dir=tmp_path / "data", interpreters=interpreters, on_exit=exits.append
            )
        )
    else:
        made = ProcessSandboxes(
            ProcessSettings(
                data_dir=tmp_path / "data", interpreters=interpreters, on_exit=exits.append
            )
        )
    made.exits = exits  # type: ignore[attr-defined, union-attr]
    await made.start()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    return write_code(tmp_path / "code", HANDLER)


Assigned = Callable[..., Any]


@pytest.fixture
def assigned(sandboxes: Sandboxes, code: Path) -> Assigned:
    async def make(**changes: Any) -> Sandbox:
        spec = make_spec(code, **changes)
        sandbox = await sandboxes.create(spec.runtime)
        result = await sandbox.assign(spec, deadline=time.monotonic() + 10)
        assert isinstance(result, InitReport), result
        return sandbox

    return make


def answer(outcome: Outcome) -> Any:
    return json.loads(outcome.payload)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_runs_a_handler_many_times_in_one_process(assigned: Assigned) -> None:
    sandbox = await assigned()
    first = await sandbox.invoke(make_call({"do": "echo"}))
    second = await sandbox.invoke(make_call({"do": "echo"}))
    assert first.status == "success"
    assert first.alive
    assert first.started <= first.ended <= second.started
    assert answer(first)["memory"] == "128"
    assert answer(first)["pid"] == answer(second)["pid"]
    assert first.max_memory_mb >= 1
    assert sandbox.memory_bytes() > 0


async def test_what_is_printed_comes_with_its_own_invocation(assigned: Assigned) -> None:
    sandbox = await assigned()
    outcome = await sandbox.invoke(make_call({"do": "echo"}))
    assert sorted(line.text for line in outcome.logs) == ["line one", "line two"]
    assert (await sandbox.invoke(make_call({"do": "hello"}))).logs == []
    outcome = await sandbox.invoke(make_call({"do": "partial"}))
    assert [line.text for line in outcome.logs] == ["café \ufffd no newline"]


async def test_output_is_bounded_for_each_invocation(assigned: Assigned) -> None:
    sandbox = await assigned()
    outcome = await sandbox.invoke(make_call({"do": "loud", "lines": 6000}))
    assert 4000 < len(outcome.logs) < 4400
    assert "truncated" in outcome.logs[-1].text
    assert (await sandbox.invoke(make_call({"do": "echo"}))).logs[0].text.startswith("line")


async def test_an_exception_leaves_the_sandbox_usable(assigned: Assigned) -> None:
    sandbox = await assigned()
    outcome = await sandbox.invoke(make_call({"do": "fail"}))
    assert (outcome.error, outcome.error_type, outcome.status) == ("Unhandled", "KeyError", "error")
    assert outcome.alive
    assert answer(await sandbox.invoke(make_call({"do": "hello"}))) == "hello"


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"do": "leave", "code": 1}, "Runtime exited with error: exit status 1"),
        ({"do": "leave", "code": 0}, "Runtime exited without providing a reason"),
        ({"do": "leave_cleanly"}, "Runtime exited without providing a reason"),
        ({"do": "segfault"}, "Runtime exited with error: signal: segmentation fault"),
    ],
)
async def test_the_end_of_the_process_is_reported(
    assigned: Assigned, event: dict[str, Any], words: str
) -> None:
    sandbox = await assigned()
    call = make_call(event)
    outcome = await sandbox.invoke(call)
    assert answer(outcome)["errorMessage"] == f"RequestId: {call.request_id} Error: {words}"
    assert outcome.error_type == "Runtime.ExitError"
    assert not outcome.alive
    assert not sandbox.alive
    with pytest.raises(SandboxDead):
        await sandbox.invoke(make_call({"do": "hello"}))
    await sandbox.destroy()


async def test_a_handler_that_never_ends_is_ended_at_its_deadline(assigned: Assigned) -> None:
    sandbox = await assigned(timeout_s=1)
    began = time.monotonic()
    call = make_call({"do": "hang"}, seconds=1)
    outcome = await sandbox.invoke(call)
    assert 0.9 <= time.monotonic() - began < 3
    assert answer(outcome) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {call.request_id} Error: Task timed out after 1.00 seconds",
    }
    assert outcome.status == "timeout"
    assert outcome.logs[0].text == "before"
    assert outcome.logs[-1].text.endswith("Task timed out after 1.00 seconds")
    assert not outcome.alive
    await sandbox.destroy()


@pytest.mark.parametrize(
    ("source", "error_type"),
    [
        ("import no_such_module", "Runtime.ImportModuleError"),
        ("def handler(:", "Runtime.UserCodeSyntaxError"),
        ("other = 1", "Runtime.HandlerNotFound"),
        ("raise ValueError('at import')", "ValueError"),
        ("import os; os._exit(7)", "Runtime.ExitError"),
    ],
)
async def test_a_failed_init_is_told_and_ends_the_sandbox(
    sandboxes: Sandboxes, tmp_path: Path, source: str, error_type: str
) -> None:
    code = write_code(tmp_path / "bad", "print('from init')\n" + source)
    sandbox = await sandboxes.create(RUNTIME)
    result = await sandbox.assign(make_spec(code), deadline=time.monotonic() + 10)
    assert isinstance(result, InitFailure)
    assert result.error_type == error_type
    assert result.status == "error"
    assert not sandbox.alive
    await sandbox.destroy()


async def test_init_has_a_deadline(sandboxes: Sandboxes, tmp_path: Path) -> None:
    code = write_code(tmp_path / "slow", "print('began', flush=True)\nwhile True: pass")
    sandbox = await sandboxes.create(RUNTIME)
    result = await sandbox.assign(make_spec(code), deadline=time.monotonic() + 0.5)
    assert isinstance(result, InitFailure)
    assert (result.status, result.error_type) == ("timeout", "Sandbox.Timedout")
    assert [line.text for line in result.logs] == ["began"]
    assert not sandbox.alive


async def test_output_of_init_is_in_its_report(sandboxes: Sandboxes, tmp_path: Path) -> None:
    code = write_code(tmp_path / "code", "print('hi')\ndef handler(e, c): return 1")
    sandbox = await sandboxes.create(RUNTIME)
    result = await sandbox.assign(make_spec(code), deadline=time.monotonic() + 10)
    assert isinstance(result, InitReport)
    assert [line.text for line in result.logs] == ["hi"]
    assert result.duration_ms > 0


async def test_large_payloads_pass_both_ways(assigned: Assigned) -> None:
    sandbox = await assigned(memory_mb=512)
    event = {"do": "echo", "data": "z" * 5_000_000}
    assert answer(await sandbox.invoke(make_call(event)))["event"] == event
    outcome = await sandbox.invoke(make_call({"do": "big", "size": 7_000_000}))
    assert outcome.error_type == "Function.ResponseSizeTooLarge"
    assert outcome.alive


async def test_closed_output_and_used_up_descriptors_do_no_harm(assigned: Assigned) -> None:
    sandbox = await assigned()
    errno, count = answer(await sandbox.invoke(make_call({"do": "many_files"})))
    assert errno == 24
    assert count > 900
    assert answer(await sandbox.invoke(make_call({"do": "close_output"}))) == "closed"
    assert answer(await sandbox.invoke(make_call({"do": "hello"}))) == "hello"


async def test_garbage_on_the_wire_ends_the_sandbox_only(assigned: Assigned) -> None:
    sandbox = await assigned()
    outcome = await sandbox.invoke(make_call({"do": "garbage"}))
    assert outcome.error_type == "Runtime.ExitError"
    assert not sandbox.alive
    other = await assigned()
    assert answer(await other.invoke(make_call({"do": "hello"}))) == "hello"


async def test_destroy_ends_every_process_and_is_idempotent(assigned: Assigned) -> None:
    sandbox = await assigned()
    seconds = f"{random.randint(10**8, 10**9)}"
    await sandbox.invoke(make_call({"do": "daemon", "seconds": seconds}))
    await until(lambda: bool(processes_with(seconds)))
    await asyncio.gather(sandbox.destroy(), sandbox.destroy())
    await until(lambda: not processes_with(seconds))
    assert not sandbox.alive
    await sandbox.destroy()


async def test_an_idle_sandbox_that_ends_tells_its_maker(
    sandboxes: Sandboxes, tmp_path: Path
) -> None:
    source = (
        "import os, threading\ndef handler(e, c): threading.Timer(0.05, os._exit, [3]).start()\n"
    )
    sandbox = await sandboxes.create(RUNTIME)
    await sandbox.assign(
        make_spec(write_code(tmp_path / "code", source)), deadline=time.monotonic() + 10
    )
    await sandbox.invoke(make_call(None))
    await until(lambda: sandboxes.exits)  # type: ignore[attr-defined]
    assert sandboxes.exits == [sandbox]  # type: ignore[attr-defined]
    assert not sandbox.alive


async def test_environment_is_the_functions_alone(
    sandboxes: Sandboxes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_SECRET", "s3cret")
    source = "import os\ndef handler(e, c): return dict(os.environ)"
    sandbox = await sandboxes.create(RUNTIME)
    spec = make_spec(write_code(tmp_path / "code", source), environment={"MINE": "1"})
    await sandbox.assign(spec, deadline=time.monotonic() + 10)
    found = answer(await sandbox.invoke(make_call(None)))
    assert found["MINE"] == "1"
    assert found["AWS_LAMBDA_FUNCTION_NAME"] == "f"
    assert found["AWS_REGION"] == "us-home-1"
    assert "SERVER_SECRET" not in found


async def test_layers_and_the_sdk_can_be_imported(sandboxes: Sandboxes, tmp_path: Path) -> None:
    layer = tmp_path / "layers"
    write_code(layer / "python", "VALUE = 42", "mylayer.py")
    layer.chmod(0o755)
    source = (
        "import boto3, mylayer\ndef handler(e, c): return [mylayer.VALUE, bool(boto3.__version__)]"
    )
    sandbox = await sandboxes.create(RUNTIME)
    spec = make_spec(
        write_code(tmp_path / "code", source), layers_dir=str(layer), memory_mb=512, timeout_s=20
    )
    await sandbox.assign(spec, deadline=time.monotonic() + 20)
    assert answer(await sandbox.invoke(make_call(None))) == [42, True]


async def test_unknown_runtimes_are_refused(sandboxes: Sandboxes) -> None:
    with pytest.raises(NoSuchRuntime):
        await sandboxes.create("cobol85")
    with pytest.raises(NoSuchRuntime):
        sandboxes.ready("cobol85")


async def test_a_custom_runtime_speaks_the_runtime_api(
    sandboxes: Sandboxes, tmp_path: Path
) -> None:
    code = write_code(tmp_path / "code", BOOTSTRAP, "bootstrap")
    (code / "bootstrap").chmod(0o755)
    sandbox = await sandboxes.create("provided.al2023")
    spec = make_spec(code, runtime="provided.al2023", handler="x")
    assert isinstance(await sandbox.assign(spec, deadline=time.monotonic() + 10), InitReport)
    outcome = await sandbox.invoke(make_call({"a": 1}))
    assert answer(outcome) == {"got": {"a": 1}}
    assert [line.text for line in outcome.logs] == ["serving"]
    call = make_call("exit")
    outcome = await sandbox.invoke(call)
    assert answer(outcome)["errorMessage"].endswith("Runtime exited with error: exit status 5")
    assert not sandbox.alive


async def test_a_custom_runtime_without_bootstrap_fails_init(
    sandboxes: Sandboxes, code: Path
) -> None:
    sandbox = await sandboxes.create("provided.al2023")
    spec = make_spec(code, runtime="provided.al2023", handler="x")
    result = await sandbox.assign(spec, deadline=time.monotonic() + 10)
    assert isinstance(result, InitFailure)


async def test_a_node_handler_runs(sandboxes: Sandboxes, tmp_path: Path) -> None:
    nodes = [name for name in sandboxes.runtimes() if name.startswith("nodejs")]
    if not nodes:
        pytest.skip("no Node.js on this machine")
    source = "exports.handler = async (event) => { console.log('hi'); return {got: event}; }"
    code = write_code(tmp_path / "code", source, "index.js")
    sandbox = await sandboxes.create(nodes[0])
    spec = make_spec(code, runtime=nodes[0], handler="index.handler")
    assert isinstance(await sandbox.assign(spec, deadline=time.monotonic() + 10), InitReport)
    outcome = await sandbox.invoke(make_call({"a": 1}))
    assert answer(outcome) == {"got": {"a": 1}}
    assert outcome.logs[0].text.endswith("hi")


async def test_close_leaves_nothing(
    sandboxes: Sandboxes, assigned: Assigned, tmp_path: Path
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    # A server that other tests share may be there.
    others = set(children_of(os.getpid()))
    await assigned()
    await sandboxes.create(RUNTIME)
    await sandboxes.close()
    assert list((tmp_path / "data" / "run").iterdir()) == []
    await until(lambda: others.issuperset(children_of(os.getpid())))
    assert set(os.listdir("/proc/self/fd")) <= before


def processes_with(argument: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if argument.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def children_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


async def test_a_cancelled_destroy_still_destroys(assigned: Assigned) -> None:
    sandbox = await assigned()
    seconds = f"{random.randint(10**8, 10**9)}"
    await sandbox.invoke(make_call({"do": "daemon", "seconds": seconds}))
    destroying = asyncio.ensure_future(sandbox.destroy())
    await asyncio.sleep(0)
    destroying.cancel()
    await asyncio.wait({destroying})
    await until(lambda: not processes_with(seconds))
    await sandbox.destroy()


async def test_a_cancelled_invoke_ends_the_sandbox(assigned: Assigned) -> None:
    sandbox = await assigned()
    calling = asyncio.ensure_future(sandbox.invoke(make_call({"do": "hang"})))
    await asyncio.sleep(0)
    calling.cancel()
    await asyncio.wait({calling})
    assert calling.cancelled()
    assert not sandbox.alive
