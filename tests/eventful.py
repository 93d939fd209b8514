"""A server with sources, schedules, metaevents and dead letters, and a browser that looks at them."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from playwright.sync_api import Browser, BrowserContext, Locator, Page, sync_playwright
from tests.servers import Server, eventually, running
from tests.visits import CHROMIUM, Visit

ZONE = "Asia/Tokyo"
OK = "def handler(event, context):\n    return event\n"
# Succeeds only when it is run with more memory than it is configured with.
HUNGRY = """
def handler(event, context):
    if int(context.memory_limit_in_mb) < 512:
        raise ValueError('no room for ' + event['order'])
    print('made', event['order'], context.memory_limit_in_mb)
"""
ABSENCE = {"absent": {"event": "execution.started", "function": "backup"}, "within": "1d"}
BOTH = {
    "all": [
        {"count": {"event": "execution.ended", "function": "hungry"}, "over": "1h", "at_least": 1},
        {"not": {"count": {"event": "execution.throttled"}, "over": "1h", "at_least": 1}},
        ABSENCE,
    ]
}


def command(server: Server, name: str, body: object) -> Any:
    path, content = f"/forerun/{name}", json.dumps(body).encode()
    signed = server.signed("POST", path, content, service="forerun")
    answer = server.request("POST", path, content, signed)
    assert answer.status == 200, answer
    return answer.json()


def letters(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.platform("/forerun/dead-letters")["DeadLetters"]
    return found


def fail(server: Server, *orders: str) -> None:
    """Events that become dead letters; returns when they are."""
    before = len(letters(server))
    for order in orders:
        payload = json.dumps({"order": order}).encode()
        server.lambda_.invoke(FunctionName="hungry", InvocationType="Event", Payload=payload)
    eventually(lambda: len(letters(server)) == before + len(orders))


def put_sources(server: Server) -> None:
    """A queue that feeds a function, one that feeds nobody, rules, a topic, a bucket, a folder, a webhook."""
    sqs, events, sns = (server.client(name) for name in ("sqs", "events", "sns"))
    worker = server.lambda_.get_function(FunctionName="worker")["Configuration"]["FunctionArn"]
    urls = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("orders", "lonely")}
    for n in range(7):
        sqs.send_message(QueueUrl=urls["lonely"], MessageBody=str(n))
    arn = f"arn:aws:sqs:{server.region}:{server.account}:orders"
    server.lambda_.create_event_source_mapping(
        FunctionName="worker", EventSourceArn=arn, BatchSize=5
    )
    events.put_rule(Name="paid", EventPattern='{"source": ["shop"]}')
    events.put_targets(Rule="paid", Targets=[{"Id": "1", "Arn": worker}])
    events.put_rule(Name="aimless", EventPattern='{"source": ["shop"]}', State="DISABLED")
    topic = sns.create_topic(Name="news")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=worker)
    put_bucket(server, worker)
    inbox = server.data.parent / "inbox"
    inbox.mkdir()
    command(server, "put-folder", {"Name": "inbox", "Path": str(inbox), "Target": "worker"})
    command(server, "put-hook", {"Name": "github", "Target": "worker", "Scheme": "github"})


def put_bucket(server: Server, worker: str) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket="photos")
    server.lambda_.add_permission(
        FunctionName="worker",
        StatementId="bucket",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
    )
    told = {"Id": "1", "LambdaFunctionArn": worker, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(
        Bucket="photos", NotificationConfiguration={"LambdaFunctionConfigurations": [told]}
    )


def put_schedules(server: Server) -> None:
    """One by a calendar, one that is off, one that fires within seconds, and a rule."""
    scheduler, events = server.client("scheduler"), server.client("events")
    role = f"arn:aws:iam::{server.account}:role/test"
    worker = server.lambda_.get_function(FunctionName="worker")["Configuration"]["FunctionArn"]
    soon = datetime.now(ZoneInfo(ZONE)) + timedelta(seconds=3)
    for name, expression, state in (
        ("nightly", "cron(30 3 * * ? *)", "ENABLED"),
        ("resting", "rate(5 minutes)", "DISABLED"),
        ("soon", f"at({soon:%Y-%m-%dT%H:%M:%S})", "ENABLED"),
    ):
        scheduler.create_schedule(
            Name=name,
            ScheduleExpression=expression,
            ScheduleExpressionTimezone=ZONE,
            State=state,
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": worker, "RoleArn": role},
        )
    events.put_rule(Name="hourly", ScheduleExpression="rate(1 hour)")
    events.put_targets(Rule="hourly", Targets=[{"Id": "1", "Arn": worker}])


def furnish(server: Server) -> None:
    """Some of everything."""
    for name in ("worker", "backup", "alarm", "idle"):
        server.function(OK, name=name)
    server.function(HUNGRY, name="hungry", MemorySize=128)
    server.lambda_.put_function_event_invoke_config(FunctionName="hungry", MaximumRetryAttempts=0)
    put_sources(server)
    put_schedules(server)
    rule = {"Name": "watchdog", "When": ABSENCE, "Job": "alarm"}
    command(server, "put-metaevent", {**rule, "Description": "no backup for a day"})
    command(server, "put-metaevent", {"Name": "both", "When": BOTH, "Job": "alarm"})
    failed = {"event": "deadletter.kept", "function": "hungry"}
    command(server, "put-metaevent", {"Name": "failed", "When": failed, "Job": "worker"})
    after = {"event": "metaevent.raised", "where": "event.metaevent == 'failed'"}
    command(server, "put-metaevent", {"Name": "after", "When": after, "Job": "alarm"})
    fail(server, "tea", "rice")


@contextmanager
def furnished(home: Path) -> Iterator[Server]:
    """A server that has some of everything."""
    with running(home / "data", settings={"FORERUN_EVENTS_FOLDERS": str(home)}) as server:
        furnish(server)
        yield server


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser without a profile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Browser, shop: Server, home: Path) -> Iterator[Callable[..., Visit]]:
    """Signs new profiles in, in Berlin; no page may have failed, but for what the server has refused as it should."""
    made: list[tuple[BrowserContext, Visit]] = []

    def make(server: Server = shop, **options: Any) -> Visit:
        given = {"viewport": {"width": 1400, "height": 900}, "timezone_id": "Europe/Berlin"}
        context = browser.new_context(**(given | options))
        made.append((context, Visit(context, server, home)))
        return made[-1][1]

    yield make
    for context, visited in made:
        context.close()
        assert [each for each in visited.troubles if "400 (Bad Request)" not in each] == []


def line(page: Page, text: str) -> Locator:
    """The line of a list that says this."""
    return page.locator(".line", has_text=text)
