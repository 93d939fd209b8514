"""Packages of functions and layers that are taken from buckets, with the rights of who deploys."""

from typing import Any

from forerun.api.caller import Caller
from forerun.api.s3.rights import Rights
from forerun.errors import InvalidInput, RequestTooLarge, Unsupported
from forerun.sources.buckets import Buckets, Objects, errors


class BucketPackages:
    """Reads an object as a package of at most ``limit`` bytes."""

    def __init__(self, buckets: Buckets, objects: Objects, rights: Rights, limit: int) -> None:
        self._buckets = buckets
        self._objects = objects
        self._rights = rights
        self._limit = limit

    async def read(self, caller: Caller, source: Any) -> bytes:
        """The package that ``S3Bucket`` and ``S3Key`` name. ``InvalidInput``, ``AccessDenied``, ``RequestTooLarge``."""
        if getattr(source, "S3ObjectVersion", None) not in (None, "null"):
            raise Unsupported("Versions of objects are not served here; leave S3ObjectVersion out")
        name, key = source.S3Bucket, source.S3Key
        if not name or not key:
            raise InvalidInput("Please provide both S3Bucket and S3Key for function code.")
        try:
            bucket = await self._buckets.find(name)
            self._rights.require(caller, "s3:GetObject", bucket, key)
            known = await self._objects.find(name, key)
        except errors.NoSuchBucket:
            raise InvalidInput(
                _failed("NoSuchBucket", "The specified bucket does not exist")
            ) from None
        except errors.NoSuchKey:
            raise InvalidInput(_failed("NoSuchKey", "The specified key does not exist.")) from None
        if known.size > self._limit:
            raise RequestTooLarge(
                f"The package s3://{name}/{key} has {known.size} bytes; at most {self._limit} are allowed"
            )
        return await self._objects.whole(known)


def _failed(code: str, message: str) -> str:
    return f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}"
