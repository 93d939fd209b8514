"""Bytecode in jails: made in a sandbox that holds nothing else, read by those that have the same tree."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.apart import as_ordinary_user
from tests.sandbox.makers import RUNTIME, make_call, make_spec, write_code

from forerun.aio import SystemClock
from forerun.errors import SetupFailed
from forerun.model.execution import InitReport, SandboxSpec
from forerun.model.functions import Egress
from forerun.sandbox import JailSandboxes, Pack, make_pack
from forerun.sandbox.bytecode import MAX_BYTES, _spec, packs_of, worth_compiling

pytestmark = pytest.mark.root

WATCHING = """
import os, sys
compiled = []
def watch(event, arguments):
    if event == "compile" and str(arguments[1]).endswith(".py"):
        compiled.append(str(arguments[1]))
sys.addaudithook(watch)
import lib
def handler(event, context):
    listed = sorted(os.path.join(at, name) for at, _, names in os.walk("/var/task") for name in names)
    packs = "/var/runtime/bytecode"
    return {
        "compiled": compiled, "value": lib.VALUE, "listed": listed,
        "packs": {name: os.stat(packs + "/" + name).st_size for name in ("task", "layers")},
        "writable": os.access(packs + "/task", os.W_OK),
    }
"""


async def run(jails: JailSandboxes, spec: SandboxSpec) -> Any:
    sandbox = await jails.create(spec.runtime)
    try:
        report = await sandbox.assign(spec, deadline=time.monotonic() + 10)
        assert isinstance(report, InitReport), report
        outcome = await sandbox.invoke(make_call())
        assert outcome.error is None, outcome.payload
        return json.loads(outcome.payload)
    finally:
        await sandbox.destroy()


async def compile_all(jails: JailSandboxes, spec: SandboxSpec) -> None:
    for pack in packs_of(spec):
        await make_pack(jails, pack, spec, SystemClock())


def left_over(jails: JailSandboxes) -> list[str]:
    return [e.name for one in jails.groups.parents for e in one.path.iterdir() if e.is_dir()]


async def test_the_second_sandbox_compiles_nothing(jails: JailSandboxes, tmp_path: Path) -> None:
    code = write_code(tmp_path / "trees" / "aa", WATCHING)
    write_code(code, "VALUE = 7\n", "lib.py")
    other = write_code(tmp_path / "trees" / "bb", WATCHING)
    write_code(other, "VALUE = 8\n", "lib.py")
    spec = make_spec(code)
    first = await run(jails, spec)
    assert first["compiled"] == ["/var/task/lib.py"]
    await compile_all(jails, spec)
    second = await run(jails, spec)
    assert second["packs"].pop("task") > 0
    assert first["packs"].pop("task") == 0
    assert second == first | {"compiled": []}
    assert second["listed"] == ["/var/task/app.py", "/var/task/lib.py"]
    assert not second["writable"]
    # Another function sees nothing of it.
    assert (await run(jails, make_spec(other)))["packs"] == {"task": 0, "layers": 0}
    assert sorted(path.name for path in code.parent.iterdir()) == [
        "aa",
        f"aa.task-{RUNTIME}-1",
        "bb",
    ]
    assert left_over(jails) == []


async def test_layers_have_their_own(jails: JailSandboxes, tmp_path: Path) -> None:
    code = write_code(tmp_path / "trees" / "aa", WATCHING)
    layer = tmp_path / "trees" / "cc"
    write_code(layer / "python", "VALUE = 9\n", "lib.py")
    layer.chmod(0o755)
    spec = make_spec(code, layers_dir=str(layer))
    assert (await run(jails, spec))["compiled"] == ["/opt/python/lib.py"]
    await compile_all(jails, spec)
    found = await run(jails, spec)
    assert (found["compiled"], found["value"]) == ([], 9)
    assert all(found["packs"].values())


async def test_the_sdk_is_compiled_for_all_who_come_after(
    jails: JailSandboxes, tmp_path: Path
) -> None:
    source = WATCHING.replace("import lib", "import boto3.dynamodb.types").replace(
        "lib.VALUE", "os.access('/var/runtime/bytecode/sdk', os.W_OK)"
    )
    spec = make_spec(write_code(tmp_path / "aa", source), uses_sdk=True)
    pack = jails._sdk_packs._pack(RUNTIME)
    # As where the SDK is installed without bytecode.
    jails._sdk_packs._packs[RUNTIME] = pack
    assert pack in jails.packs(spec)
    before = await run(jails, spec)
    assert before["compiled"]
    await make_pack(jails, pack, spec, SystemClock())
    after = await run(jails, spec)
    assert (after["compiled"], after["value"]) == ([], False)


async def test_a_hostile_package_costs_its_own_bytecode_only(
    jails: JailSandboxes, tmp_path: Path
) -> None:
    code = write_code(tmp_path / "trees" / "aa", WATCHING)
    write_code(code, "VALUE = 7\n", "lib.py")
    for name in sys.stdlib_module_names:
        (code / f"{name}.py").write_text("import os\nos._exit(3)\n")
    tags = [f"cpython-{minor}" for minor in (311, 312)]
    (code / "__pycache__").mkdir()
    for tag in tags:
        # Bytecode that came with the package and is none.
        (code / "__pycache__" / f"evil.{tag}.pyc").write_bytes(b"\xa7\r\r\n" + b"\1" * 64)
    (code / "evil.py").write_text("VALUE = 1\n")
    (code / "unary.py").write_text("A = " + "-" * 500_000 + "1")
    (code / "lambdas.py").write_text("A = " + "lambda: " * 90_000 + "1")
    (code / "many").mkdir()
    for number in range(3000):
        (code / "many" / f"m{number}.py").write_text("")
    spec = make_spec(code)
    await compile_all(jails, spec)
    plain = write_code(tmp_path / "trees" / "bb", WATCHING)
    write_code(plain, "VALUE = 8\n", "lib.py")
    assert (await run(jails, make_spec(plain)))["value"] == 8
    (pack,) = packs_of(spec)
    assert 100_000 < os.stat(pack.file).st_size < MAX_BYTES
    assert left_over(jails) == []


ROOTLESS = f"""
import asyncio, json, sys
from pathlib import Path
from tests.sandbox.makers import make_spec, write_code
from tests.sandbox.test_bytecode import WATCHING, compile_all, run
from forerun.sandbox import JailSandboxes, JailSettings, find_pythons

