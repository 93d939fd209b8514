"""boto3: buckets and objects, as S3 answers for them."""

import base64
import hashlib
import io
import json
import os
import urllib.error
import urllib.request
import uuid
import zlib
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.servers import Server, package

pytestmark = pytest.mark.conformance

MEGA = 1024 * 1024


@pytest.fixture
def s3(server: Server) -> Any:
    return server.client("s3")


@pytest.fixture
def bucket(s3: Any) -> Iterator[str]:
    name = f"b-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    yield name
    while found := s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": each["Key"]} for each in found]})
    s3.delete_bucket(Bucket=name)


def read(s3: Any, bucket: str, key: str, **more: Any) -> bytes:
    with s3.get_object(Bucket=bucket, Key=key, **more)["Body"] as body:
        return bytes(body.read())


def fetch(url: str, **given: Any) -> tuple[int, bytes, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **given), timeout=20) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


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


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    keys=st.sets(st.text(st.sampled_from("ab/ é+"), min_size=1, max_size=5), max_size=12),
    prefix=st.text(st.sampled_from("ab/"), max_size=2),
    delimiter=st.sampled_from(["", "/", "a"]),
    size=st.integers(1, 4),
)
def test_listings_in_both_forms(
    s3: Any, bucket: str, keys: set[str], prefix: str, delimiter: str, size: int
):
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    shown: set[str] = set()
    for key in keys:
        if key.startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            shown.add(key[: end + 1] if end >= 0 else key)
    for operation in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(operation).paginate(
            Bucket=bucket, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": size}
        )
        found = [
            each.get("Key") or each["Prefix"]
            for page in pages
            for each in (*page.get("Contents", []), *page.get("CommonPrefixes", []))
        ]
        assert sorted(found) == sorted(shown)
    for key in keys:
        s3.delete_object(Bucket=bucket, Key=key)


def test_listings_tell_what_objects_are(server: Server, s3: Any, bucket: str):
    s3.put_object(Bucket=bucket, Key="k", Body=b"12", StorageClass="GLACIER_IR")
    [row] = s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]
    assert (row["Size"], row["StorageClass"], row["Owner"]["ID"]) == (
        2,
        "GLACIER_IR",
        server.account,
    )
    [version] = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert (version["Key"], version["VersionId"], version["IsLatest"]) == ("k", "null", True)
    assert s3.list_objects_v2(Bucket=bucket, StartAfter="k")["KeyCount"] == 0
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0


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


def test_many_are_deleted_at_once(s3: Any, bucket: str, refused):
    keys = [f"k{number}" for number in range(150)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    gone = s3.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": key} for key in [*keys, "none"]]}
    )
    assert [each["Key"] for each in gone["Deleted"]] == [*keys, "none"]
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}], "Quiet": True})
    assert "Deleted" not in quiet
    with refused("MalformedXML", 400):
        many = [{"Key": str(number)} for number in range(1001)]
        s3.delete_objects(Bucket=bucket, Delete={"Objects": many})


