"""Functions through boto3: what is stored, shown, refused, and how changes are told."""

import asyncio
import base64
import hashlib
import os
from datetime import UTC, datetime

import pytest
from tests.unit.control.owned import ACCOUNT, OTHER, ROLE, arn, make_zip


async def test_a_function_is_shown_as_it_was_made(aws, estate, clock):
    package = make_zip()
    made = await aws.create(
        Code={"ZipFile": package},
        Description="prices orders",
        Timeout=900,
        MemorySize=10240,
        EphemeralStorage={"Size": 10240},
        Environment={"Variables": {"TABLE": "orders"}},
        TracingConfig={"Mode": "Active"},
        DeadLetterConfig={"TargetArn": f"arn:aws:sqs:us-home-1:{ACCOUNT}:dead"},
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "LogGroup": "/own"},
        SnapStart={"ApplyOn": "PublishedVersions"},
        Tags={"team": "shop"},
    )
    assert made["FunctionArn"] == arn("fn")
    assert made["CodeSha256"] == base64.b64encode(hashlib.sha256(package).digest()).decode()
    assert made["CodeSize"] == len(package)
    assert (made["State"], made["LastUpdateStatus"], made["Version"]) == (
        "Active",
        "Successful",
        "$LATEST",
    )
    assert made["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"}
    assert made["LoggingConfig"] == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "DEBUG",
        "SystemLogLevel": "INFO",
        "LogGroup": "/own",
    }
    at = datetime.fromtimestamp(clock.now(), UTC)
    assert made["LastModified"] == at.strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    shown = await aws.get_function(FunctionName="fn")
    assert shown["Tags"] == {"team": "shop"}
    assert shown["Code"].keys() == {"RepositoryType", "Location"}
    where, _, digest = shown["Code"]["Location"].rpartition("/")
    assert (where, await estate.code.read(digest)) == ("http://code", package)
    configuration = await aws.get_function_configuration(FunctionName=arn("fn"))
    for answer in (made, configuration, shown):
        answer.pop("ResponseMetadata")
    assert shown["Configuration"] == configuration == made
    await asyncio.to_thread(aws.boto.get_waiter("function_active_v2").wait, FunctionName="fn")


@pytest.mark.parametrize(
    "name", ["fn", "function:fn", f"{ACCOUNT}:function:fn", arn("fn"), arn("fn", "$LATEST")]
)
async def test_every_form_of_a_name_means_the_function(aws, name):
    await aws.create()
    if name.startswith("function:"):
        name = "fn"
    assert (await aws.get_function_configuration(FunctionName=name))["FunctionName"] == "fn"


async def test_qualifiers_are_resolved_and_printed_in_the_arn(aws, refused):
    await aws.create(Publish=True)
    await aws.create_alias(FunctionName="fn", Name="live", FunctionVersion="1")
    for qualifier, version in (("$LATEST", "$LATEST"), ("1", "1"), ("live", "1")):
        shown = await aws.get_function_configuration(FunctionName="fn", Qualifier=qualifier)
        assert (shown["FunctionArn"], shown["Version"]) == (arn("fn", qualifier), version)
    shown = await aws.get_function_configuration(FunctionName="fn:live")
    assert shown["Version"] == "1"
    await refused(
        aws.get_function_configuration(FunctionName="fn:live", Qualifier="1"),
        "InvalidParameterValueException",
        "does not match",
    )
    await refused(
        aws.get_function(FunctionName="fn", Qualifier="9"),
        "ResourceNotFoundException",
        arn("fn", "9"),
    )


