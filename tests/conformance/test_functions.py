"""boto3: functions from creation to deletion, their states, their errors, and paging over many."""

import base64
import hashlib
import json
import os
import urllib.request
import uuid

import pytest
from tests.servers import ROLE, Server, package

pytestmark = pytest.mark.conformance

HELLO = "def handler(event, context):\n    return {'n': 1, 'event': event}\n"
HELLO_2 = HELLO.replace("'n': 1", "'n': 2")


def test_life_of_a_function(server: Server, refused):
    lam = server.lambda_
    name = f"life-{uuid.uuid4().hex[:8]}"
    code = package({"lambda_function.py": HELLO})
    with refused("ResourceNotFoundException", 404) as error:
        lam.get_function(FunctionName=name)
    arn = f"arn:aws:lambda:{server.region}:{server.account}:function:{name}"
    assert error.message == f"Function not found: {arn}"

    made = lam.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="lambda_function.handler",
        Role=ROLE.format(account=server.account),
        Code={"ZipFile": code},
        Description="says n",
        Timeout=7,
        MemorySize=192,
        Environment={"Variables": {"COLOUR": "blau"}},
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["FunctionArn"] == arn
    assert made["State"] in ("Pending", "Active")
    assert made["Version"] == "$LATEST"
    assert made["CodeSize"] == len(code)
    assert made["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode()
    assert made["PackageType"] == "Zip"
    assert made["EphemeralStorage"] == {"Size": 512}
    assert made["TracingConfig"] == {"Mode": "PassThrough"}
    for waiter in ("function_exists", "function_active_v2", "function_active"):
        lam.get_waiter(waiter).wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    assert server.call(name, {"a": 1}) == {"n": 1, "event": {"a": 1}}

    got = lam.get_function(FunctionName=arn)
    shown = got["Configuration"]
    assert (shown["Timeout"], shown["MemorySize"], shown["Description"]) == (7, 192, "says n")
    assert shown["Environment"]["Variables"] == {"COLOUR": "blau"}
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Successful")
    with urllib.request.urlopen(got["Code"]["Location"], timeout=10) as answer:
        assert answer.read() == code

    updated = lam.update_function_code(
        FunctionName=name, ZipFile=package({"lambda_function.py": HELLO_2})
    )
    assert updated["CodeSha256"] != made["CodeSha256"]
    assert updated["RevisionId"] != shown["RevisionId"]
    lam.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert server.call(name)["n"] == 2

    changed = lam.update_function_configuration(FunctionName=name, MemorySize=256, Timeout=3)
    assert (changed["MemorySize"], changed["Timeout"]) == (256, 3)
    assert changed["Description"] == "says n"
    lam.get_waiter("function_updated").wait(FunctionName=name, WaiterConfig={"Delay": 1})

    lam.delete_function(FunctionName=name)
    with refused("ResourceNotFoundException", 404):
        lam.get_function_configuration(FunctionName=name)
    with refused("ResourceNotFoundException", 404):
        lam.delete_function(FunctionName=name)
    with refused("ResourceNotFoundException", 404):
        lam.invoke(FunctionName=name)


def test_environment_change_reaches_the_next_call(server: Server):
    name = server.function(
        "import os\ndef handler(event, context):\n    return os.environ.get('MOOD')\n"
    )
    assert server.call(name) is None
    server.lambda_.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"MOOD": "heiter"}}
    )
    assert server.call(name) == "heiter"


def test_existing_name_conflicts(server: Server, refused):
    name = server.function(HELLO)
    with refused("ResourceConflictException", 409) as error:
        server.function(HELLO, name=name)
    assert error.message == f"Function already exist: {name}"


