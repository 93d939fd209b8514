"""What a machine remembers of the cluster that it joined, beside its identity: where control planes are, and how it is run."""

import os
from pathlib import Path
from typing import Self

import msgspec

from forerun.errors import SetupFailed

_FILE = "membership.json"


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """``doors`` of control planes, the engine's kind and secret, whether it is ``foreign``, and the addresses of this machine's certificate."""

    doors: list[str]
    engine: str
    secret: str = ""
    foreign: bool = False
    addresses: list[str] = []

    @classmethod
    def load(cls, directory: Path) -> Self | None:
        """The one that was saved there; ``None`` when there is none. Raises ``SetupFailed``."""
        path = directory / _FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise SetupFailed(f"{path} cannot be read: {error}") from error

    def save(self, directory: Path) -> None:
        """Keep it there for this user alone: the engine's secret is in it. Raises ``SetupFailed``."""
        path = directory / _FILE
        half = path.with_suffix(".half")
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            half.unlink(missing_ok=True)
            descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:  # noqa: PTH123 a descriptor
                file.write(msgspec.json.encode(self))
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
        except OSError as error:
            raise SetupFailed(f"{path} cannot be written: {error}") from error
