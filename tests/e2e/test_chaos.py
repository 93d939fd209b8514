"""The server is killed, stopped, and robbed of its disk: what it accepted is done, and nothing of it stays behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.servers import (
    FORERUN,
    Server,
    clean_environment,
    descendants,
    eventually,
    gone,
    running,
)

pytestmark = pytest.mark.slow

EVENTS = 1000
COUNT = "def handler(event, context):\n    print(f\"did {event['n']}.\")\n    return event\n"
SLOW = "import time\ndef handler(event, context):\n    time.sleep(event)\n    return 'whole'\n"


def cgroups(server: Server) -> list[str]:
    """The server's cgroups; its process id is in their names."""
    name = re.compile(rf"forerun-{server.process.pid}-")
    # Groups come and go while they are looked for; what has gone is not told of by ``os.walk``.
    return [
        os.path.join(folder, each)
        for folder, below, _ in os.walk("/sys/fs/cgroup")
        for each in below
        if name.match(each)
    ]


def mounts(path: Path) -> list[str]:
    """What is mounted here from or below ``path``."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if str(path) in line]


def records(server: Server, name: str) -> dict[str, str]:
    """All recorded attempts: the last status by request id."""
    found: dict[str, str] = {}
    marker = ""
    while True:
        page = server.platform(f"/forerun/invocations?FunctionName={name}&MaxItems=1000{marker}")
        for record in page["Invocations"]:
            if record["status"] == "success" or record["request_id"] not in found:
                found[record["request_id"]] = record["status"]
        if "NextMarker" not in page:
            return found
        marker = f"&Marker={page['NextMarker']}"


def done(server: Server, name: str) -> set[int]:
    """The numbers of the events that the function says it has done."""
    pages = server.client("logs").get_paginator("filter_log_events")
    numbers: set[int] = set()
    for page in pages.paginate(logGroupName=f"/aws/lambda/{name}", filterPattern="did"):
        for event in page["events"]:
            numbers.add(int(event["message"].partition("did ")[2].rstrip(".\n")))
    return numbers


@pytest.mark.timeout(180)
def test_accepted_events_survive_kill_9(tmp_path: Path):
    data = tmp_path / "data"
    accepted: dict[str, int] = {}
    killed = threading.Event()
    first = Server.start(data)
    name = first.function(COUNT)

    def send(numbers: range) -> None:
        for n in numbers:
            try:
                reply = first.lambda_.invoke(
                    FunctionName=name, InvocationType="Event", Payload=json.dumps({"n": n})
                )
            except (BotoCoreError, ClientError):
                assert killed.is_set(), "refused by a server that lives"
                return
            accepted[reply["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]] = n

    family: set[int] = set()
    with ThreadPoolExecutor(8) as pool:
        sent = [pool.submit(send, range(k, EVENTS, 8)) for k in range(8)]
        eventually(lambda: len(accepted) >= EVENTS // 2, within=60, what="half of the events")
        family = descendants(first.process.pid)
        killed.set()
        first.stop(signal.SIGKILL)
        for each in sent:
            each.result(30)
    before = dict(accepted)
    assert len(before) >= EVENTS // 2
    eventually(lambda: gone(family), what="end of the killed server's sandboxes")

    with running(data) as second:
        for n in set(range(EVENTS)) - set(before.values()):
            reply = second.lambda_.invoke(
                FunctionName=name, InvocationType="Event", Payload=json.dumps({"n": n})
            )
            accepted[reply["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]] = n
        assert len(accepted) >= EVENTS

        def settled() -> bool:
            found = records(second, name)
            return all(found.get(request) == "success" for request in accepted)

        eventually(settled, within=90, what="a record of every accepted event")
        eventually(lambda: done(second, name) >= set(range(EVENTS)), what="evidence of each run")


def test_functions_and_keys_survive_kill_9(tmp_path: Path):
    data = tmp_path / "data"
    with running(data) as first:
        name = first.function(COUNT, Publish=True)
        first.stop(signal.SIGKILL)
    with running(data) as second:
        assert (second.access_key, second.secret_key) == (first.access_key, first.secret_key)
        assert second.call(name, {"n": 1}, Qualifier="1") == {"n": 1}


@pytest.mark.root
def test_kill_9_leaves_nothing(tmp_path: Path):
    data = tmp_path / "data"
    with running(data, mode="jail") as killed:
        name = killed.function(SLOW, Timeout=30)
        with ThreadPoolExecutor(3) as pool:
            calls = [pool.submit(killed.call, name, 25) for _ in range(3)]
            killed.await_busy(*calls)
            family = descendants(killed.process.pid)
            assert len(family) >= 4
            assert cgroups(killed)
            killed.process.kill()
            for call in calls:
                with pytest.raises(BotoCoreError):
                    call.result(30)
        eventually(lambda: gone(family), what="end of all processes")
    assert not mounts(tmp_path)
    with running(data, mode="jail") as second:
        assert second.call(name, 0) == "whole"
        eventually(lambda: not cgroups(killed), what="sweep of what the killed server left")
    assert not cgroups(second)
    assert not mounts(tmp_path)


@pytest.mark.root
def test_a_stop_leaves_nothing(tmp_path: Path):
    with running(tmp_path / "data", mode="jail") as server:
        name = server.function(SLOW)
        assert server.call(name, 0) == "whole"
        family = descendants(server.process.pid)
        assert cgroups(server)
        assert server.stop() == 0
    assert gone(family)
    assert not cgroups(server)
    assert not mounts(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_calls_in_flight_finish_at_a_stop(tmp_path: Path, number: signal.Signals):
    with running(tmp_path / "data") as server:
        name = server.function(SLOW, Timeout=10)
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(server.call, name, 2)
            server.await_busy(call)
            server.process.send_signal(number)
            assert call.result(20) == "whole"
        assert server.stop(number) == 0


def test_drain_has_an_end(tmp_path: Path):
    settings = {"FORERUN_SERVER_DRAIN_S": "1"}
    with running(tmp_path / "data", settings=settings) as server:
        name = server.function(SLOW, Timeout=60)
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(server.call, name, 50)
            server.await_busy(call)
            server.process.terminate()
            assert server.process.wait(15) == 0
            with pytest.raises((BotoCoreError, ClientError, AssertionError)):
                call.result(10)


@pytest.mark.root
def test_any_process_below_the_server_may_die(tmp_path: Path):
    """Zygotes and sandboxes are killed from outside: calls are answered again, and nothing needs a restart."""
    with running(tmp_path / "data", mode="jail") as server:
        name = server.function(COUNT)
        for n in range(3):
            assert server.call(name, {"n": n}) == {"n": n}
            family = descendants(server.process.pid)
            assert family
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            eventually(lambda: gone(family), what="their end")  # noqa: B023

            def answered() -> bool:
                reply = server.lambda_.invoke(FunctionName=name, Payload=b'{"n": 0}')
                return "FunctionError" not in reply

            eventually(answered, what="a call that is answered")
        assert server.call(name, {"n": 9}) == {"n": 9}
        assert server.call(server.function(COUNT), {"n": 10}) == {"n": 10}
        assert server.stop() == 0


def refused_start(data: Path, *more: str) -> str:
    """Start a server that cannot run; what it says. It must end by itself, soon and with a code that is not 0."""
    ended = subprocess.run(
        [str(FORERUN), "up", "--listen", "127.0.0.1:0", "--data", str(data), *more],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        env=clean_environment(data.parent),
        text=True,
        check=False,
    )
    assert ended.returncode not in (0, -9), ended
    said = ended.stdout + ended.stderr
    assert "Traceback" not in said
    return said


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[Path]:
    at.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


@pytest.mark.root
def test_full_disk(tmp_path: Path):
    """What cannot be kept is refused, not lost; what needs no disk goes on; with space again all is well."""
    with small_disk(tmp_path / "disk", "16m") as disk, running(disk / "data") as server:
        name = server.function(COUNT)
        assert server.call(name, {"n": 1}) == {"n": 1}
        ballast = fill(disk)

        def refusal() -> dict[str, Any] | None:
            try:
                server.lambda_.invoke(
                    FunctionName=name, InvocationType="Event", Payload=b'{"n": 2}' + b" " * 60000
                )
            except ClientError as error:
                return dict(error.response)
            return None

        answer = eventually(refusal, what="an event that cannot be kept is refused")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] in (500, 503, 507), answer
        with pytest.raises(ClientError) as caught:
            server.function(COUNT)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] >= 500
        assert server.request("GET", "/health").status in (200, 503)
        ballast.unlink()
        assert server.call(server.function(COUNT), {"n": 3}) == {"n": 3}
        assert server.call(name, {"n": 4}) == {"n": 4}
        assert server.stop() == 0


@pytest.mark.root
def test_start_on_a_full_disk(tmp_path: Path):
    with small_disk(tmp_path / "disk", "1m") as disk:
        fill(disk)
        said = refused_start(disk / "data")
    assert str(disk) in said
    assert "space" in said.lower() or "full" in said.lower()


@pytest.mark.root
def test_start_on_a_read_only_disk(tmp_path: Path):
    with small_disk(tmp_path / "disk", "8m") as disk:
        with running(disk / "data") as server:
            server.function(COUNT)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        said = refused_start(disk / "data")
    assert str(disk) in said
    assert "read-only" in said.lower() or "written" in said.lower() or "write" in said.lower()


def test_two_servers_on_one_directory(tmp_path: Path):
    with running(tmp_path / "data") as server:
        said = refused_start(tmp_path / "data")
        assert str(tmp_path / "data") in said
        name = server.function(COUNT)
        assert server.call(name, {"n": 1}) == {"n": 1}


def test_a_port_that_is_taken(tmp_path: Path):
    with running(tmp_path / "one") as server:
        host, port = server.address
        said = refused_start(tmp_path / "two", "--listen", f"{host}:{port}")
        assert str(port) in said


def test_a_damaged_database(tmp_path: Path):
    data = tmp_path / "data"
    with running(data):
        pass
    database = data / "forerun.db"
    database.write_bytes(b"not a database" * 1000)
    said = refused_start(data)
    assert database.name in said
