"""What the platform knows of itself, as criteria see it: one table of kinds and their fields."""

from typing import NamedTuple

import msgspec

Value = str | int | float | bool

OUTPUT = "output"
MOST_OUTPUT = 64 * 1024


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened: its ``kind``, whose it was, and its ``fields`` beyond ``function`` and ``at`` (epoch seconds).

    ``account`` is empty for what belongs to nobody: the host. ``execution`` is the span id of the execution it is about,
    ``cause`` that of the one which caused that, and ``request_id`` its request; empty where there is none.
    """

    kind: str
    account: str
    function: str
    at: float
    fields: dict[str, Value]
    request_id: str = ""
    execution: str = ""
    cause: str = ""


class Field(NamedTuple):
    """One field of a kind: its type and what it says."""

    type: type
    meaning: str


class Kind(NamedTuple):
    """One kind of event. Every kind has ``function`` and ``at`` beside its fields."""

    meaning: str
    fields: dict[str, Field]


COMMON = {
    "function": Field(str, "name of the function it is about; empty where it is about none"),
    "at": Field(float, "when, in epoch seconds"),
}
_REQUEST = {"request_id": Field(str, "of the invocation")}
_ATTEMPT = {
    **_REQUEST,
    "version": Field(str, "of the function"),
    "attempt": Field(int, "counts from 1"),
}
_TYPE = {"type": Field(str, "`RequestResponse` or `Event`")}
_QUALIFIER = {"qualifier": Field(str, "version or alias that was asked for; empty for none")}

KINDS: dict[str, Kind] = {
    "execution.detected": Kind(
        "somebody asks for an execution; nothing is decided yet",
        {**_REQUEST, **_QUALIFIER, **_TYPE},
    ),
    "execution.queued": Kind(
        "an event was accepted and waits for its turn", {**_REQUEST, **_QUALIFIER}
    ),
    "execution.started": Kind("the handler begins", dict(_ATTEMPT)),
    "execution.ended": Kind(
        "an attempt is over",
        {
            **_ATTEMPT,
            **_QUALIFIER,
            **_TYPE,
            "status": Field(str, "`success`, `error` or `timeout`"),
            "error_type": Field(str, "such as `ValueError`; empty for none"),
            "start_type": Field(str, "`warm`, `prewarmed`, `preloaded`, `pool`, `zygote`, `cold`"),
            "cold": Field(bool, "its code was loaded for this call"),
            "duration_ms": Field(float, "how long the handler ran"),
            "init_ms": Field(float, "how long init took; 0 where there was none"),
            "queued_ms": Field(float, "from its request, or acceptance, to its handler's start"),
            "memory_mb": Field(int, "what the function may use"),
            "max_memory_mb": Field(int, "the most that was used"),
            "request_bytes": Field(int, "size of what it was given"),
            "response_bytes": Field(int, "size of what it answered"),
            "foresight": Field(str, "`hit` or `miss` of a forecast; empty where none had a part"),
            "source": Field(str, "ARN of the source that it came from; empty for direct calls"),
            OUTPUT: Field(str, "the first 64 KiB of what it answered, as text"),
        },
    ),
    "execution.throttled": Kind(
        "an attempt was refused: it is no execution",
        {**_ATTEMPT, **_QUALIFIER, **_TYPE},
    ),
    "deadletter.kept": Kind(
        "what nobody could process was put aside",
        {
            "target": Field(str, "ARN or URL that it was for"),
            "source": Field(str, "ARN that it came from"),
            "reason": Field(str, "such as `RetriesExhausted`"),
            "attempts": Field(int, "how often it was tried"),
        },
    ),
    "recursion.stopped": Kind(
        "a function that caused itself again and again was not run once more",
        {**_REQUEST, "runs": Field(int, "how often it had run in this chain")},
    ),
    "function.changed": Kind(
        "a deployment", {"change": Field(str, "`created`, `updated` or `deleted`")}
    ),
    "finding.raised": Kind(
        "something worth changing was found that was not known before",
        {
            "version": Field(str, "of the function"),
            "finding": Field(str, "its kind, such as `sequential-calls`"),
            "title": Field(str, "in a sentence"),
            "confidence": Field(str, "`high`, `medium` or `low`"),
        },
    ),
    "host.changed": Kind(
        "the host's numbers are others than a second ago",
        {
            "host": Field(str, "its name"),
            "memory_mb": Field(int, "memory for sandboxes"),
            "booked_mb": Field(int, "how much of it is booked"),
            "booked_percent": Field(float, "the same as a share"),
            "sandboxes": Field(int, "all of them"),
            "idle": Field(int, "those of a version that wait for a call"),
            "busy": Field(int, "those that work"),
            "pooled": Field(int, "those that wait for a function"),
            "waiting": Field(int, "calls that wait for memory"),
            "started": Field(int, "sandboxes that began to serve since the last such event"),
            "destroyed": Field(int, "sandboxes that ended or were evicted since then"),
            "failed": Field(int, "sandboxes that could not be made since then"),
        },
    ),
    "metaevent.raised": Kind(
        "a rule's criteria came to hold, and its job was sent; `function` is the job's",
        {
            "metaevent": Field(str, "name of the rule"),
            "depth": Field(int, "metaevents in its chain, it included"),
            "chain": Field(str, "their names, `/` between them"),
        },
    ),
}


def fields_of(kind: str) -> dict[str, Field]:
    """All fields of a kind, by name."""
    return {**COMMON, **KINDS[kind].fields}


def bindings(fact: Fact) -> dict[str, Value]:
    """The fields of a fact by the names that expressions know them by."""
    bound: dict[str, Value] = {"event.function": fact.function, "event.at": fact.at}
    for name, value in fact.fields.items():
        bound[f"event.{name}"] = value
    return bound
