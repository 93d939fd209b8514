"""What plain processes promise without the kernel's help: they end with their server, and so does what they started."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.sandbox.makers import make_spec, write_code

from forerun.errors import SetupFailed
from forerun.sandbox import ProcessSandboxes, ProcessSettings, own_interpreter

SERVER = """
import asyncio, sys, time
from pathlib import Path
sys.path[:0] = {path!r}
from tests.sandbox.makers import *
from forerun.sandbox import *

async def main():
    own = own_interpreter()
    made = ProcessSandboxes(
        ProcessSettings(data_dir=Path({data!r}), interpreters={{own.runtime: own}})
    )
    await made.start()
    busy, idle = await made.create(RUNTIME), await made.create(RUNTIME)
    await busy.assign(make_spec(Path({code!r})), deadline=time.monotonic() + 10)
    calling = asyncio.ensure_future(busy.invoke(make_call(None, seconds=600)))
    await asyncio.sleep(0)
    print("up", flush=True)
    await calling

asyncio.run(main())
"""


async def test_nothing_runs_on_after_the_server_is_killed(tmp_path: Path) -> None:
    seconds = str(random.randint(10**8, 10**9))
    code = write_code(
        tmp_path / "code",
        "import subprocess\n"
        "def handler(e, c):\n"
        f"    subprocess.Popen(['sleep', '{seconds}'], start_new_session=True)\n"
        "    while True: pass\n",
    )
    script = SERVER.format(
        path=[str(Path(__file__).parents[2]), *sys.path], data=str(tmp_path / "d"), code=str(code)
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        await asyncio.to_thread(server.stdout.readline)
        await until(lambda: mentioned(["sleep", seconds]))
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        assert len(children) == 2
        server.kill()
    await until(lambda: not mentioned(["sleep", seconds]))
    await until(lambda: not any(Path("/proc", pid).exists() for pid in children))


async def test_what_asks_for_a_jail_is_not_run(tmp_path: Path) -> None:
    own = own_interpreter()
    made = ProcessSandboxes(ProcessSettings(data_dir=tmp_path, interpreters={own.runtime: own}))
    await made.start()
    try:
        sandbox = await made.create(own.runtime)
        code = write_code(tmp_path / "code", "def handler(e, c): pass")
        with pytest.raises(SetupFailed, match="isolation 'jail'"):
            await sandbox.assign(make_spec(code, isolation="jail"), deadline=time.monotonic() + 10)
    finally:
        await made.close()


KILLED_MEANWHILE = """
    import os
    from forerun.sandbox import process
    await asyncio.to_thread(sys.stdin.readline)
    process.kill_descendants = lambda pid: os.kill(os.getpid(), 9)
    busy.kill()
"""


async def test_nothing_stays_when_the_server_is_killed_while_it_ends_a_sandbox(
    tmp_path: Path,
) -> None:
    code = write_code(tmp_path / "code", "def handler(e, c):\n    while True: pass\n")
    script = SERVER.format(
        path=[str(Path(__file__).parents[2]), *sys.path], data=str(tmp_path / "d"), code=str(code)
    ).replace("    await calling\n", KILLED_MEANWHILE)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        await asyncio.to_thread(server.stdout.readline)
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        assert len(children) == 2
        server.stdin.write(b"\n")
        server.stdin.flush()
        assert await asyncio.to_thread(server.wait, 20) == -9
    await until(lambda: not any(Path("/proc", pid).exists() for pid in children))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def mentioned(argv: list[str]) -> bool:
    wanted = "\0".join(argv).encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().startswith(wanted):
                    return True
            except OSError:
                continue
    return False
