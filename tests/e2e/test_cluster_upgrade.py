"""A cluster is upgraded one machine after the other, while it serves: versions N and N+1 run together."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.fleets import Fleet, running_fleet
from tests.servers import Server, eventually

import forerun

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(150)]

NEWER = "99.0"
WRITES = """
def handler(event, context):
    with open(event["ledger"], "a") as ledger:
        ledger.write(event["token"] + "\\n")
    return event["token"]
"""


def make_newer(folder: Path) -> str:
    """The version after this one: it speaks another protocol, too, says more of hosts, and has a step of the schema that adds."""
    package = folder / "forerun"
    ignored = shutil.ignore_patterns("__pycache__", "assets")
    shutil.copytree(Path(forerun.__path__[0]), package, ignore=ignored)
    replace(package / "cluster" / "contract.py", "PROTOCOLS = (1, 1)", "PROTOCOLS = (1, 2)")
    replace(
        package / "model" / "fleet.py",
        '    zone: str = ""\n',
        '    zone: str = ""\n    newer: str = "x"\n',
    )
    last = max(int(path.name[:4]) for path in (package / "storage" / "migrations").glob("0*.sql"))
    (package / "storage" / "migrations" / f"{last + 1:04}_newer.postgresql.sql").write_text(
        f"-- works with {last:04}\nALTER TABLE forerun.functions ADD COLUMN newer TEXT NOT NULL DEFAULT 'x';\n"
    )
    about = folder / f"forerun-{NEWER}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: forerun\nVersion: {NEWER}\n")
    return str(folder)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, path
    path.write_text(text.replace(old, new))


class Clients:
    """One that calls and one that sends events, by way of the control planes that are ``open``: what is stopped is left before."""

    def __init__(self, fleet: Fleet, name: str, ledger: Path) -> None:
        self.open = list(fleet.planes)
        self.accepted: set[str] = set()
        self.wrong: list[BaseException] = []
        self._name, self._ledger = name, ledger
        self._turns = threading.Lock()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._go_on, args=(what,)) for what in (self._call, self._send)
        ]

    def _go_on(self, what: Callable[[Server, int], None]) -> None:
        number = 0
        while not self._over.is_set() and not self.wrong:
            number += 1
            try:
                with self._turns:
                    plane = self.open[number % len(self.open)]
                    what(plane, number)
            except BaseException as error:  # noqa: BLE001 looked at in the end
                self.wrong.append(error)
            self._over.wait(0.02)

    def _call(self, plane: Server, number: int) -> None:
        token = f"call-{number}"
        assert plane.call(self._name, {"ledger": str(self._ledger), "token": token}) == token
        self.accepted.add(token)

    def _send(self, plane: Server, number: int) -> None:
        payload = json.dumps({"ledger": str(self._ledger), "token": f"event-{number}"})
        plane.lambda_.invoke(FunctionName=self._name, InvocationType="Event", Payload=payload)
        self.accepted.add(f"event-{number}")

    def missing(self) -> set[str]:
        return self.accepted - set(self._ledger.read_text().splitlines())

    def leave(self, plane: Server) -> None:
        """Ask it for nothing more; what it was asked for is answered."""
        with self._turns:
            self.open.remove(plane)

    @contextmanager
    def going(self) -> Iterator["Clients"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(40)
        assert not self.wrong, self.wrong


def versions(fleet: Fleet) -> tuple[dict[str, str], dict[str, str]]:
    """Of control planes and of hosts that are there, by name."""
    planes = fleet.told("cluster")["ControlPlanes"]
    hosts = fleet.told("hosts")["Hosts"]
    return (
        {each["Name"]: each["Version"] for each in planes},
        {each["Name"]: each["Version"] for each in hosts if each["Alive"]},
    )


@pytest.mark.soak
def test_one_machine_after_the_other_is_upgraded_while_it_serves(tmp_path: Path) -> None:
    newer = make_newer(tmp_path / "newer")
    with running_fleet(tmp_path, planes=("a", "b"), hosts=("h1", "h2")) as fleet:
        name = fleet.first.function(WRITES, Timeout=10)
        with Clients(fleet, name, tmp_path / "ledger").going() as clients:
            for plane in ("b", "a"):
                clients.leave(fleet.named(plane))
                fleet.named(plane).stop()
                started = fleet.plane(plane, PYTHONPATH=newer)
                fleet.await_hosts(("h1", "h2"), started)
                clients.open.append(started)
                if plane == "b":
                    both_know(fleet)
            for host in ("h1", "h2"):
                upgrade(fleet, host, newer)
                if host == "h1":
                    both_know(fleet)
        assert versions(fleet) == ({"a": NEWER, "b": NEWER}, {"h1": NEWER, "h2": NEWER})
        assert len(clients.accepted) > 40
        eventually(lambda: not clients.missing(), within=30, what="all that was accepted has run")


def both_know(fleet: Fleet) -> None:
    """What is made by way of one version works by way of the other."""
    one, other = fleet.planes
    for made_by, called_by in ((one, other), (other, one)):
        name = made_by.function("def handler(event, context):\n    return event\n")
        eventually(lambda: called_by.call(name, "hello") == "hello", what="the other knows of it")  # noqa: B023


def upgrade(fleet: Fleet, host: str, newer: str) -> None:
    joined = fleet.joined(host)
    fleet.do("drain", {"Host": host})
    assert joined.process.wait(30) == 0
    eventually(
        lambda: host not in {each["Name"] for each in fleet.told("hosts")["Hosts"]},
        within=30,
        what=f"{host} is forgotten",
    )
    joined.begin(PYTHONPATH=newer)
    joined.ready()
    for plane in fleet.planes:
        fleet.await_hosts((host,), plane)
