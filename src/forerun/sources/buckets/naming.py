"""What names, keys, tags and metadata may be. Pure."""

import re
from collections.abc import Mapping

from forerun.errors import InvalidInput
from forerun.sources.buckets.errors import BadName, BadTag, KeyTooLong, MetadataTooLarge

KEY_BYTES = 1024
METADATA_BYTES = 2048
OBJECT_TAGS = 10
BUCKET_TAGS = 50

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+\Z")
_TAG = re.compile(r"[\w\s+\-=.:/@]*\Z")
_FORBIDDEN = ("xn--", "sthree-", "amzn-s3-demo-")
_ENDINGS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def check_name(name: str) -> None:
    """``BadName`` unless a bucket may be called so."""
    if (
        not _NAME.match(name)
        or _ADDRESS.match(name)
        or ".." in name
        or name.startswith(_FORBIDDEN)
        or name.endswith(_ENDINGS)
    ):
        raise BadName


def may_be_name(text: str) -> bool:
    """Whether a bucket could be called so."""
    return _NAME.match(text) is not None


def check_key(key: str) -> None:
    """``KeyTooLong`` or ``InvalidInput`` unless an object may be called so."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidInput("The key is not valid UTF-8") from None
    if size > KEY_BYTES:
        raise KeyTooLong(f"Your key is too long: {size} bytes, at most {KEY_BYTES} are allowed")
    if not key:
        raise InvalidInput("The key is empty")


def check_metadata(metadata: Mapping[str, str]) -> None:
    """``MetadataTooLarge`` beyond 2 KB."""
    size = sum(len(name) + len(value.encode()) for name, value in metadata.items())
    if size > METADATA_BYTES:
        raise MetadataTooLarge(
            f"Your metadata headers exceed the maximum allowed metadata size: {size} bytes, at most {METADATA_BYTES}"
        )


def check_tags(tags: Mapping[str, str], most: int) -> None:
    """``BadTag`` unless these may be set; ``most`` is how many."""
    if len(tags) > most:
        raise BadTag(f"Tags cannot be more than {most}")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or not _TAG.match(key):
            raise BadTag("The TagKey you have provided is invalid")
        if len(value) > 256 or not _TAG.match(value):
            raise BadTag("The TagValue you have provided is invalid")
        if key.lower().startswith("aws:"):
            raise BadTag("System tags cannot be added/updated by requester")
