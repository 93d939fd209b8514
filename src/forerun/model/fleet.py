"""Many machines: who a host is, what its paths to services are like, and how much of an account it may run."""

import re
from enum import StrEnum
from functools import lru_cache

import msgspec


class Phase(StrEnum):
    """What is wished of a host. A cordoned one gets no new work; a draining one is left as soon as it has none.

    An expelled one is let in nowhere any more, whatever certificate it has, and nobody else gets its name.
    """

    ACTIVE = "active"
    CORDONED = "cordoned"
    DRAINING = "draining"
    EXPELLED = "expelled"


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A host as it announced itself. ``address`` is ``HOST:PORT`` of its agent.

    ``incarnation`` is new at each start of the agent: what an earlier one promised holds no more. ``zone`` and ``labels`` are
    what its owner says of it. ``protocols`` are the oldest and the newest wire it speaks.
    """

    name: str
    address: str
    incarnation: str
    version: str
    protocols: tuple[int, int]
    isolation: str
    memory_mb: int
    cpus: int
    runtimes: tuple[str, ...]
    zone: str = ""
    labels: dict[str, str] = {}
    phase: Phase = Phase.ACTIVE


class ChannelQuality(msgspec.Struct, frozen=True, array_like=True):
    """What the path from a host to a service is like: moving averages, and over how many samples.

    ``latency_ms`` of a round trip, ``failures`` from 0 to 1, ``bytes_per_s`` of what was carried (0 where unknown),
    ``retransmits`` from 0 to 1 of what was sent; ``age_s`` since the newest sample.
    """

    latency_ms: float
    failures: float = 0.0
    bytes_per_s: float = 0.0
    retransmits: float = 0.0
    samples: int = 0
    age_s: float = 0.0


_ZONE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)


def is_zone(text: str) -> bool:
    """Whether a zone can have this name: at most 63 letters, digits and ``.``, ``_``, ``-``, the first a letter or a digit."""
    return _ZONE.fullmatch(text) is not None


_SERVICE = re.compile(r"(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9_.-]{1,253})):([0-9]{1,5})")
_HERE = re.compile(r"localhost|127\.[0-9.]+|::1|0\.0\.0\.0|::|.*\.localhost", re.IGNORECASE)


@lru_cache(maxsize=4096)
def service_address(service: str) -> tuple[str, int] | None:
    """Host and port of a service on the network, named ``HOST:PORT`` as functions name it; ``None`` for what is none, or is inside of the sandbox."""
    found = _SERVICE.fullmatch(service)
    if found is None or not 0 < int(found[3]) < 65536:
        return None
    host = found[1] or found[2]
    return None if _HERE.fullmatch(host) else (host, int(found[3]))


class Share(msgspec.Struct, frozen=True, array_like=True):
    """How many calls one host may run at once of what is limited together.

    ``key`` is ``ACCOUNT`` for what its functions share, ``ACCOUNT:FUNCTION`` for a reservation. The sum of all hosts' shares never
    exceeds the limit, and a host never exceeds its share: so nobody has to count together.
    """

    key: str
    amount: int
    epoch: int
    """Goes up with every change; a host keeps to the newest it has seen."""


class Likely(msgspec.Struct, frozen=True, array_like=True):
    """A service that a function calls: ``HOST:PORT``, in which part of its executions (0 to 1), how often in one, how many executions that
    was drawn from, and how many bytes one call carries both ways (0 where unknown).
    """

    service: str
    likelihood: float
    calls: float = 1.0
    executions: int = 0
    carried: float = 0.0


START_MS = 250.0


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """What placement knows of a version: its services, likeliest first, and the milliseconds that its init takes, ``START_MS`` until one was seen."""

    services: tuple[Likely, ...] = ()
    start_ms: float = START_MS


class Placement(msgspec.Struct, kw_only=True):
    """Why a call ran where it ran. ``scores`` are of the hosts that were weighed: name, and milliseconds it was expected to cost there."""

    host: str
    reason: str
    service: str = ""
    likelihood: float = 0.0
    scores: dict[str, float] = {}
