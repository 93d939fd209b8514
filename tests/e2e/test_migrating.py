"""A real installation that was used is moved to PostgreSQL by the command, and nothing of it is lost."""

import io
import json
import os
import shutil
import subprocess

import pytest
from tests.planes import running_cluster
from tests.servers import FORERUN, ROLE, clean_environment, eventually, package, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

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


def test_what_was_used_is_moved_by_the_command(tmp_path, postgres, postgres_url):
    data = tmp_path / "plane-a"
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
    # What the directory has is a cache: all of it comes from the database, too.
    for cached in ("code", "trees", "objects"):
        shutil.rmtree(data / cached)
    # Events that were refused a few times are tried again minutes later; nobody waits for that here.
    database = postgres_url.partition("?")[0].rpartition("/")[2]
    postgres.sql("UPDATE forerun.event_queue SET due_at = 0", database=database)
    with running_cluster(tmp_path, postgres_url, "a") as cluster:
        first = cluster.first
        first.lambda_.delete_function_concurrency(FunctionName=name)
        cluster.host("h1")
        look(first, name)


def look(plane, name):
    """All of it is there, and goes on."""
    assert plane.call(name) == "kept"
    sqs, s3 = plane.client("sqs"), plane.client("s3")
    queue = sqs.get_queue_url(QueueName="waiting")["QueueUrl"]
    bodies = set()

    def taken():
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get(
            "Messages", ()
        ):
            bodies.add(message["Body"])
        return bodies == {f"message {n}" for n in range(7)}

    eventually(taken, what="all messages")
    for key in ("big", "copy"):
        assert s3.get_object(Bucket="kept", Key=key)["Body"].read() == BODY
    [schedule] = plane.client("scheduler").list_schedules()["Schedules"]
    assert schedule["Name"] == "later"

    def succeeded():
        found = plane.invocations(name)
        return len({each["request_id"] for each in found if each["status"] == "success"}) == 7

    # The five that waited, the call above, and the one before all of this.
    eventually(succeeded, within=60, what="the events that waited have run")
