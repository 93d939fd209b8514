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
from urllib.parse import unquote_plus

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.servers import FORERUN, Server, clean_environment, eventually, running

pytestmark = pytest.mark.slow

MEGA = 1024 * 1024
TELL = """
import json
def handler(event, context):
    print(json.dumps(event))
    return event
"""


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


def function_for(server: Server, bucket: str) -> str:
    """A function that the bucket may call; its ARN."""
    name = server.function(TELL)
    server.lambda_.add_permission(
        FunctionName=name,
        StatementId="bucket",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{bucket}",
        SourceAccount=server.account,
    )
    return f"arn:aws:lambda:{server.region}:{server.account}:function:{name}"


def events_of(server: Server, arn: str) -> list[dict[str, Any]]:
    """What a function was told, from its log."""
    name = arn.rpartition(":")[2]
    try:
        found = server.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")
    except ClientError:
        return []
    lines = [each["message"] for each in found["events"] if each["message"].startswith("{")]
    return [record for line in lines for record in json.loads(line)["Records"]]


def test_functions_are_told(server: Server):
    bucket, s3 = new_bucket(server), server.client("s3")
    arn = function_for(server, bucket)
    rules = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}}
    config = {
        "LambdaFunctionConfigurations": [
            {
                "Id": "mine",
                "LambdaFunctionArn": arn,
                "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
                "Filter": rules,
            }
        ]
    }
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=config)
    [kept] = s3.get_bucket_notification_configuration(Bucket=bucket)["LambdaFunctionConfigurations"]
    assert kept["LambdaFunctionArn"] == arn
    assert [each["Value"] for each in kept["Filter"]["Key"]["FilterRules"]] == ["in/"]
    etag = s3.put_object(Bucket=bucket, Key="in/a b+é.txt", Body=b"12")["ETag"].strip('"')
    s3.put_object(Bucket=bucket, Key="out/a", Body=b"1")
    s3.copy_object(Bucket=bucket, Key="in/copy", CopySource={"Bucket": bucket, "Key": "out/a"})
    upload = s3.create_multipart_upload(Bucket=bucket, Key="in/parts")["UploadId"]
    where = {"Bucket": bucket, "Key": "in/parts", "UploadId": upload}
    part = s3.upload_part(**where, PartNumber=1, Body=b"1")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(**where, MultipartUpload=parts)
    s3.delete_object(Bucket=bucket, Key="in/copy")
    found = eventually(
        lambda: len(told := events_of(server, arn)) >= 4 and told, within=20, what="four events"
    )
    found.sort(key=lambda each: each["s3"]["object"]["sequencer"])
    assert [each["eventName"] for each in found] == [
        "ObjectCreated:Put",
        "ObjectCreated:Copy",
        "ObjectCreated:CompleteMultipartUpload",
        "ObjectRemoved:Delete",
    ]
    first = found[0]
    assert (first["eventSource"], first["eventVersion"]) == ("aws:s3", "2.1")
    assert first["awsRegion"] == server.region
    assert first["s3"]["configurationId"] == "mine"
    assert first["s3"]["bucket"]["arn"] == f"arn:aws:s3:::{bucket}"
    assert first["s3"]["object"]["key"] == "in/a+b%2B%C3%A9.txt"
    assert unquote_plus(first["s3"]["object"]["key"]) == "in/a b+é.txt"
    assert (first["s3"]["object"]["size"], first["s3"]["object"]["eTag"]) == (2, etag)


def test_who_may_not_be_told_is_refused(server: Server):
    bucket, s3 = new_bucket(server), server.client("s3")
    name = server.function(TELL)
    prefix = f"arn:aws:lambda:{server.region}:{server.account}:function:"
    for arn in (prefix + name, prefix + "none"):
        config = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
        with pytest.raises(ClientError, match="Unable to validate") as caught:
            s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [config]}
            )
        assert caught.value.response["Error"]["Code"] == "InvalidArgument"
    assert "LambdaFunctionConfigurations" not in s3.get_bucket_notification_configuration(
        Bucket=bucket
    )
    s3.put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={"LambdaFunctionConfigurations": [config]},
        SkipDestinationValidation=True,
    )


def test_queues_and_the_bus_are_told(server: Server):
    bucket, s3, sqs = new_bucket(server), server.client("s3"), server.client("sqs")
    urls, arns = [], []
    for kind in ("direct", "bus"):
        url = sqs.create_queue(QueueName=f"{bucket}-{kind}")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": ["s3.amazonaws.com", "events.amazonaws.com"]},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        urls.append(url)
        arns.append(arn)
    events = server.client("events")
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
    events.put_rule(Name=bucket, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=bucket, Targets=[{"Id": "q", "Arn": arns[1]}])
    config = {
        "QueueConfigurations": [{"QueueArn": arns[0], "Events": ["s3:ObjectCreated:Put"]}],
        "EventBridgeConfiguration": {},
    }
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=config)
    s3.put_object(Bucket=bucket, Key="a b", Body=b"1")

    def bodies(url: str) -> list[dict[str, Any]]:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [json.loads(each["Body"]) for each in found.get("Messages", [])]

    direct = eventually(lambda: len(found := bodies(urls[0])) == 2 and found, what="two messages")
    direct.sort(key=lambda each: "Records" in each)
    assert (direct[0]["Event"], direct[0]["Bucket"]) == ("s3:TestEvent", bucket)
    assert direct[1]["Records"][0]["s3"]["object"]["key"] == "a+b"
    [event] = eventually(lambda: bodies(urls[1]), what="an event of the bus")
    assert (event["source"], event["detail-type"]) == ("aws.s3", "Object Created")
    assert event["resources"] == [f"arn:aws:s3:::{bucket}"]
    assert event["detail"]["object"]["key"] == "a b"
    assert event["detail"]["reason"] == "PutObject"


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


def test_what_is_owed_is_told_after_a_kill(tmp_path: Path):
    """Each object that is there was told of, although the server was killed while they came."""
    data = tmp_path / "data"
    with running(data) as server:
        bucket, s3 = new_bucket(server), server.client("s3")
        arn = function_for(server, bucket)
        config = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"LambdaFunctionConfigurations": [config]}
        )
        count = 0

        def upload(worker: int) -> None:
            nonlocal count
            number = 0
            while True:
                try:
                    s3.put_object(Bucket=bucket, Key=f"{worker}-{number}", Body=b"1")
                except (ClientError, BotoCoreError, OSError):
                    return
                number += 1
                count += 1

        with ThreadPoolExecutor(4) as workers:
            running_ones = [workers.submit(upload, worker) for worker in range(4)]
            eventually(lambda: count >= 40, within=30, what="objects are put")
            server.process.kill()
            for each in running_ones:
                each.result(20)
    with running(data) as server:
        s3 = server.client("s3")
        there = {each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]}
        assert len(there) >= 40

        def missing() -> set[str]:
            told: set[str] = set()
            for page in (
                server.client("logs")
                .get_paginator("filter_log_events")
                .paginate(logGroupName=f"/aws/lambda/{arn.rpartition(':')[2]}")
            ):
                for each in page["events"]:
                    if each["message"].startswith("{"):
                        records = json.loads(each["message"])["Records"]
                        told |= {record["s3"]["object"]["key"] for record in records}
            return there - told

        eventually(lambda: not missing(), within=40, what="all are told of")
