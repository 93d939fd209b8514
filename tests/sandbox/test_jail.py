"""What only a jail promises: memory, processes and /tmp are bounded, and nothing is left on the machine."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.conftest import Jail
from tests.sandbox.makers import RUNTIME, make_call, make_spec, write_code

from forerun.errors import SetupFailed
from forerun.model.execution import Outcome
from forerun.model.functions import Egress
from forerun.sandbox import JailSandboxes, JailSettings, find_pythons, own_interpreter
from forerun.sandbox.cgroups import Groups, own_name

pytestmark = pytest.mark.root

HELLO = "def handler(event, context): return 'hello'"


def answer(outcome: Outcome) -> Any:
    return json.loads(outcome.payload)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def groups_below(groups: Groups) -> list[str]:
    return [entry.name for one in groups.parents for entry in one.path.iterdir() if entry.is_dir()]


async def test_memory_beyond_the_limit_kills_and_says_so(jail: Jail, jails: JailSandboxes) -> None:
    sandbox = await jail("def handler(e, c): return len(bytearray(300_000_000))", memory_mb=128)
    call = make_call(None)
    outcome = await sandbox.invoke(call)
    assert answer(outcome) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": (
            f"RequestId: {call.request_id} Error: Runtime exited with error: signal: killed"
        ),
    }
    assert outcome.max_memory_mb in range(100, 129)
    assert not outcome.alive
    await sandbox.destroy()
    assert groups_below(jails.groups) == []


async def test_memory_within_the_limit_is_fine_and_measured(jail: Jail) -> None:
    sandbox = await jail("def handler(e, c): return len(bytearray(80_000_000))", memory_mb=128)
    outcome = await sandbox.invoke(make_call(None))
    assert answer(outcome) == 80_000_000
    assert 76 <= outcome.max_memory_mb <= 128


def memory_limits(groups: Groups, name: str) -> set[int]:
    parent = next(one for one in groups.parents if "memory" in one.controllers)
    names = (groups.files.memory_limit, groups.files.memory_and_swap[0])
    return {int((parent.path / name / file).read_text()) >> 20 for file in names}


@pytest.mark.parametrize("memory_mb", [64, 128, 3008])
async def test_no_sandbox_is_ever_without_a_limit(
    jails: JailSandboxes, tmp_path: Path, memory_mb: int
) -> None:
    sandbox = await jails.create(RUNTIME)
    assert memory_limits(jails.groups, sandbox.id) <= {128, 0}
    spec = make_spec(write_code(tmp_path / "code", HELLO), memory_mb=memory_mb)
    await sandbox.assign(spec, deadline=time.monotonic() + 10)
    assert memory_limits(jails.groups, sandbox.id) <= {memory_mb, 0}


async def test_sandboxes_of_one_zygote_draw_their_own_numbers(jail: Jail) -> None:
    source = (
        "import os, random, ssl, tempfile\n"
        "def handler(e, c):\n"
        "    names = list(zip(tempfile._get_candidate_names(), range(2)))\n"
        "    return [random.random(), ssl.RAND_bytes(16).hex(), names, os.listdir('/proc/self/fd')]\n"
    )
    answers = [answer(await (await jail(source)).invoke(make_call(None))) for _ in range(3)]
    for drawn in list(zip(*answers, strict=True))[:3]:
        assert len({json.dumps(one) for one in drawn}) == 3
    # Nothing but null, the output, the wire and the folder that is listed.
    assert all(len(one[3]) == 5 for one in answers)


async def test_a_fork_bomb_is_bounded_and_ends_with_its_sandbox(jail: Jail) -> None:
    bomb = await jail(
        "import os, time\n"
        "def handler(e, c):\n"
        "    count = 0\n"
        "    try:\n"
        "        while True:\n"
        "            if os.fork() == 0: time.sleep(1000)\n"
        "            count += 1\n"
        "    except OSError: return count\n",
        memory_mb=2048,
        timeout_s=30,
    )
    outcome = await bomb.invoke(make_call(None, seconds=30))
    assert answer(outcome) in range(900, 1025)
    other = await jail(HELLO)
    assert answer(await other.invoke(make_call(None))) == "hello"
    await bomb.destroy()


async def test_tmp_has_the_functions_size(jail: Jail) -> None:
    sandbox = await jail(
        "def handler(e, c):\n"
        "    written = 0\n"
        "    try:\n"
        "        with open('/tmp/fill', 'wb') as file:\n"
        "            while True: written += file.write(bytes(1 << 20)); file.flush()\n"
        "    except OSError as error: return [error.errno, written >> 20]\n",
        ephemeral_mb=64,
        memory_mb=256,
    )
    errno, written = answer(await sandbox.invoke(make_call(None)))
    assert errno == 28
    assert 63 <= written <= 64
    other = await jail("import os\ndef handler(e, c): return os.listdir('/tmp')")
    assert answer(await other.invoke(make_call(None))) == []


async def test_killing_everything_in_sight_ends_only_the_own_sandbox(jail: Jail) -> None:
    victim = await jail(HELLO)
    killer = await jail(
        "import os, signal\n"
        "def handler(e, c):\n"
        "    for pid in [0, -1, *range(1, 70000)]:\n"
        "        try: os.kill(pid, signal.SIGKILL)\n"
        "        except OSError: pass\n"
        "    return 'still here'\n"
    )
    # The first process of a pid namespace cannot be killed from inside.
    assert answer(await killer.invoke(make_call(None))) == "still here"
    assert answer(await victim.invoke(make_call(None))) == "hello"


async def test_a_lost_zygote_ends_its_sandboxes_and_is_replaced(
    jail: Jail, jails: JailSandboxes
) -> None:
    sandbox = await jail(HELLO)
    os.kill(jails.zygote_pids()[RUNTIME], signal.SIGKILL)
    await until(lambda: not sandbox.alive)
    assert not jails.ready(RUNTIME)
    await sandbox.destroy()
    assert groups_below(jails.groups) == []
    again = await jail(HELLO)
    assert answer(await again.invoke(make_call(None))) == "hello"


async def test_many_at_once_each_have_their_own_user(jail: Jail, jails: JailSandboxes) -> None:
    made = await asyncio.gather(
        *(jail("import os\ndef handler(e, c): return os.getuid()") for _ in range(20))
    )
    assert [answer(await one.invoke(make_call(None))) for one in made] == [993] * 20
    pids = set().union(*(descendants(pid) for pid in jails.zygote_pids().values()))
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in pids}
    assert len({owner for owner in owners if owner >= 200_000}) == 20


async def test_missing_code_is_refused(jails: JailSandboxes, tmp_path: Path) -> None:
    sandbox = await jails.create(RUNTIME)
    with pytest.raises(SetupFailed, match="no-code"):
        await sandbox.assign(make_spec(tmp_path / "no-code"), deadline=time.monotonic() + 10)
    await sandbox.destroy()


async def test_the_platform_is_served_inside_when_egress_allows(tmp_path: Path) -> None:
    own = own_interpreter()
    served: list[str] = []
    stopped: list[str] = []

    async def serve(sock: Any, identity: str, _spec: object) -> Callable[[], None]:
        server = await asyncio.start_server(greet, sock=sock)
        served.append(identity)

        def stop() -> None:
            server.close()
            stopped.append(identity)

        return stop

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"platform")
        writer.close()

    jails = JailSandboxes(
        JailSettings(data_dir=tmp_path, interpreters={own.runtime: own}, serve_platform=serve)
    )
    source = (
        "import os, socket\n"
        "def handler(e, c):\n"
        "    try: return socket.create_connection(('127.0.0.1', 4566), 5).recv(100).decode()\n"
        "    except OSError as error: return [error.errno, os.environ.get('AWS_ENDPOINT_URL')]\n"
    )
    code = write_code(tmp_path / "code", source)
    await jails.start()
    try:
        allowed, refused = await jails.create(RUNTIME), await jails.create(RUNTIME)
        deadline = time.monotonic() + 10
        await allowed.assign(make_spec(code, egress=Egress.PLATFORM), deadline=deadline)
        await refused.assign(make_spec(code, egress=Egress.NONE), deadline=deadline)
        assert answer(await allowed.invoke(make_call(None))) == "platform"
        assert answer(await refused.invoke(make_call(None))) == [111, None]
        assert served == [allowed.id]
        await allowed.destroy()
        assert stopped == [allowed.id]
    finally:
        await jails.close()


SERVER = """
import asyncio, sys, time
from pathlib import Path
sys.path[:0] = {path!r}
from tests.sandbox.makers import *
from forerun.sandbox import *

