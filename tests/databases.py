"""Which database the stores under test stand on: SQLite, or PostgreSQL where a test's marker asks for it.

A module, class or test marked ``databases`` runs once on each; one marked ``postgresql`` runs there alone. What it opens by
``open_database`` is in the place that was chosen: a file, or a schema of a database that is the test's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres import Postgres

from forerun.storage.db import Db
from forerun.storage.postgresql import open_postgresql
from forerun.storage.postgresql_schema import FOLDERS
from forerun.storage.sqlite import STATE, open_sqlite

SCHEMAS = {folder: schema for schema, folder in FOLDERS.items()}


class _Chosen:
    """The server of the test that runs now, and its databases by the directory they stand for."""

    def __init__(self) -> None:
        self.server: Postgres | None = None
        self.urls: dict[Path, str] = {}


_chosen = _Chosen()


@contextmanager
def on_postgresql(server: Postgres) -> Iterator[None]:
    """What is opened meanwhile is on this server, and removed in the end."""
    _chosen.server, _chosen.urls = server, {}
    try:
        yield
    finally:
        for url in _chosen.urls.values():
            server.give_back(url)
        _chosen.server, _chosen.urls = None, {}


async def open_database(path: Path, *, migrations: str = STATE) -> Db:
    """Open what ``open_sqlite`` would open at ``path``; files of one directory are schemas of one database."""
    if _chosen.server is None:
        return await open_sqlite(path, migrations=migrations)
    url = _chosen.urls.get(path.parent)
    if url is None:
        url = _chosen.urls[path.parent] = _chosen.server.fresh()
    return await open_postgresql(url, schema=SCHEMAS[migrations])