async def main(data):
    pythons = find_pythons([Path("/usr/bin")], None)
    jails = JailSandboxes(JailSettings(data_dir=data, interpreters=pythons))
    await jails.start()
    try:
        code = write_code(data / "trees" / "aa", WATCHING)
        write_code(code, "VALUE = 7", "lib.py")
        spec = make_spec(code, runtime={RUNTIME!r})
        await compile_all(jails, spec)
        print(json.dumps(await run(jails, spec)))
    finally:
        await jails.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def test_an_ordinary_user_compiles_too() -> None:
    with as_ordinary_user(ROOTLESS) as (_, found):
        assert (found["compiled"], found["value"]) == ([], 7)


class Liar:
    """Sandboxes whose only one answers what it was told to."""

    isolation, alive = "fake", True

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.destroyed = False

    async def create(self, runtime: str) -> "Liar":
        return self

    async def assign(self, spec: SandboxSpec, *, deadline: float) -> InitReport:
        return InitReport(duration_ms=1)

    async def invoke(self, call: Any) -> Any:
        answer = self.answers.pop(0)
        payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return type("Outcome", (), {"error": None, "alive": True, "payload": payload})

    async def destroy(self) -> None:
        self.destroyed = True


@pytest.mark.parametrize(
    "answers",
    [
        [b"[" * 100_000],
        [b"\xff"],
        [[]],
        [{}],
        [{"size": 0}],
        [{"size": 1e3}],
        [{"size": MAX_BYTES + 1}],
        [{"size": 10}, {"data": ""}],
        [{"size": 10}, {"data": "A" * 40}],
        [{"size": 10}, {"data": 5}],
        [{"size": 10}, {"data": "A"}],
        [{"size": 10}, {}],
    ],
    ids=lambda answers: repr(answers)[:40],
)
async def test_what_a_compiling_sandbox_says_is_not_believed(
    tmp_path: Path, answers: list[object]
) -> None:
    spec = make_spec(write_code(tmp_path / "aa", "A = 1"))
    (pack,) = packs_of(spec)
    liar: Any = Liar(*answers)
    with pytest.raises(SetupFailed, match="Compiling"):
        await make_pack(liar, pack, spec, SystemClock())
    assert liar.destroyed
    assert os.listdir(tmp_path) == ["aa"]


async def test_no_pack_for_a_tree_that_went_meanwhile(tmp_path: Path) -> None:
    spec = make_spec(tmp_path / "gone")
    (pack,) = packs_of(spec)
    liar: Any = Liar({"size": 3}, {"data": "QUJD"})
    await make_pack(liar, pack, spec, SystemClock())
    assert os.listdir(tmp_path) == []


async def test_it_compiles_with_the_tree_and_nothing_else(tmp_path: Path) -> None:
    layers = str(tmp_path / "cc")
    spec = make_spec(
        tmp_path / "aa",
        layers_dir=layers,
        environment={"SECRET": "x"},
        egress=Egress.OPEN,
        snap_start=True,
    )
    task, layer = (_spec(pack, spec) for pack in packs_of(spec))
    assert (task.code_dir, task.layers_dir) == (spec.code_dir, None)
    assert (layer.code_dir, layer.layers_dir) == (layers, layers)
    for one in (task, layer):
        assert (one.environment, one.egress, one.credentials, one.role) == (
            {},
            Egress.NONE,
            None,
            "",
        )
        assert not one.snap_start


def test_small_trees_and_other_languages_are_not_compiled(tmp_path: Path) -> None:
    spec = make_spec(write_code(tmp_path / "aa", "A = 1"))
    (pack,) = packs_of(spec)
    assert not worth_compiling(pack)
    write_code(tmp_path / "aa" / "lib", "#" * 5000, "lib.py")
    assert worth_compiling(pack)
    assert packs_of(make_spec(tmp_path / "aa", runtime="nodejs20.x")) == []
    assert not worth_compiling(Pack("/", str(tmp_path / "none"), "", ""))
