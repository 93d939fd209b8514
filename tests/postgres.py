"""A real PostgreSQL for tests: made and ended by the test run, on a socket in a directory of its own, with nothing kept safe on disk.

One for each worker, started by the first test that wants it; a database of its own for each test, copied from one that
has all schemas. The server ends with the process that started it, also when that is killed.
"""

import asyncio
import ctypes
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
from tests.hosts import Host
from tests.servers import eventually

from forerun.storage.postgresql_schema import FOLDERS, bring_up_to_date

START_S = 30.0
_ENOUGH_BYTES = 4 << 30
_FOLDER = re.compile(r"forerun-postgres-(\d+)-")
_PR_SET_PDEATHSIG = 1
_AS_POSTGRES = (
    "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT", "--",
)  # fmt: skip
_libc = ctypes.CDLL(None)
_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "max_wal_size": "4GB",
    "log_min_messages": "fatal",
}
_SCHEMAS = ", ".join(f"'{schema}'" for schema in FOLDERS)
# What the tables hold from the start, and what they are.
_SEED = f"""
DO $$ DECLARE one record; BEGIN
    CREATE SCHEMA seed;
    CREATE TABLE seed.known AS SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ({_SCHEMAS});
    FOR one IN SELECT * FROM seed.known LOOP
        EXECUTE format('CREATE TABLE seed.%I AS TABLE %I.%I',
            one.schemaname || '_' || one.tablename, one.schemaname, one.tablename);
    END LOOP;
END $$
"""
_CLEAN = f"""
CREATE FUNCTION seed.clean() RETURNS void LANGUAGE plpgsql AS $$
DECLARE one record; filled boolean; BEGIN
    IF EXISTS (SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ({_SCHEMAS})
            EXCEPT SELECT schemaname, tablename FROM seed.known) THEN
        RAISE EXCEPTION 'there are further tables';
    END IF;
    SET LOCAL session_replication_role = replica;
    FOR one IN SELECT * FROM seed.known LOOP
        EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I.%I)', one.schemaname, one.tablename) INTO filled;
        IF filled THEN
            EXECUTE format('DELETE FROM %I.%I', one.schemaname, one.tablename);
            EXECUTE format('INSERT INTO %I.%I TABLE seed.%I',
                one.schemaname, one.tablename, one.schemaname || '_' || one.tablename);
        END IF;
    END LOOP;
    PERFORM setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false)
        FROM pg_sequences WHERE last_value IS NOT NULL AND schemaname IN ({_SCHEMAS});
END $$
"""


