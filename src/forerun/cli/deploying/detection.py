"""What runs a package, read off its files; pure but for the package it reads from.

A guess is only made where the files leave one answer; else the question is put to the user.
"""

import ast
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from forerun.cli.deploying.bundling import Package
from forerun.cli.failures import Misuse

_STEMS = ("lambda_function", "app", "index", "main", "handler", "function")
_NODE_SUFFIXES = (".mjs", ".js", ".cjs")
_ENTRIES = ("lambda_handler", "handler", "lambdaHandler", "main")
_NODE_EXPORT = re.compile(
    r"exports\.(\w+)\s*=|export\s+(?:const|let|var|async\s+function|function)\s*\*?\s*(\w+)"
)
_COMPILED = re.compile(r"\.cpython-(3)(\d+)-.*\.so$")


class Guess(NamedTuple):
    """A runtime as AWS names it, and a handler."""

    runtime: str
    handler: str


def detect(
    package: Package,
    served: Iterable[str],
    *,
    runtime: str | None = None,
    handler: str | None = None,
) -> Guess:
    """Fill in what was not said; ``served`` are the runtimes of the server.

    Raises ``Misuse`` naming the option to give when the files do not tell.
    """
    if runtime and handler:
        return Guess(runtime, handler)
    entry = _entry(package, runtime, handler)
    if entry is None:
        listed = ", ".join(f"{stem}.py" for stem in _STEMS[:3])
        raise Misuse(
            f"No handler was found (looked for {listed}, index.mjs, bootstrap ...).",
            "Say it with --handler FILE.FUNCTION",
        )
    kind, found = entry
    return Guess(runtime or _newest(kind, package, list(served)), handler or found)


def _entry(package: Package, runtime: str | None, handler: str | None) -> tuple[str, str] | None:
    if handler:
        return _kind_of_handler(package, handler), handler
    names = set(package.names)
    wanted = re.sub(r"[\d.]+.*", "", runtime) if runtime else None
    if "bootstrap" in names and wanted in (None, "provided"):
        return "provided", "bootstrap"
    for stem in (*_STEMS, *_only_source(names)):
        for kind, suffix, find in _SOURCES:
            name = f"{stem}{suffix}"
            if name in names and wanted in (None, kind) and (function := find(package.read(name))):
                return kind, f"{stem}.{function}"
    return None


def _only_source(names: set[str]) -> list[str]:
    """The stem of the one source file at the top, when there is only one."""
    sources = [
        name for name in names if "/" not in name and name.endswith((".py", *_NODE_SUFFIXES))
    ]
    return [sources[0].rpartition(".")[0]] if len(sources) == 1 else []


def _kind_of_handler(package: Package, handler: str) -> str:
    stem = handler.rpartition(".")[0]
    module = stem.replace(".", "/")
    if any(
        f"{path}{suffix}" in package.names for path in (stem, module) for suffix in _NODE_SUFFIXES
    ):
        return "nodejs"
    if f"{module}.py" in package.names or f"{module}/__init__.py" in package.names:
        return "python"
    if "bootstrap" in package.names:
        return "provided"
    raise Misuse(
        f"No file of the package belongs to the handler {handler!r}.",
        "It is FILE.FUNCTION, such as app.handler",
    )


def _python_function(source: str) -> str | None:
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return "lambda_handler"  # let the runtime report the error: it names file and line
    functions = {item.name: item for item in body if isinstance(item, ast.FunctionDef)}
    assigned = {
        target.id
        for item in body
        if isinstance(item, ast.Assign)
        for target in item.targets
        if isinstance(target, ast.Name)
    }
    for name in _ENTRIES:
        if name in functions or name in assigned:
            return name
    fitting = [
        name
        for name, item in functions.items()
        if not name.startswith("_") and len(item.args.posonlyargs) + len(item.args.args) == 2
    ]
    return fitting[0] if len(fitting) == 1 else None


def _node_function(source: str) -> str | None:
    exported = [first or second for first, second in _NODE_EXPORT.findall(source)]
    for name in _ENTRIES:
        if name in exported:
            return name
    return exported[0] if len(exported) == 1 else None


def _newest(kind: str, package: Package, served: list[str]) -> str:
    fitting = [name for name in served if name.startswith(kind)]
    if not fitting:
        offered = ", ".join(sorted(served)) or "none"
        raise Misuse(
            f"The server runs no {kind} (it runs: {offered}).",
            "Install it there, or give --runtime",
        )
    if kind == "python" and (built := _built_for(package)):
        return built
    return max(fitting, key=_version)


def _built_for(package: Package) -> str | None:
    """The Python that the package's compiled modules are for, when they agree."""
    versions = {match.groups() for name in package.names if (match := _COMPILED.search(name))}
    return "python" + ".".join(versions.pop()) if len(versions) == 1 else None


def _version(runtime: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", runtime))


_SOURCES: tuple[tuple[str, str, Callable[[str], str | None]], ...] = (
    ("python", ".py", _python_function),
    *(("nodejs", suffix, _node_function) for suffix in _NODE_SUFFIXES),
)
