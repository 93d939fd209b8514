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

LARGE = bytes(range(256)) * 4096
HANDLER = "import os\ndef handler(event, context):\n    return os.environ['SECRET']\n"


def back_up(server: Server, data: Path, copy: Path) -> None:
    copy.mkdir(mode=0o700)
    for name in ("messages.db", "forerun.db"):
        with (
            closing(sqlite3.connect(data / name)) as source,
            closing(sqlite3.connect(copy / name)) as target,
        ):
            source.backup(target)
    shutil.copy2(data / "sealing.key", copy)
    shutil.copytree(
        data / "objects", copy / "objects", ignore=lambda _, names: {"incoming"} & {*names}
    )
    for folder in ("code", "trees"):
        shutil.copytree(data / folder, copy / folder)


async def test_a_backup_made_while_it_runs_serves_again(tmp_path: Path):
    data, copy = tmp_path / "data", tmp_path / "copy"
    with running(data) as server:
        name = server.function(HANDLER, Environment={"Variables": {"SECRET": "kept"}})
        sqs, s3 = server.client("sqs"), server.client("s3")
        queue = sqs.create_queue(QueueName="kept")["QueueUrl"]
        sqs.send_message(QueueUrl=queue, MessageBody="waits")
        s3.create_bucket(Bucket="kept-bucket")
        s3.put_object(Bucket="kept-bucket", Key="k", Body=LARGE)
        back_up(server, data, copy)
        sqs.purge_queue(QueueUrl=queue)
        s3.put_object(Bucket="kept-bucket", Key="k", Body=b"later")
    with running(copy) as restored:
        assert restored.call(name, {}) == "kept"
        sqs, s3 = restored.client("sqs"), restored.client("s3")
        queue = sqs.get_queue_url(QueueName="kept")["QueueUrl"]
        [message] = sqs.receive_message(QueueUrl=queue)["Messages"]
        assert message["Body"] == "waits"
        assert s3.get_object(Bucket="kept-bucket", Key="k")["Body"].read() == LARGE
        s3.put_object(Bucket="kept-bucket", Key="another", Body=b"1")
        assert restored.access_key == server.access_key
    messages = (copy / "messages.db").rename(tmp_path / "aside.db")
    with pytest.raises(AssertionError, match=r"messages\.db is missing"), running(copy):
        """One that began anew would have no use for the objects, and remove them."""
    messages.rename(copy / "messages.db")
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
