"""What is in a bucket, in pages: objects, in the older form and the newer one, and as versions of which there is one each."""

from urllib.parse import quote

from forerun.api.handlers import Members
from forerun.api.protocol import ApiError
from forerun.api.s3.asking import Asked, Handler
from forerun.api.s3.objects import owner_of
from forerun.api.s3.tokens import from_token, to_token
from forerun.sources.buckets import Listed, Objects, StoredObject

MOST = 1000


class ListingRoutes:
    """Handlers of listings."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def routes(self) -> dict[str, Handler]:
        """Handlers by operation."""
        return {
            "ListObjects": self.older,
            "ListObjectsV2": self.newer,
            "ListObjectVersions": self.versions,
        }

    async def older(self, asked: Asked) -> Members:
        """ListObjects."""
        request = asked.request
        after = request.Marker or ""
        page = await self._page(asked, after)
        shown = _shown(asked, page)
        shown["Contents"] = [_row(asked, each, owner=True) for each in page.objects]
        shown["Marker"] = _spelled(asked, after)
        if page.more and request.Delimiter:
            shown["NextMarker"] = _spelled(asked, page.last)
        return shown

    async def newer(self, asked: Asked) -> Members:
        """ListObjectsV2."""
        request = asked.request
        token = request.ContinuationToken
        after = from_token(token) if token else request.StartAfter or ""
        page = await self._page(asked, after)
        shown = _shown(asked, page)
        shown["Contents"] = [
            _row(asked, each, owner=bool(request.FetchOwner)) for each in page.objects
        ]
        shown["KeyCount"] = len(page.objects) + len(page.prefixes)
        shown["ContinuationToken"] = token
        shown["StartAfter"] = _spelled(asked, request.StartAfter) if request.StartAfter else None
        if page.more:
            shown["NextContinuationToken"] = to_token(page.last)
        return shown

    async def versions(self, asked: Asked) -> Members:
        """ListObjectVersions: what there is, as version ``null``."""
        after = asked.request.KeyMarker or ""
        page = await self._page(asked, after)
        shown = _shown(asked, page)
        shown["Versions"] = [
            {**_row(asked, each, owner=True), "VersionId": "null", "IsLatest": True}
            for each in page.objects
        ]
        shown["KeyMarker"] = _spelled(asked, after)
        shown["VersionIdMarker"] = asked.request.VersionIdMarker or ""
        if page.more:
            shown["NextKeyMarker"] = _spelled(asked, page.last)
            shown["NextVersionIdMarker"] = "null"
        return shown

    async def _page(self, asked: Asked, after: str) -> Listed:
        request = asked.request
        return await self._objects.page(
            asked.bucket.name,
            prefix=request.Prefix or "",
            delimiter=request.Delimiter or "",
            after=after,
            most=_most(request.MaxKeys),
        )


def _most(asked: int | None) -> int:
    if asked is not None and asked < 0:
        text = "Argument maxKeys must be an integer between 0 and 2147483647"
        raise ApiError("InvalidArgument", text, 400)
    return MOST if asked is None else min(asked, MOST)


def _shown(asked: Asked, page: Listed) -> Members:
    request = asked.request
    return {
        "Name": asked.bucket.name,
        "Prefix": _spelled(asked, request.Prefix or ""),
        "Delimiter": _spelled(asked, request.Delimiter) if request.Delimiter else None,
        "MaxKeys": _most(request.MaxKeys),
        "EncodingType": request.EncodingType,
        "IsTruncated": page.more,
        "CommonPrefixes": [{"Prefix": _spelled(asked, each)} for each in page.prefixes],
    }


def _row(asked: Asked, known: StoredObject, *, owner: bool) -> Members:
    row: Members = {
        "Key": _spelled(asked, known.key),
        "LastModified": known.modified,
        "ETag": f'"{known.etag}"',
        "Size": known.size,
        "StorageClass": known.about.storage_class,
    }
    if known.about.checksums:
        row["ChecksumAlgorithm"] = list(known.about.checksums)
        row["ChecksumType"] = known.about.checksum_type
    if owner:
        row["Owner"] = owner_of(asked.bucket.account)
    return row


def _spelled(asked: Asked, text: str) -> str:
    """A key as the client wants it; XML cannot hold each character."""
    return quote(text, safe="/") if asked.request.EncodingType == "url" else text
