"""What becomes of a message that its target did not take: tried again, sent to its dead-letter queue, or kept. Pure."""

import hashlib
import uuid

import msgspec

from forerun.errors import AccessDenied, ForerunError, InvalidInput, NotFound, RequestTooLarge
from forerun.model import DeadLetter, Message, RetryPolicy
from forerun.scheduling import Backoff
from forerun.storage.dead_letters import SHELF
from forerun.storage.outbox import Waiting

# Attribute of a message to a dead-letter queue: what it was, should the queue not take it either.
_INSTEAD_OF = "InsteadOf"
_FOR_GOOD: tuple[tuple[type[ForerunError], str], ...] = (
    (NotFound, "NotFound"),
    (AccessDenied, "AccessDenied"),
    (RequestTooLarge, "RequestTooLarge"),
    (InvalidInput, "InvalidInput"),
)
# How the dead letters of AWS's services name what sent them.
_SOURCE_NAMES = {"events.amazonaws.com": "RULE_ARN", "scheduler.amazonaws.com": "SCHEDULE_ARN"}
_MOST_TEXT = 1024


class Refusal(msgspec.Struct, frozen=True):
    """Why a message is given up: a short code and a sentence (see ``DeadLetter``)."""

    reason: str
    detail: str


class _InsteadOf(msgspec.Struct, frozen=True):
    target: str
    reason: str
    detail: str
    attempts: int
    attributes: dict[str, str]


def message_key(message: Message) -> str:
    """Names a message by who sent it to whom under which id, in the form of a UUID: two accounts' ids never meet."""
    text = "\0".join((message.account, message.source, message.target, message.id))
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return str(uuid.UUID(bytes=digest, version=5))


def refused_for_good(error: ForerunError) -> Refusal | None:
    """The reason when trying again cannot help, else ``None``."""
    for kind, reason in _FOR_GOOD:
        if isinstance(error, kind):
            return Refusal(reason, error.message)
    return None


def next_try(
    waiting: Waiting, error: ForerunError, backoff: Backoff, *, now: float, chance: float
) -> float | Refusal:
    """When a message whose delivery failed is tried again (epoch seconds), or why it is not."""
    if (refusal := refused_for_good(error)) is not None:
        return refusal
    retry = waiting.message.retry
    if waiting.attempt > retry.retries:
        return Refusal("RetriesExhausted", error.message)
    at = now + backoff.system_delay(waiting.attempt, chance)
    if at - waiting.accepted_at > retry.max_age_s:
        return Refusal("EventAgeExceeded", error.message)
    return at


def put_away(
    message: Message, refusal: Refusal, *, attempts: int, now: float
) -> Waiting | DeadLetter:
    """What takes the place of a message that is given up: one to its dead-letter queue, or a dead letter."""
    if message.dead_letter:
        instead = _to_queue(message, refusal, attempts)
        return Waiting(
            id=message_key(instead), lane=instead.target, message=instead, accepted_at=now
        )
    original = message.attributes.get(_INSTEAD_OF)
    if original is not None:
        return _letter_of_original(message, refusal, original, now)
    return letter_of(message, refusal, attempts=attempts, now=now)


def letter_of(message: Message, refusal: Refusal, *, attempts: int, now: float) -> DeadLetter:
    """The platform's dead letter for a message."""
    return DeadLetter(
        id=message_key(message),
        shelf=SHELF,
        message=message,
        reason=refusal.reason,
        detail=refusal.detail,
        attempts=attempts,
        failed_at=now,
    )


def _to_queue(message: Message, refusal: Refusal, attempts: int) -> Message:
    original = _InsteadOf(
        message.target, refusal.reason, refusal.detail, attempts, message.attributes
    )
    shown = {
        _SOURCE_NAMES.get(message.principal, "SOURCE_ARN"): message.source,
        "TARGET_ARN": message.target,
        "ERROR_CODE": refusal.reason,
        "ERROR_MESSAGE": refusal.detail[:_MOST_TEXT] or refusal.reason,
        "RETRY_ATTEMPTS": str(max(0, attempts - 1)),
    }
    if refusal.reason in ("RetriesExhausted", "EventAgeExceeded"):
        exhausted = "MaximumRetryAttempts", "MaximumEventAgeInSeconds"
        shown["EXHAUSTED_RETRY_CONDITION"] = exhausted[refusal.reason == "EventAgeExceeded"]
    attributes = {
        "MessageAttributes": string_attributes(shown),
        _INSTEAD_OF: msgspec.json.encode(original).decode(),
    }
    for name in ("MessageGroupId", "MessageDeduplicationId"):
        if name in message.attributes:
            attributes[name] = message.attributes[name]
    return msgspec.structs.replace(
        message,
        target=message.dead_letter,
        dead_letter="",
        attributes=attributes,
        retry=RetryPolicy(),
    )


def string_attributes(values: dict[str, str]) -> str:
    """Message attributes of SQS and SNS, all texts, as ``Message.attributes`` has them."""
    shown = {
        name: {"DataType": "String", "StringValue": value}
        for name, value in values.items()
        if value
    }
    return msgspec.json.encode(shown).decode()


def _letter_of_original(
    message: Message, refusal: Refusal, original: str, now: float
) -> DeadLetter:
    """The dead-letter queue refused too: the letter is about the first target, and says both."""
    was = msgspec.json.decode(original, type=_InsteadOf)
    restored = msgspec.structs.replace(message, target=was.target, attributes=was.attributes)
    detail = f"{was.detail} The dead-letter queue {message.target} did not take it either: {refusal.detail}"
    return letter_of(restored, Refusal(was.reason, detail), attempts=was.attempts, now=now)
