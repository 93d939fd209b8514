"""Hosts of different sizes: nothing enters where it has no room, what is reserved for an account is there, and machines come and are refused."""

import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.fleets import Fleet, running_fleet
from tests.planes import TIMES
from tests.servers import FORERUN, Server, eventually, server_environment

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.timeout(120)]

JOIN_S = 15.0
# Busy machines are slower than those that the time above is promised of.
BUSY_S = 30.0
ECHO = "def handler(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    own = {
        "small": {"FORERUN_HOST_MEMORY_MB": "300"},
        "large": {"FORERUN_HOST_MEMORY_MB": "6000"},
    }
    with running_fleet(
        tmp_path_factory.mktemp("room"),
        hosts=("small", "large"),
        own=own,
        FORERUN_HOST_WAIT_S="2",
        FORERUN_CLUSTER_DEAD_S="4",
        FORERUN_CLUSTER_LEASE_S="8",
    ) as fleet:
        yield fleet


def placed(server: Server, name: str, count: int) -> Counter[str]:
    """On which hosts a function's calls ran, as their records tell."""

    def told() -> list[dict[str, Any]]:
        found = [each for each in server.invocations(name) if each["status"] == "success"]
        return found if len(found) >= count else []

    records = eventually(told, within=20, what="records")
    return Counter(
        (each["placement"] or "").partition("; on ")[2].partition(":")[0] for each in records
    )


def test_what_is_larger_than_the_room_of_a_host_never_enters_it(fleet: Fleet) -> None:
    server = fleet.first
    large = server.function(ECHO, MemorySize=512)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda n: server.call(large, n), range(12))) == list(range(12))
    assert placed(server, large, 12) == Counter(large=12)
    fleet.do("cordon", {"Host": "large"})
    try:
        small = server.function(ECHO, MemorySize=128)

        def only_there() -> bool:
            server.call(small, 0)
            return True

        assert eventually(only_there, what="a small one is served")
        with pytest.raises(ClientError) as refused:
            server.call(large, 0)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (429, 500, 503)
        assert set(placed(server, small, 1)) <= {"small", "large"}
        assert placed(server, large, 12) == Counter(large=12)
    finally:
        fleet.do("uncordon", {"Host": "large"})
    eventually(lambda: served(server, large), within=20, what="it is served again")


def served(server: Server, name: str) -> bool:
    try:
        return bool(server.call(name, 1) == 1)
    except ClientError:
        return False


