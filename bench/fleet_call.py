"""What the simulation of a fleet is about: how large it is, and one call on its way."""

from typing import NamedTuple

from bench.fleet_host import SimulatedHost
from bench.fleet_plane import Plane

from forerun.model import Share
from forerun.scheduling import Ask


class Plan(NamedTuple):
    """The fleet: ``step`` calls to a share, 0 for no limits; ``maximum`` of an account, unless it needs more."""

    hosts: int
    planes: int = 1
    memory_mb: int = 24_576
    cpus: int = 32
    step: int = 50
    maximum: int = 1000
    seed: int = 1


class Call:
    """``event``: nobody waits for it, so that it is run again. ``run_until`` is when its last run surely was over."""

    __slots__ = (
        "account",
        "ask",
        "came",
        "event",
        "function",
        "host",
        "idle_only",
        "ms",
        "parked",
        "plane",
        "run_until",
        "runs",
        "share",
        "warm",
    )  # fmt: skip

    def __init__(self, function: int, account: int, ask: Ask, ms: float, came: float, plane: Plane):
        self.function = function
        self.account = account
        self.ask = ask
        self.ms = ms
        self.came = came
        self.plane = plane
        self.event = False
        self.host: SimulatedHost | None = None
        self.share: Share | None = None
        self.warm = self.parked = self.idle_only = False
        self.run_until = 0.0
        self.runs = 0
