"""Sandboxes copied from a template: what is shared, what is private, what stays confined. On the real kernel."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.makers import RUNTIME, make_call, make_spec, write_code

from forerun.errors import SetupFailed
from forerun.model import Credentials, InitFailure, InitReport, Outcome
from forerun.sandbox import JailSandboxes, JailSettings, Sandbox, find_pythons
from forerun.sandbox.cgroups import own_name

pytestmark = pytest.mark.root

Template = Callable[..., Awaitable[Sandbox]]
Copy = Callable[..., Awaitable[Sandbox]]

HELLO = "def handler(event, context): return 'hello'\n"
# Runs what it is sent, to look around from inside.
EVAL = "import os, signal, socket, sys, time\ndef handler(event, context): return eval(event)\n"


@pytest.fixture
def snapshot(jails: JailSandboxes, tmp_path: Path) -> Callable[..., Awaitable[Any]]:
    """Tries to make a template of ``source``: the sandbox, and what became of its init."""
    count = 0

    async def make(source: str, **changes: Any) -> tuple[Sandbox, InitReport | InitFailure]:
        nonlocal count
        count += 1
        code = write_code(tmp_path / f"code{count}", source)
        sandbox = await jails.create(RUNTIME)
        spec = make_spec(code, snap_start=True, version="1", **changes)
        return sandbox, await jails.snapshot(sandbox, spec, deadline=time.monotonic() + 10)

    return make


@pytest.fixture
def template(snapshot: Callable[..., Awaitable[Any]]) -> Template:
    """Makes a template of ``source``."""

    async def make(source: str, **changes: Any) -> Sandbox:
        sandbox, result = await snapshot(source, **changes)
        assert isinstance(result, InitReport), result
        return sandbox

    return make


@pytest.fixture
def copy(jails: JailSandboxes, tmp_path: Path) -> Copy:
    """Makes a restored copy of a template."""

    async def make(origin: Sandbox, **changes: Any) -> Sandbox:
        sandbox = await jails.restore(origin)
        spec = make_spec(tmp_path, snap_start=True, version="1", **changes)
        result = await sandbox.assign(spec, deadline=time.monotonic() + 10)
        assert isinstance(result, InitReport), result
        assert result.restored
        return sandbox

    return make


async def ask(sandbox: Sandbox, payload: Any = None) -> Any:
    outcome = await sandbox.invoke(make_call(payload))
    assert outcome.error is None, outcome.payload
    return json.loads(outcome.payload)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def processes(jails: JailSandboxes) -> dict[str, list[int]]:
    """Process ids by sandbox, as the first hierarchy of control groups has them."""
    parent = jails.groups.parents[0].path
    return {
        entry.name: [int(line) for line in (entry / "cgroup.procs").read_text().split()]
        for entry in parent.iterdir()
        if entry.is_dir()
    }


def template_pid(jails: JailSandboxes, origin: Sandbox) -> int:
    """The user's process of a template: the one in its group that is not the first of its namespace."""
    for pid in processes(jails)[origin.id]:
        text = Path(f"/proc/{pid}/status").read_text()
        numbers = text.partition("NSpid:")[2].partition("\n")[0].split()
        if len(numbers) == 2 and numbers[-1] != "1" and "Seccomp:\t2" in text:
            return pid
    raise AssertionError("the template does not run")


async def test_init_runs_once_and_hooks_run_in_order(template: Template, copy: Copy) -> None:
    origin = await template(
        "import os, random, secrets, time, uuid\n"
        "from snapshot_restore_py import register_after_restore as after\n"
        "from snapshot_restore_py import register_before_snapshot as before\n"
        "steps = ['init']\n"
        "born = time.time_ns()\n"
        "before(steps.append, 'before 1'); before(steps.append, 'before 2')\n"
        "after(steps.append, 'after 1'); after(steps.append, 'after 2')\n"
        "def handler(event, context):\n"
        "    drawn = [random.random(), secrets.token_hex(), str(uuid.uuid4()), random.random()]\n"
        "    return [steps, born, drawn]\n"
    )
    answers = [await ask(await copy(origin)) for _ in range(3)]
    for steps, _, _ in answers:
        assert steps == ["init", "before 2", "before 1", "after 1", "after 2"]
    assert len({born for _, born, _ in answers}) == 1
    for drawn in zip(*(drawn for _, _, drawn in answers), strict=True):
        assert len(set(drawn)) == 3


