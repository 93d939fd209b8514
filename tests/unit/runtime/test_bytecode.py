"""Packs of compiled modules: made in child processes that may be lost, read by an import that may do without."""

import json
import marshal
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from tests.unit.runtime.driver import SOURCE

from forerun.runtime import bytecode, compiling

WATCHING = """
import sys
compiled = []
def watch(event, arguments):
    if event == "compile":
        compiled.append(str(arguments[1]))
sys.addaudithook(watch)
"""
BUILDING = "import sys, json; sys.path.insert(0, {!r}); from forerun.runtime import compiling\n" + (
    "print(json.dumps(compiling.build(*sys.argv[1:])))"
)


def build_with(interpreter, root, folder):
    """The pack of ``root`` as its interpreter makes it."""
    answer = subprocess.run(
        [interpreter, "-I", "-S", "-B", "-c", BUILDING.format(str(SOURCE))]
        + [str(path) for path in (root, folder / "pack", folder / "notes")],
        capture_output=True,
        check=True,
        timeout=30,
    )
    return json.loads(answer.stdout)


@pytest.fixture
def places(tmp_path):
    tree, out = tmp_path / "tree", tmp_path / "out"
    tree.mkdir()
    out.mkdir()
    return tree, out


@pytest.fixture
def build(places, monkeypatch):
    tree, out = places
    monkeypatch.setattr(sys, "path", list(sys.path))

    def builder():
        return compiling.build(str(tree), str(out / "pack"), str(out / "notes"))

    return builder


@pytest.fixture
def load(places):
    tree, out = places
    pack = bytecode.Pack(str(tree), str(out / "pack"))
    return lambda name: pack.code(str(tree / name))


def test_modules_come_out_of_the_pack_and_look_as_ever(start, interpreter, tmp_path):
    inner = tmp_path / "lib" / "inner"
    inner.mkdir(parents=True)
    (inner / "__init__.py").write_text("from lib.inner import deep")
    (inner / "deep.py").write_text("def where():\n    raise KeyError('here')\n")
    (tmp_path / "late.py").write_text("")
    out = tmp_path.parent / f"{tmp_path.name}-out"
    out.mkdir()
    source = (
        WATCHING
        + """
import lib.inner, late
def handler(event, context):
    import importlib, inspect
    from lib.inner import deep
    importlib.reload(deep)
    return {
        "compiled": [path for path in compiled if path.endswith(".py")],
        "file": deep.__file__, "cached": deep.__cached__ is None or "__pycache__" in deep.__cached__,
        "name": deep.where.__code__.co_filename,
        "source": inspect.getsource(deep.where),
        "package": lib.inner.__path__[0] == lib.inner.__spec__.submodule_search_locations[0],
    }
"""
    )
    (tmp_path / "app.py").write_text(source)
    assert build_with(interpreter, tmp_path, out)["files"] == 4
    # A module that is not in the pack.
    (tmp_path / "late.py").rename(tmp_path / "later.py")
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "__init__.py").write_text("")
    packed = [(str(tmp_path), str(out / "pack"))]
    driver = start(source, interpreter=interpreter, bytecode=packed)
    driver.inited()
    error, found = driver.invoke()
    assert error is None, found
    deep = str(inner / "deep.py")
    assert found == {
        "compiled": [str(tmp_path / "late" / "__init__.py")],
        "file": deep,
        "cached": True,
        "name": deep,
        "source": "def where():\n    raise KeyError('here')\n",
        "package": True,
    }
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "foreign", "a list", "text"])
def test_a_pack_that_is_none_is_done_without(start, tmp_path, damage):
    out = tmp_path.parent / f"{tmp_path.name}-out"
    out.mkdir()
    (tmp_path / "lib.py").write_text("VALUE = 7")
    build_with(sys.executable, tmp_path, out)
    pack = out / "pack"
    whole = pack.read_bytes()
    pack.unlink()
    damaged = {
        "empty": b"",
        "cut": whole[:-9],
        "foreign": whole[:-4] + b"\x00\x0d\r\n",
        "a list": marshal.dumps([1]) + bytecode.end_of_pack({})[-8:],
        "text": b"hello, this is no pack at all",
    }
    if damage != "missing":
        pack.write_bytes(damaged[damage])
    driver = start(
        "import lib\ndef handler(event, context): return lib.VALUE",
        bytecode=[(str(tmp_path), str(pack))],
    )
    driver.inited()
    assert driver.invoke() == (None, 7)


