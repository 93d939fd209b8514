"""Where segments of traces are left inside a jail: in its own network, whatever its egress, in copies as well."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.sandbox.makers import RUNTIME, make_call, make_spec, write_code

from forerun.model import Egress, SandboxSpec
from forerun.sandbox import JailSandboxes, JailSettings, Sandbox, own_interpreter

pytestmark = pytest.mark.root

SOURCE = """
import os, socket
def handler(event, context):
    host, port = os.environ["AWS_XRAY_DAEMON_ADDRESS"].split(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(event[1]):
            sock.sendto(event[0].encode() * event[2], (host, int(port)))
"""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_datagrams_reach_the_host_with_whose_they_are(tmp_path: Path) -> None:
    own, taken = own_interpreter(), list[tuple[bytes, str]]()

    def take(data: bytes, spec: SandboxSpec) -> None:
        taken.append((data, spec.name))

    jails = JailSandboxes(
        JailSettings(data_dir=tmp_path, interpreters={own.runtime: own}, take_datagram=take)
    )
    code = write_code(tmp_path / "code", SOURCE)

    async def assigned(sandbox: Sandbox, name: str) -> Sandbox:
        spec = make_spec(
            code, name=name, egress=Egress.NONE, snap_start=name != "plain", version="1"
        )
        await sandbox.assign(spec, deadline=time.monotonic() + 10)
        return sandbox

    await jails.start()
    try:
        plain = await assigned(await jails.create(RUNTIME), "plain")
        template = await jails.create(RUNTIME)
        spec = make_spec(code, egress=Egress.NONE, snap_start=True, version="1")
        await jails.snapshot(template, spec, deadline=time.monotonic() + 10)
        copy = await assigned(await jails.restore(template), "copy")
        for sandbox, text in ((plain, "p"), (copy, "c")):
            assert (await sandbox.invoke(make_call([text, 40, 1]))).error is None
        await until(lambda: len(taken) == 80)
        assert set(taken) == {(b"p", "plain"), (b"c", "copy")}
        assert (await plain.invoke(make_call(["x", 1, 65_000]))).error is None
        await until(lambda: len(taken) == 81)
        assert len(taken[-1][0]) == 65_000
    finally:
        await jails.close()