async def main():
    own = own_interpreter()
    jails = JailSandboxes(JailSettings(data_dir=Path({data!r}), interpreters={{own.runtime: own}}))
    await jails.start()
    busy, pooled = await jails.create(RUNTIME), await jails.create(RUNTIME)
    await busy.assign(make_spec(Path({code!r})), deadline=time.monotonic() + 10)
    calling = asyncio.ensure_future(busy.invoke(make_call(None, seconds=600)))
    await asyncio.sleep(0)
    print("up", flush=True)
    await calling

asyncio.run(main())
"""


async def test_nothing_runs_on_after_the_server_is_killed(
    tmp_path: Path, jails: JailSandboxes
) -> None:
    code = write_code(
        tmp_path / "code",
        "import subprocess\n"
        "def handler(e, c):\n"
        "    subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "    while True: pass\n",
    )
    script = SERVER.format(
        path=[str(Path(__file__).parents[2]), *sys.path], data=str(tmp_path / "d"), code=str(code)
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        await asyncio.to_thread(server.stdout.readline)
        await until(lambda: len(descendants(server.pid)) >= 4)
        name, below = own_name(server.pid), descendants(server.pid)
        left = [one.path.with_name(name) for one in jails.groups.parents]
        assert all(path.is_dir() for path in left)
        server.kill()
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
    # The next server sweeps the control groups.
    own = own_interpreter()
    following = JailSandboxes(
        JailSettings(data_dir=tmp_path / "e", interpreters={own.runtime: own})
    )
    await following.start()
    assert not any(path.exists() for path in left)


def descendants(pid: int) -> set[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return set()
    return {int(child) for child in children}.union(*(descendants(int(one)) for one in children))


PROGRAM = """#!/usr/bin/python3 -I
import json, os, time, urllib.request as web
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    work = web.urlopen(api + "next")
    event = json.load(work)
    if event == "hog":
        held = [bytearray(10_000_000) for _ in range(100)]
    if event == "orphan":
        for _ in range(200):
            if os.fork() == 0:
                if os.fork() == 0: os._exit(0)
                os._exit(0)
            os.wait()
    while event == "hang":
        time.sleep(1)
    name = work.headers["Lambda-Runtime-Aws-Request-Id"]
    count = len([one for one in os.listdir("/proc") if one.isdigit()])
    web.urlopen(web.Request(api + name + "/response", data=json.dumps(count).encode())).read()
