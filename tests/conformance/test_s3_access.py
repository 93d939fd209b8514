"""boto3 and plain HTTP: who gets at objects, by links, hosts, regions and policies; what is deployed from them."""

import hashlib
import json
import uuid
from typing import Any

import boto3
import pytest
from botocore.config import Config
from tests.conformance.fetching import fetch, read
from tests.servers import Server, package

pytestmark = pytest.mark.conformance

MEGA = 1024 * 1024


@pytest.mark.parametrize("signature", ["s3v4", "s3"])
def test_links(server: Server, bucket: str, signature: str):
    s3 = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(signature_version=signature),
    )
    about = {"Bucket": bucket, "Key": "a b/é+%"}
    url = s3.generate_presigned_url("put_object", Params=about, ExpiresIn=60)
    assert fetch(url, data=b"by link", method="PUT", headers={"content-type": ""})[0] == 200
    given = {**about, "ResponseContentType": "a/b"}
    url = s3.generate_presigned_url("get_object", Params=given, ExpiresIn=60)
    status, body, headers = fetch(url)
    assert (status, body, headers["content-type"]) == (200, b"by link", "a/b")
    status, body, _ = fetch(url.replace("a%20b", "other"))
    assert (status, b"<Code>SignatureDoesNotMatch</Code>" in body) == (403, True)
    status, body, _ = fetch(url, method="DELETE")
    assert status == 403
    status, body, headers = fetch(f"{server.endpoint}/{bucket}/a")
    assert status == 403
    s3.close()


def test_a_client_of_another_region_is_led_here(server: Server, bucket: str):
    s3 = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="eu-west-1",
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    assert read(s3, bucket, "k") == b"1"
    s3.close()


def test_buckets_in_the_host(server: Server, bucket: str, s3: Any):
    host, port = server.address
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    signed = boto3.client(
        "s3",
        endpoint_url=f"http://s3.localhost:{port}",
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        config=Config(s3={"addressing_style": "virtual"}, signature_version="s3v4"),
    )
    url = signed.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "d/k"})
    assert url.startswith(f"http://{bucket}.s3.localhost:{port}/d/k?")
    name = f"{bucket}.s3.localhost:{port}"
    plain = url.replace(name, f"{host}:{port}")
    assert (
        fetch(plain, data=b"1", method="PUT", headers={"Host": name, "content-type": ""})[0] == 200
    )
    assert read(s3, bucket, "d/k") == b"1"
    signed.close()


def test_everybody_may_read_what_the_policy_opens(server: Server, s3: Any, bucket: str, refused):
    s3.put_object(Bucket=bucket, Key="open/k", Body=b"1", ContentType="text/plain")
    s3.put_object(Bucket=bucket, Key="closed", Body=b"2")
    arn = f"arn:aws:s3:::{bucket}"
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"{arn}/open/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with refused("MalformedPolicy", 400):
        s3.put_bucket_policy(Bucket=bucket, Policy=policy.replace(bucket, "other-bucket"))
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == json.loads(policy)
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]
    status, body, headers = fetch(f"{server.endpoint}/{bucket}/open/k")
    assert (status, body, headers["content-type"]) == (200, b"1", "text/plain")
    assert fetch(f"{server.endpoint}/{bucket}/closed")[0] == 403
    assert fetch(f"{server.endpoint}/{bucket}/open/none")[0] == 403
    assert fetch(f"{server.endpoint}/{bucket}?list-type=2")[0] == 403
    assert fetch(f"{server.endpoint}/{bucket}/open/k", method="DELETE")[0] == 403
    s3.delete_bucket_policy(Bucket=bucket)
    assert fetch(f"{server.endpoint}/{bucket}/open/k")[0] == 403


def test_a_policy_gives_nobody_else_the_policy(server: Server, s3: Any, bucket: str):
    arn = f"arn:aws:s3:::{bucket}"
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    url = f"{server.endpoint}/{bucket}"
    assert fetch(f"{url}/k", data=b"1", method="PUT")[0] == 200
    for method in ("GET", "PUT", "DELETE"):
        data = policy.encode() if method == "PUT" else None
        status, body, _ = fetch(f"{url}?policy", data=data, method=method)
        assert (status, b"<Code>MethodNotAllowed</Code>" in body) == (405, True)
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == json.loads(policy)


def test_functions_and_layers_from_buckets(server: Server, s3: Any, bucket: str, refused):
    code = "def handler(event, context):\n    import shared\n    return shared.VALUE\n"
    s3.put_object(Bucket=bucket, Key="code.zip", Body=package({"lambda_function.py": code}))
    s3.put_object(Bucket=bucket, Key="layer.zip", Body=package({"python/shared.py": "VALUE = 7\n"}))
    layer = server.lambda_.publish_layer_version(
        LayerName=f"l-{uuid.uuid4().hex[:8]}", Content={"S3Bucket": bucket, "S3Key": "layer.zip"}
    )
    name = f"f-{uuid.uuid4().hex[:8]}"
    about = {
        "FunctionName": name,
        "Runtime": "python3.11",
        "Handler": "lambda_function.handler",
        "Role": f"arn:aws:iam::{server.account}:role/test",
        "Layers": [layer["LayerVersionArn"]],
    }
    with refused("InvalidParameterValueException", 400) as error:
        server.lambda_.create_function(**about, Code={"S3Bucket": bucket, "S3Key": "none"})
    assert "NoSuchKey" in error.message
    server.lambda_.create_function(**about, Code={"S3Bucket": bucket, "S3Key": "code.zip"})
    server.lambda_.get_waiter("function_active_v2").wait(FunctionName=name)
    assert server.call(name) == 7
    with refused("InvalidParameterValueException", 400):
        server.lambda_.update_function_code(
            FunctionName=name, S3Bucket=bucket, S3Key="code.zip", S3ObjectVersion="v1"
        )
    server.lambda_.update_function_code(FunctionName=name, S3Bucket=bucket, S3Key="code.zip")


def test_bad_documents(server: Server, bucket: str):
    for body in (b"no xml", b"<!DOCTYPE x [<!ENTITY a 'b'>]><Delete/>", b""):
        path = f"/{bucket}?delete"
        headers = server.signed(
            "POST", path, body, service="s3",
            headers={"x-amz-content-sha256": hashlib.sha256(body).hexdigest()},
        )  # fmt: skip
        answer = server.request("POST", path, body, headers)
        assert answer.status == 400, answer
        assert b"<Code>MalformedXML</Code>" in answer.body, answer


def test_bodies_that_are_not_what_was_signed(server: Server, bucket: str):
    path = f"/{bucket}/k"
    digest = hashlib.sha256(b"right").hexdigest()
    headers = server.signed(
        "PUT", path, b"right", service="s3", headers={"x-amz-content-sha256": digest}
    )
    answer = server.request("PUT", path, b"wrong", headers)
    assert (answer.status, b"XAmzContentSHA256Mismatch" in answer.body) == (400, True)
    headers = server.signed(
        "PUT", path, service="s3", keys=(server.access_key, "x" * 40),
        headers={"x-amz-content-sha256": digest},
    )  # fmt: skip
    answer = server.request("PUT", path, b"right", headers)
    assert (answer.status, b"SignatureDoesNotMatch" in answer.body) == (403, True)
    answer = server.request("HEAD", path, headers=headers)
    assert (answer.status, answer.body) == (403, b"")
