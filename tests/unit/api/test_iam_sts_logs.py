"""IAM, STS and CloudWatch Logs as boto3 sees them."""

import json
import time

import msgspec
import pytest
from botocore.exceptions import ClientError
from tests.databases import open_database
from tests.fakes.aws_door import Door

from forerun.aio import SystemClock
from forerun.api.caller import Caller
from forerun.api.iam import iam_routes
from forerun.api.keys import IdentityKeys
from forerun.api.logs import LogRoutes
from forerun.api.sts import SecurityTokens
from forerun.control.authorization import Authorizer
from forerun.control.directory import Directory
from forerun.control.identity import DEFAULT_ACCOUNT, Identities
from forerun.control.log_reading import LogReader
from forerun.control.logs import LogService
from forerun.control.principals import Principals
from forerun.control.sessions import SessionTokens
from forerun.storage import LogGroupStore, LogStore, Sealer
from forerun.storage.identity import IdentityStore

ROOT = f"arn:aws:iam::{DEFAULT_ACCOUNT}:root"
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


def trust(principal):
    statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def allow(*actions):
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


FOR_LAMBDA = json.dumps(trust({"Service": "lambda.amazonaws.com"}))


@pytest.fixture
async def aws(tmp_path):
    clock = SystemClock()
    db = await open_database(tmp_path / "state.db")
    sealer = Sealer(bytes(32))
    directory = Directory(IdentityStore(db, sealer))
    identities = Identities(directory, SessionTokens(sealer, clock), clock)
    key = await identities.start()
    principals = Principals(directory, clock)
    authorizer = Authorizer(directory, clock)
    store = LogStore(db, clock)
    logs = LogRoutes(LogService(LogGroupStore(db, clock), store, clock), LogReader(store))
    caller = Caller(
        account=DEFAULT_ACCOUNT,
        region="us-home-1",
        principal_arn=ROOT,
        access_key_id=key.id,
        request_id="r",
    )
    door = Door(
        {
            "iam": iam_routes(identities, principals),
            "sts": SecurityTokens(identities, principals, authorizer).routes(),
            "logs": logs.routes(),
        },
        caller,
    )
    door.identities = identities
    yield door
    await db.close()


async def refused(call, code, status=None):
    with pytest.raises(ClientError) as caught:
        await call
    assert caught.value.response["Error"]["Code"] == code
    if status:
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    return caught.value.response["Error"]["Message"]


@pytest.mark.databases
async def test_a_role_from_first_to_last(aws):
    await refused(aws("iam", "get_role", RoleName="r"), "NoSuchEntity", 404)
    made = await aws(
        "iam",
        "create_role",
        RoleName="r",
        Path="/app/",
        AssumeRolePolicyDocument=FOR_LAMBDA,
        Tags=[{"Key": "k", "Value": "v"}],
    )
    role = made["Role"]
    assert role["Arn"] == f"arn:aws:iam::{DEFAULT_ACCOUNT}:role/app/r"
    assert role["RoleId"].startswith("AROA")
    assert abs(role["CreateDate"].timestamp() - time.time()) < 60
    got = (await aws("iam", "get_role", RoleName="r"))["Role"]
    assert got["AssumeRolePolicyDocument"] == json.loads(FOR_LAMBDA)
    assert got["MaxSessionDuration"] == 3600
    again = aws("iam", "create_role", RoleName="r", AssumeRolePolicyDocument=FOR_LAMBDA)
    await refused(again, "EntityAlreadyExists", 409)

    document = json.dumps(allow("logs:*"))
    await aws("iam", "put_role_policy", RoleName="r", PolicyName="p", PolicyDocument=document)
    got = await aws("iam", "get_role_policy", RoleName="r", PolicyName="p")
    assert got["PolicyDocument"] == allow("logs:*")
    assert (await aws("iam", "list_role_policies", RoleName="r"))["PolicyNames"] == ["p"]
    await aws("iam", "attach_role_policy", RoleName="r", PolicyArn=BASIC)
    attached = await aws("iam", "list_attached_role_policies", RoleName="r")
    assert attached["AttachedPolicies"] == [
        {"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": BASIC}
    ]
    unknown = aws("iam", "attach_role_policy", RoleName="r", PolicyArn=BASIC + "X")
    await refused(unknown, "NoSuchEntity", 404)
    bad = aws("iam", "put_role_policy", RoleName="r", PolicyName="q", PolicyDocument="{}")
    await refused(bad, "MalformedPolicyDocument", 400)

    await refused(aws("iam", "delete_role", RoleName="r"), "DeleteConflict", 409)
    await aws("iam", "detach_role_policy", RoleName="r", PolicyArn=BASIC)
    await refused(aws("iam", "delete_role", RoleName="r"), "DeleteConflict", 409)
    await aws("iam", "delete_role_policy", RoleName="r", PolicyName="p")
    missing = aws("iam", "get_role_policy", RoleName="r", PolicyName="p")
    await refused(missing, "NoSuchEntity", 404)

    await aws("iam", "update_role", RoleName="r", Description="new", MaxSessionDuration=7200)
    new = json.dumps(trust({"AWS": DEFAULT_ACCOUNT}))
    await aws("iam", "update_assume_role_policy", RoleName="r", PolicyDocument=new)
    await aws("iam", "tag_role", RoleName="r", Tags=[{"Key": "l", "Value": "w"}])
    await aws("iam", "untag_role", RoleName="r", TagKeys=["k"])
    got = (await aws("iam", "get_role", RoleName="r"))["Role"]
    assert (got["Description"], got["MaxSessionDuration"]) == ("new", 7200)
    assert got["AssumeRolePolicyDocument"] == json.loads(new)
    assert (await aws("iam", "list_role_tags", RoleName="r"))["Tags"] == [
        {"Key": "l", "Value": "w"}
    ]
    await aws("iam", "delete_role", RoleName="r")
    await refused(aws("iam", "delete_role", RoleName="r"), "NoSuchEntity", 404)


