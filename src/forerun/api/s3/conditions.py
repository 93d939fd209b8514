"""Conditional requests and ranges, as S3 reads them. Pure."""

import re
from typing import Any, NamedTuple

from forerun.api.protocol import ApiError
from forerun.errors import PreconditionFailed
from forerun.sources.buckets import Guard, StoredObject

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})\Z", re.ASCII)
_FAILED = "At least one of the pre-conditions you specified did not hold"


class Span(NamedTuple):
    """Bytes of an object: where they start and how many; ``part`` says whether it is less than all."""

    start: int
    length: int
    part: bool


class NotModified(Exception):
    """What the client has is what there is."""


def matches(wanted: str, etag: str) -> bool:
    """Whether one of a header's ETags is this one."""
    return any(
        each.strip().removeprefix("W/").strip('"') in {etag, "*"} for each in wanted.split(",")
    )


def require(request: Any, known: StoredObject) -> None:
    """``PreconditionFailed`` or ``NotModified`` unless the conditions of a GET or HEAD hold."""
    modified = int(known.modified)
    if request.IfMatch is not None:
        if not matches(request.IfMatch, known.etag):
            raise PreconditionFailed(_FAILED)
    elif request.IfUnmodifiedSince is not None and modified > request.IfUnmodifiedSince:
        raise PreconditionFailed(_FAILED)
    if request.IfNoneMatch is not None:
        if matches(request.IfNoneMatch, known.etag):
            raise NotModified
    elif request.IfModifiedSince is not None and modified <= request.IfModifiedSince:
        raise NotModified


def require_source(request: Any, known: StoredObject) -> None:
    """``PreconditionFailed`` unless the conditions on the source of a copy hold."""
    modified = int(known.modified)
    if request.CopySourceIfMatch is not None:
        failed = not matches(request.CopySourceIfMatch, known.etag)
    else:
        since = request.CopySourceIfUnmodifiedSince
        failed = since is not None and modified > since
    if request.CopySourceIfNoneMatch is not None:
        failed = failed or matches(request.CopySourceIfNoneMatch, known.etag)
    elif request.CopySourceIfModifiedSince is not None:
        failed = failed or modified <= request.CopySourceIfModifiedSince
    if failed:
        raise PreconditionFailed(_FAILED)


def guard_of(request: Any) -> Guard:
    """What a write asks of what it replaces."""
    absent, etag = request.IfNoneMatch, request.IfMatch
    if absent is not None and absent != "*":
        raise not_implemented("If-None-Match is served for * alone when something is written")
    if absent and etag:
        raise not_implemented("If-Match and If-None-Match are not served together")
    return Guard(absent=absent is not None, etag=(etag or "").strip('"'))


def span_of(text: str | None, size: int) -> Span:
    """The bytes that a Range header means; all of them where S3 does not heed it. ``InvalidRange``."""
    found = _RANGE.match((text or "").replace(" ", ""))
    if found is None or found.groups() == ("", ""):
        return Span(0, size, part=False)
    first, last = found.groups()
    if not first:
        length = min(int(last), size)
        if not length:
            raise _unsatisfiable(text or "", size)
        return Span(size - length, length, part=True)
    start, end = int(first), min(int(last) if last else size - 1, size - 1)
    if last and int(last) < start:
        return Span(0, size, part=False)
    if start >= size:
        raise _unsatisfiable(text or "", size)
    return Span(start, end - start + 1, part=True)


def copied_span(text: str | None, size: int) -> Span:
    """The bytes that a part is copied of: the range must be within the object."""
    if text is None:
        return Span(0, size, part=False)
    found = _RANGE.match(text)
    if found is None or not all(found.groups()):
        wanted = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy"
        raise ApiError("InvalidArgument", wanted, 400)
    start, end = int(found[1]), int(found[2])
    if start > end or end >= size:
        text = f"Range specified is not valid for source object of size: {size}"
        raise ApiError("InvalidArgument", text, 400)
    return Span(start, end - start + 1, part=True)


def part_span(number: int, known: StoredObject) -> Span:
    """The bytes of one of the parts that an object was uploaded in. ``InvalidPartNumber``."""
    sizes = known.about.parts or (known.size,)
    if not 1 <= number <= len(sizes):
        text = "The requested partnumber is not satisfiable"
        members = {"ActualPartCount": len(sizes), "PartNumberRequested": number}
        raise ApiError("InvalidPartNumber", text, 416, members)
    return Span(sum(sizes[: number - 1]), sizes[number - 1], part=True)


def not_implemented(message: str) -> ApiError:
    """What S3 says to a wish that is not served."""
    return ApiError("NotImplemented", message, 501)


def _unsatisfiable(text: str, size: int) -> ApiError:
    members = {"RangeRequested": text.removeprefix("bytes="), "ActualObjectSize": size}
    return ApiError("InvalidRange", "The requested range is not satisfiable", 416, members)
