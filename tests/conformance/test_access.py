"""boto3: who may do what: policies of functions, roles and users, sts."""

import json
import uuid

import pytest
from botocore.exceptions import ClientError
from tests.servers import Server, eventually, package

pytestmark = pytest.mark.conformance

HELLO = "def handler(event, context):\n    return 1\n"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def allow(*actions: str, resource: str = "*") -> str:
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_policy_of_a_function(server: Server, refused):
    lam = server.lambda_
    name = server.function(HELLO)
    with refused("ResourceNotFoundException", 404):
        lam.get_policy(FunctionName=name)
    permission = {
        "FunctionName": name,
        "StatementId": "bucket",
        "Action": "lambda:InvokeFunction",
        "Principal": "s3.amazonaws.com",
        "SourceArn": "arn:aws:s3:::orders",
        "SourceAccount": server.account,
    }
    added = json.loads(lam.add_permission(**permission)["Statement"])
    assert added["Principal"] == {"Service": "s3.amazonaws.com"}
    with refused("ResourceConflictException", 409):
        lam.add_permission(**permission)
    got = lam.get_policy(FunctionName=name)
    policy = json.loads(got["Policy"])
    assert policy["Statement"] == [added]
    assert added["Condition"]["ArnLike"] == {"AWS:SourceArn": "arn:aws:s3:::orders"}
    with refused("PreconditionFailedException", 412):
        lam.remove_permission(FunctionName=name, StatementId="bucket", RevisionId=str(uuid.uuid4()))
    lam.remove_permission(FunctionName=name, StatementId="bucket", RevisionId=got["RevisionId"])
    with refused("ResourceNotFoundException", 404):
        lam.get_policy(FunctionName=name)
    with refused("ResourceNotFoundException", 404):
        lam.remove_permission(FunctionName=name, StatementId="bucket")


def test_caller_identity(server: Server):
    who = server.client("sts").get_caller_identity()
    assert who["Account"].isdigit()
    assert len(who["Account"]) == 12
    assert who["Arn"].startswith(f"arn:aws:iam::{who['Account']}:")


def test_roles(server: Server, refused):
    iam = server.client("iam")
    name = f"role-{uuid.uuid4().hex[:8]}"
    with refused("NoSuchEntity", 404):
        iam.get_role(RoleName=name)
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    assert made["Arn"] == f"arn:aws:iam::{server.account}:role/{name}"
    assert iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == TRUST
    with refused("EntityAlreadyExists", 409):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(RoleName=name, PolicyName="logs", PolicyDocument=allow("logs:*"))
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["logs"]
    document = iam.get_role_policy(RoleName=name, PolicyName="logs")["PolicyDocument"]
    assert document["Statement"][0]["Action"] == ["logs:*"]
    basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    iam.attach_role_policy(RoleName=name, PolicyArn=basic)
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert [policy["PolicyArn"] for policy in attached] == [basic]
    with refused("DeleteConflict", 409):
        iam.delete_role(RoleName=name)
    with refused("MalformedPolicyDocument", 400):
        iam.put_role_policy(RoleName=name, PolicyName="bad", PolicyDocument="{")
    iam.detach_role_policy(RoleName=name, PolicyArn=basic)
    iam.delete_role_policy(RoleName=name, PolicyName="logs")
    iam.delete_role(RoleName=name)
    with refused("NoSuchEntity", 404):
        iam.get_role(RoleName=name)


def test_a_user_may_do_what_his_policy_says(server: Server):
    iam = server.client("iam")
    user = f"user-{uuid.uuid4().hex[:8]}"
    mine, other = server.function(HELLO), server.function(HELLO)
    iam.create_user(UserName=user)
    arn = f"arn:aws:lambda:{server.region}:{server.account}:function:{mine}"
    iam.put_user_policy(
        UserName=user, PolicyName="p", PolicyDocument=allow("lambda:InvokeFunction", resource=arn)
    )
    key = iam.create_access_key(UserName=user)["AccessKey"]
    lam = server.client(
        "lambda",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )
    assert lam.invoke(FunctionName=mine)["StatusCode"] == 200
    for refused_call in (
        lambda: lam.invoke(FunctionName=other),
        lambda: lam.get_function(FunctionName=mine),
        lam.list_functions,
    ):
        with pytest.raises(ClientError) as caught:
            refused_call()
        assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert user in caught.value.response["Error"]["Message"]

    iam.update_access_key(UserName=user, AccessKeyId=key["AccessKeyId"], Status="Inactive")

    def shut_out() -> bool:
        try:
            lam.invoke(FunctionName=mine)
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        return False

    eventually(shut_out, what="the disabled key is refused")


def test_a_role_of_a_function_bounds_it(server: Server):
    iam = server.client("iam")
    role = f"role-{uuid.uuid4().hex[:8]}"
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=allow("lambda:ListFunctions"))
    name = f"f-{uuid.uuid4().hex[:12]}"
    code = (
        "import boto3\n"
        "from botocore.exceptions import ClientError\n"
        "def handler(event, context):\n"
        "    lam = boto3.client('lambda')\n"
        "    lam.list_functions(MaxItems=1)\n"
        "    try:\n"
        "        lam.get_function(FunctionName=context.function_name)\n"
        "    except ClientError as error:\n"
        "        return error.response['Error']['Code']\n"
        "    return 'allowed'\n"
    )
    server.lambda_.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler="m.handler",
        Role=f"arn:aws:iam::{server.account}:role/{role}",
        Code={"ZipFile": package({"m.py": code})},
        Timeout=20,
        MemorySize=256,
    )
    assert server.call(name) == "AccessDeniedException"


def test_assumed_role_sessions(server: Server):
    iam, sts = server.client("iam"), server.client("sts")
    role = f"role-{uuid.uuid4().hex[:8]}"
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{server.account}:root"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=allow("lambda:ListFunctions"))
    given = sts.assume_role(RoleArn=arn, RoleSessionName="me")
    assert given["AssumedRoleUser"]["Arn"].endswith(f":assumed-role/{role}/me")
    credentials = {
        "aws_access_key_id": given["Credentials"]["AccessKeyId"],
        "aws_secret_access_key": given["Credentials"]["SecretAccessKey"],
        "aws_session_token": given["Credentials"]["SessionToken"],
    }
    who = server.client("sts", **credentials).get_caller_identity()["Arn"]
    assert who == given["AssumedRoleUser"]["Arn"]
    lam = server.client("lambda", **credentials)
    lam.list_functions()
    with pytest.raises(ClientError, match="AccessDenied"):
        lam.get_account_settings()
    forged = server.client("sts", **credentials | {"aws_session_token": "x" * 80})
    with pytest.raises(ClientError):
        forged.get_caller_identity()


def test_a_role_that_does_not_trust_the_caller(server: Server):
    iam, sts = server.client("iam"), server.client("sts")
    role = f"role-{uuid.uuid4().hex[:8]}"
    made = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(TRUST))
    with pytest.raises(ClientError, match="AccessDenied"):
        sts.assume_role(RoleArn=made["Role"]["Arn"], RoleSessionName="me")
