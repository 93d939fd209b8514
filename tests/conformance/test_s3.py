"""boto3: buckets and objects, as S3 answers for them."""

import base64
import hashlib
import io
import os
import uuid
import zlib
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.conformance.fetching import read
from tests.servers import Server

pytestmark = pytest.mark.conformance

MEGA = 1024 * 1024


def test_way_of_a_bucket(server: Server, s3: Any, refused):
    name = f"b-{uuid.uuid4().hex[:12]}"
    where = {"LocationConstraint": server.region}
    assert s3.create_bucket(Bucket=name, CreateBucketConfiguration=where)["Location"] == f"/{name}"
    with refused("BucketAlreadyOwnedByYou", 409):
        s3.create_bucket(Bucket=name)
    with refused("IllegalLocationConstraintException", 400):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    head = s3.head_bucket(Bucket=name)
    assert head["BucketRegion"] == server.region
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] == server.region
    assert name in [each["Name"] for each in s3.list_buckets()["Buckets"]]
    assert "Status" not in s3.get_bucket_versioning(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"1")
    with refused("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket=name)
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)
    for call in (s3.head_bucket, s3.delete_bucket, s3.list_objects_v2, s3.get_bucket_location):
        with pytest.raises(ClientError) as caught:
            call(Bucket=name)
        assert caught.value.response["Error"]["Code"] in {"NoSuchBucket", "404"}
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_buckets_in_pages(s3: Any):
    prefix = f"p-{uuid.uuid4().hex[:8]}-"
    names = [f"{prefix}{number}" for number in range(5)]
    for name in reversed(names):
        s3.create_bucket(Bucket=name)
    pages = s3.get_paginator("list_buckets").paginate(
        Prefix=prefix, PaginationConfig={"PageSize": 2}
    )
    assert [each["Name"] for page in pages for each in page["Buckets"]] == names
    for name in names:
        s3.delete_bucket(Bucket=name)


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("get_bucket_policy", "NoSuchBucketPolicy"),
        ("get_bucket_policy_status", "NoSuchBucketPolicy"),
        ("get_bucket_tagging", "NoSuchTagSet"),
        ("get_bucket_cors", "NoSuchCORSConfiguration"),
        ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
        ("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("get_public_access_block", "NoSuchPublicAccessBlockConfiguration"),
        ("get_bucket_ownership_controls", "OwnershipControlsNotFoundError"),
        ("get_bucket_website", "NoSuchWebsiteConfiguration"),
        ("get_bucket_replication", "ReplicationConfigurationNotFoundError"),
        ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
    ],
)
def test_what_is_not_set_is_told_as_such(s3: Any, bucket: str, refused, operation: str, code: str):
    with refused(code, 404):
        getattr(s3, operation)(Bucket=bucket)


def test_what_is_not_served_is_refused_by_name(s3: Any, bucket: str, refused):
    with refused("NotImplemented", 501) as error:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert "PutBucketVersioning" in error.message
    with refused("NotImplemented", 501) as error:
        s3.put_object(Bucket=bucket, Key="k", Body=b"1", ServerSideEncryption="AES256")
    assert "x-amz-server-side-encryption" in error.message
    with refused("AccessControlListNotSupported", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"1", ACL="public-read")
    with refused("NotImplemented", 501):
        s3.get_object(Bucket=bucket, Key="k", VersionId="v1")
    with refused("InvalidBucketName", 400):
        s3.create_bucket(Bucket="Not_A_Name")


def test_tags_of_buckets_and_objects(s3: Any, bucket: str, refused):
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b c", "Value": "é"}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    s3.delete_bucket_tagging(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="x=1&y=a%20b")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == [
        {"Key": "x", "Value": "1"},
        {"Key": "y", "Value": "a b"},
    ]
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tags})
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == tags
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    with refused("InvalidTag", 400):
        many = [{"Key": str(each), "Value": ""} for each in range(11)]
        s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": many})


