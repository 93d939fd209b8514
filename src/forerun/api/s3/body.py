"""The body of a request to S3, taken as it comes: its framing taken off, its signature checked, nothing of it kept.

The server of HTTP closes the connection of a client that sends nothing for too long, which ends the wait here.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping

from forerun.aio import Receive
from forerun.api.awschunked import BadChunks, Unframer, WrongChunkSignature
from forerun.api.protocol import ApiError
from forerun.api.sigv4 import Head, SignatureError
from forerun.sources.buckets import errors

HASH_OFF_LOOP_BYTES = 256 * 1024


class RequestBody:
    """One body; it can be read once. ``head`` is ``None`` where the signature does not cover it."""

    def __init__(self, receive: Receive, header: Mapping[bytes, bytes], head: Head | None) -> None:
        self._receive = receive
        self.sha256 = head.sha256 if head is not None else None
        announced = header.get(b"x-amz-decoded-content-length")
        self._unframer: Unframer | None = head.unframer(announced) if head is not None else None
        if head is None and header.get(b"x-amz-content-sha256", b"").startswith(
            b"STREAMING-UNSIGNED"
        ):
            self._unframer = Unframer(None, trailers=True, length=None)
        self._announced = header.get(b"x-amz-trailer", b"").decode("latin-1").lower()
        length = announced if self._unframer is not None else header.get(b"content-length")
        self.length = int(length) if length is not None and length.isdigit() else None

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Pieces as they arrive; ``BodyIncomplete`` when the client leaves."""
        return self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise errors.BodyIncomplete
            more = message["more_body"]
            yield message["body"]

    def decode(self, piece: bytes) -> Iterable[bytes]:
        """What a piece says."""
        if self._unframer is None:
            return (piece,)
        try:
            return self._unframer.feed(piece)
        except (BadChunks, WrongChunkSignature) as error:
            raise _refused(error) from None

    def end(self) -> Mapping[str, str]:
        """The trailers. Raises ``SignatureError`` and ``ApiError`` when the body was not what was signed."""
        if self._unframer is None:
            return {}
        try:
            found = self._unframer.end()
        except (BadChunks, WrongChunkSignature) as error:
            raise _refused(error) from None
        trailers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in found.items()
        }
        missing = [
            name for name in self._announced.split(",") if name.strip() not in {"", *trailers}
        ]
        if missing:
            text = f"The request contained trailing data that was not well-formed or did not conform to our published schema: {missing[0]} is missing."
            raise ApiError("MalformedTrailerError", text, 400)
        return trailers

    async def whole(self, limit: int) -> bytes:
        """All of it, at most ``limit`` bytes, checked against the signature. Raises ``ObjectTooLarge`` and as ``end``."""
        parts: list[bytes] = []
        size = 0
        async for piece in self:
            for part in self.decode(piece):
                size += len(part)
                if size > limit:
                    raise errors.ObjectTooLarge(
                        f"The body of this request must be at most {limit} bytes"
                    )
                parts.append(part)
        self.end()
        body = b"".join(parts)
        if self.sha256 is not None:
            found = (
                await asyncio.to_thread(_sha256, body)
                if len(body) > HASH_OFF_LOOP_BYTES
                else _sha256(body)
            )
            if found != self.sha256:
                raise errors.WrongHash
        return body


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _refused(error: Exception) -> ApiError:
    if isinstance(error, BadChunks):
        return SignatureError("IncompleteBody", str(error), 400)
    text = "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    return SignatureError("SignatureDoesNotMatch", text, 403)
