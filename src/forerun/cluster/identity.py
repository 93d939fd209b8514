"""Who a process of the cluster is: a key, the certificate that names it, and the authority that everybody believes."""

import os
from pathlib import Path
from typing import Literal, Self

import msgspec

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
        path = directory / _FILE
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            raise SetupFailed(
                f"{path} is missing: this machine has not joined a cluster yet"
            ) from None
        except (OSError, msgspec.DecodeError) as error:
            raise SetupFailed(f"{path} cannot be read: {error}") from error

    def save(self, directory: Path) -> None:
        """Keep it there for this user alone, whole or not at all. Raises ``SetupFailed``."""
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
            half.rename(path)
        except OSError as error:
            raise SetupFailed(f"{path} cannot be written: {error}") from error