async def test_listings_come_in_pages(aws):
    for number in range(7):
        await aws(
            "iam",
            "create_role",
            RoleName=f"r{number}",
            Path="/odd/" if number % 2 else "/",
            AssumeRolePolicyDocument=FOR_LAMBDA,
        )
    seen, marker = [], {}
    while True:
        page = await aws("iam", "list_roles", MaxItems=3, **marker)
        seen += [role["RoleName"] for role in page["Roles"]]
        if not page["IsTruncated"]:
            break
        marker = {"Marker": page["Marker"]}
    assert seen == [f"r{number}" for number in range(7)]
    odd = await aws("iam", "list_roles", PathPrefix="/odd/")
    assert [role["RoleName"] for role in odd["Roles"]] == ["r1", "r3", "r5"]
    await refused(aws("iam", "list_roles", Marker="x!"), "ValidationError", 400)


@pytest.mark.databases
async def test_users_and_their_keys(aws):
    await aws("iam", "create_user", UserName="ann")
    assert (await aws("iam", "get_user", UserName="ann"))["User"]["UserId"].startswith("AIDA")
    assert (await aws("iam", "get_user"))["User"]["Arn"] == ROOT
    key = (await aws("iam", "create_access_key", UserName="ann"))["AccessKey"]
    assert len(key["SecretAccessKey"]) == 40
    assert aws.identities.lookup(key["AccessKeyId"]).secret == key["SecretAccessKey"]
    (listed,) = (await aws("iam", "list_access_keys", UserName="ann"))["AccessKeyMetadata"]
    assert (listed["Status"], "SecretAccessKey" in listed) == ("Active", False)
    which = {"UserName": "ann", "AccessKeyId": key["AccessKeyId"]}
    await aws("iam", "update_access_key", Status="Inactive", **which)
    assert aws.identities.lookup(key["AccessKeyId"]) is None
    await aws("iam", "create_access_key", UserName="ann")
    await refused(aws("iam", "create_access_key", UserName="ann"), "LimitExceeded", 409)
    await refused(aws("iam", "delete_user", UserName="ann"), "DeleteConflict", 409)
    foreign = aws("iam", "delete_access_key", AccessKeyId=key["AccessKeyId"])
    await refused(foreign, "NoSuchEntity", 404)
    await aws("iam", "delete_access_key", **which)
    document = json.dumps(allow("s3:*"))
    await aws("iam", "put_user_policy", UserName="ann", PolicyName="p", PolicyDocument=document)
    got = await aws("iam", "get_user_policy", UserName="ann", PolicyName="p")
    assert got["PolicyDocument"] == allow("s3:*")
    assert (await aws("iam", "get_account_summary"))["SummaryMap"]["Users"] == 1
    assert (await aws("iam", "list_account_aliases"))["AccountAliases"] == []


