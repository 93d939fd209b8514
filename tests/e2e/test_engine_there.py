"""``forerun up`` and ``forerun join`` on an engine that somebody else has started, with certificates and a token that are none of ours."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.hosts import Host, HostNetwork
from tests.planes import Cluster, Joined
from tests.servers import Server, clean_environment, eventually, gone

from forerun.cluster.engine.node import session_directory
from forerun.cluster.trust import make_authority

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.root]

PORT = 6379
HANDLER = "def handler(event, context):\n    return event\n"


class Operator:
    """Who has the engine, and its head on a machine of its own, which is no host of ours."""

    def __init__(self, folder: Path, on: Host) -> None:
        self._folder = folder
        self._authority = make_authority(now=time.time())
        self.address = f"{on.address}:{PORT}"
        self._temporary = tempfile.TemporaryDirectory(prefix="ray-")
        self._on = on
        # What starts a head in the documentation of the engine, but for its size.
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--port", str(PORT), "--node-ip-address", on.address, "--num-cpus", "1"),
            *("--object-store-memory", "78643200", "--include-dashboard", "false"),
            *("--temp-dir", self._temporary.name),
        ]
        environment = clean_environment(folder) | self.environment(on)
        with (folder / "head.log").open("w") as log:
            self.head = on.popen(command, env=environment, stdout=log, stderr=log)

    def environment(self, host: Host) -> dict[str, str]:
        """What every user of the engine has on that machine."""
        folder = self._folder / f"operator-{host.name}"
        folder.mkdir(exist_ok=True)
        mine = self._authority.issue(host.name, "host", addresses=[host.address], now=time.time())
        content = {
            "RAY_AUTH_TOKEN_PATH": "ab" * 32,
            "RAY_TLS_SERVER_CERT": mine.certificate_pem,
            "RAY_TLS_SERVER_KEY": mine.key_pem,
            "RAY_TLS_CA_CERT": mine.authority_pem,
        }
        for name, text in content.items():
            (folder / name).write_text(text)
        files = {name: str(folder / name) for name in content}
        return files | {
            "RAY_AUTH_MODE": "token",
            "RAY_USE_TLS": "1",
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def close(self) -> None:
        end(self._on)
        self._temporary.cleanup()


def running(host: Host) -> dict[int, str]:
    """The processes of a machine, and what they are."""
    found = {}
    for pid in map(int, host.run(["ip", "netns", "pids", host.namespace]).split()):
        with suppress(OSError):
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            if not gone([pid]):
                found[pid] = line.strip()[:200]
    return found


def end(host: Host) -> None:
    """The machine loses its power."""
    for pid in running(host):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def operated(folder: Path) -> Iterator[tuple[Operator, Host, Host]]:
    """The operator, and two machines; what was logged is told when something goes wrong, and nothing is left."""
    with HostNetwork(outside=True) as network:
        head, *others = [network.host(name) for name in ("head", "near", "far")]
        operator = Operator(folder, head)
        try:
            yield operator, *others
        except BaseException:
            for path in [*folder.glob("*.log"), *folder.glob("*/**/*.log")]:
                print(f"{path}: {path.read_text()[-1500:]}")
            raise
        finally:
            for host in others:
                end(host)
            operator.close()


@pytest.mark.timeout(180)
@pytest.mark.soak
def test_an_engine_that_is_there_already_keeps_agents(tmp_path, postgres_url):
    with operated(tmp_path) as (operator, near, far):
        cluster = Cluster(tmp_path, postgres_url)
        plane = Server.start(
            tmp_path / "plane",
            mode="process",
            listen=f"{near.address}:9700",
            settings={
                "FORERUN_CLUSTER_DATABASE": postgres_url,
                "FORERUN_CLUSTER_NAME": "near",
                "FORERUN_CLUSTER_LISTEN": f"{near.address}:9701",
                "FORERUN_CLUSTER_ENGINE_ADDRESS": operator.address,
                **operator.environment(near),
            },
            elsewhere=near.command,
        )
        cluster.planes.append(plane)
        joined = Joined(cluster, "far", "process", on=far, **operator.environment(far))
        joined.ready()

        def alive(name: str) -> bool:
            told = cluster.told("hosts")["Hosts"]
            return any(each["Name"] == name and each["Alive"] for each in told)

        eventually(lambda: alive("near") and alive("far"), within=30, what="both hosts")
        name = plane.function(HANDLER)
        cluster.do("cordon", {"Host": "far"})
        assert plane.call(name, {"at": "near"}) == {"at": "near"}
        cluster.do("cordon", {"Host": "near"})
        cluster.do("uncordon", {"Host": "far"})
        assert plane.call(name, {"at": "far"}) == {"at": "far"}

        # Nobody but the engine starts it again, over the node that is there for it.
        killed = joined.agent
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: joined.agent not in (0, killed), within=60, what="another agent")
        assert any("AgentKeeper" in line for line in running(far).values())
        eventually(lambda: plane.call(name, 1) == 1, within=20, what="a call there again")
        sessions = [session_directory(each.data / "engine") for each in (plane, joined)]
        assert all(each.exists() for each in sessions)

        # Told to stop: what is ours ends, the operator's engine goes on.
        joined.end()
        assert joined.process.returncode == 0
        assert plane.stop() == 0
        assert running(far) == {}
        assert running(near) == {}
        assert operator.head.poll() is None
        assert not any(each.exists() for each in sessions)
