"""What becomes of a batch that was run: the one rule for queues, and for streams that are read in order. Pure.

A queue takes each message back by itself and counts its attempts; what failed comes again when the queue shows it again.
A stream does not go on before a batch is done with, so the batch is run again: in halves where its owner wants that,
until it has been tried too often or is too old.
"""

from collections.abc import Collection, Sequence

import msgspec

from forerun.sources import Pulled

EXHAUSTED = "RetryAttemptsExhausted"
TOO_OLD = "RecordAgeExceeded"

_Failures = list[dict[str, msgspec.Raw]] | None
_FAILURES = msgspec.json.Decoder(_Failures)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_TEXT = msgspec.json.Decoder(str)


class Batch(msgspec.Struct, frozen=True):
    """Messages that run together; ``retried`` counts the runs before that failed as a whole."""

    messages: Sequence[Pulled]
    retried: int = 0


class FailureRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner of a mapping wants of batches that fail.

    ``stream``: the source does not go on before a batch is done with. The others concern streams alone: ``bisect`` splits,
    ``retries`` beyond the first run and ``max_age_s`` seconds since a message was sent bound what is tried (-1: nothing does).
    """

    stream: bool = False
    bisect: bool = False
    retries: int = -1
    max_age_s: float = -1.0


class Verdict(msgspec.Struct, kw_only=True):
    """``finish`` never come again, ``release`` go back to the source, ``again`` run again in this order at once.

    ``discard``, by reason, are given up: the destination for failures hears of them, and they are finished.
    """

    finish: list[Pulled] = []
    release: list[Pulled] = []
    again: list[Batch] = []
    discard: list[tuple[str, list[Pulled]]] = []


def failed_items(payload: bytes, ids: Collection[str]) -> frozenset[str] | None:
    """Which messages a function reported as failed (``ReportBatchItemFailures``); ``None`` for all of them.

    As on AWS an empty answer reports none, and one that is no report, or names what is not in the batch, reports all.
    """
    try:
        members = _MEMBERS.decode(payload or b"null")
        listed = (
            _FAILURES.decode(members["batchItemFailures"])
            if members and "batchItemFailures" in members
            else []
        )
        failed = frozenset(_TEXT.decode(item["itemIdentifier"]) for item in listed or ())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        return None
    return failed if failed <= frozenset(ids) else None


def settle(
    batch: Batch, failed: frozenset[str] | None, rules: FailureRules, *, now: float
) -> Verdict:
    """What becomes of a batch of which ``failed`` failed (``None``: all). ``now`` is epoch seconds."""
    if failed is not None and not failed:
        return Verdict(finish=list(batch.messages))
    if rules.stream:
        return _settle_stream(batch, failed, rules, now)
    return _settle_queue(batch.messages, failed)


def _settle_queue(messages: Sequence[Pulled], failed: frozenset[str] | None) -> Verdict:
    """Each message by itself, but in a group nothing overtakes what failed."""
    verdict = Verdict(finish=[], release=[])
    held_up: set[str] = set()
    for message in messages:
        if failed is None or message.id in failed or message.group in held_up:
            verdict.release.append(message)
            if message.group:
                held_up.add(message.group)
        else:
            verdict.finish.append(message)
    return verdict


def _settle_stream(
    batch: Batch, failed: frozenset[str] | None, rules: FailureRules, now: float
) -> Verdict:
    """Everything before the first failure is done; the rest is run again, or given up."""
    messages = list(batch.messages)
    first = 0
    if failed is not None:
        first = next(place for place, message in enumerate(messages) if message.id in failed)
    verdict = Verdict(finish=messages[:first], again=[], discard=[])
    rest, retried = messages[first:], batch.retried
    if rules.max_age_s >= 0:
        old = [message for message in rest if now - message.sent_at > rules.max_age_s]
        if old:
            verdict.discard.append((TOO_OLD, old))
            given_up = {message.id for message in old}
            rest = [message for message in rest if message.id not in given_up]
    if not rest:
        return verdict
    # What goes on, or gets smaller, ends by itself; only equal tries count.
    if first:
        verdict.again.append(Batch(rest, retried))
    elif rules.bisect and len(rest) > 1:
        half = (len(rest) + 1) // 2
        verdict.again += [Batch(rest[:half], retried), Batch(rest[half:], retried)]
    elif 0 <= rules.retries <= retried:
        verdict.discard.append((EXHAUSTED, rest))
    else:
        verdict.again.append(Batch(rest, retried + 1))
    return verdict
