"""The documents against the code: what they name exists, and what exists is named."""

import re
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from forerun.cli import main
from forerun.host import Host
from forerun.model import StartType
from forerun.sandbox import Sandbox, Sandboxes
from forerun.storage import Db

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")]
)
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def commands(group: click.Group = main, *, path: str = "forerun") -> list[str]:
    found = []
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += commands(command, path=f"{path} {name}")
        else:
            found.append(f"{path} {name}")
    return found


def test_tables_are_what_the_code_says(tables):
    """Every setting with its default, and every operation that has a handler, as they are now."""
    for page, made in tables.tables().items():
        text = page.read_text()
        for name, table in made.items():
            assert text == tables.filled(text, name, table), f"{page.name}: run make docs"


def test_the_schema_of_profiles_is_what_the_code_says(tables):
    assert tables.PROFILE.read_text() == tables.profile_schema(), "run make docs"


def test_the_schema_of_criteria_is_what_the_code_says(tables):
    assert tables.CRITERIA.read_text() == tables.metaevents_schema(), "run make docs"


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_operators_page(command):
    assert f"`{command}`" in OPERATIONS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_of_the_pages_exist(page):
    known = commands()
    groups = {command.rsplit(" ", 1)[0] for command in known}
    for line in re.findall(r"(?:^ {4,}|`)(forerun (?:[a-z]+)[^`\n]*)", page.read_text(), re.M):
        words = line.split()
        name = " ".join(words[:3] if " ".join(words[:2]) in groups else words[:2])
        assert name in known, line
        shown = CliRunner().invoke(main, [*name.split()[1:], "--help"]).output
        for option in re.findall(r"(?<=\s)--[a-z-]+", line.split("#")[0].split("&")[0]):
            assert option in shown, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)", aim.read_text(), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_knows_what_the_pages_ask_of_it(page):
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.M))
    for wanted in re.findall(r"(?:^ {4}|`)make ([a-z-]+)", page.read_text(), re.M):
        assert wanted in targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_tests_that_pages_name_exist(page):
    text = page.read_text()
    for name in re.findall(r"`((?:src|tests|bench|examples|docs|requirements)/[\w./-]+)", text):
        assert (ROOT / name).exists(), name
    for file, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)", text):
        source = (ROOT / file).read_text()
        assert re.search(rf"^ *(?:async )?def {test}\(", source, re.M), f"{file}::{test}"


def test_claims_of_security_name_their_tests():
    text = (ROOT / "docs" / "security.md").read_text()
    table = text.partition("## What the tests hold")[2].partition("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 20
    assert [row for row in rows if "::test_" not in row] == []


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    for group in (
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ):
        wanted += group
    names = {re.split(r"[\[<>=!~; ]", item, maxsplit=1)[0] for item in wanted}
    text = (ROOT / "docs" / "decisions.md").read_text()
    table = text.partition("## Dependencies")[2].partition("\n## ")[0]
    firsts = " ".join(row.split("|")[1] for row in table.splitlines() if row.startswith("|"))
    assert sorted(name for name in names if not re.search(rf"\b{re.escape(name)}\b", firsts)) == []


def test_rooms_of_the_architecture_are_those_of_the_code():
    text = (ROOT / "docs" / "architecture.md").read_text()
    drawn = text.partition("## Rooms")[2].partition("**Faces.**")[0]
    lines = re.findall(r"^ {4}(\w+(?: ?\| ?\w+)*)", drawn, re.M)
    package = ROOT / "src" / "forerun"
    rooms = {path.name for path in package.iterdir() if (path / "__init__.py").exists()} | {
        "errors"
    }
    assert {name for line in lines for name in re.findall(r"\w+", line)} == rooms


@pytest.mark.parametrize("contract", [Sandbox, Sandboxes, Host, Db], ids=lambda each: each.__name__)
def test_the_contracts_between_rooms_are_told_whole(contract):
    text = (ROOT / "docs" / "architecture.md").read_text().partition("## Between rooms")[2]
    names = [name for name in vars(contract) if not name.startswith("_")]
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_the_wire_of_the_architecture_is_that_of_the_code():
    source = (ROOT / "src/forerun/runtime/wire.py").read_text()
    frames = {}
    for names, numbers in re.findall(r"^([A-Z, ]+) = ([\d, ]+)$", source, re.M):
        frames |= dict(zip(numbers.split(", "), names.split(", "), strict=True))
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert dict(re.findall(r"^\| (\d+) ([A-Z]+) \|", text, re.M)) == frames


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_no_path_of_this_machine(page):
    assert str(ROOT) not in page.read_text()


def test_messages_of_the_troubleshooting_table_are_those_of_the_code():
    table = OPERATIONS.partition("## When something is wrong")[2]
    source = " ".join(
        re.sub(r'"\s*\n\s*f?"', "", path.read_text())
        for path in (ROOT / "src" / "forerun").rglob("*.py")
    )
    said = [text for row in re.findall(r"^\| (`.*?) \|", table, re.M) for text in row.split("`")]
    parts = [part.strip() for text in said for part in re.split(r"\.\.\.|DIR|HOST:PORT", text)]
    parts = [part for part in parts if len(part) > 8 and part != "in a function's log"]
    assert len(parts) > 15
    assert [part for part in parts if part not in source] == []


def test_start_types_have_their_word():
    glossary = (ROOT / "docs" / "glossary.md").read_text()
    assert [kind.value for kind in StartType if f"**{kind.value}**" not in glossary] == []
