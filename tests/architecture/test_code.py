"""The shape of the code: directions of imports, faces, sizes, names, and settings that mean something."""

import ast
import configparser
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from forerun.settings import Settings

ROOT = Path(__file__).parents[2]
LONGEST = 400
LINT = (
    "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
)
NOTHING_SAYING = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}
SOURCES = sorted(
    path
    for folder in ("src", "tests", "bench", "examples", "docs")
    for path in (ROOT / folder).rglob("*.py")
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_keep_their_contracts():
    """The contracts of .importlinter: one way down, no cycles, rooms entered by their faces."""
    ran = subprocess.run(
        [sys.executable, "-c", LINT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " 0 broken" in ran.stdout


@pytest.mark.parametrize(
    "face",
    [
        "app",
        "cli",
        "cli.deploying",
        "console",
        "host",
        "model",
        "sandbox",
        "scheduling",
        "settings",
    ],
)
def test_a_face_says_what_it_promises_and_offers(face):
    tree = ast.parse(ROOT.joinpath("src/forerun", *face.split("."), "__init__.py").read_text())
    assert ast.get_docstring(tree)
    offered = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert offered, "no __all__"


@pytest.mark.parametrize(
    ("loaded", "strangers"),
    [
        ("forerun.app.standalone", {"asyncpg", "ray", "forerun.cluster", "forerun.control.fleet"}),
        (
            "forerun.app.agent_process",
            {"asyncpg", "ray", "forerun.app.plane", "forerun.app.standalone"},
        ),
        ("forerun.app.control_plane", {"ray", "forerun.app.standalone"}),
    ],
    ids=["server", "agent", "control plane"],
)
def test_a_process_loads_what_it_needs(loaded, strangers):
    """Who has one machine pays nothing for clusters, and none for what only another process does."""
    script = f"import sys, {loaded}; print(*sorted({strangers} & sys.modules.keys()))"
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True
    )
    assert ran.stdout.split() == []


def test_files_are_short():
    long = {name_of(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: size for name, size in long.items() if size > LONGEST} == {}


def test_names_say_something():
    folders = {parent for path in SOURCES for parent in path.parents if ROOT in parent.parents}
    names = {name_of(path): path.stem for path in (*SOURCES, *folders)}
    assert [name for name, stem in names.items() if stem in NOTHING_SAYING] == []


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=name_of)
def test_modules_say_why_they_exist(path):
    tree = ast.parse(path.read_text())
    assert not tree.body or ast.get_docstring(tree)


def test_what_calls_itself_pure_is():
    """As the contract of .importlinter, which names the deciders, for everything whose first lines say so."""
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    impure = set(contracts["importlinter:contract:pure"]["forbidden_modules"].split())
    found = []
    for path in (ROOT / "src").rglob("*.py"):
        tree = ast.parse(path.read_text())
        if re.search(r"\bPure[.:]", ast.get_docstring(tree) or ""):
            named = {
                name
                for node in ast.walk(tree)
                if isinstance(node, ast.Import | ast.ImportFrom)
                for name in (
                    [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else [each.name for each in node.names]
                )
            }
            found += [f"{name_of(path)}: {name}" for name in named if name.split(".")[0] in impure]
    # What the word of a process's end means is asked of ``os``; nothing is done by that.
    assert found == ["src/forerun/sandbox/endings.py: os"]


def test_nothing_is_left_to_be_done():
    mark = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{name_of(path)}:{number}"
        for path in SOURCES
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if mark.search(line)
    ]
    assert found == []


def test_no_test_is_switched_off():
    """A test is skipped only where the machine lacks something, and says what; never for good."""
    found = [
        name_of(path)
        for path in SOURCES
        if path != Path(__file__)
        and re.search(r"^ *@(?:pytest\.mark|unittest)\.skip\b", path.read_text(), re.M)
    ]
    assert found == []


def test_every_setting_is_read_by_somebody():
    """A setting that nothing reads would be a promise without effect."""
    read = set()
    for path in (ROOT / "src" / "forerun").rglob("*.py"):
        if path.parent.name != "settings":
            tree = ast.parse(path.read_text())
            read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    settings = {
        f"{group.name}.{field.name}": field.name
        for group in dataclasses.fields(Settings)
        for field in dataclasses.fields(group.type)
    }
    assert [name for name, field in settings.items() if field not in read] == []


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.lock")), ids=name_of)
def test_locks_pin_by_hash_and_name_no_registry(lock):
    text = lock.read_text()
    assert "://" not in text
    assert not re.search(r"^\s*--(index-url|extra-index-url|find-links|trusted-host)", text, re.M)
    packages = re.findall(r"^([A-Za-z0-9][\w.\-\[\]]*)==", text, re.M)
    assert packages
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) >= len(packages)
