"""Checksums of objects: taken while bytes pass, compared, and put together of those of an object's parts. Pure."""

import base64
import hashlib
import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Protocol

import anycrc

ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
COMPOSITE = "COMPOSITE"
FULL_OBJECT = "FULL_OBJECT"

_MODELS = {"CRC32": "CRC32-ISO-HDLC", "CRC32C": "CRC32-ISCSI", "CRC64NVME": "CRC64-NVME"}
_BYTES = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32}


class Digest(Protocol):
    """Takes bytes and says what they come to."""

    def update(self, data: bytes, /) -> None: ...  # noqa: D102

    def digest(self) -> bytes: ...  # noqa: D102


@cache
def _model(algorithm: str) -> Any:
    return anycrc.Model(_MODELS[algorithm])


class _Crc:
    def __init__(self, algorithm: str) -> None:
        self._model = _model(algorithm)
        self._bytes = _BYTES[algorithm]
        self._value: int | None = None

    def update(self, data: bytes) -> None:
        self._value = (
            self._model.calc(data) if self._value is None else self._model.calc(data, self._value)
        )

    def digest(self) -> bytes:
        return (self._value or 0).to_bytes(self._bytes, "big")


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def new_digest(algorithm: str) -> Digest:
    """One of ``ALGORITHMS``, or ``MD5``."""
    if algorithm == "MD5":
        return hashlib.md5(usedforsecurity=False)
    if algorithm == "SHA1":
        return hashlib.sha1(usedforsecurity=False)
    if algorithm == "SHA256":
        return hashlib.sha256()
    return _Crc32() if algorithm == "CRC32" else _Crc(algorithm)


def well_formed(algorithm: str, value: str) -> bool:
    """Whether a text is base64 of as many bytes as the algorithm gives."""
    try:
        return len(base64.b64decode(value, validate=True)) == _BYTES[algorithm]
    except ValueError:
        return False


def default_type(algorithm: str) -> str:
    """How an upload in parts is checked with this algorithm when nobody said it."""
    return FULL_OBJECT if algorithm == "CRC64NVME" else COMPOSITE


def allowed_type(algorithm: str, kind: str) -> bool:
    """Whether the checksum of a whole object can be had this way from its parts'."""
    if kind == COMPOSITE:
        return algorithm != "CRC64NVME"
    return algorithm in _MODELS


def whole(algorithm: str, kind: str, parts: Sequence[tuple[str, int]]) -> str:
    """The checksum of an object whose parts have these (base64) and sizes."""
    raw = [base64.b64decode(value) for value, _ in parts]
    if kind == COMPOSITE:
        digest = new_digest(algorithm)
        for each in raw:
            digest.update(each)
        return f"{base64.b64encode(digest.digest()).decode()}-{len(parts)}"
    model = _model(algorithm)
    value = int.from_bytes(raw[0], "big")
    for each, (_, size) in zip(raw[1:], parts[1:], strict=True):
        if size:
            value = model.combine(value, int.from_bytes(each, "big"), size)
    return base64.b64encode(value.to_bytes(_BYTES[algorithm], "big")).decode()


def etag_of_parts(etags: Iterable[str]) -> str:
    """The ETag of an object whose parts have these: MD5 over MD5s, and how many."""
    found = [bytes.fromhex(etag) for etag in etags]
    digest = hashlib.md5(b"".join(found), usedforsecurity=False).hexdigest()
    return f"{digest}-{len(found)}"
