"""Zygotes learn what functions import: who imports slow modules starts sooner after a few starts, and nobody later."""

import json
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.servers import FORERUN, Server, eventually, running

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(150)]

SLOW = """
import asyncio, sqlite3, unittest.mock, xml.dom.minidom
def handler(event, context):
    return sqlite3.connect(":memory:").execute("select 7").fetchone()[0]
"""
QUICK = "import json\ndef handler(event, context):\n    return 7"
OTHER = """
import http.server, multiprocessing.pool, pydoc, xmlrpc.client
def handler(event, context):
    return 7
"""
STARTS = 7


def server_with(data: Path, **settings: str) -> Any:
    named = {f"FORERUN_SANDBOX_{name.upper()}": value for name, value in settings.items()}
    # What is prepared ahead starts as fast as anything; here it is the start itself that counts.
    fixed = {"FORERUN_SANDBOX_ZYGOTE_LOOK_S": "0.3", "FORERUN_FORESIGHT_ENABLED": "false"}
    return running(data / "data", settings={**fixed, **named})


@pytest.fixture(scope="module")
def learning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server_with(tmp_path_factory.mktemp("learning")) as server:
        yield server


@pytest.fixture(scope="module")
def ignorant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server_with(tmp_path_factory.mktemp("ignorant"), zygotes="0") as server:
        yield server


def start(server: Server, name: str) -> dict[str, Any]:
    """Call it in a new sandbox; the record."""
    server.lambda_.update_function_configuration(FunctionName=name, Description="another")
    assert server.call(name) == 7

    def recorded() -> Any:
        newest = server.invocations(name, 1)
        return newest and newest[0]["init_ms"] is not None and newest[0]

    return eventually(recorded)


def init_ms(server: Server, name: str) -> float:
    return statistics.median(start(server, name)["init_ms"] for _ in range(STARTS))


def zygotes(server: Server) -> dict[str, Any]:
    answer = server.platform("/forerun/zygotes")
    return {each["name"]: each for each in answer["Zygotes"]}


def zygote_of(server: Server, name: str) -> str:
    """Where its sandboxes come from, once that is not where all come from; it is started until then."""
    answer = server.platform(f"/forerun/zygotes?FunctionName={name}")["Functions"]
    if answer and "+" in answer[0]["zygote"]:
        found: str = answer[0]["zygote"]
        return found
    start(server, name)
    return ""


def test_who_imports_slow_modules_starts_sooner_and_nobody_later(
    learning: Server, ignorant: Server
) -> None:
    before = {}
    for label, source in (("slow", SLOW), ("quick", QUICK)):
        name = ignorant.function({"lambda_function.py": source}, name=label)
        server_name = learning.function({"lambda_function.py": source}, name=label)
        assert name == server_name == label
        before[label] = init_ms(ignorant, label)
    assert all("+" not in name for name in zygotes(ignorant))
    grown = eventually(lambda: zygote_of(learning, "slow"), within=20)
    shown = zygotes(learning)[grown]
    assert {"asyncio", "sqlite3", "unittest.mock", "xml.dom.minidom"} <= set(shown["modules"])
    assert any("slow" in each["names"] for each in shown["functions"])
    assert shown["saved_ms_per_hour"] > 0
    after = {label: init_ms(learning, label) for label in before}
    assert after["slow"] < 0.4 * before["slow"], (before, after)
    assert after["quick"] < 1.5 * before["quick"] + 1, (before, after)
    assert zygotes(learning)[grown]["starts"] >= STARTS


def test_what_functions_import_and_why_zygotes_are_is_told(learning: Server) -> None:
    name = learning.function({"lambda_function.py": SLOW, "helper.py": ""}, name="told")
    grown = eventually(lambda: zygote_of(learning, name), within=20)
    run = [str(FORERUN), "zygotes", "--data", str(learning.data)]
    table = subprocess.run(run, capture_output=True, text=True, timeout=30, check=True).stdout
    assert grown in table
    assert "told" in table
    one = subprocess.run(
        [*run, "--json", name], capture_output=True, text=True, timeout=30, check=True
    )
    (function,) = json.loads(one.stdout)["Functions"]
    origins = {each["module"]: each["origin"] for each in function["imports"]}
    assert origins["sqlite3"] == "standard"
    assert origins["lambda_function"] == "package"
    assert function["spared_ms"] > 1


def test_another_use_is_another_choice(tmp_path: Path) -> None:
    with server_with(tmp_path, zygote_memory_s="1", zygotes="1", zygote_budget_mb="24") as server:
        first = server.function({"lambda_function.py": SLOW})
        grown = eventually(lambda: zygote_of(server, first), within=20)
        second = server.function({"lambda_function.py": OTHER})
        other = eventually(lambda: zygote_of(server, second), within=30)
        assert "xmlrpc.client" in zygotes(server)[other]["modules"]
        eventually(lambda: grown not in zygotes(server) or grown == other, within=30)
        # With nothing called any more, nothing is held for it.
        eventually(lambda: all("+" not in name for name in zygotes(server)), within=40)

        def waiting() -> int:
            pools = server.platform("/forerun/status")["pool"]
            return sum(count for name, count in pools.items() if "+" in name)

        eventually(lambda: not waiting(), within=40)
        assert server.call(first) == 7
        assert start(server, first)["status"] == "success"


def test_its_own_module_of_that_name_comes_first(learning: Server) -> None:
    shadow = {
        "lambda_function.py": "import sqlite3\ndef handler(event, context): return sqlite3.MINE",
        "sqlite3.py": "MINE = 7",
    }
    name = learning.function(shadow)
    slow = learning.function({"lambda_function.py": SLOW}, name="beside")
    eventually(lambda: zygote_of(learning, slow), within=20)
    for _ in range(4):
        start(learning, name)
