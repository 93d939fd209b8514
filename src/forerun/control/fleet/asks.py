"""What calls of a version ask of a host, remembered: it is the same for all of them."""

from collections import OrderedDict

from forerun.model import START_MS, SandboxSpec
from forerun.scheduling import Ask

MOST = 10_000


class Asks:
    """At most ``MOST`` are remembered, and of so many versions what their calls have paid for worse channels and more load (``owed_ms``), and the
    reserved concurrency that they came with."""

    def __init__(self) -> None:
        self._asks: OrderedDict[str, tuple[SandboxSpec, Ask]] = OrderedDict()
        self._owed: OrderedDict[str, float] = OrderedDict()
        self._reserved: OrderedDict[str, int] = OrderedDict()

    def of(self, spec: SandboxSpec, start_ms: float = START_MS) -> Ask:
        """What its calls ask for; ``start_ms`` is what its init takes."""
        known = self._asks.get(spec.key)
        if known is not None and known[0] is spec and known[1].start_ms == start_ms:
            return known[1]
        ask = ask_of(spec, start_ms=start_ms)
        if known is None and len(self._asks) >= MOST:
            self._asks.popitem(last=False)
        self._asks[spec.key] = (spec, ask)
        return ask

    def reserve(self, key: str, reserved: int) -> None:
        """Calls of it count with this reserved concurrency."""
        if key not in self._reserved and len(self._reserved) >= MOST:
            self._reserved.popitem(last=False)
        self._reserved[key] = reserved

    def reserved(self, key: str) -> int | None:
        """As it came with a call; ``None`` where none did."""
        return self._reserved.get(key)

    def owed_ms(self, key: str) -> float:
        """What staying has cost so far."""
        return self._owed.get(key, 0.0)

    def owe(self, key: str, ms: float) -> None:
        """A call stayed on a worse channel."""
        if key not in self._owed and len(self._owed) >= MOST:
            self._owed.popitem(last=False)
        self._owed[key] = self._owed.get(key, 0.0) + ms

    def paid(self, key: str) -> None:
        """One was moved."""
        self._owed.pop(key, None)


def ask_of(spec: SandboxSpec, affinity: str = "", start_ms: float = START_MS) -> Ask:
    """What calls of a version ask for; ``affinity`` is the host that would be best."""
    trees = [
        each.rstrip("/").rpartition("/")[2] for each in (spec.code_dir, spec.layers_dir) if each
    ]
    pools = dict.fromkeys((spec.pool, spec.runtime))
    return Ask(
        key=spec.key,
        runtime=spec.runtime,
        memory_mb=spec.memory_mb,
        pools=(*(f"{pool}@{spec.account}" for pool in pools), *pools),
        trees=tuple(trees),
        isolation=spec.isolation,
        zone=spec.zone,
        affinity=affinity,
        start_ms=start_ms,
    )
