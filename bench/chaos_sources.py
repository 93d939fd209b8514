"""Every way a message comes to a function, as one thing to send through: made on a server, and sent until acknowledged."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.httpsession import URLLib3Session
from server import Server, package

# Appends a line for each message that it is given, of one write, before it answers: the server has no part in it.
LEDGER = """
import os

out = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND)

def messages(event):
    if "Records" in event:
        for record in event["Records"]:
            if "s3" in record:
                yield record["s3"]["object"]["key"]
            else:
                yield record["Sns"]["Message"] if "Sns" in record else record["body"]
    elif "subject" in event:
        yield event["subject"]
    else:
        yield (event.get("detail") or event.get("data") or event)["id"]

def handler(event, context):
    lines = "".join(f"{each} {context.aws_request_id}\\n" for each in messages(event))
    os.write(out, lines.encode())
"""
VISIBLE_S = 6
TIMEOUT_S = 5


class Refused(Exception):
    """The server does not want it, and will not later."""


class Place:
    """The server, the ledger that functions write, and the directory that is watched."""

    def __init__(self, server: Server, ledger: Path, inbox: Path) -> None:
        self.server = server
        self.ledger = ledger
        self.inbox = inbox
        self._session = URLLib3Session(max_pool_connections=32)

    def function(self, name: str) -> str:
        """A function that writes the ledger; its ARN."""
        api = self.server.api()
        made = api.create_function(
            FunctionName=name,
            Runtime="python3.11",
            Handler="app.handler",
            Role=self.server.role,
            Timeout=TIMEOUT_S,
            Code={"ZipFile": package("app.py", LEDGER)},
            Environment={"Variables": {"LEDGER": str(self.ledger)}},
        )
        return made["FunctionArn"]

    def let_in(self, name: str, service: str, arn: str) -> None:
        """Allow a service's resource to call a function."""
        self.server.api().add_permission(
            FunctionName=name,
            StatementId=service,
            Action="lambda:InvokeFunction",
            Principal=f"{service}.amazonaws.com",
            SourceArn=arn,
        )

    def command(self, name: str, **given: Any) -> dict[str, Any]:
        """A command of the platform's own."""
        status, answer = self.post(
            f"{self.server.endpoint}/forerun/{name}", json.dumps(given).encode(), sign="forerun"
        )
        assert status == 200, answer
        return json.loads(answer)

    def post(
        self, url: str, body: bytes, headers: dict[str, str] | None = None, sign: str = ""
    ) -> tuple[int, bytes]:
        """One request; its status and answer. ``sign`` is the service to sign for, if for one."""
        request = AWSRequest("POST", url, data=body, headers=headers or {})
        if sign:
            env = self.server.environment
            keys = Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"])
            SigV4Auth(keys, sign, env["AWS_REGION"]).add_auth(request)
        answer = self._session.send(request.prepare())
        return answer.status_code, answer.content


class Source(Protocol):
    """``name`` begins the ids of its messages; ``share`` is its part of all; ``batch`` messages go together, in order."""

    name: str
    share: int
    batch: int
    threads: int

    def prepare(self, place: Place) -> None:
        """Make what is needed, with a function at its end."""
        ...

    def send(self, ids: Sequence[str], lane: int) -> Sequence[str]:
        """Those that were acknowledged; raises what clients raise. Each ``lane`` has one thread."""
        ...