def test_uploads_in_parts(s3: Any, bucket: str, refused):
    parts = [os.urandom(5 * MEGA), os.urandom(100)]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ContentType="a/b")["UploadId"]
    where = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    done = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**where, PartNumber=number, Body=part)["ETag"],
        }
        for number, part in enumerate(parts, 1)
    ]
    listed = s3.list_parts(**where)
    assert [(each["PartNumber"], each["Size"]) for each in listed["Parts"]] == [
        (1, 5 * MEGA),
        (2, 100),
    ]
    pages = s3.get_paginator("list_parts").paginate(**where, PaginationConfig={"PageSize": 1})
    assert [each["PartNumber"] for page in pages for each in page["Parts"]] == [1, 2]
    [under_way] = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert under_way["UploadId"] == upload
    with refused("InvalidPartOrder", 400):
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done[::-1]})
    with refused("InvalidPart", 400):
        wrong = [{"PartNumber": 1, "ETag": done[1]["ETag"]}]
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": wrong})
    made = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
    assert made["ETag"].endswith('-2"')
    assert read(s3, bucket, "k") == b"".join(parts)
    assert s3.head_object(Bucket=bucket, Key="k")["ContentType"] == "a/b"
    second = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert (second["Body"].read(), second["PartsCount"]) == (parts[1], 2)
    with refused("NoSuchUpload", 404):
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})

    where["UploadId"] = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    copied = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part_copy(
                **where,
                PartNumber=number,
                CopySource={"Bucket": bucket, "Key": "k"},
                CopySourceRange=f"bytes={first}-{last}",
            )["CopyPartResult"]["ETag"],
        }
        for number, (first, last) in enumerate([(3, 5 * MEGA + 9), (0, 4)], 1)
    ]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": copied})
    whole = b"".join(parts)
    assert read(s3, bucket, "k") == whole[3 : 5 * MEGA + 10] + whole[:5]

    where["UploadId"] = s3.create_multipart_upload(Bucket=bucket, Key="small")["UploadId"]
    where["Key"] = "small"
    small = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**where, PartNumber=number, Body=b"1")["ETag"],
        }
        for number in (1, 2)
    ]
    with refused("EntityTooSmall", 400):
        s3.complete_multipart_upload(**where, MultipartUpload={"Parts": small})
    s3.abort_multipart_upload(**where)
    with refused("NoSuchUpload", 404):
        s3.list_parts(**where)


@pytest.mark.parametrize("kind", ["FULL_OBJECT", "COMPOSITE"])
def test_checksums_of_uploads_in_parts(s3: Any, bucket: str, refused, kind: str):
    parts = [os.urandom(5 * MEGA), b"end"]
    made = s3.create_multipart_upload(
        Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32", ChecksumType=kind
    )
    assert made["ChecksumType"] == kind
    where = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    done = []
    for number, part in enumerate(parts, 1):
        put = s3.upload_part(**where, PartNumber=number, Body=part, ChecksumAlgorithm="CRC32")
        done.append(
            {"PartNumber": number, "ETag": put["ETag"], "ChecksumCRC32": put["ChecksumCRC32"]}
        )
    if kind == "FULL_OBJECT":
        value = base64.b64encode(zlib.crc32(b"".join(parts)).to_bytes(4, "big")).decode()
    else:
        crcs = b"".join(zlib.crc32(part).to_bytes(4, "big") for part in parts)
        value = base64.b64encode(zlib.crc32(crcs).to_bytes(4, "big")).decode() + "-2"
    with refused("BadDigest", 400):
        s3.complete_multipart_upload(
            **where, MultipartUpload={"Parts": done}, ChecksumCRC32="AAAAAA=="
        )
    stored = s3.complete_multipart_upload(**where, MultipartUpload={"Parts": done})
    assert (stored["ChecksumCRC32"], stored["ChecksumType"]) == (value, kind)
    assert read(s3, bucket, "k", ChecksumMode="ENABLED") == b"".join(parts)


def test_transfers_with_threads(server: Server, s3: Any, bucket: str, tmp_path):
    content = os.urandom(21 * MEGA)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    config = TransferConfig(multipart_threshold=MEGA, multipart_chunksize=5 * MEGA)
    s3.upload_file(str(source), bucket, "k", Config=config, ExtraArgs={"Metadata": {"m": "1"}})
    s3.download_file(bucket, "k", str(target), Config=config)
    assert target.read_bytes() == content
    s3.copy({"Bucket": bucket, "Key": "k"}, bucket, "copy", Config=config)
    assert read(s3, bucket, "copy") == content
    resource = boto3.resource(
        "s3",
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )
    assert sorted(each.key for each in resource.Bucket(bucket).objects.all()) == ["copy", "k"]
    resource.Object(bucket, "k").delete()
    resource.Bucket(bucket).objects.filter(Prefix="c").delete()
    assert list(resource.Bucket(bucket).objects.all()) == []
    resource.meta.client.close()


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
