"""Uploads in parts."""

from typing import Any

import msgspec

from forerun.api.handlers import Members
from forerun.api.protocol import ApiError
from forerun.api.s3.asking import Asked, Handler
from forerun.api.s3.conditions import copied_span, guard_of, not_implemented
from forerun.api.s3.headers import (
    about_of,
    algorithm_of,
    checksum_members,
    claimed_checksums,
    refuse_unserved,
    wanted_of,
)
from forerun.api.s3.objects import ObjectRoutes, owner_of
from forerun.sources.buckets import COMPOSITE, Chosen, Part, Upload, Uploads

MOST = 1000


class UploadRoutes:
    """Handlers of uploads in parts."""

    def __init__(self, uploads: Uploads, objects: ObjectRoutes) -> None:
        self._uploads = uploads
        self._objects = objects

    def routes(self) -> dict[str, Handler]:
        """Handlers by operation."""
        return {
            "CreateMultipartUpload": self.begin,
            "UploadPart": self.put,
            "UploadPartCopy": self.copy,
            "CompleteMultipartUpload": self.complete,
            "AbortMultipartUpload": self.abort,
            "ListParts": self.parts,
            "ListMultipartUploads": self.page,
        }

    async def begin(self, asked: Asked) -> Members:
        """A new upload."""
        algorithm, kind = algorithm_of(asked.request)
        about = msgspec.structs.replace(about_of(asked), algorithm=algorithm, checksum_type=kind)
        upload = await self._uploads.begin(asked.bucket, asked.key, about)
        return {
            "Bucket": upload.bucket,
            "Key": upload.key,
            "UploadId": upload.id,
            "ChecksumAlgorithm": algorithm or None,
            "ChecksumType": kind or None,
        }

    async def put(self, asked: Asked) -> Members:
        """Take the body as a part."""
        refuse_unserved(asked.header)
        wanted = wanted_of(asked)
        upload = await self._find(asked)
        given = next(iter(wanted.checksums), "")
        algorithm = upload.about.algorithm
        if algorithm and given and given != algorithm:
            text = f"Checksum Type mismatch occurred, expected checksum Type: {algorithm.lower()}, actual checksum Type: {given.lower()}"
            raise ApiError("InvalidRequest", text, 400)
        number = asked.request.PartNumber
        part = await self._uploads.put(asked.bucket, upload, number, asked.body, wanted)
        return {"ETag": f'"{part.etag}"', **checksum_members(part.checksums)}

    async def copy(self, asked: Asked) -> Members:
        """Take bytes of an object as a part."""
        refuse_unserved(asked.header)
        upload = await self._find(asked)
        source = await self._objects.source(asked)
        span = copied_span(asked.request.CopySourceRange, source.size)
        number = asked.request.PartNumber
        part = await self._uploads.copy(
            asked.bucket, upload, number, source, (span.start, span.length)
        )
        result = {
            "ETag": f'"{part.etag}"',
            "LastModified": part.modified,
            **checksum_members(part.checksums),
        }
        return {"CopyPartResult": result}

    async def complete(self, asked: Asked) -> Members:
        """Make the object."""
        request = asked.request
        upload = await self._find(asked)
        given = request.MultipartUpload
        chosen = [_chosen(part) for part in (given.Parts or () if given is not None else ())]
        kind = request.ChecksumType
        if kind and upload.about.checksum_type and kind != upload.about.checksum_type:
            text = f"The upload was created using the {upload.about.checksum_type} checksum mode. The complete request must use the same checksum mode."
            raise ApiError("InvalidRequest", text, 400)
        stored = await self._uploads.complete(
            asked.bucket,
            upload,
            chosen,
            claimed=_claimed(request, upload),
            guard=guard_of(request),
            actor=asked.actor,
        )
        return {
            "Location": f"/{stored.bucket}/{stored.key}",
            "Bucket": stored.bucket,
            "Key": stored.key,
            "ETag": f'"{stored.etag}"',
            **checksum_members(stored.about.checksums, stored.about.checksum_type),
        }

    async def abort(self, asked: Asked) -> Members:
        """Give it up."""
        await self._uploads.abort(await self._find(asked))
        return {}

    async def parts(self, asked: Asked) -> Members:
        """What has come by now."""
        request = asked.request
        upload = await self._find(asked)
        after = _number("part-number-marker", request.PartNumberMarker)
        most = _at_most("max-parts", request.MaxParts)
        found, more = await self._uploads.parts(upload, after, most)
        owner = owner_of(asked.bucket.account)
        return {
            "Bucket": upload.bucket,
            "Key": upload.key,
            "UploadId": upload.id,
            "PartNumberMarker": after,
            "NextPartNumberMarker": found[-1].number if found else 0,
            "MaxParts": most,
            "IsTruncated": more,
            "Parts": [_part(each) for each in found],
            "Initiator": owner,
            "Owner": owner,
            "StorageClass": upload.about.storage_class,
            "ChecksumAlgorithm": upload.about.algorithm or None,
            "ChecksumType": upload.about.checksum_type or None,
        }

    async def page(self, asked: Asked) -> Members:
        """Uploads under way."""
        request = asked.request
        if request.Delimiter:
            raise not_implemented("Uploads are not listed by delimiter here")
        after = (request.KeyMarker or "", request.UploadIdMarker or "")
        if after[0] and not after[1]:
            # Beyond all uploads of this key.
            after = (after[0], "~")
        most = _at_most("max-uploads", request.MaxUploads)
        prefix = request.Prefix or ""
        found, more = await self._uploads.page(
            asked.bucket.name, after=after, prefix=prefix, most=most
        )
        answer: Members = {
            "Bucket": asked.bucket.name,
            "KeyMarker": request.KeyMarker or "",
            "UploadIdMarker": request.UploadIdMarker or "",
            "Prefix": prefix or None,
            "MaxUploads": most,
            "IsTruncated": more,
            "Uploads": [_upload(asked, each) for each in found],
        }
        if more:
            answer |= {"NextKeyMarker": found[-1].key, "NextUploadIdMarker": found[-1].id}
        return answer

    async def _find(self, asked: Asked) -> Upload:
        return await self._uploads.find(asked.bucket.name, asked.key, asked.request.UploadId)


