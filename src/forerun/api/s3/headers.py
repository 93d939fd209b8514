"""What an object brings beside its content: read off the request that puts it, written into the answers that tell of it."""

import base64
import binascii
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

from forerun.api.handlers import Members
from forerun.api.protocol import ApiError
from forerun.api.response import Headers
from forerun.api.s3.asking import Asked
from forerun.api.s3.conditions import not_implemented
from forerun.sources.buckets import (
    ALGORITHMS,
    About,
    StoredObject,
    Wanted,
    allowed_type,
    default_type,
    errors,
    well_formed,
)

_KEPT = (
    "content-type",
    "content-encoding",
    "content-disposition",
    "content-language",
    "cache-control",
    "expires",
)
_REDIRECT = "x-amz-website-redirect-location"
_OVERRIDES = {
    "ResponseContentType": "content-type",
    "ResponseContentEncoding": "content-encoding",
    "ResponseContentDisposition": "content-disposition",
    "ResponseContentLanguage": "content-language",
    "ResponseCacheControl": "cache-control",
    "ResponseExpires": "expires",
}
_REFUSED = {
    b"x-amz-server-side-encryption": "Encryption at rest",
    b"x-amz-server-side-encryption-customer-algorithm": "Encryption with keys of customers",
    b"x-amz-object-lock-mode": "Object Lock",
    b"x-amz-object-lock-legal-hold": "Object Lock",
    b"x-amz-write-offset-bytes": "Appending to objects",
}
_GRANTS = (
    b"x-amz-grant-full-control",
    b"x-amz-grant-read",
    b"x-amz-grant-read-acp",
    b"x-amz-grant-write",
    b"x-amz-grant-write-acp",
)
# A bucket's owner owns the objects in it; these say nothing else.
_ACLS = {b"private", b"bucket-owner-full-control"}


def about_of(asked: Asked) -> About:
    """What a PUT, an upload or a copy that replaces metadata says of the object. Refuses by name what is not served."""
    refuse_unserved(asked.header)
    request = asked.request
    headers = {name: text for name in _KEPT if (text := asked.text(name))}
    if "content-encoding" in headers:
        # How the body was sent is not what it is.
        kept = [
            each
            for part in headers["content-encoding"].split(",")
            if (each := part.strip()) and each != "aws-chunked"
        ]
        headers["content-encoding"] = ",".join(kept)
        if not kept:
            del headers["content-encoding"]
    if redirect := asked.text(_REDIRECT):
        headers[_REDIRECT] = redirect
    return About(
        headers=headers,
        metadata=dict(request.Metadata or {}),
        tags=tags_of(request.Tagging),
        storage_class=request.StorageClass or "STANDARD",
    )


def refuse_unserved(header: Mapping[bytes, bytes]) -> None:
    """``NotImplemented`` for headers that ask for what is not served."""
    for name, what in _REFUSED.items():
        if name in header:
            raise not_implemented(f"{what} is not served here; leave {name.decode()} out")
    if header.get(b"x-amz-acl", b"private") not in _ACLS or any(each in header for each in _GRANTS):
        raise ApiError(
            "AccessControlListNotSupported",
            "The bucket does not allow ACLs; use a bucket policy",
            400,
        )


def tags_of(text: str | None) -> dict[str, str]:
    """Tags in the form of a query string. ``InvalidArgument``."""
    try:
        pairs = parse_qsl(
            text or "", keep_blank_values=True, strict_parsing=bool(text), max_num_fields=50
        )
    except ValueError:
        message = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
        raise ApiError("InvalidArgument", message, 400) from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise errors.BadTag("Cannot provide multiple Tags with the same key")
    return found


def tags_in(tagging: Any) -> dict[str, str]:
    """Tags of a document."""
    tags = tagging.TagSet
    found = {tag.Key: tag.Value for tag in tags}
    if len(found) != len(tags):
        raise errors.BadTag("Cannot provide multiple Tags with the same key")
    return found


def tag_set(tags: Mapping[str, str]) -> Members:
    """Tags as a document."""
    return {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}


