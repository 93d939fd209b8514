"""Real agents in processes of their own, and a control plane's side of the wire in the test's own event loop."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from tests.hosts import Host
from tests.servers import FORERUN

from forerun.aio import Bounds, HttpServer, SystemClock
from forerun.cluster import (
    AgentLinks,
    Authority,
    Beat,
    Door,
    Giving,
    Guest,
    Identity,
    Knocker,
    RemoteAgent,
    Terms,
    TreeShelf,
    TreeSource,
    make_authority,
    serve_http,
)
from forerun.model import (
    Call,
    Credentials,
    Egress,
    HostInfo,
    LoggingConfig,
    SandboxSpec,
    Timings,
)

ACCOUNT = "123456789012"
START_S = 40.0
KEPT_S = 30.0
LOG_SHOWN = 8000
TERMS = Terms(dead_s=3.0, lease_s=4.0)
# As the agents are told, so that tests need not wait for long.
TIMES = {
    "FORERUN_CLUSTER_BEAT_S": "0.1",
    "FORERUN_CLUSTER_DEAD_S": "3",
    "FORERUN_CLUSTER_LEASE_S": "4",
}


async def eventually(probe: Callable[[], Any], *, within: float = 15.0, what: str = "") -> Any:
    """As ``tests.servers.eventually``, while the loop goes on."""
    deadline = time.monotonic() + within
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what or probe}"
        await asyncio.sleep(0.02)
    return answer


def authority() -> Authority:
    return make_authority(now=time.time())


def identity(authority: Authority, name: str, role: str) -> Identity:
    return authority.issue(name, role, now=time.time())


def listener(address: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket()
    sock.bind((address, 0))
    return sock


def address_of(sock: socket.socket) -> str:
    return "{}:{}".format(*sock.getsockname())


class AgentProcess:
    """One ``forerun agent``, ``on`` a machine of its own if one is given; ``stop``, ``kill``, ``pause`` and ``resume`` it by its own process id."""

    def __init__(
        self,
        authority: Authority,
        name: str,
        data: Path,
        *options: str,
        on: Host | None = None,
        **env: str,
    ) -> None:
        self.name, self.data = name, data
        identity(authority, name, "host").save(data)
        listen = f"{on.address if on else '127.0.0.1'}:0"
        command = [FORERUN, "agent", "--data", data, "--listen", listen, *options]
        command = on.command(command) if on else command
        self.log = data / "agent.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **TIMES, **env},
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line.startswith("ready "), self.log.read_text()
        self.info = msgspec.json.decode(line.removeprefix("ready "), type=HostInfo)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def _end(self, number: int) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)
        code = self.process.wait(KEPT_S)
        if not self.process.stdout.closed:
            self.process.stdout.close()
            if "PYTEST_CURRENT_TEST" in os.environ:
                # It is shown with a test that failed.
                print(f"-- the log of agent {self.name}\n{self.log.read_text()[-LOG_SHOWN:]}")
        return code


class Control:
    """A control plane's side: a door, links, and code below a directory. It is the ``Upstream`` of its hosts."""

    def __init__(
        self, authority: Authority, directory: Path, name: str, terms: Terms, listen: str
    ) -> None:
        self.identity = identity(authority, name, "control")
        self.trees = directory / "trees"
        self.trees.mkdir(parents=True, exist_ok=True)
        self.clock = SystemClock()
        self.renew = True
        self.beats: list[Beat] = []
        self.lost: list[str] = []
        self.datagrams: list[tuple[bytes, str]] = []
        self.sent_trees: list[str] = []
        self.requests: list[str] = []
        self.issued = 0
        self.accounts: list[str] = []
        self.proofs: list[tuple[str, str]] = []
        self._listener = listener(listen)
        self.address = address_of(self._listener)
        knocker = Knocker(self.identity)
        self.links = AgentLinks(
            knocker,
            clock=self.clock,
            terms=terms,
            address=self.address,
            renew=lambda: self.renew,
        )
        shelf = TreeShelf(self.tree)
        self._giving = Giving(
            upstream=self,
            shelf=shelf,
            holders=self.links.holders,
            own=TreeSource(self.address, name, "control"),
        )
        self._door = Door(self.identity)

        async def send_tree(guest: Guest) -> None:
            self.sent_trees.append(guest.fields["digest"])
            await shelf.serve(guest)

        self._door.serve("tree", send_tree, roles=("host", "control"))
        self._http = HttpServer(self._app, name="test", bounds=Bounds())
        self._door.serve("http", serve_http(self._http, self._app_for), roles=("host",))

    async def start(self) -> None:
        await self._door.listen(self._listener)
        self.links.listen(
            lambda _, beat: self.beats.append(beat), lambda host: self.lost.append(host.name)
        )
        self.links.start(self._giving)

    async def close(self) -> None:
        await self.links.close()
        await self._http.close(grace_s=0)
        await self._door.close()
        self._listener.close()

    async def connect(self, *infos: HostInfo) -> list[RemoteAgent]:
        self.links.follow(infos)
        for info in infos:
            await eventually(
                lambda name=info.name: name in self.links.hosts and self.links.hosts[name].alive,
                what=f"{info.name} is connected",
            )
        return [self.links.hosts[info.name] for info in infos]

    def deploy(self, source: str, name: str = "f", **about: Any) -> SandboxSpec:
        """A function of one module, whose tree is only here."""
        digest = sha256(source.encode()).hexdigest()
        tree = self.trees / digest
        if not tree.exists():
            tree.mkdir()
            (tree / "app.py").write_text(source)
            (tree / "app.py").chmod(0o444)
        values: dict[str, Any] = {
            "key": f"{name}-{digest[:12]}",
            "account": ACCOUNT,
            "region": "us-home-1",
            "name": name,
            "version": "$LATEST",
            "function_arn": f"arn:aws:lambda:us-home-1:{ACCOUNT}:function:{name}",
            "runtime": "python3.11",
            "role": f"arn:aws:iam::{ACCOUNT}:role/r",
            "handler": "app.handler",
            "memory_mb": 128,
            "ephemeral_mb": 512,
            "timeout_s": 5,
            "environment": {},
            "code_dir": str(tree),
            "layers_dir": None,
            "egress": Egress.PLATFORM,
            "logging": LoggingConfig(group=f"/aws/lambda/{name}"),
            "log_stream": "",
        }
        return SandboxSpec(**values | about)

    # -- what hosts ask ------------------------------------------------------------------------------------------

    async def issue(self, spec: SandboxSpec) -> Credentials | None:
        self.issued += 1
        return Credentials(f"ASIA{self.issued:016d}", "secret", "token")

    async def tree(self, digest: str) -> str:
        return str(self.trees / digest)

    def take_datagram(self, data: bytes, account: str, region: str, name: str) -> None:
        self.datagrams.append((data, name))

    def _app_for(self, guest: Any) -> Any:
        self.accounts.append(guest.fields["account"])
        self.proofs.append((guest.fields["key"], guest.fields["token"]))
        return self._app

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers with the path, and which execution of here runs with the key that signed."""
        self.requests.append(scope["path"])
        headers = dict(scope["headers"])
        key = headers.get(b"authorization", b"").partition(b"Credential=")[2].partition(b"/")[0]
        contexts = [host.running(key.decode()) for host in self.links.hosts.values()]
        known = next((one.span_id for one in contexts if one is not None), "")
        body = json.dumps({"path": scope["path"], "execution": known}).encode()
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def control(
    authority: Authority,
    directory: Path,
    name: str = "control-1",
    terms: Terms = TERMS,
    listen: str = "127.0.0.1",
) -> AsyncIterator[Control]:
    made = Control(authority, directory, name, terms, listen)
    await made.start()
    try:
        yield made
    finally:
        await made.close()


def call(payload: bytes = b"{}", **about: Any) -> Call:
    values: dict[str, Any] = {
        "request_id": str(uuid.uuid4()),
        "payload": payload,
        "invoked_arn": f"arn:aws:lambda:us-home-1:{ACCOUNT}:function:f",
        "deadline_ms": 0,
    }
    return Call(**values | about)


def timings() -> Timings:
    return Timings()
