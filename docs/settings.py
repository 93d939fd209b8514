"""Writes docs/settings.md from the settings' own docstrings, so that the page cannot say anything else than the code."""

import ast
import dataclasses
import re
from pathlib import Path

from forerun.settings import Settings, groups

PAGE = Path(__file__).with_name("settings.md")
HEAD = """# Settings

Made from `src/forerun/settings/groups.py` by `make docs`.

A setting is `field` under `[group]` in `forerun.toml` of the data directory (or in the file that `FORERUN_CONFIG` names),
`FORERUN_GROUP_FIELD` in the environment; the options of `forerun up` win over both. `FORERUN_DATA` and `FORERUN_LISTEN`
(`HOST:PORT`) are short forms.
"""


def page() -> str:
    """The whole page."""
    tree = ast.parse(Path(groups.__file__).read_text(encoding="utf-8"))
    classes = {item.name: item for item in tree.body if isinstance(item, ast.ClassDef)}
    parts = [HEAD]
    for group in dataclasses.fields(Settings):
        definition = classes[group.type.__name__]
        parts.append(f"## {group.name}\n\n{ast.get_docstring(definition)}\n")
        parts.append("| setting | default | meaning |\n|---|---|---|")
        parts += [
            f"| `{name}` | `{value}` | {' '.join(text.split())} |"
            for name, value, text in _fields(definition)
        ]
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _fields(definition: ast.ClassDef) -> list[tuple[str, str, str]]:
    """Name, default and docstring of each field."""
    found = []
    for field, after in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.value:
            default = re.sub(r"^Path\('(.*)'\)$", r"\1", ast.unparse(field.value))
            text = ast.literal_eval(after.value) if isinstance(after, ast.Expr) else ""
            found.append((field.target.id, default.strip("'") or "''", text))
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
