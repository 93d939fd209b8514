"""What belongs to functions: policies, URLs, event configurations, concurrency, tags, behaviour."""

import json

import pytest
from tests.unit.control.owned import ACCOUNT, OTHER, arn

from forerun.errors import NotFound

QUEUE = f"arn:aws:sqs:us-home-1:{ACCOUNT}:queue"


def permission(**changes):
    return {
        "FunctionName": "fn",
        "StatementId": "one",
        "Action": "lambda:InvokeFunction",
        "Principal": OTHER,
    } | changes


@pytest.mark.databases
async def test_a_policy_is_put_together_as_aws_does(aws, refused):
    await aws.create(Publish=True)
    await refused(aws.get_policy(FunctionName="fn"), "ResourceNotFoundException", "does not exist")
    answer = await aws.add_permission(
        **permission(
            Principal="s3.amazonaws.com",
            SourceArn="arn:aws:s3:::bucket",
            SourceAccount=ACCOUNT,
        )
    )
    statement = {
        "Sid": "one",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": arn("fn"),
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": ACCOUNT},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"},
        },
    }
    assert json.loads(answer["Statement"]) == statement
    await aws.add_permission(
        **permission(
            StatementId="url",
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
            FunctionUrlAuthType="NONE",
        )
    )
    policy = await aws.get_policy(FunctionName="fn")
    document = json.loads(policy["Policy"])
    assert (document["Version"], document["Id"]) == ("2012-10-17", "default")
    assert document["Statement"][0] == statement
    assert document["Statement"][1]["Principal"] == "*"
    assert document["Statement"][1]["Condition"] == {
        "StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}
    }
    await aws.add_permission(**permission(Qualifier="1"))
    versioned = json.loads((await aws.get_policy(FunctionName="fn", Qualifier="1"))["Policy"])
    assert versioned["Statement"][0]["Resource"] == arn("fn", "1")
    assert versioned["Statement"][0]["Principal"] == {"AWS": f"arn:aws:iam::{OTHER}:root"}