async def test_managed_policies(aws):
    document = json.dumps(allow("sqs:*"))
    made = await aws("iam", "create_policy", PolicyName="mine", PolicyDocument=document)
    arn = made["Policy"]["Arn"]
    assert arn == f"arn:aws:iam::{DEFAULT_ACCOUNT}:policy/mine"
    version = await aws("iam", "get_policy_version", PolicyArn=arn, VersionId="v1")
    assert version["PolicyVersion"]["Document"] == allow("sqs:*")
    aws_version = await aws("iam", "get_policy_version", PolicyArn=BASIC, VersionId="v1")
    assert "logs:PutLogEvents" in aws_version["PolicyVersion"]["Document"]["Statement"][0]["Action"]
    await aws("iam", "create_user", UserName="ann")
    await aws("iam", "attach_user_policy", UserName="ann", PolicyArn=arn)
    assert (await aws("iam", "get_policy", PolicyArn=arn))["Policy"]["AttachmentCount"] == 1
    local = await aws("iam", "list_policies", Scope="Local")
    assert [policy["PolicyName"] for policy in local["Policies"]] == ["mine"]
    everything = await aws("iam", "list_policies", MaxItems=1000)
    assert {arn, BASIC} <= {policy["Arn"] for policy in everything["Policies"]}
    users = await aws("iam", "list_entities_for_policy", PolicyArn=arn)
    assert [user["UserName"] for user in users["PolicyUsers"]] == ["ann"]
    await refused(aws("iam", "delete_policy", PolicyArn=arn), "DeleteConflict", 409)
    await aws("iam", "detach_user_policy", UserName="ann", PolicyArn=arn)
    await aws("iam", "delete_policy", PolicyArn=arn)
    await refused(aws("iam", "get_policy", PolicyArn=arn), "NoSuchEntity", 404)
    await refused(aws("iam", "delete_policy", PolicyArn=BASIC), "NoSuchEntity", 404)


async def test_who_am_i(aws):
    who = await aws("sts", "get_caller_identity")
    assert who == {"UserId": DEFAULT_ACCOUNT, "Account": DEFAULT_ACCOUNT, "Arn": ROOT}
    info = await aws("sts", "get_access_key_info", AccessKeyId=aws.caller.access_key_id)
    assert info == {"Account": DEFAULT_ACCOUNT}
    await refused(aws("sts", "get_access_key_info", AccessKeyId="A" * 20), "ValidationError", 400)


