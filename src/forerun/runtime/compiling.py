"""Compiles all Python below a folder into a pack (``forerun.runtime.bytecode``). Runs in a sandbox, as its handler.

The files are a stranger's: nothing of them is executed or imported, and what happens to the compiler on the way (a
crash, no memory, no end) costs the one file that did it. Compiling is done by child processes, which are bounded in
memory and in time for each file; after one was lost the next continues behind the file that ended it.

Left to the import at run time: files that do not compile, very large ones, links, folders of tests, and whatever is
beyond the bounds on number, bytes and time.
"""

from __future__ import annotations

import base64
import contextlib
import marshal
import os
import resource
import signal
import struct
import sys
import time
import warnings
from importlib import machinery
from pathlib import Path

from forerun.runtime.bytecode import end_of_pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO, NoReturn

MAX_FILES = 20_000
MAX_ENTRIES = 100_000
MAX_SOURCE = 2 * 1024 * 1024
MAX_PACK = 64 * 1024 * 1024
MAX_CRASHES = 4
TOTAL_S = 60.0
FILE_CPU_S = 2.0
DATA_BYTES = 256 * 1024 * 1024
PART = 256 * 1024

_PACK = "/tmp/pack"  # noqa: S108  the sandbox's own
_NOTES = "/tmp/notes"  # noqa: S108
_NOTE = struct.Struct("!III")
_LEFT_OUT = ("__pycache__", "tests", "test", "node_modules")


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """``{"root": folder}`` makes the pack and answers its ``size`` in bytes, and how many ``files`` are in it.

    Then ``{"offset": n}`` answers its next bytes as base64 ``data``, ``PART`` of them at most.
    """
    if "root" in event:
        return build(event["root"], _PACK, _NOTES)
    with Path(_PACK).open("rb") as file:
        file.seek(event["offset"])
        return {"data": base64.b64encode(file.read(PART)).decode()}


def build(root: str, pack: str, notes: str) -> dict[str, Any]:
    """Write the pack of ``root``; ``notes`` is a file for the processes that do it. See ``handler``."""
    # Modules of the user's must not be found by what the interpreter imports late, as codecs.
    sys.path[:] = [path for path in sys.path if not (path + "/").startswith(root + "/")]
    files = list(_sources(root))
    deadline = time.monotonic() + TOTAL_S
    begin = crashes = 0
    with Path(pack).open("w+b") as out, Path(notes).open("w+b") as noted:
        while begin < len(files) and crashes < MAX_CRASHES and time.monotonic() < deadline:
            pid = os.fork()
            if pid == 0:
                _become_compiler(root, files, begin, (out.fileno(), noted.fileno()), deadline)
            if os.waitpid(pid, 0)[1] == 0:
                break
            crashes += 1
            begin = 1 + max((number for number, _, _ in _notes(noted)), default=-1)
        index = {files[number]: (start, size) for number, start, size in _notes(noted) if size}
        out.seek(0, os.SEEK_END)
        out.write(end_of_pack(index))
        return {"size": out.tell(), "files": len(index), "found": len(files), "lost": crashes}


def _sources(root: str) -> Iterator[str]:
    """Paths below ``root``, the uppermost folders first."""
    waiting = [""]
    seen = found = 0
    for folder in waiting:
        with contextlib.suppress(OSError), os.scandir(os.path.join(root, folder)) as entries:  # noqa: PTH118
            for entry in sorted(entries, key=lambda one: one.name):
                seen += 1
                if seen > MAX_ENTRIES or found >= MAX_FILES:
                    return
                path = folder + entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in _LEFT_OUT:
                        waiting.append(path + "/")
                elif entry.name.endswith(".py") and entry.is_file(follow_symlinks=False):
                    found += 1
                    yield path


def _become_compiler(
    root: str, files: list[str], begin: int, fds: tuple[int, int], deadline: float
) -> NoReturn:
    """The child, for the files from number ``begin`` on."""
    status = 1
    try:
        # Ends the process, too.
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        warnings.simplefilter("ignore")
        _compile_all(root, files, begin, fds, deadline)
        status = 0
    finally:
        os._exit(status)


def _compile_all(
    root: str, files: list[str], begin: int, fds: tuple[int, int], deadline: float
) -> None:
    """Append the code of each file to the first of ``fds``; to the second its number before, and where it is after."""
    out, noted = fds
    end = os.lseek(out, 0, os.SEEK_END)
    for number in range(begin, len(files)):
        if time.monotonic() > deadline:
            return
        os.write(noted, _NOTE.pack(number, 0, 0))
        signal.setitimer(signal.ITIMER_PROF, FILE_CPU_S)
        content = _compiled(root + "/" + files[number])
        if end + len(content) > MAX_PACK or os.write(out, content) < len(content):
            return
        os.write(noted, _NOTE.pack(number, end, len(content)))
        end += len(content)


def _compiled(path: str) -> bytes:
    """The marshalled code of a file as the import would compile it; empty when it is left to the import."""
    try:
        if os.stat(path).st_size > MAX_SOURCE:  # noqa: PTH116
            return b""
        code = machinery.SourceFileLoader("compiled", path).get_code("compiled")
        return b"" if code is None else marshal.dumps(code)
    except Exception:  # noqa: BLE001  the import will say what is wrong with it
        return b""


def _notes(noted: BinaryIO) -> Iterator[tuple[int, int, int]]:
    noted.seek(0)
    content = noted.read()
    yield from _NOTE.iter_unpack(content[: len(content) // _NOTE.size * _NOTE.size])
