"""Bytecode of functions: compiled once, in a sandbox that does nothing else, and read by all later ones.

Packages carry no bytecode and what is mounted of them is read-only, so each new sandbox would compile everything it
imports. A pack holds the bytecode of one tree for one runtime and one place inside (code keeps its path). It lies
beside its tree as ``TREE.PLACE-RUNTIME-FORMAT``, appears by rename, complete, and goes when the tree goes. Nobody on
the host reads what is in it: it comes out of a sandbox that has seen nothing but that tree, and goes into sandboxes
that have it mounted. The AWS SDK that comes with the runtime has packs, too, for interpreters that find no bytecode of
theirs where it is installed.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from forerun.aio import Clock
from forerun.errors import SetupFailed
from forerun.model import Call, Egress, InitFailure, LoggingConfig, SandboxSpec
from forerun.runtime.assignment import LAYERS_ROOT, RUNTIME_DIR, TASK_ROOT
from forerun.sandbox.contract import Pack, Sandbox, Sandboxes

HANDLER = "forerun/runtime/compiling.handler"
PACKS_ROOT = "/var/runtime/bytecode"
SDK_PLACE = f"{PACKS_ROOT}/sdk"
MEMORY_MB = 384
TIMEOUT_S = 150
INIT_S = 10.0
MAX_BYTES = 72 * 1024 * 1024
# Compiling less than that takes half a millisecond.
LEAST_SOURCE = 4096
MAX_LOOK = 1000
FORMAT = 1
_KEY = "bytecode:"


def packs_of(spec: SandboxSpec) -> list[Pack]:
    """Those that sandboxes of ``spec`` take its own bytecode from, be they there or not. Pure."""
    if not spec.runtime.startswith("python"):
        return []
    trees = [("task", TASK_ROOT, spec.code_dir)]
    if spec.layers_dir is not None:
        trees.append(("layers", LAYERS_ROOT, spec.layers_dir))
    return [
        Pack(root, tree, f"{tree}.{name}-{spec.runtime}-{FORMAT}", f"{PACKS_ROOT}/{name}")
        for name, root, tree in trees
    ]


class SdkPacks:
    """The packs of the SDK's ``packages`` below ``folder``, one for each runtime; another folder for each edition.

    The folder is in the root of all sandboxes, so that a pack is there for all from the moment it was made.
    """

    def __init__(self, folder: Path, packages: Sequence[Path]) -> None:
        self._packages = [package for package in packages if package.is_dir()]
        self._all = folder
        self._folder = folder / _edition(packages)
        self._packs: dict[str, Pack | None] = {}

    def start(self) -> None:
        """Make the folder, and remove those of earlier editions. Raises ``OSError``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o755)
        for found in (*self._all.iterdir(), *self._folder.glob(".*")):
            if found.is_dir() and found != self._folder:
                shutil.rmtree(found)
            elif found.is_file():
                found.unlink()

    def bind(self) -> list[str]:
        """The folder on the host and in the root."""
        return [str(self._folder), SDK_PLACE]

    def of(self, runtime: str) -> Pack | None:
        """The pack for a runtime; ``None`` when its interpreter finds bytecode where the SDK is installed."""
        if runtime not in self._packs:
            self._packs[runtime] = None if self._has_bytecode(runtime) else self._pack(runtime)
        return self._packs[runtime]

    def _has_bytecode(self, runtime: str) -> bool:
        tag = runtime.replace("python", "cpython-").replace(".", "")
        return not runtime.startswith("python") or all(
            (package / "__pycache__" / f"__init__.{tag}.pyc").exists() for package in self._packages
        )

    def _pack(self, runtime: str) -> Pack:
        name = f"{runtime}-{FORMAT}"
        file, place = self._folder / name, f"{SDK_PLACE}/{name}"
        return Pack(RUNTIME_DIR, str(self._packages[0]), str(file), place)


def _edition(packages: Sequence[Path]) -> str:
    """Changes when another version of one of the packages is installed."""
    said = hashlib.sha256()
    for package in packages:
        file = package / "__init__.py" if package.is_dir() else package
        seen = file.stat()
        said.update(f"{file}:{seen.st_size}:{seen.st_mtime_ns}\n".encode())
    return said.hexdigest()[:32]


