"""What happens in buckets is told to functions, queues and the bus of a real server."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.policies import allow
from tests.servers import Server, eventually, running

pytestmark = pytest.mark.slow

MEGA = 1024 * 1024
TELL = """
import json
def handler(event, context):
    print(json.dumps(event))
    return event
"""


def new_bucket(server: Server) -> str:
    name = f"b-{uuid.uuid4().hex[:12]}"
    server.client("s3").create_bucket(Bucket=name)
    return name


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


def queue_for(server: Server, name: str) -> tuple[str, str]:
    """A queue that buckets and buses may send to; its address and ARN."""
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    arn = found["Attributes"]["QueueArn"]
    policy = allow("sqs:SendMessage", arn, ["s3", "events"])
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, arn


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
    rows = server.platform("/forerun/sources")["Sources"]
    [row] = [each for each in rows if each["Source"] == f"arn:aws:s3:::{bucket}"]
    assert (row["Target"], row["Id"]) == (arn, "mine")
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
        url, arn = queue_for(server, f"{bucket}-{kind}")
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


def test_what_is_owed_is_told_after_a_kill(tmp_path: Path):
    """Each object that is there was told of, although the server was killed while they came."""
    data = tmp_path / "data"
    with running(data) as server:
        bucket, s3 = new_bucket(server), server.client("s3")
        _, arn = queue_for(server, bucket)
        config = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [config]}
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

        sqs = server.client("sqs")
        url = sqs.get_queue_url(QueueName=bucket)["QueueUrl"]
        told: set[str] = set()

        def all_told() -> bool:
            for each in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get(
                "Messages", ()
            ):
                records = json.loads(each["Body"]).get("Records", ())
                told.update(record["s3"]["object"]["key"] for record in records)
            return told >= there

        eventually(all_told, within=40, what="all are told of")
