"""A cluster for measurements: one control plane over a PostgreSQL of its own, and hosts that join; the settings are the defaults."""

import asyncio
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from client import Target
from tests.planes import Cluster, running_cluster
from tests.postgres import Postgres, new_folder
from tests.servers import Server

MODE = "jail" if os.geteuid() == 0 else "process"
# Tests have shorter ones.
DEFAULTS = {
    "FORERUN_CLUSTER_BEAT_S": "0.5",
    "FORERUN_CLUSTER_DEAD_S": "3",
    "FORERUN_CLUSTER_LEASE_S": "6",
    "FORERUN_CLUSTER_DUTY_S": "5",
}


CPU = Path("/sys/fs/cgroup/cpu")
PERIOD_US = 100_000
WITHIN_S = 60.0


def until(probe: Callable[[], object], what: str, within_s: float = WITHIN_S) -> float:
    """Seconds until it holds. Raises ``TimeoutError``."""
    began = time.monotonic()
    while not probe():
        if time.monotonic() - began > within_s:
            raise TimeoutError(f"{what}: not within {within_s:g} s")
        time.sleep(0.01)
    return time.monotonic() - began


@contextmanager
def cluster(*hosts: str, **more: str) -> Iterator[Cluster]:
    """Its control plane is ``a``; the named hosts have joined."""
    folder = Path(tempfile.mkdtemp(prefix="forerun-bench-"))
    postgres = Postgres(new_folder())
    try:
        postgres.make()
        postgres.start()
        postgres.sql("CREATE DATABASE fleet")
        with running_cluster(folder, postgres.url("fleet"), "a", **(DEFAULTS | more)) as found:
            for name in hosts:
                found.host(name, MODE)
            yield found
    finally:
        postgres.stop()
        shutil.rmtree(postgres.folder, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def target(plane: Server, name: str, body: bytes = b"{}") -> Target:
    """The signed request that invokes a function."""
    path = f"/2015-03-31/functions/{name}/invocations"
    return Target(plane.endpoint + path, body).signed(plane.environment(plane.data))


def transactions(database: str) -> int:
    """How many the database has ended so far, the platform's and this one's."""

    async def asked() -> int:
        connection = await asyncpg.connect(database)
        try:
            found = await connection.fetchval(
                "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
            )
            return int(found)
        finally:
            await connection.close()

    return asyncio.run(asked())


@contextmanager
def processor_group(part: float) -> Iterator[Path | None]:
    """A control group that may use so much of a processor; ``None`` where none can be made. What is in it has to end before."""
    group = CPU / f"forerun-bench-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(round(part * PERIOD_US)))
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            (CPU / "cgroup.procs").write_text(pid)
        group.rmdir()


@contextmanager
def inside(group: Path) -> Iterator[None]:
    """This process is in the group meanwhile, and what it starts stays there."""
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (CPU / "cgroup.procs").write_text(str(os.getpid()))
