"""The engine's processes on one machine: its node, or its head, which is a node, too. They are ended by their own id and never by
the engine's own stop, which ends every engine of the machine.
"""

import hashlib
import ipaddress
import json
import os
import shutil
import socket
import stat
import sys
import tempfile
from pathlib import Path

from forerun.cluster.detached import SECRETS, Detached, Running
from forerun.cluster.engine.wire import CPUS, RESOURCE
from forerun.cluster.identity import Identity
from forerun.cluster.private import write_private
from forerun.errors import SetupFailed

STORE_BYTES = 78_643_200
"""The smallest object store that the engine takes; nothing is put into it."""

# How long nodes wait for a head that is gone: then they end, and are started again with the one there is by then.
RECONNECT_S = 15
GRACE_S = 5.0
REACH_S = 2.0
_NODE, _HEAD = "node", "head"
# Else it waits until nothing runs on it; but a keeper runs as long as the node.
_AT_ONCE = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
_TUNED = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "500",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": str(RECONNECT_S),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_enable_autoscaler_v2": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}


def keeper_directory(data_dir: Path) -> Path:
    """Where the keeper of an agent has its files; ``data_dir`` is the agent's."""
    return data_dir / "keeper"


class EngineNode:
    """The engine on this machine. ``data_dir`` is the host's; ``keeper`` whether an agent is to be kept here."""

    def __init__(
        self,
        directory: Path,
        *,
        name: str,
        ip: str,
        secret: str,
        agent_data: Path | None,
        foreign: bool = False,
    ) -> None:
        """``directory`` is the engine's own. A ``foreign`` engine was there before the cluster: how it is spoken with, the
        environment says, as for all its users.
        """
        self.ip = ip
        self.name = name
        self._directory = directory
        self._secret = secret
        self._agent_data = agent_data
        self.foreign = foreign
        self._process = Detached(directory, _NODE)

    def write_files(self, identity: Identity) -> None:
        """Keep what the engine's processes prove themselves with, for this user alone.

        Raises ``SetupFailed``, also when this machine's address is not one that the engine can use.
        """
        _check_address(self.ip)
        for name, text in (
            ("certificate.pem", identity.certificate_pem),
            ("key.pem", identity.key_pem),
            ("authority.pem", identity.authority_pem),
            ("secret", self._secret),
        ):
            write_private(self._directory / name, text.encode())

    def environment(self) -> dict[str, str]:
        """For all processes of the engine, and for who asks it: mutual TLS, the secret, quick detection of the dead."""
        if self.foreign:
            return {}
        return {
            **_TUNED,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self._directory / "secret"),
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": str(self._directory / "certificate.pem"),
            "RAY_TLS_SERVER_KEY": str(self._directory / "key.pem"),
            "RAY_TLS_CA_CERT": str(self._directory / "authority.pem"),
        }

    def find(self) -> Running | None:
        """The one that runs here already."""
        return self._process.find()

    async def start_head(self, port: int, autoscaling: Path | None = None) -> Running:
        """Start the head. Raises ``SetupFailed``."""
        more = ["--head", "--port", str(port), "--include-dashboard", "false"]
        if autoscaling is None:
            # The autoscaler's process: 58 MB for nothing.
            more.append("--no-monitor")
        else:
            more += ["--autoscaling-config", str(autoscaling)]
        identity = {"RAY_CLOUD_INSTANCE_ID": "head", "RAY_NODE_TYPE_NAME": "head"}
        return await self._start(more, identity, f"{self.ip}:{port}")

    async def start_node(self, head: str) -> Running:
        """Start a node of the head at ``HOST:PORT``. Raises ``SetupFailed``."""
        identity = {"RAY_CLOUD_INSTANCE_ID": self.name, "RAY_NODE_TYPE_NAME": "host"}
        return await self._start(["--address", head], identity, head)

    async def end(self) -> None:
        """End it, if it runs, and remove what it has written outside its directory."""
        if (running := self.find()) is not None:
            # Its own agents and actors look for their parent now and then only.
            await running.end_all(GRACE_S)
        shutil.rmtree(session_directory(self._directory), ignore_errors=True)

    def last_words(self) -> str:
        """Why it ended, as far as it said so."""
        return self._process.last_words()

    def head(self) -> str:
        """The head that what runs here was started for, or as; empty when nothing was ever started."""
        try:
            return (self._directory / _HEAD).read_text("ascii")
        except OSError:
            return ""

    async def _start(self, more: list[str], identity: dict[str, str], head: str) -> Running:
        cpus = os.cpu_count() or 1
        resources = {} if self._agent_data is None else {RESOURCE: 1, CPUS: cpus}
        argv = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
            *("--node-ip-address", self.ip, "--node-name", self.name),
            *("--num-cpus", "0", "--num-gpus", "0", "--resources", json.dumps(resources)),
            *("--object-store-memory", str(STORE_BYTES), "--include-log-monitor", "false"),
            *("--disable-usage-stats", "--temp-dir", str(_fresh_session(self._directory)), *more),
        ]
        env = {**self.environment(), **identity, **_AT_ONCE}
        if self._agent_data is not None:
            # The keeper, an actor of the engine, finds its plan by it.
            env["FORERUN_DATA"] = str(self._agent_data)
        write_private(self._directory / _HEAD, head.encode())
        return await self._process.start(
            argv, env=env, drop=SECRETS if self.foreign else ("RAY_", *SECRETS)
        )


def _check_address(ip: str) -> None:
    try:
        unknown = ipaddress.ip_address(ip).is_unspecified
    except ValueError:
        unknown = True
    if unknown:
        raise SetupFailed(
            f"{ip!r} is not the address of a machine: the engine needs the IP address that the others reach "
            "this one with (cluster.listen or cluster.advertise)"
        )


def reachable(address: str) -> bool:
    """Whether somebody listens at ``HOST:PORT``; waits for ``REACH_S`` seconds at most."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
    except (OSError, ValueError):
        return False
    return True


def session_directory(directory: Path) -> Path:
    """Where the engine's own files are while it runs: sockets are among them, whose paths may not be long."""
    digest = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:10]
    return Path(tempfile.gettempdir()) / f"forerun-engine-{digest}"


def _fresh_session(directory: Path) -> Path:
    """One that is nobody's but this user's, and empty. Raises ``SetupFailed``."""
    path = session_directory(directory)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise SetupFailed(f"{path} cannot be used: {error}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise SetupFailed(f"{path} is not a directory of this user alone; remove it")
    # One below it: the engine opens its own to everybody. What an earlier start left there goes.
    inner = path / "r"
    shutil.rmtree(inner, ignore_errors=True)
    return inner