async def test_a_copy_has_its_own_stream_and_credentials(template: Template, copy: Copy) -> None:
    old = Credentials(access_key_id="old", secret_access_key="old", session_token="old")
    new = Credentials(access_key_id="new", secret_access_key="s", session_token="t")
    origin = await template(
        "import os\n"
        "os.environ['SET_DURING_INIT'] = 'kept'\n"
        "def handler(event, context):\n"
        "    print('printed')\n"
        "    names = 'AWS_ACCESS_KEY_ID', 'AWS_LAMBDA_LOG_STREAM_NAME', 'SET_DURING_INIT'\n"
        "    return [context.log_stream_name, *(os.environ[name] for name in names)]\n",
        credentials=old,
    )
    sandbox = await copy(origin, credentials=new, log_stream="mine")
    outcome = await sandbox.invoke(make_call())
    assert json.loads(outcome.payload) == ["mine", "new", "mine", "kept"]
    assert [line.text for line in outcome.logs] == ["printed"]


async def test_copies_share_the_past_but_no_files_processes_or_network(
    template: Template, copy: Copy
) -> None:
    origin = await template(
        EVAL + "os.makedirs('/tmp/made/deep'); open('/tmp/made/deep/file', 'w').write('init')\n"
        "os.symlink('made', '/tmp/link')\n"
    )
    one, other = await copy(origin), await copy(origin)
    assert await ask(one, "open('/tmp/link/deep/file').read()") == "init"
    await ask(one, "open('/tmp/made/deep/file', 'w').write('changed')")
    assert await ask(other, "open('/tmp/made/deep/file').read()") == "init"
    for sandbox in (one, other):
        pids = await ask(sandbox, "[int(n) for n in os.listdir('/proc') if n.isdigit()]")
        assert pids == [1, await ask(sandbox, "os.getpid()")]
        # The same port in each: nobody else listens there.
        await ask(
            sandbox,
            "globals().update(s=socket.create_server(('127.0.0.1', 8000))) or s.fileno()",
        )
    assert await ask(one, "os.getcwd()") == "/var/task"
    assert await ask(one, "socket.gethostname()") == "localhost"


async def test_memory_is_bounded_for_each_copy(template: Template, copy: Copy) -> None:
    origin = await template(
        "def handler(event, context): return len(bytearray(event))", memory_mb=128
    )
    glutton, other = await copy(origin), await copy(origin)
    outcome = await glutton.invoke(make_call(300_000_000))
    assert b"signal: killed" in outcome.payload
    assert outcome.max_memory_mb in range(100, 129)
    assert not outcome.alive
    assert await ask(other, 80_000_000) == 80_000_000
    assert await ask(await copy(origin), 1000) == 1000


async def test_a_copy_tells_how_it_ended(template: Template, copy: Copy) -> None:
    origin = await template(EVAL)
    sandbox = await copy(origin)
    outcome: Outcome = await sandbox.invoke(make_call("os._exit(3)"))
    assert b"exit status 3" in outcome.payload
    assert not outcome.alive


async def test_killing_all_in_sight_ends_one_copy_only(template: Template, copy: Copy) -> None:
    origin = await template(
        "import os, signal\n"
        "def handler(event, context):\n"
        "    for pid in event:\n"
        "        try: os.kill(pid, signal.SIGKILL)\n"
        "        except OSError: pass\n"
        "    return 1\n"
    )
    killer, other = await copy(origin), await copy(origin)
    # Its own number apart; group 0 is its own, too.
    assert await ask(killer, [-1, 1, *range(3, 300)]) == 1
    assert await ask(other, []) == 1
    assert await ask(await copy(origin), []) == 1


