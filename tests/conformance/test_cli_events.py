"""The AWS CLI, unmodified: a function is connected to each kind of source, command by command, and each one runs it."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.servers import ROLE, Server, eventually

pytestmark = [pytest.mark.conformance, pytest.mark.slow, pytest.mark.timeout(180)]

SOURCE = """
def handler(event, context):
    if "Records" in event:
        record = event["Records"][0]
        print("saw", record.get("eventSource") or record["EventSource"])
    else:
        print("saw", event["source"])
"""


class Walk:
    """The command line, and a function that says which source ran it."""

    def __init__(self, server: Server, clients: Any) -> None:
        self.name = f"cli-{uuid.uuid4().hex[:8]}"
        self._server, self._clients = server, clients
        server.function(SOURCE, name=self.name)
        self.function = self.arn("lambda", f"function:{self.name}")

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self._server.region}:{self._server.account}:{resource}"

    def aws(self, *command: str) -> Any:
        endpoint = ("--endpoint-url", self._server.endpoint) if command[0] == "sqs" else ()
        text = self._clients.run("aws", *endpoint, *command, "--output", "json")
        return json.loads(text) if text.strip() else None

    def allow(self, service: str, source: str) -> None:
        self.aws(
            "lambda", "add-permission", "--function-name", self.name,
            "--statement-id", service, "--action", "lambda:InvokeFunction",
            "--principal", f"{service}.amazonaws.com", "--source-arn", source,
        )  # fmt: skip

    def await_seen(self, *sources: str, within: float = 20) -> None:
        eventually(lambda: set(sources) <= self._seen(), within=within, what=str(sources))

    def _seen(self) -> set[str]:
        try:
            found = self._server.client("logs").filter_log_events(
                logGroupName=f"/aws/lambda/{self.name}", filterPattern="saw"
            )
        except ClientError:
            return set()
        return {each["message"].split()[-1] for each in found["events"]}


@pytest.fixture
def walk(server: Server, clients) -> Walk:
    return Walk(server, clients)


def test_a_queue_and_a_topic(walk: Walk):
    url = walk.aws("sqs", "create-queue", "--queue-name", walk.name)["QueueUrl"]
    made = walk.aws(
        "lambda", "create-event-source-mapping", "--function-name", walk.name,
        "--event-source-arn", walk.arn("sqs", walk.name), "--batch-size", "1",
    )  # fmt: skip
    topic = walk.aws("sns", "create-topic", "--name", walk.name)["TopicArn"]
    walk.allow("sns", topic)
    walk.aws(
        "sns", "subscribe", "--topic-arn", topic, "--protocol", "lambda",
        "--notification-endpoint", walk.function,
    )  # fmt: skip
    walk.aws("sqs", "send-message", "--queue-url", url, "--message-body", "one")
    walk.aws("sns", "publish", "--topic-arn", topic, "--message", "one")
    walk.await_seen("aws:sqs", "aws:sns")

    shown = walk.aws("lambda", "list-event-source-mappings", "--function-name", walk.name)
    assert [each["State"] for each in shown["EventSourceMappings"]] == ["Enabled"]
    gone = walk.aws("lambda", "delete-event-source-mapping", "--uuid", made["UUID"])
    assert gone["State"] == "Deleting"
    walk.aws("sns", "delete-topic", "--topic-arn", topic)
    walk.aws("sqs", "delete-queue", "--queue-url", url)


def test_a_bucket_and_a_rule(walk: Walk, tmp_path):
    walk.aws("s3api", "create-bucket", "--bucket", walk.name)
    walk.allow("s3", f"arn:aws:s3:::{walk.name}")
    told = [{"LambdaFunctionArn": walk.function, "Events": ["s3:ObjectCreated:*"]}]
    walk.aws(
        "s3api", "put-bucket-notification-configuration", "--bucket", walk.name,
        "--notification-configuration", json.dumps({"LambdaFunctionConfigurations": told}),
    )  # fmt: skip
    rule = walk.aws(
        "events", "put-rule", "--name", walk.name, "--event-pattern",
        json.dumps({"source": [walk.name]}),
    )["RuleArn"]  # fmt: skip
    walk.allow("events", rule)
    answer = walk.aws(
        "events", "put-targets", "--rule", walk.name, "--targets", f"Id=1,Arn={walk.function}"
    )
    assert answer["FailedEntryCount"] == 0
    (tmp_path / "note.txt").write_text("hello")
    walk.aws("s3api", "put-object", "--bucket", walk.name, "--key", "k", "--body", str(tmp_path / "note.txt"))  # fmt: skip
    entry = {"Source": walk.name, "DetailType": "d", "Detail": "{}"}
    walk.aws("events", "put-events", "--entries", json.dumps([entry]))
    walk.await_seen("aws:s3", walk.name)
    walk.aws("events", "remove-targets", "--rule", walk.name, "--ids", "1")
    walk.aws("events", "delete-rule", "--name", walk.name)
    walk.aws("s3api", "delete-object", "--bucket", walk.name, "--key", "k")
    walk.aws("s3api", "delete-bucket", "--bucket", walk.name)


def test_a_schedule(server: Server, walk: Walk):
    moment = datetime.now(UTC) + timedelta(seconds=8)
    target = {
        "Arn": walk.function,
        "RoleArn": ROLE.format(account=server.account),
        "Input": '{"source": "clock"}',
    }
    walk.aws(
        "scheduler", "create-schedule", "--name", walk.name,
        "--schedule-expression", f"at({moment:%Y-%m-%dT%H:%M:%S})",
        "--flexible-time-window", "Mode=OFF", "--target", json.dumps(target),
        "--action-after-completion", "DELETE",
    )  # fmt: skip
    walk.await_seen("clock", within=30)
    listed = lambda: walk.aws("scheduler", "list-schedules", "--name-prefix", walk.name)  # noqa: E731
    eventually(lambda: listed()["Schedules"] == [], within=20, what="the schedule's end")
