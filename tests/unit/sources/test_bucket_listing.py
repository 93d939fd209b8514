"""Listings against a naive model, over a real database; and checksums, names and events' words."""

import base64
import binascii
import hashlib
import zlib
from pathlib import Path

import anycrc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.sources.bucket_rig import rig

from forerun.errors import InvalidInput
from forerun.sources.buckets import About, StoredObject, errors, list_page
from forerun.sources.buckets.checksums import ALGORITHMS, etag_of_parts, new_digest, whole
from forerun.sources.buckets.listing import successor
from forerun.sources.buckets.naming import check_key, check_name, check_tags
from forerun.sources.buckets.notifying import check_configuration, targets_of

TEXT = st.text(st.sampled_from("ab/é\U0001f600\x00 "), min_size=1, max_size=6)


def stored(key: str) -> StoredObject:
    return StoredObject(bucket="b", key=key, id=key, size=1, etag="e", modified=1.0)


def naive(keys: set[str], prefix: str, delimiter: str) -> list[str]:
    """What all pages together must show, in order."""
    shown: set[str] = set()
    for key in keys:
        if key.startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            shown.add(key[: end + len(delimiter)] if end >= 0 else key)
    return sorted(shown, key=str.encode)


@settings(max_examples=400, deadline=None)
@given(
    keys=st.sets(TEXT, max_size=40),
    prefix=st.text(st.sampled_from("ab/é"), max_size=3),
    delimiter=st.sampled_from(["", "/", "a", "//", "é"]),
    most=st.integers(1, 7),
)
async def test_pages_show_everything_once_and_in_order(
    keys: set[str], prefix: str, delimiter: str, most: int
):
    ordered = sorted(keys, key=str.encode)

    async def fetch(
        start: bytes, *, after: bool, before: bytes | None, limit: int
    ) -> list[StoredObject]:
        found = [
            key
            for key in ordered
            if (key.encode() > start if after else key.encode() >= start)
            and (before is None or key.encode() < before)
        ]
        return [stored(key) for key in found[:limit]]

    after = ""
    shown: list[str] = []
    while True:
        page = await list_page(fetch, prefix=prefix, delimiter=delimiter, after=after, most=most)
        entries = [*(each.key for each in page.objects), *page.prefixes]
        assert len(entries) <= most
        shown += sorted(entries, key=str.encode)
        if not page.more:
            break
        assert len(entries) == most
        after = page.last
    assert shown == naive(keys, prefix, delimiter)


@settings(max_examples=100, deadline=None)
@given(keys=st.sets(TEXT, max_size=20), start=st.text(st.sampled_from("ab/"), max_size=3))
async def test_a_listing_may_begin_anywhere(keys: set[str], start: str):
    async def fetch(
        first: bytes, *, after: bool, before: bytes | None, limit: int
    ) -> list[StoredObject]:
        assert before is None
        found = sorted(key.encode() for key in keys)
        beyond = [key for key in found if (key > first if after else key >= first)]
        return [stored(key.decode()) for key in beyond[:limit]]

    page = await list_page(fetch, after=start)
    wanted = sorted((key for key in keys if key.encode() > start.encode()), key=str.encode)
    assert [each.key for each in page.objects] == wanted


@pytest.mark.databases
async def test_the_database_orders_keys_as_bytes(tmp_path: Path):
    keys = ["a", "a b", "a/", "a//b", "a/b", "b\x00c", "é", "\U0001f600", "￿", "+", "%", ".."]
    async with rig(tmp_path) as made:
        store = made.objects._store
        for number, key in enumerate(keys):
            new = StoredObject(
                bucket="bucket",
                key=key,
                id=str(number),
                size=0,
                etag="e",
                modified=1.0,
                about=About(),
            )
            await store.put(new, [])
        page = await made.objects.page("bucket", prefix="", delimiter="", after="", most=1000)
        assert [each.key for each in page.objects] == sorted(keys, key=str.encode)
        page = await made.objects.page("bucket", prefix="a", delimiter="/", after="", most=1000)
        assert [each.key for each in page.objects] == ["a", "a b"]
        assert page.prefixes == ["a/"]