async def test_copies_outlive_their_template(
    template: Template, copy: Copy, jails: JailSandboxes
) -> None:
    origin = await template(EVAL + "import subprocess; subprocess.Popen(['/bin/sleep', '1000'])\n")
    one, other = await copy(origin), await copy(origin)
    await origin.destroy()
    assert not origin.alive
    with pytest.raises(SetupFailed):
        await jails.restore(origin)
    assert await ask(one, "1") == 1
    await one.destroy()
    assert await ask(other, "2") == 2
    await other.destroy()
    await until(lambda: processes(jails) == {})


async def test_a_template_that_dies_takes_no_copy_with_it(
    template: Template, copy: Copy, jails: JailSandboxes
) -> None:
    origin = await template(EVAL)
    sandbox = await copy(origin)
    os.kill(template_pid(jails, origin), signal.SIGKILL)
    await until(lambda: not origin.alive)
    assert await ask(sandbox, "1") == 1
    with pytest.raises(SetupFailed):
        await jails.restore(origin)
    again = await template(EVAL)
    assert await ask(await copy(again), "2") == 2


async def test_many_copies_at_once(template: Template, copy: Copy, jails: JailSandboxes) -> None:
    origin = await template(EVAL)
    made = await asyncio.gather(*(copy(origin) for _ in range(8)))
    assert await asyncio.gather(*(ask(one, "6 * 7") for one in made)) == [42] * 8
    await asyncio.gather(*(one.destroy() for one in made))
    await until(lambda: set(processes(jails)) == {origin.id})
    await jails.close()
    own = own_name(os.getpid())
    assert not [path for path in Path("/sys/fs/cgroup").glob(f"*/**/{own}/*") if path.is_dir()]


async def test_a_copy_has_no_privileges_and_cannot_change_its_namespaces(
    template: Template, copy: Copy
) -> None:
    origin = await template(
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def tried(number, *arguments):\n"
        "    return [libc.syscall(number, *arguments), ctypes.get_errno()]\n"
        "def handler(event, context):\n"
        "    fields = dict(line.strip('\\n').split(':\\t') for line in open('/proc/self/status'))\n"
        "    names = 'CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp'\n"
        "    users = os.open('/proc/self/ns/user', os.O_RDONLY)\n"
        "    open_files = {os.readlink(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')\n"
        "                  if os.path.exists(f'/proc/self/fd/{n}')}\n"
        "    return [[int(fields[name], 16) for name in names], fields['Uid'].split(),\n"
        "            tried(308, users, 0), tried(272, 0x10000000), tried(161, b'/tmp'),\n"
        "            sorted(name for name in open_files if name.startswith(('mnt', 'net', 'pid')))]\n"
    )
    numbers, users, enter, leave, root, leaked = await ask(await copy(origin))
    assert numbers == [0, 0, 0, 0, 0, 1, 2]
    assert users == ["993"] * 4
    assert (enter, leave, root) == ([-1, 38], [-1, 1], [-1, 1])
    assert leaked == []


@pytest.mark.parametrize(
    "treason",
    [
        "syscalls.drop_capabilities = lambda: None",
        "syscalls.drop_capabilities = lambda: os.open('/tmp/x', os.O_CREAT)",
        "syscalls.drop_bounding_set = lambda: None",
        "syscalls.setns = lambda fd, kind: None",
        "os.fork = lambda: 1",
        "socket.recv_fds = lambda *a: os._exit(0)",
    ],
)
async def test_a_function_that_tampers_with_its_copying_gets_none(
    template: Template, jails: JailSandboxes, treason: str
) -> None:
    origin = await template(
        "import os, socket\nfrom forerun.runtime import syscalls\n" + treason + "\n" + HELLO
    )
    with pytest.raises(SetupFailed):
        await jails.restore(origin)
    fine = await template(HELLO)
    await jails.restore(fine)


