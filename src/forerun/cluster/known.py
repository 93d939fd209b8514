"""What a control plane knows of one host, by its beats; and what it wants held there, to be told again. Pure."""

from collections.abc import Callable, Iterator

from forerun.cluster.beats import merge
from forerun.cluster.contract import Beat
from forerun.cluster.frames import AskHead
from forerun.host import HostStats, Standing
from forerun.model import SandboxSpec

STANDBYS_MAX = 20_000
LEVELS_MAX = 10_000


class Known:
    """The sum of the beats of one connection."""

    def __init__(self) -> None:
        self.stats: HostStats | None = None
        self.idle: dict[str, int] = {}
        self.trees: dict[str, bool] = {}
        self.standings: dict[str, Standing] = {}

    def take(self, beat: Beat) -> None:
        """One more. Raises ``Unbelievable``."""
        self.stats = beat.stats
        merge(self.idle, beat.idle)
        merge(self.trees, beat.trees)
        merge(self.standings, beat.standings)

    def standing(self, key: str) -> Standing:
        """The sandboxes of a version."""
        return self.standings.get(key) or Standing(idle=self.idle.get(key, 0))


class Levels:
    """What shall be held on a host: the last that was said of each thing. Times are monotonic, in seconds."""

    def __init__(self) -> None:
        self._standbys: dict[str, tuple[SandboxSpec, AskHead, float]] = {}
        self._others: dict[str, AskHead] = {}

    def stand_by(self, spec: SandboxSpec, ask: AskHead, until: float) -> None:
        """Of a version, as long as that."""
        self._standbys.pop(spec.key, None)
        if len(self._standbys) >= STANDBYS_MAX:
            del self._standbys[next(iter(self._standbys))]
        self._standbys[spec.key] = spec, ask, until

    def hold(self, what: str, ask: AskHead) -> None:
        """Of anything else."""
        if what in self._others or len(self._others) < LEVELS_MAX:
            self._others[what] = ask

    def drop(self, outdated: Callable[[str], bool]) -> set[str]:
        """Hold nothing more of versions that are outdated; which those were."""
        gone = {key for key in self._standbys if outdated(key)}
        for key in gone:
            del self._standbys[key]
        return gone

    def again(self, now: float) -> Iterator[tuple[SandboxSpec | None, AskHead]]:
        """All that still holds, with the spec of what is about a version. Leases go on from when they were given."""
        for ask in self._others.values():
            yield None, ask
        for key, (spec, ask, until) in list(self._standbys.items()):
            if until > now and ask.standby is not None:
                yield spec, ask
            else:
                del self._standbys[key]
