"""Control groups behind one small face: version 1 hierarchies, version 2, or none at all.

A server owns one parent group (in every hierarchy it can write), named after its process id and start time, so that
a later server can tell what a killed one has left and sweep it. Below it is one group for each sandbox, made by the
sandbox's own process before it gives up its privileges (``forerun.runtime.jail.join_groups``) and removed by its
zygote. What is stale here: nothing; every number is read when asked for.

CPU is shared in proportion to memory, as on AWS, but by weight and not by quota: where processors are idle a function
may use them. A 128 MB function held to AWS's 7 % of a CPU would take seconds to import what takes 100 ms.
"""

import contextlib
import os
import re
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forerun.runtime import syscalls

PROCESSES = 1024
MB_PER_CPU = 1769
UNASSIGNED_MB = 40
# What most functions have: for them nothing is left to be written while their first caller waits.
FIRST_LIMIT_MB = 128
_ALL_AT_ONCE = "memory.oom.group"
_PREFIX = "forerun-"
_NAME = re.compile(r"forerun-(\d+)-(\d+)")


@dataclass(frozen=True)
class Files:
    """How one version of control groups calls things."""

    memory_limit: str
    memory_and_swap: tuple[str, str | None]
    memory_now: str
    memory_peak: str
    oom: tuple[str, str]
    pids: str = "pids.max"


V1 = Files(
    memory_limit="memory.limit_in_bytes",
    memory_and_swap=("memory.memsw.limit_in_bytes", None),
    memory_now="memory.usage_in_bytes",
    memory_peak="memory.max_usage_in_bytes",
    oom=("memory.oom_control", "oom_kill"),
)
V2 = Files(
    memory_limit="memory.max",
    memory_and_swap=("memory.swap.max", "0"),
    memory_now="memory.current",
    memory_peak="memory.peak",
    oom=("memory.events", "oom_kill"),
)


@dataclass(frozen=True)
class Parent:
    """A directory of this server in one hierarchy; ``first`` is written to each new group in it."""

    path: Path
    controllers: frozenset[str]
    first: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Groups:
    """The control groups of one server; empty ``parents`` when the machine offers none.

    ``quick`` is what ``quicken_moves`` opened.
    """

    version: int
    files: Files
    parents: tuple[Parent, ...]
    quick: int | None = None

    def controllers(self) -> frozenset[str]:
        """Which of memory, cpu and pids are limited."""
        return frozenset().union(*(parent.controllers for parent in self.parents))

    def _parent(self, controller: str) -> int | None:
        for index, parent in enumerate(self.parents):
            if controller in parent.controllers:
                return index
        return None

    def _file(self, controller: str, name: str, file: str) -> Path | None:
        index = self._parent(controller)
        return None if index is None else self.parents[index].path / name / file

    def statistics(self) -> dict[str, list[Any]]:
        """What a zygote reads when a sandbox ends: label -> [index of the parent, file, key]."""
        index = self._parent("memory")
        if index is None:
            return {}
        return {"peak": [index, self.files.memory_peak], "oom": [index, *self.files.oom]}

    def limit(self, name: str, memory_mb: int) -> None:
        """Set memory and CPU of a group, new until now, for its function. Raises ``OSError``."""
        index = self._parent("memory")
        if index is not None and memory_mb != FIRST_LIMIT_MB:
            parent = self.parents[index]
            settings = memory_settings(self.files, memory_mb)
            # Version 1 never takes a limit beyond that with swap: on the way up that one goes first.
            for file in reversed(settings) if memory_mb > FIRST_LIMIT_MB else settings:
                if file in parent.first:  # else a kernel without swap accounting
                    _write(parent.path / name / file, settings[file])
        self.limit_cpu(name, memory_mb)

    def limit_cpu(self, name: str, memory_mb: int) -> None:
        """Set the CPU of a group to that of a function with so much memory. Raises ``OSError``."""
        index = self._parent("cpu")
        if index is not None:
            group = self.parents[index].path / name
            for file, text in cpu_settings(self.version, memory_mb).items():
                _write(group / file, text)

    def spare(self, name: str) -> None:
        """When memory is short in a group, end the process that suits best, not all of them. Raises ``OSError``."""
        index = self._parent("memory")
        if index is not None and _ALL_AT_ONCE in self.parents[index].first:
            _write(self.parents[index].path / name / _ALL_AT_ONCE, "0")

    def make(self, name: str) -> None:
        """Make the group of a sandbox whose processes are moved in from elsewhere. Raises ``OSError``."""
        for parent in self.parents:
            (parent.path / name).mkdir()
            for file, text in parent.first.items():
                _write(parent.path / name / file, text)

    def take_in(self, name: str, pid: int) -> None:
        """Move a process of this machine into a group. Raises ``OSError``."""
        for parent in self.parents:
            _write(parent.path / name / "cgroup.procs", str(pid))

    def killed_for_memory(self, name: str) -> int:
        """How many processes of a group the kernel has killed for memory."""
        file, key = self.files.oom
        path = self._file("memory", name, file)
        with contextlib.suppress(OSError):
            for line in path.read_text(encoding="ascii").splitlines() if path else ():
                label, _, count = line.partition(" ")
                if label == key:
                    return int(count)
        return 0

    def memory_file(self, name: str) -> Path | None:
        """The file that holds the bytes now in use."""
        return self._file("memory", name, self.files.memory_now)

    def peak_file(self, name: str) -> Path | None:
        """The file that holds the most bytes ever in use."""
        return self._file("memory", name, self.files.memory_peak)

    def remove(self, name: str) -> bool:
        """Remove a group whose processes are gone, if its zygote has not done so; false while the kernel holds it."""
        for parent in self.parents:
            try:
                (parent.path / name).rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True

    def close(self) -> None:
        """Remove what is left below the parents, and them."""
        for parent in self.parents:
            _remove_tree(parent.path)
        if self.quick is not None:
            os.close(self.quick)


