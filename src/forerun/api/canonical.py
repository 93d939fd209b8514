"""The one spelling of a request's path and query that its signature is made over."""

import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

_PLAIN_PATH = re.compile(rb"/(?:[A-Za-z0-9_~-][A-Za-z0-9_.~-]*(?:/(?=[A-Za-z0-9_~-])|/?\Z))*\Z")
_PLAIN_QUERY = re.compile(rb"[A-Za-z0-9_.~%-]*\Z")


def canonical_path(raw: bytes) -> bytes:
    """The path as all services but S3 sign it: without empty and dot segments, encoded once more than sent."""
    if _PLAIN_PATH.match(raw):
        return raw
    kept: list[bytes] = []
    for part in raw.split(b"/"):
        if part == b"..":
            del kept[-1:]
        elif part not in {b"", b"."}:
            kept.append(part)
    path = b"/" + b"/".join(kept)
    if kept and raw.endswith(b"/"):
        path += b"/"
    return quote_from_bytes(path, safe="/-_.~").encode()


def canonical_query(query: bytes, *, presigned: bool = False) -> bytes:
    """The parameters, encoded alike and sorted; without the signature of a presigned one."""
    if not query:
        return b""
    pairs = []
    for part in query.split(b"&"):
        key, _, value = part.partition(b"=")
        if part and not (presigned and key == b"X-Amz-Signature"):
            pairs.append((_encoded(key), _encoded(value)))
    pairs.sort()
    return b"&".join([key + b"=" + value for key, value in pairs])


def _encoded(text: bytes) -> bytes:
    if _PLAIN_QUERY.match(text) and b"%" not in text:
        return text
    return quote_from_bytes(unquote_to_bytes(text), safe="-_.~").encode()
