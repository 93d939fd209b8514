"""Sandboxes copied from a template: what is shared, what is private, what stays confined. On the real kernel."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.sandbox.makers import RUNTIME, make_call, make_spec, write_code

from forerun.model import InitFailure, InitReport
from forerun.sandbox import JailSandboxes, Sandbox

Template = Callable[..., Awaitable[Sandbox]]
Copy = Callable[[Sandbox], Awaitable[Sandbox]]


@pytest.fixture
def template(jails: JailSandboxes, tmp_path: Path) -> Template:
    """Makes a template of ``source``."""
    count = 0

    async def make(source: str, **changes: Any) -> Sandbox:
        nonlocal count
        count += 1
        code = write_code(tmp_path / f"code{count}", source)
        sandbox = await jails.create(RUNTIME)
        spec = make_spec(code, snap_start=True, version="1", **changes)
        result = await jails.snapshot(sandbox, spec, deadline=time.monotonic() + 10)
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


async def test_init_runs_once_for_all_copies(template: Template, copy: Copy) -> None:
    origin = await template(
        "import random, time\n"
        "born = time.time_ns()\n"
        "def handler(event, context):\n"
        "    return [born, random.random()]\n"
    )
    copies = [await copy(origin) for _ in range(3)]
    answers = [await ask(one) for one in copies]
    assert len({born for born, _ in answers}) == 1
    assert len({number for _, number in answers}) == 3
