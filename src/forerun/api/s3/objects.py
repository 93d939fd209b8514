"""Objects: put, get, head, copy, delete, and their tags."""

from contextlib import suppress
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from forerun.api.errors import describe
from forerun.api.handlers import Members
from forerun.api.protocol import ApiError
from forerun.api.response import Headers
from forerun.api.s3.asking import Answer, Asked, Handler
from forerun.api.s3.conditions import (
    NotModified,
    Span,
    guard_of,
    not_implemented,
    part_span,
    require,
    require_source,
    span_of,
)
from forerun.api.s3.headers import (
    about_of,
    checksum_members,
    headers_of,
    refuse_unserved,
    tag_set,
    tags_in,
    tags_of,
    wanted_of,
)
from forerun.api.s3.rights import Rights
from forerun.errors import AccessDenied, ForerunError, InvalidInput
from forerun.sources.buckets import About, Bucket, Buckets, Objects, StoredObject, errors

MOST_DELETED = 1000
TRIES = 3


class ObjectRoutes:
    """Handlers about one object."""

    def __init__(self, buckets: Buckets, objects: Objects, rights: Rights) -> None:
        self._buckets = buckets
        self._objects = objects
        self._rights = rights

    def routes(self) -> dict[str, Handler]:
        """Handlers by operation."""
        return {
            "PutObject": self.put,
            "GetObject": self.get,
            "HeadObject": self.head,
            "CopyObject": self.copy,
            "DeleteObject": self.delete,
            "DeleteObjects": self.delete_many,
            "GetObjectTagging": self.get_tags,
            "PutObjectTagging": self.put_tags,
            "DeleteObjectTagging": self.delete_tags,
            "GetObjectAcl": self.get_acl,
            "PutObjectAcl": self.put_acl,
        }

    async def put(self, asked: Asked) -> Members:
        """Take the body as a new object."""
        stored = await self._objects.put(
            asked.bucket,
            asked.key,
            asked.body,
            wanted_of(asked),
            about_of(asked),
            guard=guard_of(asked.request),
            actor=asked.actor,
        )
        about = stored.about
        return {
            "ETag": f'"{stored.etag}"',
            **checksum_members(about.checksums, about.checksum_type),
        }

    async def get(self, asked: Asked) -> Answer:
        """Send the content, or a part of it."""
        for left in reversed(range(TRIES)):
            known = await self.find(asked, asked.bucket, asked.key)
            try:
                answer, span = self._tell(asked, known)
                if not span.length or answer.status == 304:
                    return answer
                pieces, held = await self._objects.pieces(known)
            except errors.NoSuchKey:
                # It was replaced in this moment.
                if not left:
                    raise
                continue
            content = self._objects.read(pieces, held, span.start, span.length)
            return answer._replace(content=content)
        raise AssertionError("unreachable")

    async def head(self, asked: Asked) -> Answer:
        """Tell of an object."""
        known = await self.find(asked, asked.bucket, asked.key)
        return self._tell(asked, known)[0]

    def _tell(self, asked: Asked, known: StoredObject) -> tuple[Answer, Span]:
        request = asked.request
        number = request.PartNumber
        if number is not None and request.Range is not None:
            text = "Cannot specify both Range header and partNumber query parameter"
            raise ApiError("InvalidRequest", text, 400)
        checksums = request.ChecksumMode == "ENABLED"
        try:
            require(request, known)
        except NotModified:
            told = headers_of(known, request, checksums=False, anonymous=asked.anonymous)
            return Answer(304, [pair for pair in told if pair[0] in _TOLD_OF_SAME]), Span(
                0, 0, part=False
            )
        span = (
            part_span(number, known)
            if number is not None
            else span_of(_range(asked, known), known.size)
        )
        whole = not span.part or span.length == known.size
        headers: Headers = headers_of(
            known, request, checksums=checksums and whole, anonymous=asked.anonymous
        )
        if span.part and span.length:
            end = span.start + span.length - 1
            headers.append((b"content-range", f"bytes {span.start}-{end}/{known.size}".encode()))
        if number is not None and known.about.parts:
            headers.append((b"x-amz-mp-parts-count", str(len(known.about.parts)).encode()))
        partial = span.part and span.length > 0
        return Answer(206 if partial else 200, headers, length=span.length), span

    async def find(self, asked: Asked, bucket: Bucket, key: str) -> StoredObject:
        """The object; whoever may not list does not learn that there is none."""
        _refuse_version(getattr(asked.request, "VersionId", None))
        try:
            return await self._objects.find(bucket.name, key)
        except errors.NoSuchKey:
            if not self._rights.allows(asked.caller, "s3:ListBucket", bucket):
                raise AccessDenied("Access Denied") from None
            raise

    async def source(self, asked: Asked) -> StoredObject:
        """The object that a copy is made of, whose conditions hold."""
        name, key = copy_source(asked.request.CopySource)
        bucket = await self._buckets.find(name)
        expected = asked.request.ExpectedSourceBucketOwner
        if expected is not None and expected != bucket.account:
            raise AccessDenied("Access Denied")
        self._rights.require(asked.caller, "s3:GetObject", bucket, key)
        try:
            known = await self._objects.find(name, key)
        except errors.NoSuchKey:
            if not self._rights.allows(asked.caller, "s3:ListBucket", bucket):
                raise AccessDenied("Access Denied") from None
            raise
        require_source(asked.request, known)
        return known

    async def copy(self, asked: Asked) -> Members:
        """Make an object of another one."""
        request = asked.request
        refuse_unserved(asked.header)
        source = await self.source(asked)
        about = _copied(asked, source)
        same = (source.bucket, source.key) == (asked.bucket.name, asked.key)
        if same and about == source.about and request.MetadataDirective != "REPLACE":
            text = "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
            raise ApiError("InvalidRequest", text, 400)
        stored = await self._objects.copy(
            source, asked.bucket, asked.key, about, guard=guard_of(request), actor=asked.actor
        )
        result = {
            "ETag": f'"{stored.etag}"',
            "LastModified": stored.modified,
            **checksum_members(stored.about.checksums, stored.about.checksum_type),
        }
        return {"CopyObjectResult": result}

    async def delete(self, asked: Asked) -> Members:
        """Remove an object; there need not be one."""
        _refuse_version(asked.request.VersionId)
        etag = (asked.request.IfMatch or "").strip('"')
        await self._objects.remove(asked.bucket, [asked.key], etag=etag, actor=asked.actor)
        return {}

    async def delete_many(self, asked: Asked) -> Members:
        """Remove up to 1,000 objects; each for itself is allowed or not."""
        wanted = asked.request.Delete.Objects
        if not 1 <= len(wanted) <= MOST_DELETED:
            text = "The XML you provided was not well-formed or did not validate against our published schema"
            raise ApiError("MalformedXML", text, 400)
        gone: list[str] = []
        failed: list[Members] = []
        for each in wanted:
            try:
                _refuse_version(each.VersionId)
                self._rights.require(asked.caller, "s3:DeleteObject", asked.bucket, each.Key)
            except ForerunError as error:
                known = describe("s3", error)
                failed.append({"Key": each.Key, "Code": known.code, "Message": known.message})
            except ApiError as error:
                failed.append({"Key": each.Key, "Code": error.code, "Message": error.message})
            else:
                gone.append(each.Key)
        await self._objects.remove(asked.bucket, list(dict.fromkeys(gone)), actor=asked.actor)
        deleted = [] if asked.request.Delete.Quiet else [{"Key": key} for key in gone]
        return {"Deleted": deleted, "Errors": failed}

    async def get_tags(self, asked: Asked) -> Members:
        """An object's tags."""
        known = await self.find(asked, asked.bucket, asked.key)
        return tag_set(known.about.tags)

    async def put_tags(self, asked: Asked) -> Members:
        """Replace them."""
        known = await self.find(asked, asked.bucket, asked.key)
        await self._objects.describe(known, tags_in(asked.request.Tagging))
        return {}

    async def delete_tags(self, asked: Asked) -> Members:
        """Remove them."""
        known = await self.find(asked, asked.bucket, asked.key)
        await self._objects.describe(known, {})
        return {}

    async def get_acl(self, asked: Asked) -> Members:
        """The bucket's owner has everything."""
        await self.find(asked, asked.bucket, asked.key)
        return owner_acl(asked.bucket)

    async def put_acl(self, asked: Asked) -> Members:
        """Nothing but what holds anyway can be set."""
        refuse_acl(asked)
        await self.find(asked, asked.bucket, asked.key)
        return {}


