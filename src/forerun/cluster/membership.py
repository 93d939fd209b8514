"""What a machine remembers of the cluster that it joined, beside its identity: where control planes are, and how it is run."""

from pathlib import Path
from typing import Self

import msgspec

from forerun.cluster.private import read_private, write_private

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
        return read_private(directory / _FILE, cls)

    def save(self, directory: Path) -> None:
        """Keep it there for this user alone: the engine's secret is in it. Raises ``SetupFailed``."""
        write_private(directory / _FILE, msgspec.json.encode(self))
