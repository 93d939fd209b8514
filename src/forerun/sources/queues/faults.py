"""What can be wrong with a wish of a queue's, as SQS tells it apart."""

from forerun.errors import AlreadyExists, Conflict, InvalidInput, NotFound


class NoSuchQueue(NotFound):
    """The specified queue does not exist."""


class QueueExists(AlreadyExists):
    """A queue of that name exists with other attributes."""


class BadAttributeName(InvalidInput):
    """A queue has no attribute of that name."""


class BadAttributeValue(InvalidInput):
    """An attribute of a queue cannot have that value."""


class MissingParameter(InvalidInput):
    """The request lacks a parameter."""


class BadContents(InvalidInput):
    """The message contains characters outside the allowed set."""


class BadReceipt(InvalidInput):
    """The input receipt handle is invalid."""


class NotInFlight(Conflict):
    """The message referred to is not in flight."""


class PurgeRunning(Conflict):
    """The queue was purged less than a minute ago."""


class TooManyInFlight(Conflict):
    """Too many messages of the queue are in flight; delete some of them before more are received."""