@pytest.mark.databases
async def test_permissions_that_are_refused(aws, refused):
    await aws.create()
    first = await aws.add_permission(**permission())
    assert first
    answer = await refused(
        aws.add_permission(**permission()), "ResourceConflictException", "(one)", "already exists"
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 409
    await refused(
        aws.add_permission(**permission(StatementId="two", Principal="some body")),
        "ValidationException",
    )
    await refused(
        aws.add_permission(**permission(StatementId="two", Principal="nobody")),
        "InvalidParameterValueException",
        "principal",
    )
    await refused(
        aws.add_permission(**permission(StatementId="two", Qualifier="$LATEST")),
        "InvalidParameterValueException",
        "$LATEST",
    )
    await refused(
        aws.add_permission(**permission(StatementId="two", Qualifier="7")),
        "ResourceNotFoundException",
    )
    await refused(
        aws.add_permission(**permission(StatementId="two", RevisionId="stale")),
        "PreconditionFailedException",
    )
    await refused(
        aws.remove_permission(FunctionName="fn", StatementId="none"),
        "ResourceNotFoundException",
        "none",
    )
    await refused(
        aws.remove_permission(FunctionName="fn", StatementId="one", RevisionId="stale"),
        "PreconditionFailedException",
    )
    revision = (await aws.get_policy(FunctionName="fn"))["RevisionId"]
    await aws.remove_permission(FunctionName="fn", StatementId="one", RevisionId=revision)
    await refused(aws.get_policy(FunctionName="fn"), "ResourceNotFoundException")


@pytest.mark.databases
async def test_a_policy_is_bounded(aws, refused):
    await aws.create()
    source = "arn:aws:s3:::" + "b" * 5000
    for index in range(3):
        await aws.add_permission(**permission(StatementId=f"s{index}", SourceArn=source))
    await refused(
        aws.add_permission(**permission(StatementId="s3", SourceArn=source)),
        "PolicyLengthExceededException",
        "20480",
    )


@pytest.mark.databases
async def test_a_url_is_made_found_changed_and_deleted(aws, estate, refused):
    await aws.create(Publish=True)
    await aws.create_alias(FunctionName="fn", Name="live", FunctionVersion="1")
    made = await aws.create_function_url_config(
        FunctionName="fn",
        AuthType="NONE",
        Cors={"AllowOrigins": ["*"], "AllowMethods": ["GET"], "MaxAge": 60},
    )
    assert made["FunctionUrl"].endswith(".lambda-url.us-home-1.localhost:9700/")
    assert made["Cors"] == {"AllowOrigins": ["*"], "AllowMethods": ["GET"], "MaxAge": 60}
    url_id = made["FunctionUrl"].removeprefix("http://").partition(".")[0]
    found = await estate.urls.by_id(url_id)
    assert (found.account, found.name, found.qualifier) == (ACCOUNT, "fn", None)
    assert (found.auth_type, found.streams) == ("NONE", False)
    assert found.domain == f"{url_id}.lambda-url.us-home-1.localhost"
    await refused(
        aws.create_function_url_config(FunctionName="fn", AuthType="NONE"),
        "ResourceConflictException",
        "FunctionUrlConfig exists",
    )
    changed = await aws.update_function_url_config(
        FunctionName="fn", AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM"
    )
    assert (changed["AuthType"], changed["InvokeMode"]) == ("AWS_IAM", "RESPONSE_STREAM")
    assert changed["Cors"]["MaxAge"] == 60
    assert (await estate.urls.by_id(url_id)).streams
    await aws.create_function_url_config(FunctionName="fn", Qualifier="live", AuthType="NONE")
    listed = (await aws.list_function_url_configs(FunctionName="fn"))["FunctionUrlConfigs"]
    assert [url["FunctionArn"] for url in listed] == [arn("fn"), arn("fn", "live")]
    page = await aws.list_function_url_configs(FunctionName="fn", MaxItems=1)
    rest = await aws.list_function_url_configs(FunctionName="fn", Marker=page["NextMarker"])
    assert [url["FunctionArn"] for url in rest["FunctionUrlConfigs"]] == [arn("fn", "live")]
    for qualifier in ("1", "$LATEST"):
        with pytest.raises(aws.boto.exceptions.ClientError):
            await aws.create_function_url_config(
                FunctionName="fn", Qualifier=qualifier, AuthType="NONE"
            )
    await aws.delete_function_url_config(FunctionName="fn")
    await refused(aws.get_function_url_config(FunctionName="fn"), "ResourceNotFoundException")
    with pytest.raises(NotFound):
        await estate.urls.by_id(url_id)
    alias_id = listed[1]["FunctionUrl"].removeprefix("http://").partition(".")[0]
    await estate.urls.by_id(alias_id)
    await aws.delete_function(FunctionName="fn")
    with pytest.raises(NotFound):
        await estate.urls.by_id(alias_id)


@pytest.mark.parametrize(
    "cors",
    [
        {"AllowMethods": ["FETCH"]},
        {"MaxAge": 86401},
        {"AllowOrigins": ["x" * 254]},
        {"AllowHeaders": ["x-a\r\nx-b: 1"]},
        {"AllowOrigins": ["*"] * 101},
    ],
)
async def test_cors_that_is_refused(aws, cors):
    await aws.create()
    with pytest.raises(aws.boto.exceptions.ClientError):
        await aws.create_function_url_config(FunctionName="fn", AuthType="NONE", Cors=cors)


@pytest.mark.databases
async def test_event_invoke_configurations(aws, refused):
    await aws.create(Publish=True)
    await refused(
        aws.get_function_event_invoke_config(FunctionName="fn"),
        "ResourceNotFoundException",
        "doesn't have an EventInvokeConfig",
    )
    made = await aws.put_function_event_invoke_config(
        FunctionName="fn",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": QUEUE}},
    )
    assert made["FunctionArn"] == arn("fn", "$LATEST")
    assert (made["MaximumRetryAttempts"], made["MaximumEventAgeInSeconds"]) == (0, 21600)
    changed = await aws.update_function_event_invoke_config(
        FunctionName="fn", MaximumEventAgeInSeconds=60
    )
    assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]) == (0, 60)
    assert changed["DestinationConfig"]["OnFailure"] == {"Destination": QUEUE}
    replaced = await aws.put_function_event_invoke_config(FunctionName="fn", MaximumRetryAttempts=1)
    assert replaced["MaximumEventAgeInSeconds"] == 21600
    assert replaced["DestinationConfig"]["OnFailure"] == {}
    await aws.create("target")
    await aws.put_function_event_invoke_config(
        FunctionName="fn",
        Qualifier="1",
        DestinationConfig={"OnSuccess": {"Destination": arn("target")}},
    )
    listed = await aws.list_function_event_invoke_configs(FunctionName="fn")
    arns = [item["FunctionArn"] for item in listed["FunctionEventInvokeConfigs"]]
    assert arns == [arn("fn", "$LATEST"), arn("fn", "1")]
    await aws.delete_function_event_invoke_config(FunctionName="fn")
    await refused(
        aws.delete_function_event_invoke_config(FunctionName="fn"), "ResourceNotFoundException"
    )


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"MaximumRetryAttempts": 3},
        {"MaximumEventAgeInSeconds": 59},
        {"MaximumEventAgeInSeconds": 21601},
        {"DestinationConfig": {"OnSuccess": {"Destination": arn("fn")}}},
        {"DestinationConfig": {"OnSuccess": {"Destination": arn("none")}}},
        {"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:ec2:us-home-1:1:x"}}},
    ],
)
async def test_event_invoke_configurations_that_are_refused(aws, values):
    await aws.create()
    with pytest.raises(aws.boto.exceptions.ClientError):
        await aws.put_function_event_invoke_config(FunctionName="fn", **values)