def test_revision_preconditions(server: Server, refused):
    lam = server.lambda_
    name = server.function(HELLO)
    stale = str(uuid.uuid4())
    with refused("PreconditionFailedException", 412):
        lam.update_function_configuration(FunctionName=name, Timeout=9, RevisionId=stale)
    code = package({"lambda_function.py": HELLO_2})
    with refused("PreconditionFailedException", 412):
        lam.update_function_code(FunctionName=name, ZipFile=code, RevisionId=stale)
    with refused("PreconditionFailedException", 412):
        lam.publish_version(FunctionName=name, RevisionId=stale)
    now = lam.get_function_configuration(FunctionName=name)["RevisionId"]
    lam.update_function_code(FunctionName=name, ZipFile=code, RevisionId=now)
    assert server.call(name)["n"] == 2


def test_dry_run_of_a_code_update_changes_nothing(server: Server):
    name = server.function(HELLO)
    before = server.lambda_.get_function_configuration(FunctionName=name)
    server.lambda_.update_function_code(
        FunctionName=name, ZipFile=package({"lambda_function.py": HELLO_2}), DryRun=True
    )
    after = server.lambda_.get_function_configuration(FunctionName=name)
    assert after["CodeSha256"] == before["CodeSha256"]
    assert server.call(name)["n"] == 1


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"Timeout": 901}, "timeout"),
        ({"Timeout": 0}, "timeout"),
        ({"MemorySize": 127}, "memorySize"),
        ({"MemorySize": 10241}, "memorySize"),
        ({"EphemeralStorage": {"Size": 511}}, "ephemeralStorage.size"),
        ({"Role": "role"}, "role"),
        ({"FunctionName": "no spaces"}, "functionName"),
        ({"FunctionName": "x" * 65}, "functionName"),
        ({"Runtime": "cobol85"}, "runtime"),
        ({"Handler": "a b"}, "handler"),
        ({"Description": "d" * 257}, "description"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_values_outside_the_grammar(server: Server, change: dict[str, object], named: str):
    """The error names the member; the request is sent past boto3's own checks."""
    document: dict[str, object] = {
        "FunctionName": f"f-{uuid.uuid4().hex[:8]}",
        "Runtime": "python3.11",
        "Handler": "lambda_function.handler",
        "Role": ROLE.format(account=server.account),
        "Code": {"ZipFile": base64.b64encode(package({"lambda_function.py": HELLO})).decode()},
    } | change
    path, body = "/2015-03-31/functions", json.dumps(document).encode()
    answer = server.request("POST", path, body, server.signed("POST", path, body))
    assert answer.status == 400, answer
    assert answer.headers["x-amzn-errortype"].split(":")[0] in (
        "ValidationException",
        "InvalidParameterValueException",
    )
    message = answer.json().get("message") or answer.json()["Message"]
    assert named.rpartition(".")[2].lower() in message.lower(), message


@pytest.mark.parametrize(
    "variables",
    [{"AA": "x" * 4096}, {"AWS_REGION": "moon"}, {"1A": "x"}, {"A-B": "x"}],
    ids=["4KB", "reserved", "digit", "dash"],
)
def test_environment_rules(server: Server, refused, variables: dict[str, str]):
    with pytest.raises(server.lambda_.exceptions.ClientError) as caught:
        server.function(HELLO, Environment={"Variables": variables})
    assert caught.value.response["Error"]["Code"] in (
        "InvalidParameterValueException",
        "ValidationException",
    )
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_environment_of_exactly_4_kb(server: Server):
    name = server.function(
        "import os\ndef handler(event, context):\n    return len(os.environ['AA'])\n",
        Environment={"Variables": {"AA": "x" * 4080}},
    )
    assert server.call(name) == 4080


def test_package_that_is_no_zip(server: Server, refused):
    with refused("InvalidParameterValueException", 400) as error:
        server.function(b"this is no zip")
    assert "unzip" in error.message


def test_package_over_50_mb_is_refused(server: Server, refused):
    with pytest.raises(server.lambda_.exceptions.ClientError) as caught:
        server.function(os.urandom(50 * 1024 * 1024 + 1))
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] in (400, 413)
    assert response["Error"]["Code"] in (
        "InvalidParameterValueException",
        "RequestEntityTooLargeException",
        "RequestTooLargeException",
    )