async def test_what_is_not_there_is_a_404(aws, refused):
    answer = await refused(
        aws.get_function(FunctionName="nothing"), "ResourceNotFoundException", arn("nothing")
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 404
    await refused(aws.delete_function(FunctionName="nothing"), "ResourceNotFoundException")
    await refused(
        aws.update_function_code(FunctionName="nothing", ZipFile=make_zip()),
        "ResourceNotFoundException",
    )
    await refused(
        aws.get_function(FunctionName=arn("fn").replace("us-home-1", "us-east-1")),
        "ResourceNotFoundException",
        "region",
    )


async def test_a_name_is_taken_once_even_at_the_same_time(aws, refused):
    made = await asyncio.gather(*(aws.create() for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(answer, dict) for answer in made) == 1
    await refused(aws.create(), "ResourceConflictException", "Function already exist: fn")


@pytest.mark.databases
async def test_accounts_do_not_see_each_other(aws, refused):
    await aws.create()
    other = aws.as_account(OTHER)
    await refused(other.get_function(FunctionName="fn"), "ResourceNotFoundException")
    await refused(other.get_function(FunctionName=arn("fn")), "AccessDeniedException")
    assert (await other.list_functions())["Functions"] == []
    await refused(
        other.create_function(
            FunctionName="fn",
            Runtime="python3.11",
            Handler="a.b",
            Role=ROLE,
            Code={"ZipFile": make_zip()},
        ),
        "AccessDeniedException",
        "Cross-account pass role",
    )


REFUSED = [
    ({"Timeout": 901}, "ValidationException", "less than or equal to 900"),
    ({"Timeout": 0}, "ValidationException", "timeout"),
    ({"MemorySize": 127}, "ValidationException", "128"),
    ({"MemorySize": 10241}, "ValidationException", "10240"),
    ({"EphemeralStorage": {"Size": 511}}, "ValidationException", "512"),
    ({"EphemeralStorage": {"Size": 10241}}, "ValidationException", "10240"),
    ({"Description": "x" * 257}, "ValidationException", "256"),
    ({"Handler": "x" * 129}, "ValidationException", "128"),
    ({"Handler": "two words"}, "ValidationException", "handler"),
    ({"Role": "nobody"}, "ValidationException", "role"),
    ({"FunctionName": "x" * 65}, None, ""),
    ({"Runtime": "python3.13"}, "InvalidParameterValueException", "python3.12"),
    ({"Architectures": ["arm64"]}, "InvalidParameterValueException", "x86_64"),
    (
        {"Environment": {"Variables": {"AWS_REGION": "x"}}},
        "InvalidParameterValueException",
        "AWS_REGION",
    ),
    (
        {"Environment": {"Variables": {"K" * 10: "v" * 4096}}},
        "InvalidParameterValueException",
        "4KB",
    ),
    ({"Environment": {"Variables": {"1ST": "x"}}}, "ValidationException", "environment"),
    ({"Environment": {"Variables": {"ZERO": "a\0b"}}}, "InvalidParameterValueException", "NUL"),
    ({"LoggingConfig": {"ApplicationLogLevel": "DEBUG"}}, "InvalidParameterValueException", "JSON"),
    ({"Tags": {"aws:x": "1"}}, "InvalidParameterValueException", "aws:"),
    (
        {"Tags": {"forerun:egress": "some"}},
        "InvalidParameterValueException",
        "none, platform, open",
    ),
    ({"Tags": {"forerun:zone": ""}}, "InvalidParameterValueException", "forerun:zone must be"),
    ({"Tags": {"forerun:zone": "a b"}}, "InvalidParameterValueException", "forerun:zone must be"),
    ({"Tags": {"forerun:zone": "z" * 64}}, "InvalidParameterValueException", "1 to 63"),
    (
        {"Tags": {"forerun:isolation": "process"}},
        "InvalidParameterValueException",
        "forerun:isolation must be jail",
    ),
    ({"Tags": {f"k{i}": "" for i in range(51)}}, "InvalidParameterValueException", "limit"),
    (
        {"PackageType": "Image", "Code": {"ImageUri": "x"}},
        "InvalidParameterValueException",
        "Image",
    ),
    ({"Code": {"S3Bucket": "bucket", "S3Key": "key"}}, "InvalidParameterValueException", "ZipFile"),
    ({"Code": {}}, "InvalidParameterValueException", "source"),
    ({"Code": {"ZipFile": b"no zip"}}, "InvalidParameterValueException", "Could not unzip"),
    (
        {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}},
        "InvalidParameterValueException",
        "TenancyConfig",
    ),
    (
        {"DurableConfig": {"ExecutionTimeout": 10}},
        "InvalidParameterValueException",
        "DurableConfig",
    ),
    (
        {"Layers": [f"arn:aws:lambda:us-home-1:{ACCOUNT}:layer:none:1"]},
        "InvalidParameterValueException",
        "does not exist",
    ),
]


@pytest.mark.parametrize(
    ("change", "code", "words"), REFUSED, ids=[str(r[0])[:40] for r in REFUSED]
)
async def test_what_aws_refuses_is_refused_and_leaves_nothing(aws, refused, change, code, words):
    values = {"name": change.pop("FunctionName")} if "FunctionName" in change else {}
    if code is None:
        with pytest.raises(aws.boto.exceptions.ClientError):
            await aws.create(**values)
    else:
        await refused(aws.create(**change), code, words)
    change["FunctionName"] = "x" * 65 if code is None else change.get("FunctionName", "fn")
    assert (await aws.list_functions())["Functions"] == []


async def test_limits_are_allowed_at_their_edge(aws):
    filler = 4096 - len('{"KK":""}')
    await aws.create(
        "x" * 64,
        Timeout=1,
        MemorySize=128,
        EphemeralStorage={"Size": 512},
        Description="d" * 256,
        Handler="h" * 128,
        Environment={"Variables": {"KK": "v" * filler}},
        Tags={f"k{i}": "v" * 256 for i in range(50)},
    )


async def test_mandatory_members(aws, refused):
    await refused(
        aws.create_function(FunctionName="fn", Role=ROLE, Code={"ZipFile": make_zip()}),
        "InvalidParameterValueException",
        "Runtime and Handler are mandatory",
    )


async def test_an_update_changes_what_is_given(aws):
    made = await aws.create(Environment={"Variables": {"AA": "1"}}, Timeout=7, Description="old")
    new = await aws.update_function_configuration(
        FunctionName="fn", MemorySize=256, Environment={"Variables": {"BB": "2"}}, Description=""
    )
    assert (new["MemorySize"], new["Timeout"], new["Description"]) == (256, 7, "")
    assert new["Environment"]["Variables"] == {"BB": "2"}
    assert new["RevisionId"] != made["RevisionId"]
    assert new["CodeSha256"] == made["CodeSha256"]
    cleared = await aws.update_function_configuration(
        FunctionName="fn", Environment={"Variables": {}}
    )
    assert "Environment" not in cleared


async def test_revisions_guard_every_change(aws, refused):
    first = (await aws.create())["RevisionId"]
    second = (
        await aws.update_function_configuration(
            FunctionName="fn", RevisionId=first, Description="second"
        )
    )["RevisionId"]
    for call in (
        aws.update_function_configuration(FunctionName="fn", RevisionId=first, Description="x"),
        aws.update_function_code(FunctionName="fn", RevisionId=first, ZipFile=make_zip()),
        aws.publish_version(FunctionName="fn", RevisionId=first),
    ):
        answer = await refused(call, "PreconditionFailedException", "Revision Id")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 412
    await aws.publish_version(FunctionName="fn", RevisionId=second)


async def test_changes_at_the_same_time_lose_nothing(aws):
    await aws.create()
    changes = {"Description": "both"}, {"Timeout": 9}, {"MemorySize": 512}
    await asyncio.gather(
        *(aws.update_function_configuration(FunctionName="fn", **change) for change in changes)
    )
    shown = await aws.get_function_configuration(FunctionName="fn")
    assert (shown["Description"], shown["Timeout"], shown["MemorySize"]) == ("both", 9, 512)


async def test_code_is_replaced_and_a_dry_run_replaces_nothing(aws, estate):
    made = await aws.create()
    other = make_zip({"app.py": "other = 1"})
    dry = await aws.update_function_code(FunctionName="fn", ZipFile=other, DryRun=True)
    assert dry["CodeSha256"] != made["CodeSha256"]
    shown = await aws.get_function_configuration(FunctionName="fn")
    assert shown["RevisionId"] == made["RevisionId"]
    done = await aws.update_function_code(FunctionName="fn", ZipFile=other, Publish=True)
    assert (done["Version"], done["FunctionArn"]) == ("1", arn("fn", "1"))
    _, latest = await estate.functions.get(ACCOUNT, "fn")
    tree = estate.code.path(latest.code_digest)
    with open(os.path.join(tree, "app.py")) as file:
        assert file.read() == "other = 1"


async def test_listeners_hear_which_sandboxes_have_no_use_any_more(aws, estate):
    heard = []
    estate.changes.listen(lambda account, name, keys: heard.append((account, name, list(keys))))
    await aws.create(Publish=True)
    _, first = await estate.functions.get(ACCOUNT, "fn")
    _, published = await estate.functions.get(ACCOUNT, "fn", "1")
    assert first.sandbox_key != published.sandbox_key
    await aws.update_function_configuration(FunctionName="fn", Timeout=5)
    assert heard[-1] == (ACCOUNT, "fn", [first.sandbox_key])
    _, second = await estate.functions.get(ACCOUNT, "fn")
    await aws.delete_function(FunctionName="fn")
    assert heard[-1] == (ACCOUNT, "fn", [second.sandbox_key, published.sandbox_key])


@pytest.mark.databases
async def test_deleting_takes_everything_along(aws, refused):
    await aws.create(Publish=True)
    await aws.create_alias(FunctionName="fn", Name="live", FunctionVersion="1")
    await aws.add_permission(
        FunctionName="fn", StatementId="s", Action="lambda:InvokeFunction", Principal=OTHER
    )
    await aws.create_function_url_config(FunctionName="fn", AuthType="NONE")
    await aws.put_function_event_invoke_config(FunctionName="fn", MaximumRetryAttempts=0)
    await aws.delete_function(FunctionName="fn")
    await aws.create()
    await refused(aws.get_policy(FunctionName="fn"), "ResourceNotFoundException")
    await refused(aws.get_function_url_config(FunctionName="fn"), "ResourceNotFoundException")
    await refused(
        aws.get_function_event_invoke_config(FunctionName="fn"), "ResourceNotFoundException"
    )
    assert (await aws.list_aliases(FunctionName="fn"))["Aliases"] == []
    assert len((await aws.list_versions_by_function(FunctionName="fn"))["Versions"]) == 1


@pytest.mark.databases
async def test_listing_pages_through_all_functions_in_order(aws):
    names = sorted(f"fn-{index:03d}" for index in range(7))
    for name in reversed(names):
        await aws.create(name)
    pages = []
    marker = {}
    while True:
        page = await aws.list_functions(MaxItems=3, **marker)
        pages.append([f["FunctionName"] for f in page["Functions"]])
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert pages == [names[:3], names[3:6], names[6:]]
    await aws.publish_version(FunctionName="fn-001")
    every = await aws.list_functions(FunctionVersion="ALL")
    arns = [f["FunctionArn"] for f in every["Functions"]]
    assert arns[1:3] == [arn("fn-001", "$LATEST"), arn("fn-001", "1")]
    assert len(arns) == 8


async def test_a_marker_that_is_none_is_refused(aws, refused):
    for marker in ("x", "%%%", "WzFd", "W10"):
        await refused(aws.list_functions(Marker=marker), "InvalidParameterValueException")
