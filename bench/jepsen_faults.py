"""What is done to a cluster: machines are cut off from each other, killed and paused, clocks are set, the database ends and comes back."""

import os
import random
import signal
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jepsen_history import Fault, History
from tests.fleets import DATABASE, Fleet

PAUSE_S = (1.0, 20.0)
CUT_S = (1.0, 20.0)
DOWN_S = (0.0, 6.0)
SKEW_S = (-120.0, 120.0)
# So long a control plane that was silent needs to be itself again.
AFTER_S = 10.0

# Put before the modules of a process: its wall clock is off by what a file says.
_SKEW = """
import mmap, os, struct, time
_real, _real_ns = time.time, time.time_ns
_offset = struct.Struct("d")
with open(os.environ["CLOCK_OFFSET"], "rb") as _file:
    _shared = mmap.mmap(_file.fileno(), 8, prot=mmap.PROT_READ)
def _now():
    return _real() + _offset.unpack_from(_shared)[0]
def _now_ns():
    return _real_ns() + int(_offset.unpack_from(_shared)[0] * 1e9)
time.time, time.time_ns = _now, _now_ns
"""


class Skews:
    """Wall clocks of machines, each off by what is set here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_SKEW)

    def environment(self, name: str) -> dict[str, str]:
        """What the machine's processes need."""
        self.set(name, 0.0)
        path = os.pathsep.join([str(self._folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {"PYTHONPATH": path, "CLOCK_OFFSET": str(self._folder / name)}

    def set(self, name: str, seconds: float) -> None:
        """Set a machine's clock off by so much."""
        path = self._folder / name
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        os.pwrite(descriptor, struct.pack("d", seconds), 0)
        os.close(descriptor)


class Nemesis:
    """Does one thing after the other. What it did is noted in ``history``."""

    def __init__(
        self,
        fleet: Fleet,
        skews: Skews,
        history: History,
        chance: random.Random,
        until: float,
        *,
        told: bool,
    ) -> None:
        self._fleet = fleet
        self._skews = skews
        self._history = history
        self._chance = chance
        self._until = until
        self._told = told
        self._began = time.monotonic()
        self._planes = [each.data.name.removeprefix("plane-") for each in fleet.planes]
        self._hosts = [each.name for each in fleet.hosts]
        self.kinds: dict[str, Callable[[], None]] = {
            "cut off": self._cut_off,
            "cut from control plane": self._cut_from_plane,
            "cut from database": self._cut_from_database,
            "planes apart": self._planes_apart,
            "kill host": self._kill_host,
            "kill agent": self._kill_agent,
            "kill plane": self._kill_plane,
            "pause host": self._pause_host,
            "pause plane": self._pause_plane,
            "clock": self._clock,
            "database restarts": self._restart_database,
            "database hangs": self._hang_database,
        }

    def run(self) -> None:
        """Every kind once, in an order that chance gives, then again."""
        while time.monotonic() < self._until:
            kinds = list(self.kinds)
            self._chance.shuffle(kinds)
            for kind in kinds:
                if time.monotonic() >= self._until:
                    break
                self.kinds[kind]()
                self._calm()

    # -- the kinds -----------------------------------------------------------------------------------------------

    def _cut_off(self) -> None:
        name = self._chance.choice([*self._hosts, *self._planes])
        with self._fault("cut off", name, self._if_plane(name)):
            self._fleet.cut(name)
            self._last(CUT_S)
            self._fleet.heal()

    def _cut_from_plane(self) -> None:
        self._cut_two(self._chance.choice(self._hosts), self._chance.choice(self._planes))

    def _cut_from_database(self) -> None:
        plane = self._chance.choice([*self._planes, ""])
        for name in [plane] if plane else self._planes:
            self._fleet.cut(name, DATABASE)
        silences = tuple([plane] if plane else self._planes)
        with self._fault("cut from database", plane or "all", silences):
            self._last(CUT_S)
            self._fleet.heal()

    def _planes_apart(self) -> None:
        self._cut_two(*self._chance.sample(self._planes, 2))

    def _cut_two(self, one: str, other: str) -> None:
        both = self._chance.random() < 0.6
        if not both and self._chance.random() < 0.5:
            one, other = other, one
        way = f"{one} {'and' if both else 'to'} {other}"
        with self._fault("cut", way, ()):
            self._fleet.cut(one, other, both=both)
            self._last(CUT_S)
            self._fleet.heal()

    def _kill_host(self) -> None:
        name = self._chance.choice(self._hosts)
        with self._fault("kill host", name, ()):
            self._fleet.power_off(name)
            self._last(DOWN_S)
            self._fleet.power_on(name)

    def _kill_agent(self) -> None:
        name = self._chance.choice(self._hosts)
        with self._fault("kill agent", name, ()):
            if agent := self._fleet.joined(name).agent:
                with suppress(ProcessLookupError):
                    os.kill(agent, signal.SIGKILL)

    def _kill_plane(self) -> None:
        name = self._chance.choice(self._planes)
        with self._fault("kill plane", name, (name,)):
            self._fleet.power_off(name)
            self._last(DOWN_S)
            self._fleet.power_on(name)

    def _pause_host(self) -> None:
        self._pause(self._chance.choice(self._hosts))

    def _pause_plane(self) -> None:
        self._pause(self._chance.choice(self._planes))

    def _pause(self, name: str) -> None:
        with self._fault("pause", name, self._if_plane(name)):
            pids = self._fleet.hang(name)
            self._last(PAUSE_S)
            self._fleet.resume(pids)

    def _clock(self) -> None:
        name, off = (
            self._chance.choice([*self._planes, *self._hosts]),
            self._chance.uniform(*SKEW_S),
        )
        with self._fault("clock", f"{name} {off:+.1f} s", ()):
            self._skews.set(name, off)

    def _restart_database(self) -> None:
        how = self._chance.choice((signal.SIGINT, signal.SIGQUIT))
        with self._fault("database restarts", how.name, tuple(self._planes)):
            self._fleet.database_server.stop(how)
            self._last((0.0, 3.0))
            self._fleet.database_server.start()

    def _hang_database(self) -> None:
        with self._fault("database hangs", "", tuple(self._planes)):
            pids = self._fleet.processes(DATABASE)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            self._last((1.0, 10.0))
            self._fleet.resume(list(pids))

    # -- how long ------------------------------------------------------------------------------------------------

    def _if_plane(self, name: str) -> tuple[str, ...]:
        return (name,) if name in self._planes else ()

    @contextmanager
    def _fault(self, kind: str, what: str, silences: tuple[str, ...]) -> Iterator[None]:
        began = time.monotonic()
        if self._told:
            print(f"{began - self._began:7.1f} s  {kind} {what}", flush=True)
        try:
            yield
        finally:
            self._history.faults.append(
                Fault(
                    kind=kind,
                    what=what,
                    began=began,
                    ended=time.monotonic() + (AFTER_S if silences else 0.0),
                    silences=silences,
                )
            )

    def _last(self, bounds: tuple[float, float]) -> None:
        """Mostly short, sometimes long."""
        least, most = bounds
        time.sleep(least + (most - least) * self._chance.random() ** 2)

    def _calm(self) -> None:
        time.sleep(self._chance.choice((0.2, 2.0, 6.0)))
