"""Buckets on a real server: whole or nothing under ``kill -9``, little memory, events to real functions, other accounts."""

import hashlib
import json
import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.servers import FORERUN, Server, clean_environment, eventually, running

pytestmark = pytest.mark.slow

MEGA = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("buckets") / "data") as one:
        yield one


def new_bucket(server: Server) -> str:
    name = f"b-{uuid.uuid4().hex[:12]}"
    server.client("s3").create_bucket(Bucket=name)
    return name


def memory_mb(server: Server) -> float:
    """Private memory of the server's process."""
    rollup = Path(f"/proc/{server.process.pid}/smaps_rollup").read_text()
    fields = dict(line.split(":", 1) for line in rollup.splitlines()[1:])
    return sum(int(fields[name].split()[0]) for name in ("Private_Clean", "Private_Dirty")) / 1024


def test_a_large_object_costs_little_memory(server: Server, tmp_path: Path):
    bucket, s3 = new_bucket(server), server.client("s3")
    piece = os.urandom(MEGA)
    source = tmp_path / "source"
    with source.open("wb") as out:
        for _ in range(300):
            out.write(piece)
    s3.put_object(Bucket=bucket, Key="warm", Body=piece)
    before, peak, done = memory_mb(server), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, memory_mb(server))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with source.open("rb") as body:
            s3.put_object(Bucket=bucket, Key="k", Body=body)
        digest = hashlib.sha256()
        with closing(s3.get_object(Bucket=bucket, Key="k")["Body"]) as body:
            for part in body.iter_chunks(MEGA):
                digest.update(part)
    finally:
        done.set()
        watcher.join()
    assert digest.hexdigest() == hashlib.sha256(piece * 300).hexdigest()
    assert peak - before < 30, (before, peak)
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}, {"Key": "warm"}]})


def test_a_client_that_leaves_ends_the_work(server: Server):
    bucket, s3 = new_bucket(server), server.client("s3")
    s3.put_object(Bucket=bucket, Key="k", Body=os.urandom(40 * MEGA))

    def opened() -> int:
        links = Path(f"/proc/{server.process.pid}/fd").iterdir()
        return sum("/objects/" in target for link in links if (target := _target(link)))

    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    path = url.removeprefix(server.endpoint)
    with socket.create_connection(server.address) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {server.endpoint[7:]}\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        eventually(lambda: opened() == 1, what="the file is open while it is sent")
    eventually(lambda: opened() == 0, what="the file is closed when the client has left")

    incoming = server.data / "objects" / "incoming"
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "left"})
    path = url.removeprefix(server.endpoint)
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: {server.endpoint[7:]}\r\nContent-Length: {9 * MEGA}\r\n\r\n"
    )
    with socket.create_connection(server.address) as client:
        client.sendall(head.encode() + os.urandom(2 * MEGA))
        eventually(lambda: list(incoming.iterdir()), what="a file is being written")
    eventually(lambda: not list(incoming.iterdir()), what="it is gone with the client")
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]
    s3.delete_object(Bucket=bucket, Key="k")


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def test_killed_in_the_middle_of_uploads(tmp_path: Path):
    """What was answered is there, whole; what was not is there whole or not at all; and nothing unfinished stays."""
    data = tmp_path / "data"
    answered: dict[str, str] = {}
    tried: dict[str, str] = {}
    with running(data) as server:
        bucket, s3 = new_bucket(server), server.client("s3")
        ended = threading.Event()

        def upload(worker: int) -> None:
            number = 0
            while not ended.is_set():
                key, content = f"{worker}/{number % 7}", os.urandom(1000 + worker * 700_000)
                digest = hashlib.sha256(content).hexdigest()
                tried[f"{key} {digest}"] = key
                try:
                    s3.put_object(Bucket=bucket, Key=key, Body=content)
                except (ClientError, BotoCoreError, OSError):
                    return
                answered[key] = digest
                number += 1

        with ThreadPoolExecutor(4) as workers:
            running_ones = [workers.submit(upload, worker) for worker in range(4)]
            eventually(lambda: len(answered) >= 20, within=30, what="uploads are answered")
            server.process.kill()
            ended.set()
            for each in running_ones:
                each.result(20)
    with running(data) as server:
        s3 = server.client("s3")
        listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        assert {each["Key"] for each in listed} >= set(answered)
        for each in listed:
            with s3.get_object(Bucket=bucket, Key=each["Key"])["Body"] as body:
                content = body.read()
            digest = hashlib.sha256(content).hexdigest()
            assert f"{each['Key']} {digest}" in tried
            assert len(content) == each["Size"]
        assert not list((data / "objects" / "incoming").iterdir())


