"""Bodies sent as ``aws-chunked``: length-framed chunks, each signed after the one before, and trailers.

::

    HEX-LENGTH[;chunk-signature=HEX]\\r\\n  data  \\r\\n   ...   0[;chunk-signature=HEX]\\r\\n
    [name:value\\r\\n ...  [x-amz-trailer-signature:HEX\\r\\n]]  \\r\\n
"""

import hmac
from collections.abc import Callable
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


class Unframer:
    """Takes the framing off piece by piece, in constant memory; signatures are checked when a ``chain`` is given.

    What ``feed`` gives must not be trusted before ``end`` has returned: a chunk's signature is known when it has passed.
    ``length`` is the announced length of the body, if any. Both raise ``BadChunks`` and ``WrongChunkSignature``.
    """

    def __init__(self, chain: Chain | None, *, trailers: bool, length: int | None) -> None:
        self._chain = chain
        self._with_trailers = trailers
        self._length = length
        self._previous = chain.seed if chain else b""
        self._held = b""
        self._at = 0
        self._left = 0
        self._size = 0
        self._signature = b""
        self._hash = sha256()
        self._step: Callable[[], bytes | None] = self._read_head

    def feed(self, piece: bytes) -> list[bytes]:
        """What is known of the body by now and was not before."""
        self._held = self._held[self._at :] + piece
        self._at = 0
        found: list[bytes] = []
        while (out := self._step()) is not None:
            if out:
                found.append(out)
        return found

    def end(self) -> dict[bytes, bytes]:
        """The trailers by lower-case name; everything was fed."""
        if self._step != self._keep:
            raise BadChunks("The body ends within a chunk")
        if self._length is not None and self._length != self._size:
            raise BadChunks(f"The body has {self._size} bytes, {self._length} were announced")
        if not self._with_trailers:
            return {}
        return _trailers(self._held, self._at, self._chain, self._previous)

    def _read_head(self) -> bytes | None:
        end = self._held.find(b"\r\n", self._at, self._at + _MAX_LINE)
        if end < 0:
            if len(self._held) - self._at >= _MAX_LINE:
                raise BadChunks("A line of the chunked body does not end")
            return None
        self._left, self._signature = _head(self._held[self._at : end])
        self._at = end + 2
        if self._left == 0:
            self._check()
            self._step = self._keep
        else:
            self._step = self._read_data
        return b""

    def _read_data(self) -> bytes | None:
        out = self._held[self._at : self._at + self._left]
        if not out:
            return None
        self._at += len(out)
        self._left -= len(out)
        self._size += len(out)
        if self._chain is not None:
            self._hash.update(out)
        if self._left == 0:
            self._check()
            self._step = self._read_gap
        return out

    def _read_gap(self) -> bytes | None:
        if len(self._held) - self._at < 2:
            return None
        if not self._held.startswith(b"\r\n", self._at):
            raise BadChunks("A chunk does not end where its length says")
        self._at += 2
        self._step = self._read_head
        return b""

    def _keep(self) -> bytes | None:
        if len(self._held) > _MAX_TRAILERS * _MAX_LINE:
            raise BadChunks("The trailers are not acceptable")
        return None

    def _check(self) -> None:
        if self._chain is None:
            return
        digest = self._hash.hexdigest().encode()
        wanted = self._chain.next(b"AWS4-HMAC-SHA256-PAYLOAD", self._previous, _EMPTY_HASH, digest)
        _compare(wanted, self._signature)
        self._previous = wanted
        self._hash = sha256()


def decode(framed: bytes, chain: Chain | None, *, trailers: bool, length: int | None) -> Decoded:
    """Unframe a whole body; see ``Unframer``."""
    unframer = Unframer(chain, trailers=trailers, length=length)
    body = b"".join(unframer.feed(framed))
    return Decoded(body, unframer.end())


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
