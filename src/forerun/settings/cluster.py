"""What an operator may choose about many machines."""

from dataclasses import dataclass
from typing import Literal

from forerun.settings.bounds import in_range

Engine = Literal["ray", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterSettings:
    """Several hosts behind one or several control planes, which share a database. Without ``database`` there is one machine."""

    database: str = ""
    """``postgresql://`` address of the database that all control planes share; empty for one machine and SQLite."""

    name: str = ""
    """What this control plane is called, unlike any other; the machine's own name when empty."""

    token: str = ""
    """A token for the role ``control``, with which a further control plane joins; not needed once it has joined."""

    host: bool = True
    """Whether this machine runs functions, too: an agent is kept on it."""

    listen: str = "127.0.0.1:9701"
    """``HOST:PORT`` where this process takes connections of the cluster's other processes, by mutual TLS alone."""

    advertise: str = ""
    """``HOST:PORT`` where others reach ``listen``; itself when empty."""

    engine: Engine = "ray"
    """Who keeps agents running: the distributed engine, or ``none``: each agent is kept by what started it."""

    engine_address: str = ""
    """``HOST:PORT`` of an existing cluster of the engine; empty to start one with the first control plane."""

    scale_command: str = ""
    """What starts and ends machines when the engine's autoscaler wants more or fewer, called with ``start NAME`` or ``end NAME``; empty for none."""

    scale_max: int = 10
    """How many machines ``scale_command`` may have started at once."""

    scale_high: float = 0.7
    """Part of the hosts' memory that calls and what is expected may use before more hosts are asked for."""

    scale_low: float = 0.0
    """Part of the hosts' memory below which one host after the other is let go when its calls are over; 0 lets none go."""

    scale_quiet_s: float = 60.0
    """Seconds that the hosts must have been below ``scale_low``, and the least time between two that are let go."""

    scale_least: int = 1
    """How many hosts stay, however little there is to do."""

    beat_s: float = 0.5
    """Seconds between two heartbeats of an agent."""

    dead_s: float = 3.0
    """Seconds without heartbeat after which a host gets no more calls."""

    lease_s: float = 6.0
    """Seconds that a host goes on working when it hears of no control plane; longer than ``dead_s``, so that blips cost nothing."""

    duty_s: float = 5.0
    """Seconds that a control plane keeps its duties without renewing them; another takes them over after that."""

    share: int = 50
    """Concurrent calls of one account that one step of its current limit gives to one host."""

    shrink_s: float = 30.0
    """Seconds between two looks at how much of its current limit an account uses."""

    likelihood: float = 0.5
    """From which likelihood of a call to a service on its path to that service counts in placement."""

    min_executions: int = 20
    """Executions that must have been seen before such a likelihood counts."""

    probe_s: float = 5.0
    """Seconds between two probes of the path to a service that functions call; 0 probes nothing."""

    def __post_init__(self) -> None:
        in_range("cluster.scale_max", self.scale_max, 0, 10_000)
        in_range("cluster.scale_high", self.scale_high, 0.05, 1)
        in_range("cluster.scale_low", self.scale_low, 0, self.scale_high)
        in_range("cluster.scale_quiet_s", self.scale_quiet_s, 1, 86_400)
        in_range("cluster.scale_least", self.scale_least, 0, 10_000)
        in_range("cluster.beat_s", self.beat_s, 0.05, 10)
        in_range("cluster.dead_s", self.dead_s, 2 * self.beat_s, 60)
        in_range("cluster.lease_s", self.lease_s, self.dead_s, 120)
        in_range("cluster.duty_s", self.duty_s, 1, 60)
        in_range("cluster.share", self.share, 1, 100_000)
        in_range("cluster.shrink_s", self.shrink_s, 0.1, 3600)
        in_range("cluster.likelihood", self.likelihood, 0, 1)
        in_range("cluster.min_executions", self.min_executions, 1, 1_000_000)
        in_range("cluster.probe_s", self.probe_s, 0, 3600)
