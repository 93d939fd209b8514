"""A real installation that was used is moved to PostgreSQL by the command, and nothing of it is lost."""

import asyncio
import io
import json
import os
import subprocess

import pytest
from tests.postgres import at_once
from tests.servers import FORERUN, ROLE, clean_environment, eventually, package, running

from forerun.aio import SystemClock
from forerun.app.state import open_state
from forerun.control.packaging.code import CodeStore
from forerun.settings import ClusterSettings, ServerSettings, Settings

pytestmark = pytest.mark.slow

HELLO = "import shared\n\ndef handler(event, context):\n    return shared.word\n"
BODY = os.urandom((2 << 20) + 5)


def forerun(home, *args):
    """Run the command; what it printed."""
    return subprocess.run(
        [str(FORERUN), *args],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def use(server):
    """Leave something of every kind behind; the name of the function."""
    layer = server.lambda_.publish_layer_version(
        LayerName="words", Content={"ZipFile": package({"python/shared.py": "word = 'kept'"})}
    )
    name = server.function(HELLO, Layers=[layer["LayerVersionArn"]])
    assert server.call(name) == "kept"
    server.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    for n in range(5):
        server.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(n))
    sqs, s3, clock = server.client("sqs"), server.client("s3"), server.client("scheduler")
    queue = sqs.create_queue(QueueName="waiting")["QueueUrl"]
    for n in range(7):
        sqs.send_message(QueueUrl=queue, MessageBody=f"message {n}")
    s3.create_bucket(Bucket="kept")
    s3.put_object(Bucket="kept", Key="big", Body=io.BytesIO(BODY))
    s3.copy_object(Bucket="kept", Key="copy", CopySource={"Bucket": "kept", "Key": "big"})
    clock.create_schedule(
        Name="later",
        ScheduleExpression="at(2099-01-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": server.lambda_.get_function(FunctionName=name)["Configuration"]["FunctionArn"],
            "RoleArn": ROLE.format(account=server.account),
        },
    )
    eventually(lambda: server.invocations(name), what="its record")
    return name


def test_what_was_used_is_moved_by_the_command(tmp_path, postgres_url):
    data = tmp_path / "data"
    with running(data) as server:
        name = use(server)
        refused = forerun(tmp_path, "migrate", "--data", str(data), "--to", postgres_url)
        assert refused.returncode == 1
        assert "another server uses" in refused.stderr
    looked = forerun(
        tmp_path, "migrate", "--data", str(data), "--to", postgres_url, "--check", "--json"
    )
    assert looked.returncode == 0, looked.stderr
    expected = {each["table"]: each["rows"] for each in json.loads(looked.stdout)["tables"]}
    moved = forerun(tmp_path, "migrate", "--data", str(data), "--to", postgres_url)
    assert moved.returncode == 0, moved.stderr
    assert "Moved and compared" in moved.stderr
    assert expected["event_queue"] == 5
    assert expected["queue_messages"] == 7
    assert expected["schedules"] == 1
    assert expected["invocations"] >= 1
    again = forerun(tmp_path, "up", "--data", str(data), "--listen", "127.0.0.1:0")
    assert again.returncode == 1
    assert "has been moved" in again.stderr
    at_once(look(data, tmp_path / "fresh", postgres_url, name))


async def look(data, fresh, url, name):
    """As a control plane with an empty directory sees it."""
    fresh.mkdir(mode=0o700)
    (fresh / "sealing.key").write_bytes((data / "sealing.key").read_bytes())
    (fresh / "sealing.key").chmod(0o600)
    settings = Settings(
        server=ServerSettings(data_dir=fresh), cluster=ClusterSettings(database=url)
    )
    state = await open_state(settings, SystemClock())
    code = CodeStore(
        fresh, clock=SystemClock(), zipped_limit=1 << 30, unzipped_limit=1 << 30, vault=state.vault
    )
    await code.start()
    [[digest, layers]] = await state.db.fetch(
        "SELECT code_digest, layers_digest FROM function_versions WHERE name = $1", name
    )
    await code.bring(code.path(digest), code.path(layers))
    assert (fresh / "trees" / digest / "lambda_function.py").read_text() == HELLO
    pieces = await state.messages.fetch("SELECT DISTINCT blob, size FROM object_pieces")
    [[blob, size]] = pieces
    assert size == len(BODY)
    path = fresh / "objects" / blob[:2] / blob[2:]
    assert await asyncio.to_thread(state.vault.bring, path)
    assert path.read_bytes() == BODY
    events = await state.db.fetch("SELECT payload FROM event_queue ORDER BY payload")
    assert [bytes(row[0]) for row in events] == [b"0", b"1", b"2", b"3", b"4"]
    assert await state.identities.load()
    await state.close()
