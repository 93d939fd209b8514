"""Machines of a cluster die, hang, are cut off, are told to leave, and come back: what is accepted runs, and never twice at once."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from bench.jepsen_history import Ran, runs_of
from botocore.exceptions import ClientError
from tests.fleets import Fleet, running_fleet
from tests.servers import Server, eventually

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(150)]

HOSTS = ("h1", "h2", "h3")
# A busy machine needs a little more.
DEAD_S, LEASE_S, DUTY_S, BUSY_S = 3.0, 4.0, 3.0, 5.0
# Few of them fill a host.
MEMORY_MB = 512
AGAIN_S = 45.0
# Lines while it runs. Its host is in them: the address that it reaches others with is that of its machine.
TELLS = """
import os, time, uuid

out = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND)
with open("/proc/net/fib_trie") as known:
    place = next(word for word in known.read().split() if word.startswith("10.") and word.endswith(".2"))

def handler(event, context):
    execution = uuid.uuid4().hex
    def tell(what):
        os.write(out, f"{what} {place} {event['token']} {execution} {time.monotonic()}\\n".encode())
    tell("begin")
    until = time.monotonic() + event["s"]
    while time.monotonic() < until:
        time.sleep(0.03)
        tell("still")
    tell("end")
    return place
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("lost")
    with running_fleet(
        folder,
        planes=("a", "b"),
        hosts=HOSTS,
        FORERUN_HOST_MEMORY_MB=str(5 * MEMORY_MB + 100),
        FORERUN_HOST_WAIT_S="5",
        FORERUN_CLUSTER_DEAD_S=str(DEAD_S),
        FORERUN_CLUSTER_LEASE_S=str(LEASE_S),
        FORERUN_CLUSTER_DUTY_S=str(DUTY_S),
        FORERUN_SERVER_DRAIN_S="20",
    ) as fleet:
        yield fleet


@pytest.fixture(autouse=True)
def all_there(fleet: Fleet) -> None:
    """Each test begins with everything in its place."""
    fleet.heal()
    for name in HOSTS:
        fleet.resume(list(fleet.processes(name)))
        if fleet.joined(name).process.poll() is not None:
            fleet.power_on(name)
    for plane in fleet.running():
        fleet.await_hosts(HOSTS, plane)
        eventually(lambda plane=plane: told_alive(plane) == len(HOSTS), within=30, what="connected")
    eventually(fleet.holder, within=20, what="somebody has the duties")


def told_alive(plane: Server) -> int:
    """How many hosts a control plane has itself."""
    return int(plane.platform("/forerun/cluster")["Hosts"])


class Work:
    """A function that tells what it does, events and calls of it, and what is seen of them."""

    def __init__(self, fleet: Fleet, place: Path) -> None:
        self.fleet = fleet
        self._ledger = place / "ledger"
        self._ledger.touch()
        self.name = fleet.first.function(
            TELLS,
            Timeout=30,
            MemorySize=MEMORY_MB,
            Environment={"Variables": {"LEDGER": str(self._ledger)}},
        )
        self.accepted: list[str] = []

    def send(self, count: int, seconds: float) -> None:
        """Events through both control planes that run."""
        for number in range(count):
            planes = self.fleet.running()
            token = f"event-{len(self.accepted)}"
            given = json.dumps({"token": token, "s": seconds})
            planes[number % len(planes)].lambda_.invoke(
                FunctionName=self.name, InvocationType="Event", Payload=given
            )
            self.accepted.append(token)

    def call(self, plane: Server, token: str, seconds: float) -> Any:
        return plane.call(self.name, {"token": token, "s": seconds})

    @property
    def runs(self) -> list[Ran]:
        text = self._ledger.read_text()
        return runs_of(text[: text.rfind("\n") + 1].splitlines())

    def there(self, host: str) -> list[Ran]:
        """Executions that began on a host and have not ended."""
        address = self.fleet.machine(host).address
        return [run for run in self.runs if run.function == address and not run.ended]

    def await_all(self, within: float) -> None:
        """All accepted events run to their end, and none twice at once."""

        def missing() -> set[str]:
            return set(self.accepted) - {run.token for run in self.runs if run.ended}

        eventually(lambda: not missing(), within=within, what="all events run")
        last: dict[str, Ran] = {}
        for run in sorted(self.runs, key=lambda run: run.began):
            before = last.get(run.token)
            assert before is None or before.seen <= run.began, (before, run)
            last[run.token] = run


