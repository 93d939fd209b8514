"""The interpreters installed on this machine, named as AWS names its runtimes.

Looks at file names only; starting each interpreter to ask for its version would cost more than the whole server. The
one exception is Node.js, which does not carry its version in its name.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

OLDEST, NEWEST = (3, 9), (3, 14)
CUSTOM_RUNTIMES = ("provided", "provided.al2", "provided.al2023")
_PYTHON = re.compile(r"python(3)\.(\d+)")
_NODE_VERSION = re.compile(r"v(\d+)\.")
_NODE_S = 5.0


@dataclass(frozen=True)
class Interpreter:
    """A program that runs functions. ``prefix`` is the folder it needs beside ``/usr``, when it lives elsewhere."""

    runtime: str
    program: Path
    prefix: Path | None


def find_pythons(folders: Iterable[Path], home: Path | None) -> dict[str, Interpreter]:
    """``python3.N`` in ``folders`` and in pyenv's versions below ``home``; the first one of a version wins.

    Real interpreters only: scripts such as pyenv's shims, which choose one by the caller's folder, are passed over.
    """
    found: dict[str, Interpreter] = {}
    places = list(folders)
    if home is not None:
        places += sorted(
            (home / ".pyenv" / "versions").glob("3.*/bin"), key=_by_version, reverse=True
        )
    for place in places:
        for minor in range(OLDEST[1], NEWEST[1] + 1):
            name = f"python3.{minor}"
            if name not in found and (program := _real_program(place / name)) is not None:
                found[name] = Interpreter(name, program, _prefix(program))
    return found


def own_interpreter() -> Interpreter:
    """The interpreter that runs this server, outside of its virtual environment."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program = Path(sys.base_prefix, "bin", name).resolve()
    return Interpreter(name, program, _prefix(program))


def find_nodes(folders: Iterable[Path]) -> dict[str, Interpreter]:
    """``nodejsN.x`` for the ``node`` programs in ``folders``."""
    found: dict[str, Interpreter] = {}
    for place in folders:
        program = _real_program(place / "node")
        if program is None:
            continue
        version = _node_version(program)
        if version is not None:
            found.setdefault(version, Interpreter(version, program, _prefix(program)))
    return found


def search_folders(path: str) -> list[Path]:
    """The folders of a ``PATH``, and the usual ones, without repetition."""
    names = [*path.split(":"), "/usr/bin", "/usr/local/bin"]
    return [Path(name) for name in dict.fromkeys(names) if name.startswith("/")]


def runtimes_of(interpreters: Mapping[str, Interpreter]) -> dict[str, str]:
    """Runtime -> program, with the custom runtimes, which bring their own."""
    found = {name: str(one.program) for name, one in sorted(interpreters.items())}
    return found | dict.fromkeys(CUSTOM_RUNTIMES, "bootstrap")


def _by_version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", folder.parent.name))


def _real_program(path: Path) -> Path | None:
    try:
        program = path.resolve(strict=True)
        with program.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                return None
    except OSError:
        return None
    return program


def _prefix(program: Path) -> Path | None:
    if program.is_relative_to("/usr") or program.parent in (Path("/bin"), Path("/sbin")):
        return None
    return program.parent.parent if program.parent.name == "bin" else program.parent


def _node_version(program: Path) -> str | None:
    try:
        answer = subprocess.run(  # noqa: S603  a program found on this machine, fixed argument
            [program, "--version"], capture_output=True, timeout=_NODE_S, text=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _NODE_VERSION.match(answer.stdout)
    return f"nodejs{match[1]}.x" if match else None
