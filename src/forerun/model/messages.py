"""What goes from a source of events to a target: one frozen value, the same for every source and every target."""

import msgspec

from forerun.model.traces import Origin


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long a target that refuses is tried: ``retries`` beyond the first attempt, for ``max_age_s`` seconds."""

    retries: int = 185
    max_age_s: float = 86_400.0


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message from a source to one target.

    ``id`` is unique and the same when a source that died sends it again: what is still on its way is not doubled.
    ``account`` owns the source; ``source`` is the ARN of the rule, topic, bucket, schedule that sends, and ``principal``
    the service it speaks for (``events.amazonaws.com``): both are what the target's policy is asked about. ``role`` is the
    ARN of a role whose rights are asked instead, where the source has one. ``target`` is the ARN of a function, queue,
    topic or bus, or an http(s) URL; ``payload`` is what it gets, already in the form that this target is given by this
    source. ``attributes`` say what the payload cannot: ``MessageGroupId``, ``MessageDeduplicationId``,
    ``MessageAttributes`` (JSON in the shape of the service), ``Subject``, ``Source``, ``DetailType``, ``Resources``, for
    URLs ``header:NAME``. ``dead_letter`` is the ARN of the queue for what cannot be delivered; without one it is
    kept in the platform's dead letters. Times are epoch seconds.
    """

    id: str
    account: str
    source: str
    principal: str
    target: str
    payload: bytes
    role: str = ""
    attributes: dict[str, str] = {}
    origin: Origin = Origin()
    occurred_at: float = 0.0
    retry: RetryPolicy = RetryPolicy()
    dead_letter: str = ""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that nobody could process, with what is needed to try it again.

    ``shelf`` says who keeps it (``platform``, or the ARN of a dead-letter queue); ``id`` is unique there. ``reason`` is a
    short code (``RetriesExhausted``, ``EventAgeExceeded``, ``NotFound``, ``AccessDenied``, ``RecursionDetected``,
    ``Unparsable``, ...), ``detail`` a sentence or the function's own error as JSON. Times are epoch seconds.
    """

    id: str
    shelf: str
    message: Message
    reason: str
    detail: str = ""
    attempts: int = 0
    failed_at: float = 0.0
