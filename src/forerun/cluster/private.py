"""Small files for this user alone, written whole or not at all: what a process of a cluster finds again when it is started anew."""

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from forerun.errors import SetupFailed

T = TypeVar("T")


def write_private(path: Path, body: bytes) -> None:
    """The file has this content, 0600, on disk when this returns; its directory is made, 0700. Raises ``SetupFailed``."""
    half = path.with_name(f".{path.name}.half")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        half.unlink(missing_ok=True)
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 a descriptor
            file.write(body)
            file.flush()
            os.fsync(descriptor)
        half.replace(path)
    except OSError as error:
        raise SetupFailed(f"{path} cannot be written: {error}") from error


def read_private(path: Path, kind: type[T]) -> T | None:
    """What its JSON says; ``None`` when there is no such file. Raises ``SetupFailed``."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise SetupFailed(f"{path} cannot be read: {error}") from error
