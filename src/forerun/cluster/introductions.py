"""What a host says of itself, looked at before it is believed: it ends up in the database, in placement and on terminals. Pure."""

import re

from forerun.errors import InvalidInput
from forerun.model import HostInfo

TEXT_MAX = 256
ENTRIES_MAX = 100
CPUS_MAX = 100_000
MEMORY_MAX_MB = 2**40
_ADDRESS = re.compile(r"(\[[0-9A-Za-z:.%]{2,64}\]|[A-Za-z0-9_.-]{1,253}):[0-9]{1,5}")


def introduced(info: HostInfo) -> HostInfo:
    """The same. Raises ``InvalidInput`` naming what cannot be: numbers, addresses, texts and tables without bound."""
    found = _ADDRESS.fullmatch(info.address)
    if found is None or not all(1 <= len(label) <= 63 for label in found[1].split(".")):
        raise InvalidInput("address must be HOST:PORT")
    if not 0 <= info.memory_mb <= MEMORY_MAX_MB:
        raise InvalidInput(f"memory_mb must be from 0 to {MEMORY_MAX_MB}")
    if not 0 <= info.cpus <= CPUS_MAX:
        raise InvalidInput(f"cpus must be from 0 to {CPUS_MAX}")
    for name, many in (("runtimes", info.runtimes), ("labels", info.labels)):
        if len(many) > ENTRIES_MAX:
            raise InvalidInput(f"{name} may be {ENTRIES_MAX}, not {len(many)}")
    texts = (info.name, info.incarnation, info.version, info.isolation, info.zone)
    for text in (*texts, *info.runtimes, *info.labels, *info.labels.values()):
        if len(text) > TEXT_MAX or not text.isprintable():
            raise InvalidInput(f"texts must be printable, of {TEXT_MAX} characters at most")
    return info