async def test_a_common_beginning_is_not_read_to_its_end(tmp_path: Path):
    asked = 0
    keys = [f"{folder}/{number:04}" for folder in "abc" for number in range(2000)]

    async def fetch(
        start: bytes, *, after: bool, before: bytes | None, limit: int
    ) -> list[StoredObject]:
        nonlocal asked
        found = [key for key in keys if key.encode() >= start][:limit]
        asked += len(found)
        assert before is None
        return [stored(key) for key in found]

    page = await list_page(fetch, delimiter="/", most=10)
    assert page.prefixes == ["a/", "b/", "c/"]
    assert asked < 100


@given(st.binary(max_size=5))
def test_a_successor_is_beyond_all_that_begin_so(prefix: bytes):
    after = successor(prefix)
    if after is None:
        assert not prefix.strip(b"\xff")
    else:
        assert prefix < after
        assert prefix + b"\xff" * 9 < after


# Checksums

KNOWN = {
    "CRC32": "cbf43926",
    "CRC32C": "e3069283",
    "CRC64NVME": "ae8b14860a799888",
    "SHA1": hashlib.sha1(b"123456789").hexdigest(),
    "SHA256": hashlib.sha256(b"123456789").hexdigest(),
    "MD5": hashlib.md5(b"123456789").hexdigest(),
}


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "MD5"])
def test_checksums_of_what_is_known(algorithm: str):
    digest = new_digest(algorithm)
    digest.update(b"1234")
    digest.update(b"56789")
    assert digest.digest().hex() == KNOWN[algorithm]


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=5))
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_the_checksum_of_a_whole_follows_from_its_parts(algorithm: str, parts: list[bytes]):
    def checksum(data: bytes) -> str:
        digest = new_digest(algorithm)
        digest.update(data)
        return base64.b64encode(digest.digest()).decode()

    found = whole(algorithm, "FULL_OBJECT", [(checksum(part), len(part)) for part in parts])
    assert found == checksum(b"".join(parts))


def test_composite_checksums_and_etags():
    parts = [b"one", b"two"]
    crcs = [zlib.crc32(part).to_bytes(4, "big") for part in parts]
    wanted = base64.b64encode(zlib.crc32(b"".join(crcs)).to_bytes(4, "big")).decode() + "-2"
    known = [(base64.b64encode(crc).decode(), 3) for crc in crcs]
    assert whole("CRC32", "COMPOSITE", known) == wanted
    md5s = [hashlib.md5(part) for part in parts]
    joined = hashlib.md5(b"".join(each.digest() for each in md5s)).hexdigest()
    assert etag_of_parts(each.hexdigest() for each in md5s) == f"{joined}-2"
    assert anycrc.Model("CRC32-ISO-HDLC").calc(b"x") == binascii.crc32(b"x")


# Names


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "a" * 64,
        "Upper",
        "under_score",
        "a..b",
        "-a-",
        "10.0.0.1",
        "xn--a",
        "a-s3alias",
        "a/b",
        "",
    ],
)
def test_names_that_are_none(name: str):
    with pytest.raises(errors.BadName):
        check_name(name)


@pytest.mark.parametrize("name", ["abc", "a.b-c", "1a2", "a" * 63])
def test_names(name: str):
    check_name(name)


def test_keys_may_be_anything_short():
    check_key("é" * 512)
    with pytest.raises(errors.KeyTooLong, match="1026"):
        check_key("é" * 513)
    with pytest.raises(InvalidInput):
        check_key("\ud800")
    with pytest.raises(errors.BadTag):
        check_tags({"aws:x": "1"}, 10)
    with pytest.raises(errors.BadTag):
        check_tags({str(each): "" for each in range(11)}, 10)


