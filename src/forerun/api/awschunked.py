"""Bodies sent as ``aws-chunked``: length-framed chunks, each signed after the one before, and trailers.

::

    HEX-LENGTH[;chunk-signature=HEX]\\r\\n  data  \\r\\n   ...   0[;chunk-signature=HEX]\\r\\n
    [name:value\\r\\n ...  [x-amz-trailer-signature:HEX\\r\\n]]  \\r\\n
"""

import hmac
from hashlib import sha256
from typing import NamedTuple

_EMPTY_HASH = sha256(b"").hexdigest().encode()
_MAX_LINE = 8192
_MAX_TRAILERS = 16


class BadChunks(ValueError):
    """The framing is broken, or the length is not the announced one."""


class WrongChunkSignature(ValueError):
    """A chunk or the trailers are not what was signed."""


class Chain(NamedTuple):
    """What chunk signatures are made with: the signing key, ``x-amz-date``, the scope, the head's signature."""

    key: bytes
    date: bytes
    scope: bytes
    seed: bytes

    def next(self, kind: bytes, signature: bytes, *hashes: bytes) -> bytes:
        """The signature that follows ``signature``."""
        text = b"\n".join((kind, self.date, self.scope, signature, *hashes))
        return hmac.digest(self.key, text, "sha256").hex().encode()


class Decoded(NamedTuple):
    """The body without framing, and its trailers by lower-case name."""

    body: bytes
    trailers: dict[bytes, bytes]


def decode(framed: bytes, chain: Chain | None, *, trailers: bool, length: int | None) -> Decoded:
    """Unframe ``framed``; signatures are checked when a ``chain`` is given.

    ``length`` is the announced length of the body, if any. Raises ``BadChunks`` and ``WrongChunkSignature``.
    """
    chunks = []
    position = 0
    previous = chain.seed if chain else b""
    while True:
        line, position = _line(framed, position)
        size, signature = _head(line)
        chunk = framed[position : position + size]
        if len(chunk) != size:
            raise BadChunks("The body ends within a chunk")
        if chain is not None:
            wanted = chain.next(
                b"AWS4-HMAC-SHA256-PAYLOAD",
                previous,
                _EMPTY_HASH,
                sha256(chunk).hexdigest().encode(),
            )
            _compare(wanted, signature)
            previous = wanted
        if size == 0:
            break
        chunks.append(chunk)
        position += size
        if framed[position : position + 2] != b"\r\n":
            raise BadChunks("A chunk does not end where its length says")
        position += 2
    body = b"".join(chunks)
    if length is not None and length != len(body):
        raise BadChunks(f"The body has {len(body)} bytes, {length} were announced")
    return Decoded(body, _trailers(framed, position, chain, previous) if trailers else {})


def _line(framed: bytes, position: int) -> tuple[bytes, int]:
    end = framed.find(b"\r\n", position, position + _MAX_LINE)
    if end < 0:
        raise BadChunks("A line of the chunked body does not end")
    return framed[position:end], end + 2


def _head(line: bytes) -> tuple[int, bytes]:
    digits, _, extension = line.partition(b";")
    if not digits or len(digits) > 16 or digits.strip(b"0123456789abcdefABCDEF"):
        raise BadChunks("A chunk's length is not a hexadecimal number")
    name, _, signature = extension.partition(b"=")
    return int(digits, 16), signature if name == b"chunk-signature" else b""


def _trailers(
    framed: bytes, position: int, chain: Chain | None, previous: bytes
) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    while position < len(framed):
        line, position = _line(framed, position)
        if not line:
            break
        name, colon, value = line.partition(b":")
        name = name.strip().lower()
        if not colon or name in found or len(found) >= _MAX_TRAILERS:
            raise BadChunks("The trailers are not acceptable")
        found[name] = value.strip()
    signature = found.pop(b"x-amz-trailer-signature", b"")
    if chain is not None:
        text = b"".join(name + b":" + value + b"\n" for name, value in sorted(found.items()))
        wanted = chain.next(
            b"AWS4-HMAC-SHA256-TRAILER", previous, sha256(text).hexdigest().encode()
        )
        _compare(wanted, signature)
    return found


def _compare(wanted: bytes, given: bytes) -> None:
    if not hmac.compare_digest(wanted, given):
        raise WrongChunkSignature("The signature of a chunk does not match")