def cpu_settings(version: int, memory_mb: int) -> dict[str, str]:
    """File -> text for the CPU weight of a function (pure): 1,769 MB weigh as much as an ordinary process."""
    if version == 1:
        return {"cpu.shares": str(max(2, memory_mb * 1024 // MB_PER_CPU))}
    return {"cpu.weight": str(min(10_000, max(1, memory_mb * 100 // MB_PER_CPU)))}


def memory_settings(files: Files, memory_mb: int) -> dict[str, str]:
    """File -> text for a limit of memory, which includes swap (pure); the limit itself comes first."""
    size = str(memory_mb * 1024 * 1024)
    swap, value = files.memory_and_swap
    return {files.memory_limit: size, swap: size if value is None else value}


def open_groups(own: str | None = None) -> Groups:
    """Find the hierarchies, make this server's parent group, sweep those of dead servers. Never raises.

    ``own`` names the parent group; by default after this process.
    """
    own = own or own_name(os.getpid())
    v1 = _open_v1(own)
    if v1:
        return Groups(1, V1, tuple(v1), quicken_moves())
    v2 = _open_v2(own)
    return Groups(2, V2, (v2,), quicken_moves()) if v2 else Groups(2, V2, ())


def quicken_moves() -> int | None:
    """Keep the kernel ready to move processes between groups, while the returned descriptor is open.

    Otherwise the first move after a pause waits for all processors, 10 ms and more, in the middle of a cold start. The
    kernel has the option for hierarchies only: this opens an empty one of its own, without a mount point. ``None``
    where that is not permitted or not known (before Linux 6.0).
    """
    options = {"none": None, "name": _PREFIX.rstrip("-"), "favordynmods": None}
    try:
        return syscalls.new_filesystem("cgroup", options, 0)
    except OSError:
        return None


def own_name(pid: int) -> str:
    """The name of a server's parent group: its process id and start time."""
    return f"{_PREFIX}{pid}-{_start_time(pid)}"


def _start_time(pid: int) -> str:
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()[19]


def _is_stale(name: str) -> bool:
    match = _NAME.fullmatch(name)
    if match is None:
        return False
    try:
        return _start_time(int(match[1])) != match[2]
    except OSError:
        return True


def _open_v1(own: str) -> list[Parent]:
    places = hierarchies()
    parents: list[Parent] = []
    for controller in ("memory", "cpu", "pids"):
        place = places.get(controller)
        if place is None or not _make(place, own):
            continue
        if any(parent.path == place / own for parent in parents):
            continue
        if controller == "cpu":
            _weigh(place / own / "cpu.shares", 1024)
        first = _first(1, {controller}, place / own)
        parents.append(Parent(place / own, frozenset((controller,)), first))
    return parents


def _first(version: int, controllers: Set[str], own: Path) -> dict[str, str]:
    """What a new group below ``own`` begins with: bounds, and little weight while it only gets ready."""
    first = {"pids.max": str(PROCESSES)} if "pids" in controllers else {}
    if "cpu" in controllers:
        first |= cpu_settings(version, UNASSIGNED_MB)
    if "memory" in controllers:
        settings = memory_settings(V1 if version == 1 else V2, FIRST_LIMIT_MB)
        first |= {file: text for file, text in settings.items() if (own / file).exists()}
    return first


def _weigh(file: Path, one: int) -> None:
    """Sandboxes together weigh as much as one busy process on each processor, not as one process."""
    with contextlib.suppress(OSError):
        _write(file, str(one * (os.cpu_count() or 1)))


def _open_v2(own: str) -> Parent | None:
    for place in _v2_places():
        if not _make(place, own):
            continue
        _leave(place)
        with contextlib.suppress(OSError):
            _write(place / "cgroup.subtree_control", "+memory +cpu +pids")
        with contextlib.suppress(OSError):
            _write(place / own / "cgroup.subtree_control", "+memory +cpu +pids")
        enabled = (place / own / "cgroup.subtree_control").read_text().split()
        controllers = frozenset(enabled) & {"memory", "cpu", "pids"}
        if "memory" in controllers:
            _weigh(place / own / "cpu.weight", 100)
            first = {**_first(2, controllers, place / own), "memory.oom.group": "1"}
            return Parent(place / own, controllers, first)
        with contextlib.suppress(OSError):
            (place / own).rmdir()
    return None


def _leave(place: Path) -> None:
    """Make room: version 2 limits only the groups below one that holds no process itself.

    Done where this process is alone in its group, as in a delegated systemd unit; elsewhere it is not ours to move.
    """
    with contextlib.suppress(OSError):
        if (place / "cgroup.procs").read_text().split() == [str(os.getpid())]:
            leaf = place / "forerun-server"
            leaf.mkdir(exist_ok=True)
            _write(leaf / "cgroup.procs", str(os.getpid()))


def _v2_places() -> list[Path]:
    places = hierarchies()
    root, inside = places.get("v2-root"), places.get("v2")
    return [place for place in (inside, root) if place is not None]


def _make(place: Path, own: str) -> bool:
    try:
        for entry in place.iterdir():
            if entry.name.startswith(_PREFIX) and _is_stale(entry.name):
                _remove_tree(entry)
        (place / own).mkdir(exist_ok=True)
    except OSError:
        return False
    return True


def hierarchies() -> dict[str, Path]:
    """Where this process is in each hierarchy: controller -> directory; ``v2`` and ``v2-root`` for version 2."""
    mounts: dict[str, Path] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
            front, _, back = line.partition(" - ")
            kind, _, options = back.split(" ", 2)
            if kind == "cgroup":
                for controller in options.split(","):
                    mounts.setdefault(controller, Path(front.split()[4]))
            elif kind == "cgroup2":
                mounts.setdefault("v2", Path(front.split()[4]))
    found: dict[str, Path] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            number, controllers, path = line.split(":", 2)
            for controller in ("v2",) if number == "0" else controllers.split(","):
                if controller in mounts:
                    place = mounts[controller] / path.lstrip("/")
                    found[controller] = place if place.is_dir() else mounts[controller]
    if "v2" in mounts:
        found["v2-root"] = mounts["v2"]
    return found


def _remove_tree(path: Path) -> None:
    with contextlib.suppress(OSError):
        for entry in path.iterdir():
            if entry.is_dir():
                _remove_tree(entry)
        path.rmdir()


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