@pytest.fixture
def work(fleet: Fleet, tmp_path: Path) -> Work:
    return Work(fleet, tmp_path)


def begin_on_all(
    work: Work, pool: ThreadPoolExecutor, seconds: float, *, events: bool = False
) -> list[Future[Any]]:
    """Calls until one runs on every host; all of them. With ``events`` until those of both kinds do."""
    calls: list[Future[Any]] = []
    kinds = ("call", "event") if events else ("call",)

    def everywhere() -> bool:
        there = {host: work.there(host) for host in HOSTS}
        if all(any(kind in run.token for run in there[host]) for host in HOSTS for kind in kinds):
            return True
        plane = work.fleet.planes[len(calls) % 2]
        calls.append(pool.submit(work.call, plane, f"call-{len(calls)}", seconds))
        if events:
            work.send(1, seconds / 4)
        time.sleep(0.2)
        return False

    eventually(everywhere, within=30, what="calls on every host")
    return calls


def outcomes(calls: list[Future[Any]], within: float) -> list[BaseException | None]:
    until = time.monotonic() + within
    return [call.exception(max(0.1, until - time.monotonic())) for call in calls]


def clear(error: BaseException | None) -> bool:
    """No error, or one that says that its host was lost, or that there is no room, and that it may be tried again."""
    if error is None:
        return True
    assert isinstance(error, ClientError), error
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status == 429 or (status in (500, 502, 503) and "retry" in str(error))


def lost(error: BaseException | None) -> bool:
    """Whether it says anything else than that there was no room."""
    return error is not None and "429" not in str(getattr(error, "response", error))


def disappear(fleet: Fleet, host: str) -> float:
    """Seconds until no control plane has the host any more."""
    began = time.monotonic()
    for plane in fleet.running():
        eventually(
            lambda plane=plane: told_alive(plane) < len(HOSTS),
            within=DEAD_S + BUSY_S,
            what=f"{host} gone",
        )
    return time.monotonic() - began


@pytest.mark.parametrize("how", ["killed", "hung", "cut-off"])
def test_a_host_is_lost_and_comes_back(fleet: Fleet, work: Work, how: str) -> None:
    with ThreadPoolExecutor(24) as pool:
        calls = begin_on_all(work, pool, 12.0, events=True)
        lost_at = time.monotonic()
        lost = [run.execution for run in work.there("h2")]
        pids: list[int] = []
        if how == "killed":
            fleet.power_off("h2")
        elif how == "hung":
            pids = fleet.hang("h2")
        else:
            fleet.cut("h2")
        gone_s = disappear(fleet, "h2")
        # Everybody is told something; who was elsewhere has not noticed.
        told = outcomes(calls, 30.0)
        assert all(clear(error) for error in told), [str(error) for error in told]
        assert any("was lost" in str(error) for error in told), "a call was on the host"
        assert not all(told)
        for plane in fleet.planes:
            assert work.call(plane, f"after-{plane.data.name}", 0.0) != fleet.machine("h2").address
        # What it ran has ended there by itself.
        ended = [run for run in work.runs if run.execution in lost and not run.ended]
        assert ended
        assert max(run.seen for run in ended) < lost_at + LEASE_S + BUSY_S
        work.await_all(AGAIN_S)
        if how == "killed":
            fleet.power_on("h2")
        elif how == "hung":
            fleet.resume(pids)
        else:
            fleet.heal()
        back = time.monotonic()
        eventually(
            lambda: all(told_alive(plane) == len(HOSTS) for plane in fleet.planes),
            within=30,
            what="it is back",
        )
        print(f"{how}: gone after {gone_s:.1f} s, back after {time.monotonic() - back:.1f} s")