def worth_compiling(pack: Pack) -> bool:
    """Whether there is so much Python in the tree that a pack saves time; looks at a bounded number of files."""
    total = looked = 0
    for folder, _, names in os.walk(pack.tree):
        for name in names:
            looked += 1
            if name.endswith(".py"):
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118  many
            if total >= LEAST_SOURCE or looked >= MAX_LOOK:
                return True
    return False


async def make_pack(sandboxes: Sandboxes, pack: Pack, spec: SandboxSpec, clock: Clock) -> int:
    """Compile the tree of ``pack`` in a new sandbox and keep the result; its bytes.

    ``spec`` is one of those that will use it. Raises ``SandboxError`` or ``OSError``; then there is no pack.
    """
    sandbox = await sandboxes.create(spec.pool)
    try:
        loaded = await sandbox.assign(_spec(pack, spec), deadline=clock.monotonic() + INIT_S)
        if isinstance(loaded, InitFailure):
            raise SetupFailed(f"Compiling {pack.tree}: {loaded.error_type}")
        deadline_ms = int((clock.now() + TIMEOUT_S) * 1000)
        size = (await _ask(sandbox, {"root": pack.root}, deadline_ms)).get("size")
        if not isinstance(size, int) or not 0 < size <= MAX_BYTES:
            raise SetupFailed(f"Compiling {pack.tree}: a pack of {size!r} bytes")
        await _receive(sandbox, pack, size, deadline_ms)
    finally:
        await sandbox.destroy()
    return size


def is_compiling(spec: SandboxSpec) -> bool:
    """Whether it is for the compiler, and not for a function."""
    return spec.key.startswith(_KEY)


def _spec(pack: Pack, spec: SandboxSpec) -> SandboxSpec:
    """Only the tree, no credentials, no way out, nothing of the user's configuration."""
    return msgspec.structs.replace(
        spec,
        key=f"{_KEY}{pack.file}",
        role="",
        handler=HANDLER,
        memory_mb=MEMORY_MB,
        ephemeral_mb=MAX_BYTES * 2 >> 20,
        timeout_s=TIMEOUT_S,
        environment={},
        code_dir=pack.tree,
        layers_dir=pack.tree if pack.root == LAYERS_ROOT else None,
        egress=Egress.NONE,
        logging=LoggingConfig(group=""),
        credentials=None,
        snap_start=False,
        uses_sdk=False,
    )


async def _receive(sandbox: Sandbox, pack: Pack, size: int, deadline_ms: int) -> None:
    """Take the pack over piece by piece: other calls of this server wait for none of them long."""
    with _unfinished(Path(pack.file).parent) as out:
        received = 0
        while received < size:
            data = _decoded(await _ask(sandbox, {"offset": received}, deadline_ms))
            received += len(data)
            if not data or received > size:
                raise SetupFailed(f"Compiling {pack.tree}: the pack is not what it was said to be")
            out.write(data)
        await asyncio.to_thread(_publish, out, pack)


@contextlib.contextmanager
def _unfinished(folder: Path) -> Iterator["tempfile._TemporaryFileWrapper[bytes]"]:
    """A file for a pack; it is gone afterwards unless it was published."""
    with tempfile.NamedTemporaryFile(prefix=".compiling-", dir=folder, delete=False) as out:
        try:
            yield out
        finally:
            Path(out.name).unlink(missing_ok=True)


def _publish(out: "tempfile._TemporaryFileWrapper[bytes]", pack: Pack) -> None:
    out.flush()
    os.fchmod(out.fileno(), 0o444)
    os.fsync(out.fileno())
    # Not where somebody has thrown the tree away meanwhile.
    if Path(pack.tree).is_dir():
        Path(out.name).rename(pack.file)


def _decoded(answer: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(answer["data"])
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise SetupFailed(f"Compiling: {error!r}") from None


async def _ask(sandbox: Sandbox, question: dict[str, Any], deadline_ms: int) -> dict[str, Any]:
    """One invocation of the handler. What it answers is not believed to be anything."""
    outcome = await sandbox.invoke(
        Call(
            request_id=str(uuid4()),
            payload=json.dumps(question).encode(),
            invoked_arn="",
            deadline_ms=deadline_ms,
        )
    )
    if outcome.error is not None or not outcome.alive:
        raise SetupFailed(f"Compiling: {outcome.error_type or outcome.status}")
    try:
        answer = json.loads(outcome.payload)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise SetupFailed("Compiling: an answer that is none")
    return answer
