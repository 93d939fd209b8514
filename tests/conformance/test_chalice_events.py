"""Chalice, unmodified: an application with a schedule, a queue, a bucket, a topic and an event pattern; each one really runs."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.servers import Server, eventually

pytestmark = [pytest.mark.conformance, pytest.mark.slow, pytest.mark.timeout(240)]

APP = """
from chalice import Chalice, Rate

app = Chalice(app_name="APPNAME")

@app.schedule(Rate(1, unit=Rate.MINUTES))
def tick(event):
    print("saw", event.detail_type, event.resources)

@app.on_sqs_message(queue="APPNAME-q", batch_size=1)
def work(event):
    for record in event:
        print("saw", record.body)

@app.on_s3_event(bucket="APPNAME-b", events=["s3:ObjectCreated:*"], prefix="in/")
def upload(event):
    print("saw", event.bucket, event.key)

@app.on_sns_message(topic="APPNAME-t")
def news(event):
    print("saw", event.subject, event.message)

@app.on_cw_event({"source": ["shop"], "detail": {"state": ["paid"]}})
def paid(event):
    print("saw", event.source, event.detail)
"""


class Project:
    """A Chalice application in a folder of its own, and what its functions have logged."""

    def __init__(self, server: Server, clients: Any, folder: Path) -> None:
        self.name = f"app{uuid.uuid4().hex[:8]}"
        self._server, self._clients = server, clients
        self.folder = folder / self.name
        (self.folder / ".chalice").mkdir(parents=True)
        self.write(APP)
        (self.folder / "requirements.txt").write_text("")
        config = {"version": "2.0", "app_name": self.name, "stages": {"dev": {}}}
        (self.folder / ".chalice" / "config.json").write_text(json.dumps(config))

    def write(self, source: str) -> None:
        (self.folder / "app.py").write_text(source.replace("APPNAME", self.name))

    def chalice(self, *command: str) -> str:
        return str(self._clients.run("chalice", *command, cwd=self.folder))

    def function(self, short: str) -> str:
        return f"{self.name}-dev-{short}"

    def saw(self, short: str) -> list[str]:
        """What a function has printed after ``saw``."""
        try:
            found = self._server.client("logs").filter_log_events(
                logGroupName=f"/aws/lambda/{self.function(short)}", filterPattern="saw"
            )
        except ClientError:
            return []
        return [each["message"].strip().removeprefix("saw ") for each in found["events"]]

    def first(self, short: str, within: float = 20) -> str:
        return eventually(lambda: self.saw(short), within=within, what=short)[0]


@pytest.fixture
def project(server: Server, clients, tmp_path: Path) -> Project:
    return Project(server, clients, tmp_path)


@pytest.fixture
def sources(server: Server, project: Project) -> Callable[[], str]:
    """The queue, the bucket and the topic that the application listens to."""
    name = project.name
    sqs, s3, sns = (server.client(each) for each in ("sqs", "s3", "sns"))
    # A mapping wants a message hidden as long as the function may run, which is a minute with Chalice.
    hidden = {"VisibilityTimeout": "60"}
    url = sqs.create_queue(QueueName=f"{name}-q", Attributes=hidden)["QueueUrl"]
    s3.create_bucket(Bucket=f"{name}-b")
    topic = sns.create_topic(Name=f"{name}-t")["TopicArn"]

    def trigger() -> str:
        sqs.send_message(QueueUrl=url, MessageBody="dig")
        for key in ("out/no", "in/a b.txt"):
            s3.put_object(Bucket=f"{name}-b", Key=key, Body=b"content")
        sns.publish(TopicArn=topic, Subject="flash", Message="hello")
        entry = {"Source": "shop", "DetailType": "sale", "Detail": '{"state": "paid"}'}
        answer = server.client("events").put_events(Entries=[entry])
        assert answer["FailedEntryCount"] == 0
        return topic

    return trigger


def test_every_trigger_runs(server: Server, project: Project, sources: Callable[[], str]):
    shown = project.chalice("deploy")
    assert f"function:{project.function('tick')}" in shown
    topic = sources()
    assert project.first("work") == "dig"
    assert project.first("upload") == f"{project.name}-b in/a b.txt"
    assert project.first("news") == "flash hello"
    assert project.first("paid") == "shop {'state': 'paid'}"
    rule = f"arn:aws:events:{server.region}:{server.account}:rule/"
    assert project.first("tick", within=90).startswith(f"Scheduled Event ['{rule}")
    assert [len(project.saw(each)) for each in ("work", "upload", "news", "paid")] == [1] * 4

    # Changed and deployed again: still one mapping and one subscription.
    project.write(APP.replace("batch_size=1", "batch_size=2"))
    project.chalice("deploy")
    mappings = server.lambda_.list_event_source_mappings(FunctionName=project.function("work"))
    assert [each["BatchSize"] for each in mappings["EventSourceMappings"]] == [2]
    subscriptions = server.client("sns").list_subscriptions_by_topic(TopicArn=topic)
    assert len(subscriptions["Subscriptions"]) == 1
    sources()
    eventually(lambda: len(project.saw("work")) == 2, within=20, what="the queue again")

    project.chalice("delete")
    assert left(server, project.name, topic) == []


def left(server: Server, name: str, topic: str) -> list[str]:
    """What an application has left behind, beside what it only listens to."""
    lambda_, iam = server.lambda_, server.client("iam")
    found = [
        each["FunctionName"]
        for each in lambda_.list_functions()["Functions"]
        if each["FunctionName"].startswith(f"{name}-")
    ]
    queue = f"arn:aws:sqs:{server.region}:{server.account}:{name}-q"
    mappings = lambda_.list_event_source_mappings(EventSourceArn=queue)["EventSourceMappings"]
    found += [each["UUID"] for each in mappings if each["State"] != "Deleting"]
    rules = server.client("events").list_rules(NamePrefix=f"{name}-")["Rules"]
    found += [each["Name"] for each in rules]
    subscriptions = server.client("sns").list_subscriptions_by_topic(TopicArn=topic)
    found += [each["SubscriptionArn"] for each in subscriptions["Subscriptions"]]
    told = server.client("s3").get_bucket_notification_configuration(Bucket=f"{name}-b")
    found += [key for key in told if key != "ResponseMetadata"]
    found += [
        each["RoleName"]
        for each in iam.list_roles()["Roles"]
        if each["RoleName"].startswith(f"{name}-")
    ]
    return found


def test_a_source_that_is_not_there_is_said(project: Project, clients):
    shown = clients.run("chalice", "deploy", cwd=project.folder, fails=True)
    assert "QueueDoesNotExist" in shown or "does not exist" in shown, shown