def test_other_accounts_need_leave(server: Server, tmp_path: Path):
    made = subprocess.run(
        [FORERUN, "account", "create", "other", "--json", "--data", str(server.data)],
        capture_output=True,
        check=True,
        timeout=20,
        env=clean_environment(tmp_path),
    )
    other = json.loads(made.stdout)
    given = {
        "aws_access_key_id": other["access_key_id"],
        "aws_secret_access_key": other["secret_access_key"],
    }
    bucket, s3, theirs = new_bucket(server), server.client("s3"), server.client("s3", **given)
    account = eventually(lambda: _account(server, given), what="the other account's key")
    s3.put_object(Bucket=bucket, Key="in/k", Body=b"1")

    def code(call: Any, **asked: Any) -> str:
        try:
            call(Bucket=bucket, **asked)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return ""

    assert bucket not in [each["Name"] for each in theirs.list_buckets()["Buckets"]]
    assert code(theirs.create_bucket) == "BucketAlreadyExists"
    for call, asked in (
        (theirs.get_object, {"Key": "in/k"}),
        (theirs.get_object, {"Key": "none"}),
        (theirs.put_object, {"Key": "in/k", "Body": b"2"}),
        (theirs.delete_object, {"Key": "in/k"}),
        (theirs.list_objects_v2, {}),
        (theirs.get_bucket_policy, {}),
        (theirs.delete_bucket, {}),
    ):
        assert code(call, **asked) == "AccessDenied", call
    arn = f"arn:aws:s3:::{bucket}"
    statements = [
        {
            "Effect": "Allow",
            "Principal": {"AWS": account},
            "Action": "s3:*",
            "Resource": f"{arn}/in/*",
        },
        {
            "Effect": "Allow",
            "Principal": {"AWS": account},
            "Action": "s3:ListBucket",
            "Resource": arn,
            "Condition": {"StringLike": {"s3:prefix": "in/*"}},
        },
        {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": f"{arn}/*"},
    ]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert theirs.get_object(Bucket=bucket, Key="in/k")["Body"].read() == b"1"
    assert code(theirs.put_object, Key="in/new", Body=b"2") == ""
    assert code(theirs.list_objects_v2, Prefix="in/") == ""
    assert code(theirs.list_objects_v2) == "AccessDenied"
    assert code(theirs.put_object, Key="out", Body=b"2") == "AccessDenied"
    assert code(theirs.delete_object, Key="in/k") == "AccessDenied"
    gone = theirs.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "in/k"}]})
    assert [each["Code"] for each in gone["Errors"]] == ["AccessDenied"]
    own = f"own-{bucket}"
    theirs.create_bucket(Bucket=own)
    theirs.copy_object(Bucket=own, Key="copy", CopySource={"Bucket": bucket, "Key": "in/k"})
    assert theirs.get_object(Bucket=own, Key="copy")["Body"].read() == b"1"
    assert code(theirs.copy_object, Key="in/k", CopySource={"Bucket": own, "Key": "copy"}) == ""
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.copy_object(Bucket=bucket, Key="stolen", CopySource={"Bucket": own, "Key": "copy"})
    assert code(s3.head_bucket, ExpectedBucketOwner=account) == "403"
    assert code(s3.head_bucket, ExpectedBucketOwner=server.account) == ""


def _account(server: Server, given: dict[str, str]) -> str:
    try:
        return str(server.client("sts", **given).get_caller_identity()["Account"])
    except ClientError:
        return ""
