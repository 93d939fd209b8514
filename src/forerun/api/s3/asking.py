"""What a request to S3 is for those who handle it, and what they answer."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from forerun.api.caller import Caller
from forerun.api.handlers import Members
from forerun.api.response import Headers
from forerun.api.s3.body import RequestBody
from forerun.sources.buckets import Actor, Bucket


class Asked(msgspec.Struct, kw_only=True):
    """One request, its caller allowed to make it.

    ``request`` has the members of the operation's input; the body of an object is in ``body`` alone. ``bucket`` is there,
    where the operation is about one that must be. ``anonymous``: it was not signed.
    """

    caller: Caller
    request: Any
    header: Mapping[bytes, bytes]
    body: RequestBody
    own: Bucket | None = None
    key: str = ""
    anonymous: bool = False

    @property
    def bucket(self) -> Bucket:
        """The bucket that is meant."""
        assert self.own is not None
        return self.own

    @property
    def actor(self) -> Actor:
        """Who does it, as events tell."""
        return Actor(
            account=self.caller.account,
            principal=self.caller.principal_arn.rpartition(":")[2],
            request_id=self.caller.request_id,
            source_ip=self.caller.source_ip,
            origin=self.caller.origin,
        )

    def text(self, name: str) -> str:
        """A header; empty for none."""
        return self.header.get(name.encode(), b"").decode("latin-1")


class Answer(NamedTuple):
    """An answer that is no XML: ``length`` bytes come from ``content``, or none at all."""

    status: int
    headers: Headers
    content: AsyncIterator[bytes] | None = None
    length: int | None = None


Handler = Callable[[Asked], Awaitable[Members | Answer]]