async def test_a_socket_given_to_the_template_does_not_open_the_network_of_a_copy(
    template: Template, copy: Copy
) -> None:
    origin = await template(
        "import fcntl, os, socket, struct\n"
        "near, far = socket.socketpair()\n"
        "if os.fork() == 0:\n"
        "    near.close()\n"
        "    _, fds, _, _ = socket.recv_fds(far, 1, 1)\n"
        "    try: told = fcntl.ioctl(fds[0], 0x8914, struct.pack('16sH22x', b'lo', 0)) and 'done'\n"
        "    except OSError as error: told = str(error.errno)\n"
        "    far.send(told.encode())\n"
        "    os._exit(0)\n"
        "def handler(event, context):\n"
        "    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:\n"
        "        socket.send_fds(near, [b'x'], [sock.fileno()])\n"
        "    return near.recv(100).decode()\n"
    )
    assert await ask(await copy(origin)) == "1"


async def test_what_cannot_be_copied_is_refused(
    snapshot: Callable[..., Awaitable[Any]],
) -> None:
    sandbox, result = await snapshot(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        + HELLO
    )
    assert isinstance(result, InitFailure)
    assert result.error_type == "Runtime.NoSnapshot"
    assert b"1 threads run after init" in result.payload
    assert not sandbox.alive


async def test_failures_of_init_and_hooks_are_told(
    snapshot: Callable[..., Awaitable[Any]], template: Template, jails: JailSandboxes
) -> None:
    for source, error in (
        ("1 / 0", "ZeroDivisionError"),
        ("import os; os._exit(4)", "Runtime.ExitError"),
        (
            "from snapshot_restore_py import register_before_snapshot as before\n"
            "before(lambda: 1 / 0)\n" + HELLO,
            "Runtime.BeforeSnapshotError",
        ),
    ):
        _, result = await snapshot(source)
        assert isinstance(result, InitFailure)
        assert result.error_type == error, result
    origin = await template(
        "from snapshot_restore_py import register_after_restore as after\n"
        "after(lambda: 1 / 0)\n" + HELLO
    )
    sandbox = await jails.restore(origin)
    spec = make_spec(Path("/"), snap_start=True)
    failed = await sandbox.assign(spec, deadline=time.monotonic() + 10)
    assert isinstance(failed, InitFailure)
    assert failed.error_type == "Runtime.AfterRestoreError"


async def test_open_connections_are_cut(template: Template, copy: Copy) -> None:
    origin = await template(
        EVAL + "server = socket.create_server(('127.0.0.1', 0))\n"
        "client = socket.create_connection(server.getsockname())\n"
        "pair = socket.socketpair()\n"
    )
    sandbox = await copy(origin)
    assert await ask(sandbox, "client.recv(1).decode()") == ""
    assert await ask(sandbox, "pair[0].send(b'x')") == 1


async def test_every_installed_interpreter_can_be_copied(tmp_path: Path) -> None:
    found = find_pythons([Path("/usr/bin"), Path("/usr/local/bin")], Path.home())
    jails = JailSandboxes(JailSettings(data_dir=tmp_path, interpreters=found))
    code = write_code(
        tmp_path / "code",
        "import sys, ssl\ndef handler(e, c): return 'python%d.%d' % sys.version_info[:2]",
    )
    await jails.start()
    try:
        for name in sorted(found):
            spec = make_spec(code, runtime=name, snap_start=True)
            origin = await jails.create(name)
            await jails.snapshot(origin, spec, deadline=time.monotonic() + 10)
            for _ in range(2):
                sandbox = await jails.restore(origin)
                await sandbox.assign(spec, deadline=time.monotonic() + 10)
                assert await ask(sandbox) == name
    finally:
        await jails.close()
