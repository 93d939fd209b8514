"""The own policy as a server acts by it: the parts that do so live, told of recorded calls and their virtual time.

Arrivals, ``Outlook`` and ``Aims`` are those of a server, and have their turns as there; what they tell a host to hold is held
by the replay. The host's own rule for what it was told nothing about is here.
"""

import math
from collections.abc import Iterable, Sequence

from forerun.aio import TaskOwner
from forerun.control.ahead.aims import Aims
from forerun.control.ahead.foresight import SHORTEST_TURN_S, TURN_S
from forerun.control.ahead.outlook import Outlook
from forerun.control.ahead.traffic import GATHER_S, Arrivals, Traffic
from forerun.control.registry import Resolved
from forerun.control.specs import Specs
from forerun.model import FunctionVersion, LoggingConfig, Qualified, SandboxSpec, Standby
from forerun.prediction import Predictor, Traversals
from forerun.prediction.replay import PRICE, About, Held, Holding, Setting, own_price
from forerun.scheduling import Preparer
from forerun.settings import ForesightSettings, HostSettings, LimitSettings

# The host's own rule: half of the longest keep-alive at one call a minute.
HALF_RATE = 1.0 / 60.0
RATE_MEMORY_S = 300.0
# How long a call may take, where recordings do not tell: as long as any.
TIMEOUT_S = 900
ALL = 1 << 30


def make_holding(name: str, setting: Setting) -> Holding | None:
    """For the own policy; others' windows are held as they are."""
    price = own_price(name)
    return None if price is None else Prepared(setting.functions, price=price)


class _Rate:
    """How often a function is called, older calls counting less."""

    __slots__ = ("at", "count")

    def __init__(self) -> None:
        self.at = self.count = 0.0

    def note(self, now: float) -> None:
        self.count = self.count * math.exp(min(0.0, self.at - now) / RATE_MEMORY_S) + 1.0
        self.at = now

    def per_second(self) -> float:
        """As of the last call: what turns idle then is looked at again when its time by that has come."""
        return self.count / RATE_MEMORY_S


class Prepared:
    """Implements ``Holding`` for a server with its usual settings, unless others of its ``host`` are given.

    ``price`` is that of the own policy.
    """

    def __init__(
        self, functions: Sequence[About], *, price: float = PRICE, host: HostSettings | None = None
    ) -> None:
        host, foresight = host or HostSettings(), ForesightSettings()
        self._min_s, self._max_s = host.keep_alive_min_s, host.keep_alive_max_s
        self._functions = functions
        self._resolved = [_resolved(place) for place in range(len(functions))]
        self._traffic: dict[int, Traffic] = {}
        self._rates = [_Rate() for _ in functions]
        # What the host was told to hold of each place, and until when.
        self._told: dict[int, tuple[Standby, float]] = {}
        self._changed: dict[int, None] = {}
        self._now = 0.0
        self._arrivals = Arrivals(ALL)
        predictor: Predictor[Qualified] = Predictor(
            cost=self._arrivals.cost,
            kind=lambda function: functions[int(function.name)].kind,
            group=lambda function: functions[int(function.name)].group,
            correlation=foresight.leader_correlation,
            misses=foresight.periodic_misses,
            price=price,
        )
        self._aims = Aims(
            host=self,
            specs=Specs(self),
            names=self,
            preparer=Preparer(keep_s=self._min_s),
            owner=TaskOwner("replay"),
            most=LimitSettings().account_concurrency,
            arrivals=self._arrivals,
            gone=lambda _: None,
            now=lambda: self._now,
        )
        # Recordings do not tell who calls whom: nothing is followed.
        traversals = Traversals(
            likelihood=foresight.preload_likelihood,
            samples=foresight.preload_samples,
            margin_s=foresight.preload_margin_s,
            depth=foresight.preload_depth,
        )
        self._outlook = Outlook(predictor, traversals, self._arrivals, self._aims)

    # -- told by the replay --------------------------------------------------------------------------------------

    def began(self, place: int, now: float) -> Iterable[int]:
        """See ``Holding``. What follows from it waits for the next turn."""
        self._traffic[place] = self._arrivals.began(self._resolved[place], now)
        self._rates[place].note(now)
        return ()

    def ended(self, place: int, now: float, start_ms: float | None) -> None:
        """See ``Holding``."""
        traffic = self._traffic[place]
        traffic.running -= 1
        if start_ms is not None:
            traffic.started(now, start_ms, round(self._functions[place].memory_mb))

    def turn(self, now: float) -> Iterable[int]:
        """See ``Holding``. The steps are those of ``Foresight.turn``."""
        self._now = now
        attended: dict[Qualified, None] = {}
        for traffic in self._arrivals.take(now - GATHER_S, ALL):
            attended |= dict.fromkeys(self._outlook.observe(traffic, now))
        attended |= dict.fromkeys(self._outlook.advance(now - GATHER_S))
        for function in attended:
            self._outlook.attend(function, now)
        self._aims.tick(now, ALL)
        changed, self._changed = self._changed, {}
        return changed

    def next_at(self, now: float) -> float:
        """See ``Holding``."""
        return now + min(TURN_S, max(SHORTEST_TURN_S, self._aims.next_at() - now))

    def hold(self, place: int, now: float) -> Held:
        """See ``Holding``."""
        standby, until = self._told.get(place, (None, 0.0))
        if standby is None or now >= until:
            return Held(0, self._own_s(place))
        linger_s = standby.linger_s
        return Held(standby.idle, self._own_s(place) if linger_s is None else linger_s, until)

    def _own_s(self, place: int) -> float:
        """How long the host keeps what it was told nothing about."""
        rate = self._rates[place].per_second()
        return self._min_s + (self._max_s - self._min_s) * rate / (rate + HALF_RATE)

    # -- asked by the parts of the server ------------------------------------------------------------------------

    def stand_by(self, spec: SandboxSpec, standby: Standby) -> None:
        """Of the host: see ``Host.stand_by``."""
        place = int(spec.key)
        self._told[place] = (standby, self._now + standby.lease_s)
        self._changed[place] = None

    def shares(
        self, account: str, name: str, qualifier: str | None
    ) -> list[tuple[float, Resolved]] | None:
        """Of the registry: each function has one version."""
        return [(1.0, self._resolved[int(name)])]

    async def resolve(
        self, account: str, name: str, qualifier: str | None, pick: float
    ) -> Resolved:
        """Of the registry."""
        return self._resolved[int(name)]

    def path(self, digest: str) -> str:
        """Of the trees: there is no code."""
        return digest


def _resolved(place: int) -> Resolved:
    """A function of which nothing matters but its place."""
    function = FunctionVersion(
        account="",
        region="",
        name=str(place),
        version="$LATEST",
        sandbox_key=str(place),
        revision_id="",
        runtime="",
        handler="",
        role="",
        code_sha256="",
        code_digest="",
        code_size=0,
        timeout_s=TIMEOUT_S,
        logging=LoggingConfig(group=""),
    )
    return Resolved(function=function, qualifier=None, invoked_arn=str(place))
