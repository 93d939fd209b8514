"""Which requests are S3's, and which bucket and key they mean: by path, or by a host that begins with the bucket. Pure."""

import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from forerun.aio import Scope
from forerun.api.protocol import ApiError

# BUCKET.s3.REGION..., as AWS's hosts are called.
_HOSTED = re.compile(rb"([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.s3[.-][a-z0-9.-]+\Z")
_BUCKET = re.compile(rb"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_QUERY_SCOPE = re.compile(
    rb"(?:^|&)X-Amz-Credential=[^&]*?(?:%2F|/)s3(?:%2F|/)aws4_request", re.IGNORECASE
)


class Place(NamedTuple):
    """Bucket and key, empty where the request names none; ``path`` is what it is with the bucket in front."""

    bucket: str
    key: str
    path: bytes


def is_signed(scope: Scope) -> bool | None:
    """Whether a request is signed for S3; ``None`` when it is not signed at all."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return b"/s3/aws4_request" in value
    query: bytes = scope["query_string"]
    if not query:
        return None
    if b"X-Amz-Credential=" in query:
        return _QUERY_SCOPE.search(query) is not None
    return True if b"AWSAccessKeyId=" in query and b"Signature=" in query else None


def is_long(target: bytes, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a request's body may be as long as an object's."""
    scope = {"headers": headers, "query_string": target.partition(b"?")[2]}
    return bool(is_signed(scope))


def bucket_of_host(host: bytes, own: Collection[bytes]) -> bytes:
    """The bucket that a host begins with; empty for none. ``own`` are names under which the server is reached."""
    name = host.rpartition(b":")[0] if host.rpartition(b":")[2].isdigit() else host
    found = _HOSTED.match(name)
    if found is not None:
        return found[1]
    for each in own:
        if name.endswith(b"." + each):
            bucket = name[: -len(each) - 1]
            if _BUCKET.match(bucket) and not bucket.startswith((b"s3.", b"s3-")):
                return bucket
    return b""


def place_of(path: bytes, bucket: bytes) -> Place:
    """Bucket and key of a path, where ``bucket`` is what the host names. ``InvalidURI``."""
    whole = b"/" + bucket + path if bucket else path
    name, _, key = whole.removeprefix(b"/").partition(b"/")
    try:
        return Place(unquote_to_bytes(name).decode(), unquote_to_bytes(key).decode(), whole)
    except UnicodeDecodeError:
        raise ApiError("InvalidURI", "Couldn't parse the specified URI.", 400) from None