@pytest.mark.databases
async def test_reservations_leave_the_accounts_minimum(aws, refused):
    for name in ("fn", "other"):
        await aws.create(name)
    assert "ReservedConcurrentExecutions" not in await aws.get_function_concurrency(
        FunctionName="fn"
    )
    await aws.put_function_concurrency(FunctionName="fn", ReservedConcurrentExecutions=900)
    await aws.put_function_concurrency(FunctionName="fn", ReservedConcurrentExecutions=899)
    await refused(
        aws.put_function_concurrency(FunctionName="other", ReservedConcurrentExecutions=2),
        "InvalidParameterValueException",
        "[100]",
    )
    await aws.put_function_concurrency(FunctionName="other", ReservedConcurrentExecutions=1)
    shown = await aws.get_function(FunctionName="fn")
    assert shown["Concurrency"] == {"ReservedConcurrentExecutions": 899}
    settings = await aws.get_account_settings()
    assert settings["AccountLimit"]["ConcurrentExecutions"] == 1000
    assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
    await aws.put_function_concurrency(FunctionName="fn", ReservedConcurrentExecutions=0)
    shown = await aws.get_function_concurrency(FunctionName="fn")
    assert shown["ReservedConcurrentExecutions"] == 0
    await aws.delete_function_concurrency(FunctionName="fn")
    await aws.delete_function_concurrency(FunctionName="fn")
    await refused(
        aws.put_function_concurrency(FunctionName="none", ReservedConcurrentExecutions=1),
        "ResourceNotFoundException",
    )


@pytest.mark.databases
async def test_tags(aws, refused):
    await aws.create(Tags={"a": "1"})
    await aws.tag_resource(Resource=arn("fn"), Tags={"b": "2 /+-=._:@ é", "a": "3"})
    assert (await aws.list_tags(Resource=arn("fn")))["Tags"] == {"a": "3", "b": "2 /+-=._:@ é"}
    await aws.untag_resource(Resource=arn("fn"), TagKeys=["a", "none"])
    assert (await aws.list_tags(Resource=arn("fn")))["Tags"] == {"b": "2 /+-=._:@ é"}
    await aws.tag_resource(Resource=arn("fn"), Tags={f"k{i}": "" for i in range(49)})
    for tags in ({"one-more": ""}, {"b": "x" * 257}, {"AWS:x": ""}, {"bad\u0007": ""}):
        with pytest.raises(aws.boto.exceptions.ClientError):
            await aws.tag_resource(Resource=arn("fn"), Tags=tags)
    assert len((await aws.list_tags(Resource=arn("fn")))["Tags"]) == 50
    await refused(
        aws.list_tags(Resource=arn("fn", "1")), "InvalidParameterValueException", "versions"
    )
    await refused(aws.list_tags(Resource=arn("none")), "ResourceNotFoundException")
    await refused(
        aws.list_tags(Resource=arn("fn").replace(ACCOUNT, OTHER)), "ResourceNotFoundException"
    )


@pytest.mark.databases
async def test_behaviour_is_kept(aws, refused):
    await aws.create(Publish=True)
    shown = await aws.get_function_recursion_config(FunctionName="fn")
    assert shown["RecursiveLoop"] == "Terminate"
    await aws.put_function_recursion_config(FunctionName="fn", RecursiveLoop="Allow")
    shown = await aws.get_function_recursion_config(FunctionName="fn")
    assert shown["RecursiveLoop"] == "Allow"
    shown = await aws.get_runtime_management_config(FunctionName="fn", Qualifier="1")
    assert (shown["UpdateRuntimeOn"], shown["FunctionArn"]) == ("Auto", arn("fn", "1"))
    await aws.put_runtime_management_config(FunctionName="fn", UpdateRuntimeOn="FunctionUpdate")
    shown = await aws.get_runtime_management_config(FunctionName="fn")
    assert shown["UpdateRuntimeOn"] == "FunctionUpdate"
    await refused(
        aws.put_runtime_management_config(FunctionName="fn", UpdateRuntimeOn="Manual"),
        "InvalidParameterValueException",
    )
    shown = await aws.get_function_code_signing_config(FunctionName="fn")
    assert shown["CodeSigningConfigArn"] == ""
