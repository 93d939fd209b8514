"""Several control planes over one database, with real hosts: one configuration, one holder of the duties, nothing lost."""

import datetime
import itertools
import json
import os
import signal
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from tests.counted import executed, invoke, put
from tests.planes import running_cluster
from tests.postgres import running_postgres
from tests.servers import ROLE, eventually, package

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ECHO = "def handler(event, context):\n    return {{'echo': event, 'version': {}}}\n"
# A line when it begins and one when it ends, on the machine's own disk.
TELLING = """
import os, time

def tell(what, context):
    with open(os.environ["TOLD"], "a") as told:
        told.write(f"{what} {context.aws_request_id} {time.monotonic()}\\n")

def handler(event, context):
    tell("begin", context)
    time.sleep(event.get("sleep", 0) if isinstance(event, dict) else 0)
    tell("end", context)
    return event
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, postgres):
    url = postgres.fresh()
    folder = tmp_path_factory.mktemp("cluster")
    with running_cluster(folder, url, "a", "b") as cluster:
        cluster.host(
            "jailed" if os.geteuid() == 0 else "h1", "jail" if os.geteuid() == 0 else "process"
        )
        yield cluster
    postgres.give_back(url)


def telling(plane, told, **more):
    where = {"Variables": {"TOLD": str(told)}}
    return plane.function(TELLING, Timeout=30, Environment=where, **more)


def runs(told):
    """Intervals by request id; one that never ended has none."""
    found = defaultdict(list)
    for line in told.read_text().splitlines() if told.exists() else []:
        what, request, at = line.split()
        if what == "begin":
            found[request].append([float(at), None])
        else:
            next(each for each in reversed(found[request]) if each[1] is None)[1] = float(at)
    return found


def test_a_function_made_at_one_is_called_at_the_other_at_once(cluster):
    a, b = cluster.planes
    for maker, caller in ((a, b), (b, a)):
        name = maker.function(ECHO.format(1))
        assert caller.call(name, {"x": 1}) == {"echo": {"x": 1}, "version": 1}
        assert maker.call(name, 2)["echo"] == 2


def test_updated_code_is_nowhere_old_after_the_answer(cluster):
    a, b = cluster.planes
    name = a.function(ECHO.format(0))
    answered, stop, wrong = [0], threading.Event(), []

    def watch(plane):
        while not stop.is_set():
            least = answered[0]
            version = plane.call(name)["version"]
            if version < least:
                wrong.append((least, version))

    threads = [threading.Thread(target=watch, args=(plane,)) for plane in (a, b)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 16):
            plane = (a, b)[number % 2]
            code = package({"lambda_function.py": ECHO.format(number)})
            plane.lambda_.update_function_code(FunctionName=name, ZipFile=code)
            answered[0] = number
            for each in (b, a):
                assert each.call(name)["version"] == number
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not wrong


def test_one_that_was_paused_serves_nothing_old_and_writes_nothing(cluster):
    holder = cluster.named(cluster.holder())
    other = next(plane for plane in cluster.planes if plane is not holder)
    name = holder.function(ECHO.format(1))
    for plane in (holder, other):
        assert plane.call(name)["version"] == 1
    holder.process.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: cluster.holder(other) == other.data.name[6:], within=30)
        code = package({"lambda_function.py": ECHO.format(2)})
        eventually(
            lambda: succeeds_at(
                lambda: other.client("lambda", timeout=50).update_function_code(
                    FunctionName=name, ZipFile=code
                )
            ),
            within=40,
        )
    finally:
        holder.process.send_signal(signal.SIGCONT)
    assert holder.call(name)["version"] == 2
    assert cluster.holder(holder) == other.data.name[6:]
    queue = holder.client("sqs").create_queue(QueueName="after-a-pause")["QueueUrl"]
    assert other.client("sqs").get_queue_attributes(QueueUrl=queue)["ResponseMetadata"]


def test_a_key_that_was_disabled_is_refused_everywhere_at_once(cluster):
    a, b = cluster.planes
    name = a.function(ECHO.format(1))
    iam = b.client("iam")
    iam.create_user(UserName="guest")
    iam.put_user_policy(
        UserName="guest",
        PolicyName="p",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": {"Effect": "Allow", "Action": "lambda:*", "Resource": "*"},
            }
        ),
    )
    key = iam.create_access_key(UserName="guest")["AccessKey"]
    given = {
        "aws_access_key_id": key["AccessKeyId"],
        "aws_secret_access_key": key["SecretAccessKey"],
    }
    guests = [plane.client("lambda", **given) for plane in (a, b)]
    for guest in guests:
        guest.invoke(FunctionName=name)
    iam.update_access_key(UserName="guest", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    for guest in guests:
        with pytest.raises(ClientError) as refused:
            guest.invoke(FunctionName=name)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_everything_is_answered_by_any_of_them(cluster):
    a, b = cluster.planes
    holder = cluster.holder()
    assert holder == cluster.holder(a) == cluster.holder(b)
    for plane in (a, b):
        sqs = plane.client("sqs")
        url = sqs.create_queue(QueueName=f"q-{plane.data.name}")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="m")
        assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "m"
        s3 = plane.client("s3")
        s3.create_bucket(Bucket=plane.data.name)
        body = os.urandom(3_000_000)
        s3.put_object(Bucket=plane.data.name, Key="k", Body=body)
        assert s3.get_object(Bucket=plane.data.name, Key="k")["Body"].read() == body
        assert plane.client("sts").get_caller_identity()["Account"] == a.account
        assert plane.request("GET", "/health").status == 200
        assert plane.request("GET", "/console/").status == 200
        head = plane.client("s3").head_object(Bucket=plane.data.name, Key="k")
        assert head["ContentLength"] == len(body)
    # What only the holder knows is the same whoever is asked.
    hosts = [[each["Name"] for each in cluster.told("hosts", plane)["Hosts"]] for plane in (a, b)]
    assert hosts[0] == hosts[1] != []


def test_nobody_from_outside_can_say_that_a_request_was_passed_on(cluster):
    passed = {
        "x-forerun-passed": json.dumps({"account": cluster.first.account, "client": ["9.9.9.9", 9]})
    }
    for plane in cluster.planes:
        assert plane.request("GET", "/2015-03-31/functions/", headers=passed).status == 403


def test_what_happens_at_the_others_is_known_to_the_holder(cluster):
    holder = cluster.named(cluster.holder())
    other = next(plane for plane in cluster.planes if plane is not holder)
    name = other.function(ECHO.format(1))
    for _ in range(3):
        other.call(name)
    eventually(lambda: len(holder.invocations(name)) == 3, what="records")

    def counted():
        told = holder.platform("/forerun/history")["functions"]
        return sum(sum(each[1] for each in one["calls"]) for one in told if one["name"] == name)

    eventually(lambda: counted() == 3, what="the holder counts calls of others")


def test_what_became_of_events_is_told_whoever_ran_them(cluster):
    a, b = cluster.planes
    name = a.function(ECHO.format(1))
    sqs = a.client("sqs")
    queue = sqs.create_queue(QueueName="told")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    b.lambda_.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn["QueueArn"]}}
    )
    for number in range(10):
        plane = (a, b)[number % 2]
        body = json.dumps(number).encode()
        plane.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=body)
    found = set()

    def all_told():
        got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        for message in got.get("Messages", []):
            found.add(json.loads(message["Body"])["requestPayload"])
        return found == set(range(10))

    eventually(all_told, within=30)


def test_an_execution_id_succeeds_once_whoever_is_asked(cluster):
    a, b = cluster.planes
    name = a.function(ECHO.format(1))
    path = f"/2015-03-31/functions/{name}/invocations"
    said = []
    for plane in (a, b, a, b):
        headers = {"X-Forerun-Execution-Id": "only-once"}
        signed = plane.signed("POST", path, b"1", headers=headers)
        answer = plane.request("POST", path, b"1", signed)
        assert answer.status == 200, answer
        said.append(answer.headers["x-forerun-executed"])
    assert said == ["true", "false", "false", "false"]
    # Where the function says so of itself, that is known everywhere as soon as it is answered.
    said = []
    put(b, name, Key="order")
    for plane in (a, b, b, a):
        said.append(executed(invoke(plane, name, {"order": 7})))
    assert said == ["true", "false", "false", "false"]


def test_events_go_on_and_run_once_at_a_time_when_the_holder_is_killed(tmp_path, postgres):
    url = postgres.fresh()
    told = tmp_path / "told"
    with running_cluster(tmp_path, url, "a", "b") as cluster:
        cluster.host("h1")
        holder = cluster.named(cluster.holder())
        other = next(plane for plane in cluster.planes if plane is not holder)
        name = telling(other, told)
        other.lambda_.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
        # A moment that comes after the kill.
        moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=14)
        scheduled = telling(other, tmp_path / "scheduled")
        other.client("scheduler").create_schedule(
            Name="later",
            ScheduleExpression=f"at({moment:%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={
                "Arn": f"arn:aws:lambda:{other.region}:{other.account}:function:{scheduled}",
                "RoleArn": ROLE.format(account=other.account),
            },
        )
        accepted = []

        def send(plane):
            def one(_):
                try:
                    plane.lambda_.invoke(
                        FunctionName=name, InvocationType="Event", Payload=b'{"sleep": 0.3}'
                    )
                except (BotoCoreError, ClientError):
                    return
                accepted.append(1)

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(one, range(150)))

        threads = [threading.Thread(target=send, args=(plane,)) for plane in cluster.planes]
        for thread in threads:
            thread.start()
        eventually(lambda: len(runs(told)) > 20, within=30, what="events run")
        holder.stop(signal.SIGKILL)
        killed = time.monotonic()
        for thread in threads:
            thread.join(60)
        assert eventually(lambda: cluster.holder(other) == other.data.name[6:], within=15)
        assert time.monotonic() - killed < 15
        eventually(
            lambda: (
                sum(any(run[1] for run in each) for each in runs(told).values()) >= len(accepted)
            ),
            within=60,
            what="all events have run",
        )
        for request, intervals in runs(told).items():
            for before, after in itertools.pairwise(intervals):
                assert before[1] is None or before[1] <= after[0], (request, intervals)
        eventually(lambda: runs(tmp_path / "scheduled"), within=30, what="the schedule fires")
        assert len(runs(tmp_path / "scheduled")) == 1
    postgres.give_back(url)


def test_the_database_may_restart(tmp_path):
    with running_postgres() as postgres:
        url = postgres.fresh()
        told = tmp_path / "told"
        with running_cluster(tmp_path, url, "a", "b") as cluster:
            cluster.host("h1")
            a, b = cluster.planes
            name = telling(a, told)
            for plane in (a, b):
                plane.call(name, {})
            for _ in range(20):
                b.lambda_.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
            postgres.stop(signal.SIGINT)
            # Known functions are called on for a while.
            for plane in (a, b):
                assert plane.call(name, {}) == {}
            # What has to be written waits for it, or is refused: what is accepted is kept.
            accepted, statuses = [20], []

            def send(plane):
                try:
                    plane.client("lambda", timeout=50).invoke(
                        FunctionName=name, InvocationType="Event", Payload=b"{}"
                    )
                except ClientError as refused:
                    statuses.append(refused.response["ResponseMetadata"]["HTTPStatusCode"])
                else:
                    accepted.append(1)

            with ThreadPoolExecutor(2) as pool:
                sent = [pool.submit(send, plane) for plane in (a, b)]
                # Longer than duties are kept without the database.
                cut_off = time.monotonic()
                eventually(lambda: time.monotonic() - cut_off > 4, within=10)
                postgres.start()
                for each in sent:
                    each.result(60)
            assert all(status >= 500 for status in statuses)
            eventually(cluster.holder, within=20, what="duties are held again")
            for plane in (a, b):
                assert plane.process.poll() is None
                assert eventually(lambda p=plane: succeeds(p, name), within=15)
            made = eventually(lambda: created(b, ECHO.format(7)), within=20)
            assert a.call(made)["version"] == 7
            eventually(
                lambda: len(runs(told)) >= sum(accepted) + 6, within=40, what="events have run"
            )


def succeeds_at(doing):
    try:
        return doing()
    except ClientError as refused:
        if refused.response["ResponseMetadata"]["HTTPStatusCode"] == 503:
            return None
        raise


def created(plane, source):
    try:
        return plane.function(source)
    except ClientError as refused:
        if refused.response["Error"]["Code"] in {"ServiceUnavailable", "ServiceException"}:
            return None
        raise


def succeeds(plane, name):
    try:
        return plane.call(name, {}) == {}
    except (ClientError, AssertionError):
        return False


def test_who_is_told_to_stop_hands_the_duties_over_at_once(tmp_path, postgres):
    url = postgres.fresh()
    with running_cluster(tmp_path, url, "a", "b", FORERUN_CLUSTER_DUTY_S="30") as cluster:
        holder = cluster.named(cluster.holder())
        other = next(plane for plane in cluster.planes if plane is not holder)
        began = time.monotonic()
        assert holder.stop() == 0
        eventually(lambda: cluster.holder(other) == other.data.name[6:], within=25)
        # Without that it would take as long as the duties are held without renewal.
        assert time.monotonic() - began < 25
        [left] = cluster.told("cluster")["ControlPlanes"]
        assert left["Name"] == other.data.name[6:]
    postgres.give_back(url)