# Who is told of what

FUNCTION = "arn:aws:lambda:us-home-1:111111111111:function:f"
QUEUE = "arn:aws:sqs:us-home-1:111111111111:q"
BUS = "arn:aws:events:us-home-1:111111111111:event-bus/default"


def rule(*events: str, prefix: str = "", suffix: str = "", name: str = "one", arn: str = FUNCTION):
    rules = [{"Name": "prefix", "Value": prefix}, {"Name": "suffix", "Value": suffix}]
    kind = "LambdaFunctionArn" if arn == FUNCTION else "QueueArn"
    return {
        "Id": name,
        kind: arn,
        "Events": list(events),
        "Filter": {"Key": {"FilterRules": rules}},
    }


@pytest.mark.parametrize(
    ("events", "event", "key", "told"),
    [
        (["s3:ObjectCreated:*"], "ObjectCreated:Put", "in/a.jpg", True),
        (["s3:ObjectCreated:Put"], "ObjectCreated:Put", "in/a.jpg", True),
        (["s3:ObjectCreated:Copy"], "ObjectCreated:Put", "in/a.jpg", False),
        (["s3:ObjectRemoved:*"], "ObjectCreated:Put", "in/a.jpg", False),
        (["s3:ObjectCreated:*"], "ObjectCreated:Put", "in/a.png", False),
        (["s3:ObjectCreated:*"], "ObjectCreated:Put", "out/a.jpg", False),
    ],
    ids=["any", "put", "copy", "removed", "suffix", "prefix"],
)
def test_filters(events: list[str], event: str, key: str, told: bool):
    config = {"LambdaFunctionConfigurations": [rule(*events, prefix="in/", suffix=".jpg")]}
    assert [each.arn for each in targets_of(config, event, key, BUS)] == [FUNCTION] * told
    config["EventBridgeConfiguration"] = {}  # type: ignore[assignment]
    assert targets_of(config, event, key, BUS)[-1].arn == BUS


@pytest.mark.parametrize(
    ("functions", "queues", "said"),
    [
        ([rule("s3:ObjectCreated:*"), rule("s3:ObjectCreated:Put", name="two")], [], "overlap"),
        (
            [
                rule("s3:ObjectCreated:*", prefix="a"),
                rule("s3:ObjectCreated:*", prefix="ab", name="2"),
            ],
            [],
            "overlap",
        ),
        (
            [rule("s3:ObjectCreated:*")],
            [rule("s3:ObjectCreated:*", name="2", arn=QUEUE)],
            "overlap",
        ),
        ([rule("s3:ObjectCreated:*"), rule("s3:ObjectRemoved:*")], [], "Same ID"),
        ([rule("s3:Nothing")], [], "not supported"),
        ([rule("s3:ObjectCreated:*") | {"LambdaFunctionArn": "x"}], [], "ARN"),
        ([rule("s3:ObjectCreated:*") | {"LambdaFunctionArn": QUEUE}], [], "ARN"),
    ],
    ids=["events", "prefixes", "kinds", "ids", "event", "no-arn", "other-kind"],
)
def test_configurations_that_are_refused(functions: list, queues: list, said: str):
    config = {"LambdaFunctionConfigurations": functions, "QueueConfigurations": queues}
    with pytest.raises(errors.BadNotification, match=said):
        check_configuration(config, "us-home-1")


def test_configurations_that_do_not_overlap():
    functions = [
        rule("s3:ObjectCreated:*", prefix="a/", name="1"),
        rule("s3:ObjectCreated:*", prefix="b/", name="2"),
        rule("s3:ObjectCreated:Put", prefix="c/", suffix=".jpg", name="3"),
        rule("s3:ObjectCreated:Put", prefix="c/", suffix=".png", name="4"),
        rule("s3:ObjectRemoved:*", name="5"),
    ]
    check_configuration({"LambdaFunctionConfigurations": functions}, "us-home-1")
