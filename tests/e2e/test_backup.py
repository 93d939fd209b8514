"""The operator's page says how to make a backup and what comes of it: done here as it is written there."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.servers import Server, running

from forerun.errors import StorageFailed
from forerun.storage import Sealer, load_or_create_key, open_sqlite
from forerun.storage.identity import IdentityStore

pytestmark = pytest.mark.slow

HANDLER = "import os\ndef handler(event, context):\n    return os.environ['SECRET']\n"


def back_up(server: Server, data: Path, copy: Path) -> None:
    copy.mkdir(mode=0o700)
    with (
        closing(sqlite3.connect(data / "forerun.db")) as source,
        closing(sqlite3.connect(copy / "forerun.db")) as target,
    ):
        source.backup(target)
    shutil.copy2(data / "sealing.key", copy)
    for folder in ("code", "trees"):
        shutil.copytree(data / folder, copy / folder)


async def test_a_backup_made_while_it_runs_serves_again(tmp_path: Path):
    data, copy = tmp_path / "data", tmp_path / "copy"
    with running(data) as server:
        name = server.function(HANDLER, Environment={"Variables": {"SECRET": "kept"}})
        back_up(server, data, copy)
    with running(copy) as restored:
        assert restored.call(name, {}) == "kept"
        assert restored.access_key == server.access_key
    (copy / "sealing.key").unlink()
    with pytest.raises(AssertionError, match="is missing"), running(copy):
        """A server that made itself a new key would hide what is wrong."""
    another = Sealer(load_or_create_key(copy / "sealing.key"))
    db = await open_sqlite(copy / "forerun.db")
    try:
        with pytest.raises(StorageFailed, match="restore the key file"):
            await IdentityStore(db, another).load()
    finally:
        await db.close()
