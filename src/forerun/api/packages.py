"""Links to packages, as GetFunction gives them: anybody who has one may fetch it for ten minutes, and nothing else."""

import hmac
from collections.abc import Mapping
from typing import Protocol

from forerun.aio import Clock
from forerun.api.response import Response
from forerun.errors import AccessDenied

PREFIX = b"/packages/"
VALID_S = 600


class Packages(Protocol):
    """Who keeps packages."""

    async def read(self, digest: str) -> bytes:
        """A package as it was uploaded. Raises ``NotFound``."""
        ...


class PackageLinks:
    """Makes links, and serves them."""

    def __init__(self, key: bytes, base_url: str, packages: Packages, clock: Clock) -> None:
        self._key = key
        self._base_url = base_url
        self._packages = packages
        self._clock = clock

    def url(self, digest: str) -> str:
        """A link to the package with that digest."""
        expires = int(self._clock.now()) + VALID_S
        seal = self._seal(digest, str(expires))
        return f"{self._base_url}/packages/{digest}?Expires={expires}&Signature={seal}"

    async def serve(self, digest: str, query: Mapping[str, str]) -> Response:
        """The package. Raises ``AccessDenied`` for a link that is forged or old, ``NotFound`` when it is gone."""
        expires = query.get("Expires", "")
        seal = self._seal(digest, expires)
        good = hmac.compare_digest(seal.encode(), query.get("Signature", "").encode())
        if not good or int(expires) < self._clock.now():
            raise AccessDenied("The link is not valid, or not any more; call GetFunction again")
        content = await self._packages.read(digest)
        return Response(200, [(b"content-type", b"application/zip")], content)

    def _seal(self, digest: str, expires: str) -> str:
        return hmac.digest(self._key, f"{digest}:{expires}".encode(), "sha256").hex()