class Queue:
    """An SQS queue with an event source mapping; a FIFO queue has a group for each lane.

    With ``once`` each message is sent twice, and its text is the identifier of what its function executes once.
    """

    threads = 4

    def __init__(self, name: str, share: int, *, fifo: bool = False, once: bool = False) -> None:
        self.name, self.share, self._fifo, self.once = name, share, fifo, once
        self.batch = 5 if once else 10

    def prepare(self, place: Place) -> None:
        sqs = place.server.api("sqs")
        place.function(self.name)
        attributes = {"VisibilityTimeout": str(VISIBLE_S)}
        self._url = sqs.create_queue(
            QueueName=f"{self.name}.fifo" if self._fifo else self.name,
            Attributes=attributes | ({"FifoQueue": "true"} if self._fifo else {}),
        )["QueueUrl"]
        asked = sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        place.server.api().create_event_source_mapping(
            FunctionName=self.name,
            EventSourceArn=asked["Attributes"]["QueueArn"],
            BatchSize=1 if self.once else 10,
        )
        if self.once:
            place.command("put-once", FunctionName=self.name, Key="Records[0].body")
        self._sqs = sqs

    def send(self, ids: Sequence[str], lane: int) -> Sequence[str]:
        entries = [
            {"Id": str(place), "MessageBody": each}
            | ({"MessageGroupId": f"g{lane}", "MessageDeduplicationId": each} if self._fifo else {})
            for place, each in enumerate(ids)
        ]
        if self.once:
            entries += [each | {"Id": f"{each['Id']}-again"} for each in entries]
        answer = self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries)
        done = (each["Id"] for each in answer.get("Successful", []))
        return [ids[int(each)] for each in done if each.isdigit()]

    def left(self) -> int:
        """Messages that are there, visible or not."""
        asked = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["All"])
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(int(asked["Attributes"][name]) for name in names)


class Bus:
    """EventBridge: a rule of the default bus, with the function as its target."""

    name, batch, threads = "bus", 10, 3

    def __init__(self, share: int) -> None:
        self.share = share

    def prepare(self, place: Place) -> None:
        self._events = place.server.api("events")
        arn = place.function(self.name)
        rule = self._events.put_rule(Name=self.name, EventPattern='{"source": ["chaos"]}')
        place.let_in(self.name, "events", rule["RuleArn"])
        self._events.put_targets(Rule=self.name, Targets=[{"Id": "f", "Arn": arn}])

    def send(self, ids: Sequence[str], lane: int) -> Sequence[str]:
        entries = [
            {"Source": "chaos", "DetailType": "sent", "Detail": json.dumps({"id": each})}
            for each in ids
        ]
        answers = self._events.put_events(Entries=entries)["Entries"]
        return [each for each, answer in zip(ids, answers, strict=True) if "EventId" in answer]


class Topic:
    """SNS: a topic that the function is subscribed to."""

    name, batch, threads = "topic", 10, 2

    def __init__(self, share: int) -> None:
        self.share = share

    def prepare(self, place: Place) -> None:
        self._sns = place.server.api("sns")
        self._arn = self._sns.create_topic(Name=self.name)["TopicArn"]
        arn = place.function(self.name)
        place.let_in(self.name, "sns", self._arn)
        self._sns.subscribe(TopicArn=self._arn, Protocol="lambda", Endpoint=arn)

    def send(self, ids: Sequence[str], lane: int) -> Sequence[str]:
        entries = [{"Id": str(place), "Message": each} for place, each in enumerate(ids)]
        answer = self._sns.publish_batch(TopicArn=self._arn, PublishBatchRequestEntries=entries)
        return [ids[int(each["Id"])] for each in answer.get("Successful", [])]


class Bucket:
    """S3: objects named by their messages; the bucket tells the function."""

    name, batch, threads = "bucket", 1, 2

    def __init__(self, share: int) -> None:
        self.share = share

    def prepare(self, place: Place) -> None:
        self._s3 = place.server.api("s3")
        self._s3.create_bucket(Bucket=self.name)
        arn = place.function(self.name)
        place.let_in(self.name, "s3", f"arn:aws:s3:::{self.name}")
        told = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}
        self._s3.put_bucket_notification_configuration(
            Bucket=self.name,
            NotificationConfiguration={"LambdaFunctionConfigurations": [told]},
        )

    def send(self, ids: Sequence[str], lane: int) -> Sequence[str]:
        for each in ids:
            self._s3.put_object(Bucket=self.name, Key=each, Body=each.encode())
        return ids