def test_what_does_not_compile_is_left_to_the_import(build, load, places):
    tree, _ = places
    (tree / "good.py").write_text("A = 1")
    (tree / "bad.py").write_text("def (:")
    (tree / "null.py").write_bytes(b"A = '\0'")
    (tree / "coding.py").write_bytes(b"# -*- coding: no-such-codec -*-\nA = 1")
    (tree / "deep.py").write_text("A = " + "-" * 200_000 + "1")
    (tree / "nested.py").write_text("(" * 150 + ")" * 150)
    (tree / "sum.py").write_text("A = " + "+".join("1" * 100_000))
    (tree / "text.txt").write_text("A = 1")
    os.symlink("/etc", tree / "away")
    os.symlink("/etc/passwd", tree / "link.py")
    os.mkfifo(tree / "pipe.py")
    for name in ("tests", "__pycache__"):
        (tree / name).mkdir()
        (tree / name / "skipped.py").write_text("A = 1")
    told = build()
    assert told["found"] == 7
    assert isinstance(load("good.py"), types.CodeType)
    left_out = ["bad.py", "null.py", "coding.py", "link.py", "pipe.py", "tests/skipped.py"]
    assert [load(name) for name in left_out] == [None] * 6


def test_nothing_is_executed(build, load, places):
    tree, out = places
    harm = f"open({str(out / 'harm')!r}, 'w')\nraise SystemExit(3)"
    for name in sys.stdlib_module_names | {"app", "sitecustomize", "encodings/x"}:
        place = tree / f"{name}.py"
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"# -*- coding: x -*-\n{harm}" if name == "app" else harm)
    told = build()
    assert told["files"] == told["found"] - 1
    assert load("base64.py")
    assert sorted(path.name for path in out.iterdir()) == ["notes", "pack"]


def test_a_file_that_ends_the_compiler_costs_itself_only(build, load, places, monkeypatch):
    tree, _ = places
    for number in range(10):
        (tree / f"m{number}.py").write_text(f"A = {number}")
    usual = compiling._compiled

    def lethal(path):
        if path.endswith(("m0.py", "m4.py", "m9.py")):
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(path)

    monkeypatch.setattr(compiling, "_compiled", lethal)
    assert build() | {"size": 0} == {"size": 0, "files": 7, "found": 10, "lost": 3}
    assert [n for n in range(10) if load(f"m{n}.py") is None] == [0, 4, 9]
    names = {"A": None}
    exec(load("m7.py"), names)
    assert names["A"] == 7


def test_what_never_ends_is_ended(build, load, places, monkeypatch):
    tree, _ = places
    for name in ("a", "b"):
        (tree / f"{name}.py").write_text("A = 1")
    usual = compiling._compiled

    def endless(path):
        while path.endswith("a.py"):
            pass
        return usual(path)

    monkeypatch.setattr(compiling, "_compiled", endless)
    monkeypatch.setattr(compiling, "FILE_CPU_S", 0.05)
    assert build()["lost"] == 1
    assert load("a.py") is None
    assert load("b.py") is not None


def test_it_gives_up_on_a_package_that_ends_it_again_and_again(build, places, monkeypatch):
    tree, _ = places
    for number in range(20):
        (tree / f"m{number}.py").write_text("A = 1")
    monkeypatch.setattr(compiling, "_compiled", lambda _: os._exit(1))
    assert build()["lost"] == compiling.MAX_CRASHES


def test_bounds_on_number_bytes_and_time(build, places, monkeypatch):
    tree, _ = places
    for number in range(20):
        (tree / f"m{number}.py").write_text("A = " + "1," * 50)
    monkeypatch.setattr(compiling, "MAX_FILES", 12)
    assert build()["found"] == 12
    monkeypatch.setattr(compiling, "MAX_ENTRIES", 5)
    assert 0 < build()["found"] <= 5
    monkeypatch.setattr(compiling, "MAX_PACK", 1000)
    bounded = build()
    assert 0 < bounded["files"] < 5
    assert bounded["size"] < 1500
    monkeypatch.setattr(compiling, "TOTAL_S", 0.0)
    assert build()["files"] == 0
    monkeypatch.setattr(compiling, "TOTAL_S", 60.0)
    monkeypatch.setattr(compiling, "MAX_SOURCE", 50)
    began = time.monotonic()
    assert build()["files"] == 0
    assert time.monotonic() - began < 10


def test_the_handler_gives_the_pack_away_in_parts(places, monkeypatch):
    tree, out = places
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(compiling, "_PACK", str(out / "pack"))
    monkeypatch.setattr(compiling, "_NOTES", str(out / "notes"))
    monkeypatch.setattr(compiling, "PART", 64)
    (tree / "app.py").write_text("A = 1\nB = 2\nC = 'three'\n" * 20)
    size = compiling.handler({"root": str(tree)}, None)["size"]
    parts = [
        compiling.handler({"offset": offset}, None)["data"] for offset in range(0, size + 64, 64)
    ]
    assert (
        b"".join(compiling.base64.b64decode(part) for part in parts)
        == Path(out / "pack").read_bytes()
    )