"""


@pytest.fixture
def program(jails: JailSandboxes, tmp_path: Path) -> Callable[[], Any]:
    async def make() -> Any:
        code = write_code(tmp_path / "program", PROGRAM, "bootstrap")
        (code / "bootstrap").chmod(0o755)
        sandbox = await jails.create("provided.al2023")
        spec = make_spec(code, runtime="provided.al2023", timeout_s=1)
        await sandbox.assign(spec, deadline=time.monotonic() + 10)
        return sandbox

    return make


async def test_a_program_beyond_its_memory_is_reported_as_killed(
    program: Callable[[], Any],
) -> None:
    sandbox = await program()
    outcome = await sandbox.invoke(make_call("hog"))
    assert answer(outcome)["errorMessage"].endswith("Runtime exited with error: signal: killed")
    assert outcome.error_type == "Runtime.ExitError"
    assert not outcome.alive
    await sandbox.destroy()


async def test_a_program_that_hangs_is_ended_at_its_deadline(program: Callable[[], Any]) -> None:
    sandbox = await program()
    outcome = await sandbox.invoke(make_call("hang", seconds=1))
    assert answer(outcome)["errorType"] == "Sandbox.Timedout"
    assert not sandbox.alive
    await sandbox.destroy()


async def test_the_launcher_reaps_orphans(program: Callable[[], Any]) -> None:
    sandbox = await program()
    await sandbox.invoke(make_call("orphan"))
    async with asyncio.timeout(5):
        while answer(await sandbox.invoke(make_call("count"))) != 2:
            pass


async def test_every_installed_interpreter_runs_jailed(tmp_path: Path) -> None:
    found = find_pythons([Path("/usr/bin"), Path("/usr/local/bin")], Path.home())
    own = own_interpreter()
    jails = JailSandboxes(JailSettings(data_dir=tmp_path, interpreters={**found, own.runtime: own}))
    code = write_code(
        tmp_path / "code",
        "import sys, ssl, json\ndef handler(e, c): return 'python%d.%d' % sys.version_info[:2]",
    )
    await jails.start()
    try:
        for name in sorted({*found, own.runtime}):
            sandbox = await jails.create(name)
            await sandbox.assign(make_spec(code, runtime=name), deadline=time.monotonic() + 10)
            assert answer(await sandbox.invoke(make_call(None))) == name
    finally:
        await jails.close()