def test_a_host_is_spared_and_leaves_without_ending_a_call(fleet: Fleet, work: Work) -> None:
    def phase(name: str) -> str:
        hosts = {each["Name"]: each for each in fleet.told("hosts")["Hosts"]}
        return str(hosts[name]["Phase"]) if name in hosts else ""

    address = fleet.machine("h3").address
    with ThreadPoolExecutor(24) as pool:
        calls = begin_on_all(work, pool, 4.0)
        fleet.do("cordon", {"Host": "h3"})
        eventually(lambda: phase("h3") == "cordoned", what="it is cordoned")
        assert work.there("h3"), "its calls go on"

        def nowhere_new() -> bool:
            """Both control planes have heard of it."""
            new = [work.call(plane, "new", 0.0) for plane in fleet.planes for _ in range(4)]
            return address not in new

        eventually(nowhere_new, within=10, what="no new calls there")
        for _ in range(5):
            assert nowhere_new()
        assert not any(lost(error) for error in outcomes(calls, 30.0))
        fleet.do("uncordon", {"Host": "h3"})
        calls = begin_on_all(work, pool, 4.0)
        fleet.do("drain", {"Host": "h3"})
        eventually(nowhere_new, within=10, what="no new calls there")
        told = outcomes(calls, 30.0)
        assert not any(lost(error) for error in told), "a drained host ends its calls"
    joined = fleet.joined("h3")
    assert joined.process.wait(30) == 0
    eventually(lambda: told_alive(fleet.first) == 2, within=DEAD_S + BUSY_S, what="it is gone")
    # Its machine may come again.
    eventually(lambda: phase("h3") == "", within=30, what="it is forgotten")
    joined.begin()
    joined.ready()
    eventually(lambda: phase("h3") == "active", within=30, what="it is back")


def test_a_control_plane_dies_and_the_other_serves_on(fleet: Fleet, work: Work) -> None:
    holder = fleet.named(fleet.holder())
    other = next(plane for plane in fleet.planes if plane is not holder)
    name = holder.data.name.removeprefix("plane-")
    wrong: list[BaseException] = []
    over = threading.Event()

    def go_on(number: int) -> None:
        turn = 0
        while not over.is_set():
            turn += 1
            try:
                work.call(other, f"go-on-{number}-{turn}", 0.1)
            except BaseException as error:  # noqa: BLE001 all of them are looked at
                wrong.append(error)

    threads = [threading.Thread(target=go_on, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        work.send(10, 1.0)
        fleet.power_off(name)
        eventually(
            lambda: fleet.holder(other) == other.data.name[6:],
            within=2 * DUTY_S + 2 * BUSY_S,
            what="the other has the duties",
        )
        # What only the holder of the duties does is done.
        eventually(lambda: made(other), within=20, what="a function is made")
        work.await_all(AGAIN_S)
    finally:
        over.set()
        for thread in threads:
            thread.join(30)
    # Hosts that the other had in common with it are as they were.
    assert not [error for error in wrong if lost(error)], wrong[:3]
    fleet.power_on(name)
    again = fleet.named(name)
    eventually(lambda: told_alive(again) == len(HOSTS), within=20, what="it has its hosts")
    assert work.call(again, "again", 0.0)


def made(plane: Server) -> bool:
    with suppress(ClientError):
        return bool(plane.function("def handler(event, context):\n    return 1\n"))
    return False


def test_everybody_is_cut_off_from_everybody(fleet: Fleet, work: Work) -> None:
    """A full partition: clear answers in time, no work that nobody renews, and all goes on when it is over."""
    work.send(6, 1.5)
    eventually(lambda: work.runs, what="events run")
    names = [*HOSTS, "a", "b", "db"]
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            fleet.cut(one, other)
    cut_at = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        calls = [
            pool.submit(work.call, plane, f"cut-{number}", 0.0)
            for plane in fleet.planes
            for number in range(2)
        ]
        told = outcomes(calls, 25.0)
    for error in told:
        if error is not None:
            assert isinstance(error, ClientError), error
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] >= 429, error
    assert any(told)
    eventually(
        lambda: time.monotonic() - max(run.seen for run in work.runs) > 1.0, what="all is still"
    )
    assert max(run.seen for run in work.runs) < cut_at + LEASE_S + BUSY_S
    fleet.heal()
    work.await_all(2 * AGAIN_S)
    for plane in fleet.planes:
        eventually(lambda plane=plane: answered(work, plane), within=20, what="calls are answered")


def answered(work: Work, plane: Server) -> bool:
    with suppress(ClientError):
        return bool(work.call(plane, "answered", 0.0))
    return False


def test_processes_of_a_host_die_one_by_one(fleet: Fleet, work: Work) -> None:
    """Its agent, and what keeps that: each comes back without the other."""
    joined = fleet.joined("h1")
    agent = joined.agent
    os.kill(agent, signal.SIGKILL)
    eventually(lambda: joined.agent not in (0, agent), within=20, what="another agent")
    fleet.await_hosts(HOSTS)
    agent = joined.agent
    joined.process.kill()
    joined.process.wait(10)
    assert work.call(fleet.first, "without", 0.0)
    assert told_alive(fleet.first) == len(HOSTS), "an agent outlives who keeps it"
    joined.begin()
    joined.ready()
    assert joined.agent == agent
