"""boto3: many objects and many parts: listings, deletions, uploads in parts, transfers."""

import base64
import os
import zlib
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conformance.fetching import read
from tests.servers import Server

pytestmark = pytest.mark.conformance

MEGA = 1024 * 1024


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
