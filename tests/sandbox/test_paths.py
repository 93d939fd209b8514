"""What hosts measure of their paths to a service, on real networks: by probes, and by what their sandboxes do."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from tests.hosts import Host, HostNetwork
from tests.servers import eventually

DELAY_S = 0.1
DELAY_MS = DELAY_S * 1000
ROOT = Path(__file__).parents[2]

PROBING = """
import asyncio, json, sys
from forerun.aio import SystemClock
from forerun.host import Paths
import msgspec

async def main():
    address, port = sys.argv[1:]
    service = f"service.example:{port}"
    paths = Paths(SystemClock(), every_s=0.3, look=lambda host, port: [address])
    paths.start()
    try:
        while True:
            paths.watch([service])
            told = paths.channels().get(service)
            print(json.dumps(told and msgspec.to_builtins(told)), flush=True)
            await asyncio.sleep(0.1)
    finally:
        await paths.close()

asyncio.run(main())
"""

RUNNING = """
import asyncio, json, sys
from pathlib import Path
import msgspec
from tests.sandbox.makers import *
from forerun.aio import SystemClock
from forerun.host import HostAgent, Paths
from forerun.model import Egress, Timings, TraceContext, Origin
from forerun.sandbox import JailSandboxes, JailSettings
from forerun.settings import HostSettings

HANDLER = '''
import errno, socket, urllib.request
kept = []
def handler(event, context):
    what, *address = event
    if what == "keep":
        kept.append(socket.create_connection(address, 5))
        kept[-1].sendall(b"GET / HTTP/1.0\\\\r\\\\n\\\\r\\\\n")
        return kept[-1].recv(5).decode()
    try:
        return urllib.request.urlopen("http://%s:%s/" % tuple(address), timeout=5).read().decode()
    except OSError as error:
        return str(error)
'''

async def main():
    data, address, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    own = own_interpreter()
    jails = JailSandboxes(JailSettings(data_dir=data, interpreters={own.runtime: own}))
    paths = Paths(SystemClock(), every_s=0.3, connections=jails.connections)
    agent = HostAgent(jails, clock=SystemClock(), settings=HostSettings(memory_mb=512, pool_min=0))
    said = Paths(SystemClock(), every_s=0)
    await agent.start()
    paths.start()
    spec = make_spec(write_code(data / "code", HANDLER), egress=Egress.OPEN)
    rtts = []
    async def run(*event, monitored=False):
        call = make_call(event, seconds=20)
        call.monitored = monitored
        run = await agent.run(spec, call, Timings(received=0.0))
        assert run.outcome.error is None, run.outcome
        said.heard(run.outcome.calls)
        rtts.extend(call.rtt_ms for call in run.outcome.calls)
        return json.loads(run.outcome.payload)
    def told(key, by=paths):
        found = by.channels().get(key)
        return found and msgspec.to_builtins(found)
    service = f"{address}:{port}"
    try:
        answered = [await run("keep", address, port)]
        for _ in range(100):
            if told(service): break
            await asyncio.sleep(0.1)
        seen = told(service)
        for _ in range(3):
            answered.append(await run("get", address, port, monitored=True))
        heard = told(service, said)
        failed = [await run("get", address, 9, monitored=True), told(f"{address}:9", said)]
        await run("get", address, 9)
        unheard = told(f"{address}:9", said)
        print(json.dumps([answered, seen, heard, failed, unheard, rtts]), flush=True)
    finally:
        await paths.close()
        await agent.close(grace_s=1)

asyncio.run(main())
"""


def script(text: str) -> list[str]:
    path = [str(ROOT), *sys.path]
    return [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n" + text]


@contextmanager
def web(host: Host) -> Iterator[tuple[str, int]]:
    """A server there that answers ``hello`` to anything and leaves the connection open."""
    listener = host.listen()
    peers: list[socket.socket] = []

    def work() -> None:
        with suppress(OSError):
            while True:
                peer, _ = listener.accept()
                peers.append(peer)
                threading.Thread(target=answer, args=(peer,), daemon=True).start()

    def answer(peer: socket.socket) -> None:
        with suppress(OSError):
            if peer.recv(4096):
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
        for peer in peers:
            peer.close()


class Measuring:
    """A host that probes a service, and what it said last."""

    def __init__(self, host: Host, address: tuple[str, int]) -> None:
        arguments = [*script(PROBING), address[0], str(address[1])]
        self.process = host.popen(arguments, stdout=subprocess.PIPE, text=True)
        self.last: dict[str, Any] | None = None
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.last = json.loads(line)

    def says(self, what: Callable[[float, float], bool]) -> bool:
        """Whether latency and failures are so by now."""
        return self.last is not None and what(self.last[0], self.last[1])


@pytest.mark.root
@pytest.mark.slow
def test_probes_tell_the_near_host_from_the_far_one_and_follow_when_they_change_places() -> None:
    with HostNetwork() as network:
        one, two, service = (network.host(name) for name in ("one", "two", "service"))
        network.delay(two, service, DELAY_S)
        network.delay(one, service, 0.0)
        with web(service) as address:
            first, second = Measuring(one, address), Measuring(two, address)
            eventually(lambda: first.says(lambda ms, _: 0 < ms < DELAY_MS / 2), within=20)
            eventually(lambda: second.says(lambda ms, _: ms >= DELAY_MS), within=20)
            network.delay(one, service, DELAY_S)
            network.delay(two, service, 0.0)
            eventually(lambda: first.says(lambda ms, _: ms > DELAY_MS * 0.8), within=40)
            eventually(lambda: second.says(lambda ms, _: ms < DELAY_MS / 2), within=40)
            assert first.says(lambda _, failures: failures == 0)
            network.cut(two, service)
            eventually(lambda: second.says(lambda _, failures: failures > 0.1), within=40)
            assert first.says(lambda _, failures: failures == 0)


@pytest.mark.root
@pytest.mark.slow
def test_sandboxes_tell_of_paths_by_what_they_do(tmp_path: Path) -> None:
    with HostNetwork() as network:
        host, service = network.host("host"), network.host("service")
        network.delay(host, service, DELAY_S)
        with web(service) as address:
            printed = host.run([*script(RUNNING), tmp_path, address[0], str(address[1])])
    answered, seen, heard, failed, unheard, rtts = json.loads(printed)
    assert answered == ["HTTP/", "hello", "hello", "hello"]
    # An execution that nobody watches: the kernel knows of its connection.
    assert seen[0] >= DELAY_MS
    assert seen[1] == 0
    # Watched ones tell of theirs, which are over before anybody looks.
    *reached, refused = rtts
    assert len(reached) == 3
    assert min(reached) >= DELAY_MS
    assert refused == 0
    assert heard[0] >= DELAY_MS
    assert heard[4] == 3
    assert "refused" in failed[0]
    assert failed[1][1] == 1
    assert failed[1][0] == 0
    assert unheard[4] == failed[1][4]