def join(fleet: Fleet, name: str, token: str, data: Path) -> "subprocess.Popen[str]":
    door = fleet.told("cluster")["ControlPlanes"][0]["Door"]
    return subprocess.Popen(
        fleet.machine(f"m-{name}").command(
            [FORERUN, "join", door, "--token", token, "--name", name, "--data", data]
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        env=server_environment(data.parent) | TIMES | {"FORERUN_SANDBOX_MODE": "process"},
    )


@pytest.mark.parametrize("what", ["expired", "forged", "revoked", "control", "taken"])
def test_who_may_not_join_is_told_why(fleet: Fleet, tmp_path: Path, what: str) -> None:
    given: dict[str, Any] = {"Role": "control" if what == "control" else "host"}
    if what == "expired":
        given["TtlSeconds"] = 10
    made = fleet.do("create-join-token", given)
    token = made["Token"]
    if what == "expired":
        eventually(lambda: time.time() > made["Expires"] + 0.5, within=20, what="its time is over")
    elif what == "revoked":
        fleet.do("revoke-join-token", {"Id": made["Id"]})
    elif what == "forged":
        token = token.replace(token.split(".")[1], "A" * len(token.split(".")[1]))
    name = "small" if what == "taken" else "intruder"
    process = join(fleet, name, token, tmp_path / "data")
    said, _ = process.communicate(timeout=40)
    assert process.returncode == 1, said
    assert "Traceback" not in said
    assert ("already" if what == "taken" else "token") in said, said
    assert name not in fleet.alive() or what == "taken"
    assert fleet.alive() >= {"small", "large"}


def test_a_machine_joins_and_serves(fleet: Fleet) -> None:
    """From its command to its first answer; then it leaves."""
    server = fleet.first
    name = server.function(ECHO, MemorySize=3000)
    began = time.monotonic()
    fleet.join(["late"], FORERUN_HOST_MEMORY_MB="9000")
    fleet.do("cordon", {"Host": "large"})
    try:
        eventually(lambda: served(server, name), within=JOIN_S + BUSY_S, what="its first sandbox")
        took_s = time.monotonic() - began
        print(f"from join to the first answer of its first sandbox: {took_s:.1f} s")
        assert took_s < JOIN_S + BUSY_S
    finally:
        fleet.do("uncordon", {"Host": "large"})
    fleet.do("drain", {"Host": "late"})
    assert fleet.joined("late").process.wait(30) == 0


@contextmanager
def small_disk(at: Path) -> Iterator[Path]:
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "small", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def test_a_host_whose_disk_is_full_fails_clearly_and_costs_others_nothing(fleet: Fleet) -> None:
    server = fleet.first
    with small_disk(fleet.folder / "host-tiny") as disk:
        fleet.join(["tiny"], FORERUN_HOST_MEMORY_MB="9000")
        there = server.function(ECHO, MemorySize=7000)
        server.call(there, 1)
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        assert server.call(there, 2) == 2, "what is there already needs no disk"
        # Only the host without disk has room for one, all have for the other.
        code = {"lambda_function.py": ECHO, "ballast": os.urandom(100_000)}
        only, anywhere = (server.function(code, MemorySize=size) for size in (7000, 200))
        with pytest.raises(ClientError) as refused:
            server.call(only, 1)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (429, 500, 502, 503)
        eventually(lambda: served(server, anywhere), within=20, what="it is served elsewhere")
        for turn in range(10):
            assert server.call(anywhere, turn) == turn
        assert fleet.alive() >= {"small", "large", "tiny"}
        ballast.unlink()
        # Waiting for room gave nobody else more of the limit.
        eventually(
            lambda: served(server, only), within=20, what="it is served when there is room again"
        )
        [limit] = fleet.told("limits")["Limits"]
        assert limit["Current"] < limit["Maximum"]
        fleet.do("drain", {"Host": "tiny"})
        assert fleet.joined("tiny").process.wait(30) == 0


def test_of_two_first_machines_one_founds_the_cluster(fleet: Fleet, tmp_path: Path) -> None:
    fleet.database_server.sql("CREATE DATABASE another")
    machines = [fleet.machine(f"first-{number}") for number in range(2)]
    processes = []
    for number, machine in enumerate(machines):
        own = {
            "FORERUN_CLUSTER_DATABASE": fleet.database_server.url("another"),
            "FORERUN_CLUSTER_NAME": f"first-{number}",
            "FORERUN_CLUSTER_LISTEN": f"{machine.address}:9701",
        }
        command = [FORERUN, "up", "--listen", f"{machine.address}:9700", "--sandbox", "process"]
        with (tmp_path / f"{number}.log").open("wb") as log:
            process = subprocess.Popen(
                machine.command([*command, "--data", tmp_path / f"first-{number}"]),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=server_environment(tmp_path) | TIMES | own,
            )
        processes.append(process)
    logs = [tmp_path / f"{number}.log" for number in range(2)]
    try:
        eventually(
            lambda: (
                sum("ready http" in log.read_text() for log in logs) == 1
                and sum(process.poll() is not None for process in processes) == 1
            ),
            within=JOIN_S + BUSY_S,
            what="one is ready, and the other has ended",
        )
        [loser] = [number for number in range(2) if processes[number].poll() is not None]
        said = logs[loser].read_text()
        assert processes[loser].returncode == 1
        assert "token" in said
        assert "Traceback" not in said
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)
