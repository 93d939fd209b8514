"""What is wrong with messages, targets and rules: each has a clear error or a dead letter with its reason; the rest flows on."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.deliveries import let_in, letters, make_queue, open_queue, post, rule_to, taken
from tests.mapped import Queue, ended, map_to
from tests.servers import Server, eventually, running

pytestmark = pytest.mark.slow

KB = 1024
WORKS = "def handler(event, context):\n    return 1\n"
DEEP = '{"a":' * 50_000 + "1" + "}" * 50_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("bad")
    (root / "inbox").mkdir()
    settings = {
        "FORERUN_EVENTS_FOLDERS": str(root / "inbox"),
        "FORERUN_EVENTS_RETRY_S": "0.05",
    }
    with running(root / "data", settings=settings) as one:
        yield one


@pytest.fixture(autouse=True)
def _flows_on(server: Server) -> Iterator[None]:
    """After each of them a message goes its way from a bus to a function, and the server answers."""
    yield
    name = server.function(WORKS)
    let_in(server, name, rule_to(server, name, function_arn(server, name)))
    entry = {"Source": name, "DetailType": "after", "Detail": "{}"}
    assert server.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0
    eventually(lambda: ended(server, name)["success"] == 1, within=20, what="the rest flows on")


def function_arn(server: Server, name: str) -> str:
    return f"arn:aws:lambda:{server.region}:{server.account}:function:{name}"


def refused(call: Callable[..., Any], **given: Any) -> tuple[int, str, str]:
    """Status, code and message of a refusal."""
    with pytest.raises(ClientError) as caught:
        call(**given)
    error = caught.value.response
    status = error["ResponseMetadata"]["HTTPStatusCode"]
    return status, error["Error"]["Code"], error["Error"]["Message"]


def test_what_is_too_large_is_refused_and_what_just_fits_is_run(server: Server):
    lam, sqs, events, sns = (server.client(each) for each in ("lambda", "sqs", "events", "sns"))
    name = server.function("def handler(event, context):\n    return 1\n")
    queue = Queue(server, "large", VisibilityTimeout="20")
    map_to(server, queue, name)
    queue.send("x" * (1024 * KB))
    eventually(lambda: ended(server, name)["success"] == 1, within=20, what="1 MiB processed")
    assert refused(sqs.send_message, QueueUrl=queue.url, MessageBody="x" * (1024 * KB + 1)) == (
        400,
        "InvalidParameterValue",
        "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.",
    )
    entry = {"Source": "a", "DetailType": "b", "Detail": json.dumps({"x": "y" * 1024 * KB})}
    assert refused(events.put_events, Entries=[entry])[1] == "ValidationException"
    topic = sns.create_topic(Name="large")["TopicArn"]
    sns.publish(TopicArn=topic, Message="x" * 256 * KB)
    status, code, said = refused(sns.publish, TopicArn=topic, Message="x" * (256 * KB + 1))
    assert (status, code) == (400, "InvalidParameter")
    assert "too long" in said
    body = b'"' + b"x" * (1024 * KB - 1) + b'"'
    given = {"FunctionName": name, "InvocationType": "Event", "Payload": body}
    assert refused(lam.invoke, **given)[1] == "RequestTooLargeException"
    target = {
        "Arn": function_arn(server, name),
        "RoleArn": f"arn:aws:iam::{server.account}:role/any",
        "Input": json.dumps("x" * 256 * KB),
    }
    status, code, said = refused(
        server.client("scheduler").create_schedule,
        Name="large",
        ScheduleExpression="rate(1 hour)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=target,
    )
    assert (status, code) == (400, "ValidationException")
    assert "Target.Input" in said


@pytest.mark.parametrize(
    "payload",
    [b"{", DEEP.encode(), b"[" * 200_000, b'"\xff"', b'{"a":1}x', b"\x00"],
    ids=["cut", "deep", "unclosed", "not-utf8", "more", "nul"],
)
def test_an_event_that_is_no_json_is_refused_by_name(server: Server, payload: bytes):
    name = server.function(WORKS)
    for kind in ("Event", "RequestResponse"):
        status, code, said = refused(
            server.lambda_.invoke, FunctionName=name, InvocationType=kind, Payload=payload
        )
        assert (status, code) == (400, "InvalidRequestContentException")
        assert said.startswith("Could not parse request body into json: ")


def test_malformed_entries_of_a_bus_are_told_one_by_one(server: Server):
    entry = {"Source": "a", "DetailType": "b"}
    details = ["{", "[]", DEEP, '{"fine": 1}', "\x00"]
    answer = server.client("events").put_events(
        Entries=[entry | {"Detail": each} for each in details]
    )
    codes = [each.get("ErrorCode", "") for each in answer["Entries"]]
    assert codes == ["MalformedDetail"] * 3 + ["", "MalformedDetail"]


def test_messages_that_a_filter_cannot_read_are_passed_over_and_others_run(server: Server):
    name = server.function(WORKS)
    queue = Queue(server, "filtered")
    pattern = json.dumps({"body": {"kind": ["wanted"]}})
    map_to(server, queue, name, FilterCriteria={"Filters": [{"Pattern": pattern}]})
    queue.send("{", DEEP, '{"kind": {"deep": []}}', "[]", '{"kind": "wanted"}', '"wanted"')
    eventually(queue.empty, within=20, what="an empty queue")
    eventually(lambda: sum(ended(server, name).values()), what="the one that is wanted")
    assert ended(server, name) == {"success": 1}


def test_a_target_that_is_deleted_while_messages_come_makes_dead_letters_of_the_rest(
    server: Server,
):
    """One rule with two targets: the function that goes, and a queue that stays."""
    count = 400
    name = server.function(WORKS)
    url, queue = make_queue(server, f"stays-{name}")
    let_in(server, name, rule_to(server, name, function_arn(server, name), queue))
    open_queue(server, url, queue)

    def put(number: int) -> None:
        entry = {"Source": name, "DetailType": "x", "Detail": json.dumps({"n": number})}
        assert server.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0

    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(put, number) for number in range(count)]
        eventually(lambda: ended(server, name)["success"] >= 20, within=30, what="some runs")
        server.lambda_.delete_function(FunctionName=name)
        for each in sent:
            each.result(60)
    numbers: set[int] = set()

    def all_in_the_queue() -> bool:
        numbers.update(json.loads(each["Body"])["detail"]["n"] for each in taken(server, url))
        return len(numbers) == count

    eventually(all_in_the_queue, within=30, what="every message at the target that stays")
    kept: list[dict[str, Any]] = []

    def settled() -> bool:
        kept[:] = [
            each
            for each in letters(server, MaxItems="1000")
            if each["Target"].endswith(f":function:{name}")
        ]
        return bool(kept) and len(kept) + ended(server, name)["success"] >= count

    eventually(settled, within=30, what="a run or a dead letter of each")
    assert {each["Reason"] for each in kept} == {"NotFound"}


def test_a_queue_that_feeds_a_function_which_is_deleted_keeps_its_messages(server: Server):
    name = server.function("import time\ndef handler(event, context):\n    time.sleep(0.05)\n")
    queue = Queue(server, f"feeds-{name}", VisibilityTimeout="3")
    get = map_to(server, queue, name)
    queue.send(*map(str, range(200)))
    eventually(lambda: ended(server, name)["success"] >= 3, within=20, what="some runs")
    server.lambda_.delete_function(FunctionName=name)
    eventually(lambda: get()["State"] == "Disabled", within=30, what="a mapping that stopped")
    assert name in get()["StateTransitionReason"] or "function" in get()["StateTransitionReason"]
    eventually(
        lambda: queue.left() + ended(server, name)["success"] >= 200, within=20, what="all of them"
    )


def test_a_flood_of_files_holds_up_nobody_else(server: Server):
    inbox = Path(str(server.data)).parent / "inbox"
    flooded, other = server.function(WORKS), server.function(WORKS)
    wish = {"Name": "flood", "Path": str(inbox), "Target": flooded, "SettleSeconds": 0}
    post(server, "put-folder", **wish)
    count = 3000
    for number in range(count):
        (inbox / f"f{number}").touch()
    waits = []
    for _ in range(20):
        began = time.monotonic()
        server.call(other, 1)
        waits.append(time.monotonic() - began)
    assert sorted(waits)[10] < 1.0

    def told() -> bool:
        [folder] = server.platform("/forerun/folders?Name=flood")["Folders"]
        return folder["Told"] >= count

    eventually(told, within=50, what="all files told")
    post(server, "delete-folder", Name="flood")


def wildcards() -> dict[str, Any]:
    return {"detail": {"text": [{"wildcard": "a*" * 49 + "b"}, {"wildcard": "*a" * 49}]}}


def test_rules_made_to_take_long_hold_up_nobody(server: Server):
    """The dearest pattern that is let through, and an event made for it; what would be dearer is refused."""
    events, name = server.client("events"), f"slow-{uuid.uuid4().hex[:8]}"
    for number in range(50):
        events.put_rule(Name=f"{name}-{number}", EventPattern=json.dumps(wildcards()))
        arn = f"arn:aws:sqs:{server.region}:{server.account}:nowhere"
        events.put_targets(Rule=f"{name}-{number}", Targets=[{"Id": "q", "Arn": arn}])
    detail = json.dumps({"text": ["a" * 2000 + "c"] * 50})
    began = time.monotonic()
    events.put_events(Entries=[{"Source": "a", "DetailType": "b", "Detail": detail}])
    assert time.monotonic() - began < 2.0
    stars = {"detail": {"text": [{"wildcard": "a*" * 101}]}}
    assert refused(events.put_rule, Name=name, EventPattern=json.dumps(stars))[1] == (
        "InvalidEventPatternException"
    )
    ways = {"$or": [{f"f{number}": ["x"]} for number in range(40)]}
    both = json.dumps({"a": ways, "b": ways})
    assert "combinations" in refused(events.put_rule, Name=name, EventPattern=both)[2]
    for number in range(50):
        events.remove_targets(Rule=f"{name}-{number}", Ids=["q"])
        events.delete_rule(Name=f"{name}-{number}")


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("event.status == 'x'" + " || event.status == 'y'" * 100, "1 to 1000 characters"),
        ("[1,2].map(a, [1,2].map(b, a * b)).size() > 1", "macro 'map'"),
        ("event.status ==== 1", "line 1, column"),
        ("event.output.matches('" + "(a|b)" * 100 + "')", "matches"),
        ("(" * 400 + "true" + ")" * 400, "recursion limit"),
    ],
    ids=["long", "comprehension", "syntax", "regex", "nesting"],
)
def test_criteria_that_could_run_long_are_refused(server: Server, where: str, words: str):
    name = server.function(WORKS)
    body = json.dumps(
        {"Name": "long", "When": {"event": "execution.ended", "where": where}, "Job": name}
    ).encode()
    path = "/forerun/put-metaevent"
    headers = server.signed("POST", path, body, service="forerun")
    answer = server.request("POST", path, body, headers)
    assert answer.status == 400, answer
    assert words in answer.json()["message"]


def test_records_are_told_page_by_page_to_the_last(server: Server):
    name = server.function(WORKS)
    for number in range(5):
        server.call(name, number)
    eventually(lambda: ended(server, name)["success"] == 5, what="five records")
    found, marker = [], ""
    while True:
        page = server.platform(f"/forerun/invocations?FunctionName={name}&MaxItems=2{marker}")
        found += [each["request_id"] for each in page["Invocations"]]
        if "NextMarker" not in page:
            break
        marker = f"&Marker={page['NextMarker']}"
    assert len(set(found)) == len(found) == 5
