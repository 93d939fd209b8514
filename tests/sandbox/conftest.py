"""Jailed sandboxes on the real kernel."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.makers import RUNTIME, make_spec, write_code

from forerun.model.execution import InitReport
from forerun.sandbox import JailSandboxes, JailSettings, Sandbox, own_interpreter

Jail = Callable[..., Awaitable[Sandbox]]


@pytest.fixture
async def jails(tmp_path: Path) -> AsyncIterator[JailSandboxes]:
    own = own_interpreter()
    made = JailSandboxes(JailSettings(data_dir=tmp_path / "data", interpreters={own.runtime: own}))
    await made.start()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def pool() -> str:
    """Which zygote the sandboxes come from."""
    return RUNTIME


@pytest.fixture
def jail(jails: JailSandboxes, tmp_path: Path, pool: str) -> Jail:
    """Makes a sandbox that has initialised ``source``."""
    count = 0

    async def make(source: str, **changes: Any) -> Sandbox:
        nonlocal count
        count += 1
        code = write_code(tmp_path / f"code{count}", source)
        sandbox = await jails.create(pool)
        result = await sandbox.assign(make_spec(code, **changes), deadline=time.monotonic() + 10)
        assert isinstance(result, InitReport), result
        return sandbox

    return make
