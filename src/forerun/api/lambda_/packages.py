"""Where the package of a function or a layer comes from: out of the request, or out of a bucket."""

from collections.abc import Awaitable, Callable
from typing import Any

from forerun.api.caller import Caller
from forerun.errors import InvalidInput, Unsupported

Fetch = Callable[[Caller, Any], Awaitable[bytes]]


class PackageSource:
    """Reads packages; those in buckets by what ``connect`` was given, which comes later than the functions."""

    def __init__(self) -> None:
        self._fetch: Fetch | None = None

    def connect(self, fetch: Fetch) -> None:
        """From now on packages are read from buckets this way, with the caller's rights."""
        self._fetch = fetch

    async def read(self, caller: Caller, source: Any) -> bytes:
        """The zip that a request's code or content has or names."""
        if source.S3Bucket is not None or source.S3Key is not None:
            if source.ZipFile is not None:
                raise InvalidInput(
                    "Please do not provide other FunctionCode parameters when providing a ZipFile."
                )
            if self._fetch is None:
                raise Unsupported(
                    "Packages cannot be taken from S3Bucket and S3Key here; give ZipFile"
                )
            return await self._fetch(caller, source)
        if source.ZipFile is None:
            raise InvalidInput("Please provide a source for function code.")
        package: bytes = source.ZipFile
        return package
