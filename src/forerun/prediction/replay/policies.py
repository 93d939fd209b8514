"""Which policies there are to compare; a new one is one line of ``_POLICIES``. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from forerun.errors import InvalidInput
from forerun.prediction.baselines import MINUTE_S, Clairvoyant, Fixed, GreedyDual, Hybrid
from forerun.prediction.policy import Cost, Policy
from forerun.prediction.predictor import PRICE, Predictor
from forerun.prediction.replay.recorded import About

DEFAULT = ("forerun", "fixed-10", "fixed-20", "fixed-60", "hybrid", "greedy-dual", "clairvoyant")
# The own policy with its dial turned, and fixed keep-alives, for the curve of what can be had for how much.
CURVE_PRICES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
CURVE_MINUTES = (1, 2, 5, 10, 20, 30, 60, 90, 120)
# Enough for any recording.
MOST_MINUTES = 100_000


class Setting(NamedTuple):
    """What policies are made of: the functions by place, how exactly calls are told, what the host has, what will come.

    ``working`` has, where it is known, how many sandboxes each arrival makes work at once.
    """

    functions: Sequence[About]
    tick_s: float
    capacity_mb: float
    arrivals: Callable[[], Mapping[int, Sequence[float]]]
    working: Callable[[], Mapping[int, Sequence[int]] | None] = lambda: None

    def cost(self, place: int) -> Cost:
        """Of the function at a place."""
        about = self.functions[place]
        return Cost(about.memory_mb, about.start_ms)


def _forerun(setting: Setting, price: float) -> Policy[int]:
    functions = setting.functions
    return Predictor(
        cost=setting.cost,
        kind=lambda place: functions[place].kind,
        group=lambda place: functions[place].group,
        finest_s=setting.tick_s or 1.0,
        price=PRICE * price,
    )


def _fixed(setting: Setting, minutes: float) -> Policy[int]:
    return Fixed(minutes * MINUTE_S, tick_s=setting.tick_s)


def _hybrid(setting: Setting, _: float) -> Policy[int]:
    return Hybrid(tick_s=setting.tick_s)


def _greedy_dual(setting: Setting, _: float) -> Policy[int]:
    return GreedyDual(setting.capacity_mb, cost=setting.cost)


def _clairvoyant(setting: Setting, _: float) -> Policy[int]:
    return Clairvoyant(setting.arrivals(), working=setting.working(), tick_s=setting.tick_s)


class _Maker(NamedTuple):
    make: Callable[[Setting, float], Policy[int]]
    usual: float = 1.0
    # Whether NAME-NUMBER is a policy, too.
    numbered: bool = False


_POLICIES: dict[str, _Maker] = {
    "forerun": _Maker(_forerun, numbered=True),
    "fixed": _Maker(_fixed, 10.0, numbered=True),
    "hybrid": _Maker(_hybrid),
    "greedy-dual": _Maker(_greedy_dual),
    "clairvoyant": _Maker(_clairvoyant),
}
_NUMBERED = re.compile(r"(.+)-(\d{1,6}(?:\.\d{1,6})?)")


def policy_names() -> str:
    """Which there are, for people."""
    return ", ".join(name + ("[-NUMBER]" if m.numbered else "") for name, m in _POLICIES.items())


def make_policy(name: str, setting: Setting) -> Policy[int]:
    """The policy of this name: ``forerun-2`` is the own one at twice its price, ``fixed-20`` keeps for 20 minutes.

    Raises ``InvalidInput`` for a name that is none.
    """
    maker, number = _maker(name)
    return maker.make(setting, number)


def check_policy(name: str) -> None:
    """Raises ``InvalidInput`` for a name that is none."""
    _maker(name)


def needs_capacity(name: str) -> bool:
    """Whether a policy is about the memory that there is."""
    return _maker(name)[0].make is _greedy_dual


def own_price(name: str) -> float | None:
    """What a second of waiting is worth to the own policy of this name, in GB-seconds; ``None`` for another policy."""
    maker, number = _maker(name)
    return PRICE * number if maker.make is _forerun else None


def keep_s(name: str) -> float:
    """How long a policy keeps each sandbox after a call whatever its windows say; 0 but for fixed keep-alive."""
    maker, number = _maker(name)
    return number * MINUTE_S if maker.make is _fixed else 0.0


def _maker(name: str) -> tuple[_Maker, float]:
    maker = _POLICIES.get(name)
    if maker is not None:
        return maker, maker.usual
    found = _NUMBERED.fullmatch(name)
    maker = _POLICIES.get(found[1]) if found else None
    if found is None or maker is None or not maker.numbered:
        raise InvalidInput(f"There is no policy {name[:100]!r}; there are {policy_names()}")
    if not 0.0 < float(found[2]) <= MOST_MINUTES:
        raise InvalidInput(
            f"The number of policy {name!r} must be above 0 and up to {MOST_MINUTES}"
        )
    return maker, float(found[2])