_TOLD_OF_SAME = frozenset({b"etag", b"last-modified", b"cache-control", b"expires"})


def owner_of(account: str) -> Members:
    """An account as S3 names owners."""
    return {"ID": account, "DisplayName": account}


def owner_acl(bucket: Bucket) -> Members:
    """The only list of rights there is."""
    grantee = {**owner_of(bucket.account), "Type": "CanonicalUser"}
    return {
        "Owner": owner_of(bucket.account),
        "Grants": [{"Grantee": grantee, "Permission": "FULL_CONTROL"}],
    }


def refuse_acl(asked: Asked) -> None:
    """``AccessControlListNotSupported`` unless what is to be set holds anyway."""
    refuse_unserved(asked.header)
    if asked.request.AccessControlPolicy is not None:
        text = "The bucket does not allow ACLs; use a bucket policy"
        raise ApiError("AccessControlListNotSupported", text, 400)


def copy_source(text: str) -> tuple[str, str]:
    """Bucket and key of the header that names the source of a copy. ``InvalidArgument``."""
    path, _, query = text.partition("?")
    with suppress(UnicodeDecodeError):
        name, _, key = unquote_to_bytes(path).decode().removeprefix("/").partition("/")
        if name and key:
            _refuse_version(query.removeprefix("versionId=") or None)
            return name, key
    raise InvalidInput("Invalid copy source object key: it must be BUCKET/KEY, URL-encoded")


def _refuse_version(version: str | None) -> None:
    if version not in (None, "", "null"):
        raise not_implemented("Versions of objects are not served here; leave the version id out")


def _range(asked: Asked, known: StoredObject) -> str | None:
    """The Range header, unless it is meant for another content."""
    condition = asked.text("if-range")
    if condition and condition.startswith('"') and condition.strip('"') != known.etag:
        return None
    text: str | None = asked.request.Range
    return text


def _copied(asked: Asked, source: StoredObject) -> About:
    request: Any = asked.request
    given = about_of(asked)
    kept = source.about
    if request.MetadataDirective == "REPLACE":
        kept = msgspec.structs.replace(kept, headers=given.headers, metadata=given.metadata)
    if request.TaggingDirective == "REPLACE":
        kept = msgspec.structs.replace(kept, tags=tags_of(request.Tagging))
    return msgspec.structs.replace(kept, storage_class=given.storage_class)