class Scheduler:
    """One-time schedules, two seconds ahead, that delete themselves."""

    name, batch, threads = "schedule", 1, 2

    def __init__(self, share: int) -> None:
        self.share = share

    def prepare(self, place: Place) -> None:
        self._scheduler, iam = place.server.api("scheduler"), place.server.api("iam")
        self._arn = place.function(self.name)
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "scheduler.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        allow = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}
        trusted, allowed = (
            json.dumps({"Version": "2012-10-17", "Statement": [each]}) for each in (trust, allow)
        )
        role = iam.create_role(RoleName="clock", AssumeRolePolicyDocument=trusted)
        iam.put_role_policy(RoleName="clock", PolicyName="call", PolicyDocument=allowed)
        self._role = role["Role"]["Arn"]

    def send(self, ids: Sequence[str], lane: int) -> Sequence[str]:
        for each in ids:
            at = datetime.fromtimestamp(time.time() + 2, UTC)
            try:
                self._scheduler.create_schedule(
                    Name=each,
                    ScheduleExpression=f"at({at:%Y-%m-%dT%H:%M:%S})",
                    FlexibleTimeWindow={"Mode": "OFF"},
                    ActionAfterCompletion="DELETE",
                    Target={
                        "Arn": self._arn,
                        "RoleArn": self._role,
                        "Input": json.dumps({"id": each}),
                    },
                )
            except self._scheduler.exceptions.ConflictException:
                # It was made, and the answer was lost.
                continue
        return ids


class Invoke:
    """Event invocations; with ``once`` each is sent twice, with an identifier."""

    batch, threads = 1, 3

    def __init__(self, name: str, share: int, *, once: bool = False) -> None:
        self.name, self.share, self.once = name, share, once

    def prepare(self, place: Place) -> None:
        self._place = place
        place.function(self.name)

    def send(self, ids: Sequence[str], lane: int) -> Sequence[str]:
        for each in ids:
            for _ in range(2 if self.once else 1):
                self._invoke(each, {"X-Forerun-Execution-Id": each} if self.once else {})
        return ids

    def _invoke(self, each: str, headers: dict[str, str]) -> None:
        server = self._place.server
        url = f"{server.endpoint}/2015-03-31/functions/{self.name}/invocations"
        headers = {"X-Amz-Invocation-Type": "Event", **headers}
        body = json.dumps({"id": each}).encode()
        status, answer = self._place.post(url, body, headers, sign="lambda")
        _accepted(status, answer, 202)


class Webhook:
    """A signed webhook; each message has one id of its own, however often it is sent."""

    name, batch, threads = "hook", 1, 2

    def __init__(self, share: int) -> None:
        self.share = share

    def prepare(self, place: Place) -> None:
        self._place = place
        target = place.function(self.name)
        # More than will come: what floods is refused, which is not what this is about.
        made = place.command(
            "put-hook", Name=self.name, Target=target, Scheme="standard", RatePerSecond=1000
        )
        self._url = made["Url"]
        self._key = base64.b64decode(made["Secret"].removeprefix("whsec_"))

    def send(self, ids: Sequence[str], lane: int) -> Sequence[str]:
        for each in ids:
            body, stamp = json.dumps({"id": each}).encode(), str(int(time.time()))
            text = f"{each}.{stamp}.".encode() + body
            signature = base64.b64encode(hmac.new(self._key, text, hashlib.sha256).digest())
            headers = {
                "content-type": "application/json",
                "webhook-id": each,
                "webhook-timestamp": stamp,
                "webhook-signature": f"v1,{signature.decode()}",
            }
            status, answer = self._place.post(self._url, body, headers)
            _accepted(status, answer, 202, 200)
        return ids


class Folder:
    """A watched directory; a file that is there counts as acknowledged."""

    name, batch, threads = "folder", 20, 1

    def __init__(self, share: int) -> None:
        self.share = share

    def prepare(self, place: Place) -> None:
        self._inbox = place.inbox
        place.command(
            "put-folder",
            Name=self.name,
            Path=str(place.inbox),
            Target=place.function(self.name),
            SettleSeconds=0.1,
        )

    def send(self, ids: Sequence[str], lane: int) -> Sequence[str]:
        for each in ids:
            (self._inbox / each).write_text(each)
        # As long as requests take.
        time.sleep(0.05)
        return ids


def _accepted(status: int, answer: bytes, *wanted: int) -> None:
    if status in wanted:
        return
    if status == 429 or status >= 500:
        raise ConnectionError(f"{status} {answer[:200]!r}")
    raise Refused(f"{status} {answer[:200]!r}")