def test_way_of_an_object(s3: Any, bucket: str, refused):
    content = os.urandom(100_000)
    about = {
        "ContentType": "text/plain; charset=utf-8",
        "ContentEncoding": "gzip",
        "ContentDisposition": 'attachment; filename="x"',
        "ContentLanguage": "de",
        "CacheControl": "max-age=1",
        "Metadata": {"color": "blue", "size": "9"},
        "StorageClass": "STANDARD_IA",
    }
    put = s3.put_object(Bucket=bucket, Key="k", Body=content, **about)
    assert put["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == content
    assert {name: got[name] for name in about} == about
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["ContentLength"] == len(content)
    assert head["ETag"] == put["ETag"]
    crc = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
    assert head["ChecksumCRC32"] == put["ChecksumCRC32"] == crc
    given = s3.get_object(
        Bucket=bucket, Key="k", ResponseContentType="a/b", ResponseCacheControl="no"
    )
    assert (given["ContentType"], given["CacheControl"]) == ("a/b", "no")
    given["Body"].close()
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_object(Bucket=bucket, Key="k")
    with refused("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key="k")
    with refused("404", 404):
        s3.head_object(Bucket=bucket, Key="k")


def test_ranges_and_conditions(s3: Any, bucket: str, refused):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["ETag"]
    part = s3.get_object(Bucket=bucket, Key="k", Range="bytes=2-4")
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert (part["Body"].read(), part["ContentRange"]) == (b"234", "bytes 2-4/10")
    assert read(s3, bucket, "k", Range="bytes=-3") == b"789"
    assert read(s3, bucket, "k", Range="bytes=0-0,2-3") == b"0123456789"
    with refused("InvalidRange", 416) as error:
        s3.get_object(Bucket=bucket, Key="k", Range="bytes=10-")
    assert error.body["Error"]["ActualObjectSize"] == "10"
    with refused("PreconditionFailed", 412):
        s3.get_object(Bucket=bucket, Key="k", IfMatch='"x"')
    with refused("304", 304):
        s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=etag)
    with refused("304", 304):
        s3.head_object(Bucket=bucket, Key="k", IfModifiedSince=2_000_000_000)
    assert read(s3, bucket, "k", IfMatch=etag) == b"0123456789"
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    with refused("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch='"' + "0" * 32 + '"')
    s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)
    assert read(s3, bucket, "k") == b"2"
    s3.put_object(Bucket=bucket, Key="new", Body=b"1", IfNoneMatch="*")


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
@pytest.mark.parametrize("seekable", [True, False])
def test_checksums_of_bodies(s3: Any, bucket: str, algorithm: str, seekable: bool):
    content = os.urandom(3 * MEGA + 1)
    body: Any = io.BytesIO(content) if seekable else content
    done = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
    assert done[f"Checksum{algorithm}"]
    assert done["ChecksumType"] == "FULL_OBJECT"
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got[f"Checksum{algorithm}"] == done[f"Checksum{algorithm}"]
    assert got["Body"].read() == content


@pytest.mark.parametrize(
    ("member", "value"),
    [("ChecksumCRC32C", "4waSgw=="), ("ChecksumCRC64NVME", "rosUhgp5mIg=")],
)
def test_checksums_that_the_client_cannot_compute(
    s3: Any, bucket: str, refused, member: str, value: str
):
    done = s3.put_object(Bucket=bucket, Key="k", Body=b"123456789", **{member: value})
    assert done[member] == value
    with refused("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"12345678", **{member: value})
    assert read(s3, bucket, "k") == b"123456789"


def test_digests_are_compared(s3: Any, bucket: str, refused):
    md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    with refused("BadDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"1", ContentMD5=md5)
    with refused("InvalidDigest", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"1", ContentMD5="x")


KEYS = ["a b", "a+b", "100%", "%2F", "..", "../up", "a/../b", "é/ü", "\U0001f600", "end/", "//x", "?q=1&r", "#h", "'\"<&>", "\x01\x7f", "k" * 1024]  # fmt: skip


@pytest.mark.parametrize("key", KEYS, ids=range(len(KEYS)))
def test_keys_may_be_anything(s3: Any, bucket: str, key: str):
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert read(s3, bucket, key) == key.encode()
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    assert read(s3, bucket, "copy") == key.encode()
    gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "copy"}]})
    assert gone["Deleted"] == [{"Key": "copy"}]
    s3.delete_object(Bucket=bucket, Key=key)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_keys_that_are_too_long(s3: Any, bucket: str, refused):
    with refused("KeyTooLongError", 400):
        s3.put_object(Bucket=bucket, Key="k" * 1025, Body=b"")
    with refused("MetadataTooLarge", 400):
        s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"m": "x" * 2048})


def test_copies(s3: Any, bucket: str, refused):
    s3.put_object(
        Bucket=bucket, Key="a", Body=b"1", Metadata={"m": "1"}, ContentType="x/y", Tagging="t=1"
    )
    source = {"Bucket": bucket, "Key": "a"}
    s3.copy_object(Bucket=bucket, Key="b", CopySource=source)
    head = s3.head_object(Bucket=bucket, Key="b")
    assert (head["Metadata"], head["ContentType"]) == ({"m": "1"}, "x/y")
    assert s3.get_object_tagging(Bucket=bucket, Key="b")["TagSet"] == [{"Key": "t", "Value": "1"}]
    s3.copy_object(
        Bucket=bucket, Key="b", CopySource=source, MetadataDirective="REPLACE", Metadata={"m": "2"}
    )
    head = s3.head_object(Bucket=bucket, Key="b")
    assert (head["Metadata"], head["ContentType"]) == ({"m": "2"}, "binary/octet-stream")
    with refused("InvalidRequest", 400):
        s3.copy_object(Bucket=bucket, Key="a", CopySource=source)
    with refused("NoSuchKey", 404):
        s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "none"})
    with refused("PreconditionFailed", 412):
        s3.copy_object(Bucket=bucket, Key="b", CopySource=source, CopySourceIfMatch='"x"')