async def test_assuming_a_role(aws):
    arn = f"arn:aws:iam::{DEFAULT_ACCOUNT}:role/r"
    asked = {"RoleArn": arn, "RoleSessionName": "me"}
    await refused(aws("sts", "assume_role", **asked), "AccessDenied", 403)
    await aws("iam", "create_role", RoleName="r", AssumeRolePolicyDocument=FOR_LAMBDA)
    await refused(aws("sts", "assume_role", **asked), "AccessDenied", 403)
    statement = trust({"AWS": DEFAULT_ACCOUNT})["Statement"][0] | {
        "Condition": {"StringEquals": {"sts:ExternalId": "x-1"}}
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    await aws("iam", "update_assume_role_policy", RoleName="r", PolicyDocument=document)
    await refused(aws("sts", "assume_role", **asked), "AccessDenied", 403)
    asked["ExternalId"] = "x-1"
    got = await aws("sts", "assume_role", **asked)
    credentials = got["Credentials"]
    session = f"arn:aws:sts::{DEFAULT_ACCOUNT}:assumed-role/r/me"
    assert got["AssumedRoleUser"]["Arn"] == session
    assert abs(credentials["Expiration"].timestamp() - time.time() - 3600) < 60
    keys = IdentityKeys(aws.identities)
    used = (credentials["AccessKeyId"], credentials["SessionToken"])
    secret = keys.secret(*used)
    assert secret.secret == credentials["SecretAccessKey"]
    assert secret.session_token == credentials["SessionToken"]
    assert keys.principal(*used).principal_arn == session
    assert keys.secret(used[0], "forged") is None
    for seconds, code in ((899, "ValidationError"), (3601, "ValidationError")):
        await refused(aws("sts", "assume_role", DurationSeconds=seconds, **asked), code, 400)
    await aws("sts", "assume_role", DurationSeconds=900, **asked)
    with_policy = aws("sts", "assume_role", Policy=json.dumps(allow("*")), **asked)
    assert "not served" in await refused(with_policy, "ValidationError", 400)
    bad_name = aws("sts", "assume_role", **(asked | {"RoleSessionName": "a b"}))
    await refused(bad_name, "ValidationError", 400)


async def test_session_tokens(aws):
    got = (await aws("sts", "get_session_token"))["Credentials"]
    found = aws.identities.lookup(got["AccessKeyId"], got["SessionToken"])
    assert (found.principal_arn, found.secret) == (ROOT, got["SecretAccessKey"])
    aws.caller = msgspec.structs.replace(aws.caller, access_key_id=got["AccessKeyId"])
    await refused(aws("sts", "get_session_token"), "AccessDenied", 403)


@pytest.mark.databases
async def test_logs_as_tools_read_them(aws):
    group, stream = "/aws/lambda/f", "2026/11/21/[$LATEST]abc"
    now = int(time.time() * 1000)
    await refused(
        aws("logs", "filter_log_events", logGroupName=group), "ResourceNotFoundException", 400
    )
    await aws("logs", "create_log_group", logGroupName=group, tags={"k": "v"})
    again = aws("logs", "create_log_group", logGroupName=group)
    await refused(again, "ResourceAlreadyExistsException", 400)
    where = {"logGroupName": group, "logStreamName": stream}
    await aws("logs", "create_log_stream", **where)
    events = [{"timestamp": now + index, "message": f"line {index}"} for index in range(5)]
    put = await aws("logs", "put_log_events", logEvents=events, **where)
    assert "rejectedLogEventsInfo" not in put

    found = await aws("logs", "filter_log_events", logGroupName=group, filterPattern='"line 3"')
    (event,) = found["events"]
    assert (event["message"], event["timestamp"], event["logStreamName"]) == (
        "line 3",
        now + 3,
        stream,
    )
    assert "nextToken" not in found
    page = await aws("logs", "filter_log_events", logGroupName=group, limit=4)
    rest = await aws(
        "logs", "filter_log_events", logGroupName=group, limit=4, nextToken=page["nextToken"]
    )
    assert len(page["events"]) + len(rest["events"]) == 5
    later = await aws("logs", "filter_log_events", logGroupName=group, startTime=now + 4)
    assert [each["message"] for each in later["events"]] == ["line 4"]

    head = await aws("logs", "get_log_events", startFromHead=True, limit=2, **where)
    assert [each["message"] for each in head["events"]] == ["line 0", "line 1"]
    following = await aws("logs", "get_log_events", nextToken=head["nextForwardToken"], **where)
    assert len(following["events"]) == 3
    end = await aws("logs", "get_log_events", nextToken=following["nextForwardToken"], **where)
    assert (end["events"], end["nextForwardToken"]) == ([], following["nextForwardToken"])

    (shown,) = (await aws("logs", "describe_log_groups", logGroupNamePrefix="/aws/"))["logGroups"]
    assert shown["arn"] == f"arn:aws:logs:us-home-1:{DEFAULT_ACCOUNT}:log-group:{group}:*"
    assert "retentionInDays" not in shown
    assert (await aws("logs", "describe_log_groups", logGroupNamePattern="nope"))["logGroups"] == []
    streams = await aws(
        "logs", "describe_log_streams", logGroupName=group, orderBy="LastEventTime", descending=True
    )
    (described,) = streams["logStreams"]
    assert (described["firstEventTimestamp"], described["lastEventTimestamp"]) == (now, now + 4)

    await aws("logs", "put_retention_policy", logGroupName=group, retentionInDays=7)
    (shown,) = (await aws("logs", "describe_log_groups"))["logGroups"]
    assert shown["retentionInDays"] == 7
    await aws("logs", "delete_retention_policy", logGroupName=group)
    arn = shown["logGroupArn"]
    await aws("logs", "tag_resource", resourceArn=arn, tags={"l": "w"})
    await aws("logs", "untag_resource", resourceArn=arn, tagKeys=["k"])
    assert (await aws("logs", "list_tags_for_resource", resourceArn=arn))["tags"] == {"l": "w"}
    await aws("logs", "delete_log_stream", **where)
    await refused(aws("logs", "get_log_events", **where), "ResourceNotFoundException", 400)
    await aws("logs", "delete_log_group", logGroupName=group)
    await refused(
        aws("logs", "delete_log_group", logGroupName=group), "ResourceNotFoundException", 400
    )


@pytest.mark.databases
async def test_groups_and_streams_come_in_pages(aws):
    for number in range(5):
        await aws("logs", "create_log_group", logGroupName=f"g{number}")
        await aws("logs", "create_log_stream", logGroupName="g0", logStreamName=f"s{number}")
    for method, arguments, member, name in (
        ("describe_log_groups", {}, "logGroups", "logGroupName"),
        ("describe_log_groups", {"logGroupNamePattern": "G"}, "logGroups", "logGroupName"),
        ("describe_log_streams", {"logGroupName": "g0"}, "logStreams", "logStreamName"),
        (
            "describe_log_streams",
            {"logGroupName": "g0", "orderBy": "LastEventTime"},
            "logStreams",
            "logStreamName",
        ),
    ):
        seen, token = [], {}
        while True:
            page = await aws("logs", method, limit=2, **arguments, **token)
            seen += [each[name][1:] for each in page[member]]
            if "nextToken" not in page:
                break
            token = {"nextToken": page["nextToken"]}
        assert seen == list("01234")
