"""What can be wrong with what is asked of buckets, finer than the platform's errors: clients know each by its own name."""

from forerun.errors import (
    AlreadyExists,
    CodeStorageExceeded,
    Conflict,
    InUse,
    InvalidInput,
    NotFound,
    RequestTooLarge,
)


class NoSuchBucket(NotFound):
    """The specified bucket does not exist"""

    def __init__(self, name: str) -> None:
        super().__init__("The specified bucket does not exist")
        self.name = name


class NoSuchKey(NotFound):
    """The specified key does not exist."""

    def __init__(self, key: str) -> None:
        super().__init__("The specified key does not exist.")
        self.key = key


class NoSuchUpload(NotFound):
    """The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."""


class BucketTaken(AlreadyExists):
    """The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."""


class BucketOwned(AlreadyExists):
    """Your previous request to create the named bucket succeeded and you already own it."""


class BucketNotEmpty(InUse):
    """The bucket you tried to delete is not empty"""


class TooManyBuckets(InvalidInput):
    """You have attempted to create more buckets than allowed"""


class BadName(InvalidInput):
    """The specified bucket is not valid."""


class KeyTooLong(InvalidInput):
    """Your key is too long"""


class MetadataTooLarge(InvalidInput):
    """Your metadata headers exceed the maximum allowed metadata size"""


class BadTag(InvalidInput):
    """The tags are not acceptable."""


class BadDigest(InvalidInput):
    """The Content-MD5 or checksum value that you specified did not match what the server received."""


class ObjectTooLarge(RequestTooLarge):
    """Your proposed upload exceeds the maximum allowed size"""


class BodyIncomplete(InvalidInput):
    """You did not provide the number of bytes specified by the Content-Length HTTP header"""


class BucketsFull(CodeStorageExceeded):
    """The account's storage for objects is full (limits.bucket_bytes); delete objects or uploads."""


class BadPart(InvalidInput):
    """One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."""


class BadPartOrder(InvalidInput):
    """The list of parts was not in ascending order. Parts must be ordered by part number."""


class PartTooSmall(InvalidInput):
    """Your proposed upload is smaller than the minimum allowed size"""


class BadNotification(InvalidInput):
    """The notification configuration is not acceptable."""


class Contended(Conflict):
    """A conflicting conditional operation is currently in progress against this resource. Try again."""


class WrongHash(InvalidInput):
    """The provided 'x-amz-content-sha256' header does not match what was computed."""
