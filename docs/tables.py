"""Writes the tables of the documents that the code knows better: settings, and the operations that are served.

Each table stands between two marks, ``<!-- NAME: made by `make docs` -->`` and ``<!-- end of NAME -->``; what is
between them is replaced, the rest of the page is left alone. A test holds the pages to what this would write.
"""

import ast
import asyncio
import dataclasses
import itertools
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import Mock

import msgspec

from forerun.aio import SystemClock
from forerun.app.ground import Ground
from forerun.app.services import Services, make_services
from forerun.app.sourcing import make_sourcing
from forerun.app.state import State, open_state
from forerun.metaevents import COMMON, KINDS, criteria_schema
from forerun.profiles import Profile
from forerun.settings import Settings, ahead, cluster, groups

ROOT = Path(__file__).parents[1]
OPERATIONS = ROOT / "README.md"
SETTINGS = ROOT / "docs" / "operations.md"
PROFILE = ROOT / "docs" / "profile.schema.json"
CRITERIA = ROOT / "docs" / "metaevents.schema.json"
METAEVENTS = ROOT / "docs" / "metaevents.md"
_TYPE_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false"}
# Answered on a way of their own, ahead of the others; see ``forerun.api.application``.
_HOT = ("Invoke", "InvokeWithResponseStream")
# Known to answer that there is nothing, or to refuse in words; see ``forerun.api.xray``, ``.sqs.definitions``, ``.s3.buckets``.
_REFUSED: Mapping[str, re.Pattern[str]] = {
    "xray": re.compile(r"(Create|Update|Delete)(SamplingRule|Group)\Z|PutEncryptionConfig"),
    "sqs": re.compile(r"(Start|Cancel)MessageMoveTask|ListMessageMoveTasks"),
    "s3": re.compile(
        r"(Get|Delete)(Bucket(Cors|Encryption|Lifecycle|LifecycleConfiguration|OwnershipControls|Replication|Website)"
        r"|PublicAccessBlock)|GetObjectLockConfiguration"
    ),
}
_NONE = re.compile(r"(?!)")


def tables() -> dict[Path, dict[str, str]]:
    """Page -> name of the table -> its text."""
    return {
        SETTINGS: {"settings": settings_table()},
        OPERATIONS: {"operations": operations_table(asyncio.run(operations()))},
        METAEVENTS: {"events": events_table()},
    }


def profile_schema() -> str:
    """The JSON Schema of a profile as ``GET /forerun/profile`` tells it."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Profile",
        **msgspec.json.schema(Profile),
    }
    return json.dumps(schema, indent=1) + "\n"


def metaevents_schema() -> str:
    """The JSON Schema of a metaevent's criteria."""
    return json.dumps(criteria_schema(), indent=1) + "\n"


def events_table() -> str:
    """What criteria may look at: every kind of event with its fields."""
    rows = ["| event | what happened | fields |\n|---|---|---|"]
    every = "; ".join(f"`{name}` {each.meaning}" for name, each in COMMON.items())
    rows.append(f"| all of them | | {every} |")
    for name, kind in KINDS.items():
        fields = "; ".join(
            f"`{field}` ({_TYPE_NAMES[each.type]}) {each.meaning}"
            for field, each in kind.fields.items()
        )
        rows.append(f"| `{name}` | {kind.meaning} | {fields} |")
    return "\n".join(rows)


def filled(page: str, name: str, table: str) -> str:
    """``page`` with the table of that name replaced; ``ValueError`` when it has no such marks."""
    begin, end = f"<!-- {name}: made by `make docs` -->", f"<!-- end of {name} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"there is no place for the table {name!r}")
    return f"{before}{begin}\n{table}\n{end}{after}"


def settings_table() -> str:
    """Every setting with its default and reason, from the docstrings of the groups."""
    sources = (
        ast.parse(Path(each.__file__).read_text(encoding="utf-8"))
        for each in (groups, ahead, cluster)
    )
    bodies = itertools.chain.from_iterable(tree.body for tree in sources)
    classes = {item.name: item for item in bodies if isinstance(item, ast.ClassDef)}
    parts = []
    for group in dataclasses.fields(Settings):
        definition = classes[group.type.__name__]
        meanings = _meanings(definition)
        parts.append(f"**{group.name}**: {ast.get_docstring(definition)}\n")
        parts.append("| setting | default | meaning |\n|---|---|---|")
        parts += [
            f"| `{group.name}.{field.name}` | {_default(field)} | {meanings[field.name]} |"
            for field in dataclasses.fields(group.type)
        ]
        parts.append("")
    return "\n".join(parts).rstrip()


async def _keep_nothing(_account: str, _segments: object) -> int:
    return 0


async def operations() -> dict[str, list[str]]:
    """Service -> the operations that handlers are registered for, as the server itself would."""
    with tempfile.TemporaryDirectory() as directory:
        settings, clock = Settings.load({}, server_data_dir=directory), SystemClock()
        state = await open_state(settings, clock)
        services = make_services(
            settings, state, clock, runtimes=dict, base_url="http://docs", keep=_keep_nothing
        )
        sourcing = make_sourcing(_ground(settings, state, clock, services))
        await state.close()
    found = {service: set(handlers) for service, handlers in services.operations.items()}
    found |= {service: set(names) for service, names in sorted(sourcing.served.items())}
    found["lambda"].update(_HOT)
    return {
        service: sorted(name for name in names if not _REFUSED.get(service, _NONE).fullmatch(name))
        for service, names in found.items()
    }


def _ground(settings: Settings, state: State, clock: SystemClock, services: Services) -> Ground:
    """As much of what sources stand on as it takes to make them; none of them is started."""
    nothing = Mock()
    return Ground(
        settings=settings,
        state=state,
        clock=clock,
        base_url="http://docs",
        services=services,
        invoker=nothing,
        admission=nothing,
        events=nothing,
        monitor=nothing,
        bus=nothing,
        stats=nothing,
        profiles=nothing,
        left=float,
    )


def operations_table(served: Mapping[str, list[str]]) -> str:
    """One row for each service."""
    rows = ["| service | operations served |\n|---|---|"]
    rows += [
        f"| `{service}` ({len(names)}) | {', '.join(names)} |" for service, names in served.items()
    ]
    return "\n".join(rows)


def _meanings(definition: ast.ClassDef) -> dict[str, str]:
    """Field -> its docstring, on one line."""
    return {
        field.target.id: " ".join(ast.literal_eval(after.value).split()).replace("``", "`")
        for field, after in zip(definition.body, definition.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(after, ast.Expr)
    }


def _default(field: "dataclasses.Field[object]") -> str:
    value = field.default
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value) or "none"
    return f"`{value}`"


if __name__ == "__main__":
    for page, made in tables().items():
        text = page.read_text(encoding="utf-8")
        for name, table in made.items():
            text = filled(text, name, table)
        page.write_text(text, encoding="utf-8")
    PROFILE.write_text(profile_schema(), encoding="utf-8")
    CRITERIA.write_text(metaevents_schema(), encoding="utf-8")
