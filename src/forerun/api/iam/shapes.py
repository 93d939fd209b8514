"""What IAM's answers have in common: pages, tags, and documents that are printed percent-encoded."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from forerun.control.paging import from_marker, page_size, to_marker
from forerun.storage.identity import Entity

MOST = 1_000
DEFAULT = 100

T = TypeVar("T")


def page(member: str, items: Sequence[T], names: Sequence[str], request: Any) -> dict[str, Any]:
    """A page of ``items``, which are sorted by ``names``, under AWS's member."""
    after = from_marker(request.Marker, ("",))[0]
    size = DEFAULT if request.MaxItems is None else page_size(request.MaxItems, MOST)
    found = [(name, item) for name, item in zip(names, items, strict=True) if name > str(after)]
    answer: dict[str, Any] = {
        member: [item for _, item in found[:size]],
        "IsTruncated": len(found) > size,
    }
    if len(found) > size:
        answer["Marker"] = to_marker((found[size - 1][0],))
    return answer


def tags_of(members: Sequence[Any] | None) -> dict[str, str]:
    """AWS's list of Key and Value as a mapping."""
    return {tag.Key: tag.Value for tag in members or ()}


def printed_tags(tags: Mapping[str, str]) -> list[dict[str, str]] | None:
    """A mapping as AWS's list; ``None`` when there are none."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())] or None


def printed_document(document: str) -> str:
    """A policy's text as IAM sends it: percent-encoded after RFC 3986; clients decode it."""
    return quote(document, safe="-_.~")


def identity_of(entity: Entity, kind: str) -> dict[str, Any]:
    """The members that ``Role``, ``User`` and ``Policy`` share."""
    return {
        "Path": entity.path,
        f"{kind}Name": entity.name,
        f"{kind}Id": entity.id,
        "Arn": entity.arn,
        "CreateDate": entity.created,
        "Tags": printed_tags(entity.tags),
    }