def programs() -> Path:
    """Where PostgreSQL's programs are; the newest version's."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    if found:
        return found[-1]
    server = shutil.which("postgres")
    assert server is not None, "PostgreSQL is missing: sh .ci/install-postgresql"
    return Path(server).parent


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine comes to, from where no loop may be started or one runs already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def _die_with_parent() -> None:
    # An immediate shutdown: the server ends its own processes.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)


class Postgres:
    """A server; ``port`` is 0 when it listens on its socket alone. It may be ``on`` a machine of its own."""

    def __init__(self, folder: Path, *, port: int = 0, on: Host | None = None) -> None:
        self.folder = folder
        self.port = port
        self._on = on
        self._address = on.address if on else "127.0.0.1"
        self._user = "postgres" if os.geteuid() == 0 else None
        self._server: subprocess.Popen[bytes] | None = None
        self._clean: list[str] = []

    def make(self) -> None:
        """Make its files; those of a server that was made before are taken as they are."""
        if self._user is not None:
            shutil.chown(self.folder, self._user, self._user)
        self._run(
            "initdb", "--auth=trust", "--username=forerun", "--no-sync", "--encoding=UTF8",
            "--no-instructions", "--locale=C.UTF-8", "-D", str(self.folder / "data"),
        )  # fmt: skip
        if self._on is not None:
            with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
                rules.write("host all all 10.0.0.0/8 trust\n")

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = _OPTIONS | {
            "unix_socket_directories": str(self.folder),
            "listen_addresses": self._address if self.port else "",
            "port": str(self.port or 5432),
        }
        command = [
            str(programs() / "postgres"), "-D", str(self.folder / "data"),
            *(f"--{name}={value}" for name, value in options.items()),
        ]  # fmt: skip
        # Who enters another machine's network is root.
        user = self._user if self._on is None else None
        self._server = subprocess.Popen(
            command if self._on is None else self._on.command([*_AS_POSTGRES, *command]),
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            preexec_fn=_die_with_parent,  # noqa: PLW1509 one call into libc
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._answers, within=START_S, what="PostgreSQL answers")

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it: at once with ``SIGQUIT`` (what was committed is kept), in order with ``SIGINT``."""
        server, self._server = self._server, None
        if server is not None:
            server.send_signal(how)
            server.wait(START_S)

    def url(self, database: str = "postgres") -> str:
        """The address of a database."""
        if self.port:
            return f"postgresql://forerun@{self._address}:{self.port}/{database}"
        return self._beside(database)

    def _beside(self, database: str) -> str:
        return f"postgresql://forerun@/{database}?host={self.folder}&port={self.port or 5432}"

    def sql(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Run statements one by one; the rows of the last."""
        return at_once(self._sql(statements, database))

    async def _sql(self, statements: Sequence[str], database: str) -> list[Any]:
        connection = await asyncpg.connect(self._beside(database), timeout=START_S)
        try:
            rows: list[Any] = []
            for statement in statements:
                rows = [tuple(row) for row in await connection.fetch(statement)]
            return rows
        finally:
            connection.terminate()

    def fresh(self) -> str:
        """The address of a database with all schemas, up to date and empty, that nobody else has."""
        if self._clean:
            return self.url(self._clean.pop())
        name = f"test_{secrets.token_hex(6)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE forerun")
        return self.url(name)

    def make_template(self) -> None:
        """Make what ``fresh`` copies."""
        self.sql("CREATE DATABASE forerun")
        for schema, folder in FOLDERS.items():
            at_once(bring_up_to_date(self.url("forerun"), schema, folder))
        self.sql(_SEED, _CLEAN, database="forerun")

    def give_back(self, url: str) -> None:
        """The test is over: what it left is removed, which takes less than a new database does."""
        name = re.search(r"/(\w+)(\?|\Z)", url)
        assert name is not None
        try:
            self.sql("SET lock_timeout = '2s'", "SELECT seed.clean()", database=name[1])
        except asyncpg.PostgresError:
            # Somebody still holds it, or it was changed.
            self.sql(f"DROP DATABASE IF EXISTS {name[1]} WITH (FORCE)")
        else:
            self._clean.append(name[1])

    def _answers(self) -> bool:
        server = self._server
        assert server is not None
        assert server.poll() is None, f"PostgreSQL ended with {server.returncode}"
        try:
            self.sql("SELECT 1")
        except Exception:  # noqa: BLE001 not yet
            return False
        return True

    def _run(self, program: str, *args: str) -> None:
        subprocess.run(
            [programs() / program, *args],
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            cwd="/",
            check=True,
            capture_output=True,
            timeout=60,
        )


@contextmanager
def running_postgres(*, port: int = 0) -> Iterator[Postgres]:
    """A server of its own, with the template that ``fresh`` copies."""
    folder = new_folder()
    server = Postgres(folder, port=port)
    try:
        server.make()
        server.start()
        server.make_template()
        yield server
    finally:
        with suppress(subprocess.TimeoutExpired):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def new_folder() -> Path:
    """For the files of a server, which its user can reach; whoever asks for it removes it."""
    _sweep()
    return Path(tempfile.mkdtemp(prefix=f"forerun-postgres-{os.getpid()}-", dir=_place()))


def _place() -> Path:
    """Where the files are: in memory where there is enough of it."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ENOUGH_BYTES:
        return memory
    return Path(tempfile.gettempdir())


def _sweep() -> None:
    """Remove the files of servers whose test run was killed."""
    for folder in _place().glob("forerun-postgres-*"):
        match = _FOLDER.match(folder.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            shutil.rmtree(folder, ignore_errors=True)