def test_paging_over_more_than_a_page(server: Server):
    lam = server.lambda_
    code = package({"lambda_function.py": HELLO})
    prefix = f"page-{uuid.uuid4().hex[:6]}"
    names = {f"{prefix}-{n:03}" for n in range(60)}
    for name in names:
        lam.create_function(
            FunctionName=name,
            Runtime="python3.11",
            Handler="lambda_function.handler",
            Role=ROLE.format(account=server.account),
            Code={"ZipFile": code},
        )
    first = lam.list_functions()
    assert len(first["Functions"]) == 50
    assert first["NextMarker"]
    seen = [
        function["FunctionName"]
        for page in lam.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 7})
        for function in page["Functions"]
    ]
    assert len(seen) == len(set(seen))
    assert names <= set(seen)
    for name in names:
        lam.delete_function(FunctionName=name)


def test_tags(server: Server, refused):
    lam = server.lambda_
    name = server.function(HELLO, Tags={"team": "orders"})
    arn = lam.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert lam.get_function(FunctionName=name)["Tags"] == {"team": "orders"}
    lam.tag_resource(Resource=arn, Tags={"team": "stock", "tier": "1"})
    assert lam.list_tags(Resource=arn)["Tags"] == {"team": "stock", "tier": "1"}
    lam.untag_resource(Resource=arn, TagKeys=["tier", "absent"])
    assert lam.list_tags(Resource=arn)["Tags"] == {"team": "stock"}
    with refused("ResourceNotFoundException", 404):
        lam.list_tags(Resource=arn + "-absent")
    with pytest.raises(lam.exceptions.InvalidParameterValueException):
        lam.tag_resource(Resource=arn, Tags={f"k{n}": "v" for n in range(51)})


def test_account_settings_count_functions(server: Server):
    before = server.lambda_.get_account_settings()
    assert before["AccountLimit"]["ConcurrentExecutions"] == 1000
    assert before["AccountLimit"]["CodeSizeUnzipped"] == 262144000
    server.function(HELLO)
    after = server.lambda_.get_account_settings()["AccountUsage"]
    assert after["FunctionCount"] == before["AccountUsage"]["FunctionCount"] + 1
    assert after["TotalCodeSize"] > before["AccountUsage"]["TotalCodeSize"]


def test_what_works_later_is_refused_by_name(server: Server):
    """Nothing is accepted that would be ignored."""
    for more in (
        {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}},
        {"DurableConfig": {"ExecutionTimeout": 60}},
    ):
        with pytest.raises(server.lambda_.exceptions.ClientError) as caught:
            server.function(HELLO, **more)
        status = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
        assert 400 <= status < 600
        assert next(iter(more)).lower()[:7] in caught.value.response["Error"]["Message"].lower()


def test_mappings_are_kept(server: Server, refused):
    lam = server.lambda_
    name = server.function(HELLO)
    sqs = server.client("sqs")
    url = sqs.create_queue(QueueName="mapped-jobs")["QueueUrl"]
    queue = f"arn:aws:sqs:{server.region}:{server.account}:mapped-jobs"
    made = lam.create_event_source_mapping(FunctionName=name, EventSourceArn=queue, BatchSize=5)
    got = lam.get_event_source_mapping(UUID=made["UUID"])
    assert (got["BatchSize"], got["EventSourceArn"]) == (5, queue)
    assert [
        m["UUID"] for m in lam.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    ] == [made["UUID"]]
    lam.update_event_source_mapping(UUID=made["UUID"], BatchSize=6, Enabled=False)
    assert lam.get_event_source_mapping(UUID=made["UUID"])["BatchSize"] == 6
    lam.delete_event_source_mapping(UUID=made["UUID"])
    assert not lam.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    sqs.delete_queue(QueueUrl=url)