def algorithm_of(request: Any) -> tuple[str, str]:
    """How an upload in parts is to be checked: algorithm and type, both empty for not at all. ``InvalidRequest``."""
    algorithm = (request.ChecksumAlgorithm or "").upper()
    if not algorithm:
        return "", ""
    if algorithm not in ALGORITHMS:
        raise not_implemented(f"Checksums of the kind {algorithm} are not served here")
    kind = request.ChecksumType or default_type(algorithm)
    if not allowed_type(algorithm, kind):
        text = f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        raise ApiError("InvalidRequest", text, 400)
    return algorithm, kind


def wanted_of(asked: Asked) -> Wanted:
    """What the body of a request must come to. ``InvalidDigest``, ``InvalidRequest``, ``MissingContentLength``."""
    body = asked.body
    if body.length is None:
        raise ApiError(
            "MissingContentLength", "You must provide the Content-Length HTTP header.", 411
        )
    return Wanted(
        size=body.length,
        md5=_md5(asked.text("content-md5")),
        sha256=body.sha256 or "",
        checksums=_checksums(asked),
    )


def _md5(text: str) -> str:
    if not text:
        return ""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 16:
        raise ApiError("InvalidDigest", "The Content-MD5 you specified is not valid.", 400)
    return raw.hex()


def _checksums(asked: Asked) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in asked.header:
        if name.startswith(b"x-amz-checksum-") and name not in _NAMES and name not in _NO_CHECKSUM:
            raise not_implemented(f"{name.decode('latin-1')} is not served here")
    for algorithm in ALGORITHMS:
        header = f"x-amz-checksum-{algorithm.lower()}"
        if value := asked.text(header):
            if not well_formed(algorithm, value):
                raise ApiError("InvalidRequest", f"Value for {header} header is invalid.", 400)
            found[algorithm] = value
    if len(found) > 1:
        text = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        raise ApiError("InvalidRequest", text, 400)
    if not found:
        announced = asked.text("x-amz-trailer").lower().removeprefix("x-amz-checksum-")
        algorithm = (announced or asked.text("x-amz-sdk-checksum-algorithm")).upper()
        if algorithm and algorithm not in ALGORITHMS:
            raise not_implemented(f"Checksums of the kind {algorithm} are not served here")
        if algorithm:
            found[algorithm] = ""
    return found


_NAMES = frozenset(f"x-amz-checksum-{algorithm.lower()}".encode() for algorithm in ALGORITHMS)
_NO_CHECKSUM = frozenset(
    {b"x-amz-checksum-mode", b"x-amz-checksum-type", b"x-amz-checksum-algorithm"}
)


def checksum_members(checksums: Mapping[str, str], kind: str = "") -> Members:
    """Checksums as members of an answer."""
    found: Members = {f"Checksum{algorithm}": value for algorithm, value in checksums.items()}
    if checksums and kind:
        found["ChecksumType"] = kind
    return found


def claimed_checksums(members: Any) -> dict[str, str]:
    """Checksums that a request says."""
    return {
        algorithm: value
        for algorithm in ALGORITHMS
        if (value := getattr(members, f"Checksum{algorithm}", None))
    }


def headers_of(known: StoredObject, request: Any, *, checksums: bool, anonymous: bool) -> Headers:
    """The headers that tell of an object, without its length."""
    about = known.about
    found = {"content-type": "binary/octet-stream", **about.headers}
    for member, name in _OVERRIDES.items():
        value = getattr(request, member)
        if value is not None:
            if anonymous:
                text = (
                    "Request specific response headers cannot be used for anonymous GET requests."
                )
                raise ApiError("InvalidRequest", text, 400)
            found[name] = formatdate(value, usegmt=True) if isinstance(value, float) else str(value)
    found["etag"] = f'"{known.etag}"'
    found["last-modified"] = formatdate(known.modified, usegmt=True)
    found["accept-ranges"] = "bytes"
    found |= {f"x-amz-meta-{name}": value for name, value in about.metadata.items()}
    if about.storage_class != "STANDARD":
        found["x-amz-storage-class"] = about.storage_class
    if about.tags:
        found["x-amz-tagging-count"] = str(len(about.tags))
    if checksums and about.checksums:
        for algorithm, value in about.checksums.items():
            found[f"x-amz-checksum-{algorithm.lower()}"] = value
        found["x-amz-checksum-type"] = about.checksum_type
    return [(name.encode("latin-1", "replace"), _value(text)) for name, text in found.items()]


def _value(text: str) -> bytes:
    return (
        text.replace("\r", " ").replace("\n", " ").replace("\0", " ").encode("latin-1", "replace")
    )