def _chosen(part: Any) -> Chosen:
    if part.PartNumber is None or part.ETag is None:
        text = "The XML you provided was not well-formed or did not validate against our published schema"
        raise ApiError("MalformedXML", text, 400)
    return Chosen(part.PartNumber, part.ETag.strip('"'), claimed_checksums(part))


def _claimed(request: Any, upload: Upload) -> dict[str, str]:
    """The checksum of the whole, as the client knows it; for one over parts' checksums it may leave their number out."""
    claimed = claimed_checksums(request)
    if upload.about.checksum_type == COMPOSITE:
        given = request.MultipartUpload
        count = len(given.Parts or ()) if given is not None else 0
        claimed = {
            name: value if "-" in value else f"{value}-{count}" for name, value in claimed.items()
        }
    return claimed


def _part(part: Part) -> Members:
    return {
        "PartNumber": part.number,
        "LastModified": part.modified,
        "ETag": f'"{part.etag}"',
        "Size": part.size,
        **checksum_members(part.checksums),
    }


def _upload(asked: Asked, upload: Upload) -> Members:
    owner = owner_of(asked.bucket.account)
    return {
        "UploadId": upload.id,
        "Key": upload.key,
        "Initiated": upload.started,
        "StorageClass": upload.about.storage_class,
        "Owner": owner,
        "Initiator": owner,
        "ChecksumAlgorithm": upload.about.algorithm or None,
        "ChecksumType": upload.about.checksum_type or None,
    }


def _number(name: str, given: str | int | None) -> int:
    text = str(given or 0)
    if not text.isdecimal() or int(text) > 1 << 31:
        raise ApiError("InvalidArgument", f"Argument {name} must be an integer", 400)
    return int(text)


def _at_most(name: str, given: int | None) -> int:
    if given is not None and given < 0:
        raise ApiError("InvalidArgument", f"Argument {name} must not be negative", 400)
    return MOST if given is None else min(given, MOST)
