"""Who a process of the cluster is: a key, the certificate that names it, and the authority that everybody believes."""

from pathlib import Path
from typing import Literal, Self

import msgspec

from forerun.cluster.private import read_private, write_private
from forerun.errors import SetupFailed

Role = Literal["host", "control"]

_FILE = "identity.json"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What a process proves itself with. The three texts are PEM.

    The certificate's subject has ``name`` as its common name and ``role`` as its organizational unit; ``authority_pem`` may
    hold several certificates, so that an authority can be replaced while hosts run.
    """

    name: str
    role: Role
    key_pem: str
    certificate_pem: str
    authority_pem: str

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The one that was saved there. Raises ``SetupFailed`` when there is none, or it cannot be read."""
        found = read_private(directory / _FILE, cls)
        if found is None:
            raise SetupFailed(
                f"{directory / _FILE} is missing: this machine has not joined a cluster yet"
            )
        return found

    def save(self, directory: Path) -> None:
        """Keep it there for this user alone, whole or not at all. Raises ``SetupFailed``."""
        write_private(directory / _FILE, msgspec.json.encode(self))
