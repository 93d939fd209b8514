"""What comes to a webhook: checked, known again, and handed to its target before the sender is told that it was taken.

The order is: signature, then whether it came before, then the outbox, then memory of it. When the server dies between
the last two, the sender, who was told nothing, sends it again; its message has the same id.
"""

import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.errors import Conflict, ForerunError, InvalidInput, Throttled, Unsupported
from forerun.model import Arn, Message, Origin
from forerun.sources.contract import Outbox
from forerun.sources.hooks.cloudevents import (
    BATCH,
    STRUCTURED,
    Event,
    encode,
    is_json,
    make_event,
    media_type,
    read_events,
)
from forerun.sources.hooks.hooks import Hooks, OpenHook
from forerun.sources.hooks.schemes import Request, Verified, verify
from forerun.storage.hooks import Hook, HookStore, TargetFormat

PRINCIPAL = "hooks.forerun"
MAX_BYTES = 1024 * 1024
COUNTED = 4096
DEFAULT_TYPES = ("application/json", "application/*+json", "text/json", STRUCTURED, BATCH)
_SLACK_FORM = "application/x-www-form-urlencoded"


class Arrival(NamedTuple):
    """A request to a hook. ``headers`` by lower-case name; ``origin_of`` tells its origin by its own headers or an event's.

    ``as_http`` prints the whole of it, as functions are given requests to their URLs.
    """

    headers: Mapping[str, str]
    body: bytes
    origin_of: Callable[[str, Event | None], Origin]
    as_http: Callable[[], bytes]


class Receipt(NamedTuple):
    """What the sender is told: the id it is known by, how many messages it became, whether it came before.

    ``reply`` is what the sender wanted to hear instead, where it asked something.
    """

    id: str
    messages: int = 0
    duplicate: bool = False
    reply: dict[str, Any] | None = None


class Counts(msgspec.Struct):
    """What came to a hook since the server began; ``last`` in epoch seconds."""

    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    last: float = 0.0


class _Part(NamedTuple):
    """One message: what it is known again by (``b""`` for nothing), the event if it is one."""

    key: bytes
    event: Event | None


class Receiver:
    """Takes what comes to webhooks."""

    def __init__(self, hooks: Hooks, store: HookStore, outbox: Outbox, clock: Clock) -> None:
        self._hooks = hooks
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._under_way: set[tuple[str, bytes]] = set()
        self._counts: OrderedDict[str, Counts] = OrderedDict()

    def counts(self, hook_id: str) -> Counts:
        """What came to a hook."""
        return self._counts.get(hook_id) or Counts()

    async def admit(self, hook_id: str) -> OpenHook:
        """The hook that a request is for, before its body is read. Raises ``NotFound``, ``Throttled``."""
        opened = await self._hooks.open(hook_id)
        wait = opened.bucket.take(self._clock.monotonic())
        if wait:
            self._count(hook_id).refused += 1
            raise Throttled(
                f"This hook takes {opened.hook.rate_per_s:g} deliveries a second",
                reason="CallerRateLimitExceeded",
                retry_after_s=wait,
            )
        return opened

    async def take(self, opened: OpenHook, arrival: Arrival) -> Receipt:
        """Check a request and hand it on; it is on disk when this returns.

        Raises ``AccessDenied``, ``InvalidInput``, ``Unsupported`` for what is refused for good, ``Conflict`` when the same
        is being taken at this moment.
        """
        counts = self._count(opened.hook.id)
        try:
            receipt = await self._take(opened, arrival)
        except ForerunError:
            counts.refused += 1
            raise
        if receipt.duplicate:
            counts.duplicates += 1
        else:
            counts.accepted += receipt.messages
        counts.last = self._clock.now()
        return receipt

    async def _take(self, opened: OpenHook, arrival: Arrival) -> Receipt:
        hook, now = opened.hook, self._clock.now()
        request = Request(arrival.headers, arrival.body, now, hook.max_age_s)
        verified = verify(hook.scheme, request, opened.good_secrets(now))
        if verified.reply is not None:
            return Receipt("", reply=verified.reply)
        _require_type(hook, arrival.headers.get("content-type", ""))
        parts = _parts(hook, arrival, verified)
        receipt_id = _receipt_id(verified, parts)
        whole = _hashed("delivery", verified.key) if verified.key else b""
        keys = [each for each in (whole, *(part.key for part in parts)) if each]
        self._begin(hook.id, keys)
        try:
            if whole and await self._store.known(hook.id, whole, now):
                return Receipt(receipt_id, duplicate=True)
            fresh = [part for part in parts if not await self._is_known(hook.id, part.key, now)]
            if parts and not fresh:
                return Receipt(receipt_id, duplicate=True)
            messages = [
                self._message(hook, arrival, verified, part, number)
                for number, part in enumerate(fresh)
            ]
            if messages:
                await self._outbox.send(messages)
            if keys:
                # A signed moment may be in the future; it must be known until it is too old.
                latest = max(now, verified.signed_at or now)
                new = [each for each in (whole, *(part.key for part in fresh)) if each]
                await self._store.remember(hook.id, new, latest + hook.max_age_s + 1.0)
        finally:
            self._under_way.difference_update((hook.id, key) for key in keys)
        return Receipt(receipt_id, messages=len(messages))

    async def _is_known(self, hook_id: str, key: bytes, now: float) -> bool:
        return bool(key) and await self._store.known(hook_id, key, now)

    def _begin(self, hook_id: str, keys: list[bytes]) -> None:
        """Of the same thing that comes twice at once one is told to come again, since the other may yet fail."""
        taken = {(hook_id, key) for key in keys}
        if taken & self._under_way:
            raise Conflict("The same delivery is being taken at this moment; send it again later")
        self._under_way |= taken

    def _message(
        self, hook: Hook, arrival: Arrival, verified: Verified, part: _Part, number: int
    ) -> Message:
        now = self._clock.now()
        key = part.key or (_hashed("delivery", verified.key) if verified.key else b"")
        unique = key.hex() if key else uuid.uuid4().hex
        message_id = f"{hook.id}/{unique}/{number if not part.key else 0}"
        arn = self._hooks.arn(hook)
        event = part.event
        if event is None and hook.target_format is TargetFormat.CLOUDEVENT:
            event = make_event(
                event_id=verified.id or unique,
                source=arn,
                event_type=verified.type or "forerun.webhook",
                now=now,
                body=arrival.body,
                content_type=arrival.headers.get("content-type", ""),
            )
        payload, attributes = _form(hook, arrival, event)
        return Message(
            id=message_id,
            account=hook.account,
            source=arn,
            principal=PRINCIPAL,
            target=hook.target,
            payload=payload,
            attributes=attributes | _addressed(hook, event, unique),
            origin=arrival.origin_of(hook.account, part.event),
            occurred_at=now,
        )

    def _count(self, hook_id: str) -> Counts:
        counts = self._counts.get(hook_id)
        if counts is None:
            counts = self._counts[hook_id] = Counts()
            if len(self._counts) > COUNTED:
                self._counts.popitem(last=False)
        return counts


def _require_type(hook: Hook, content_type: str) -> None:
    kind = media_type(content_type)
    allowed = hook.content_types
    if not allowed:
        allowed = (*DEFAULT_TYPES, _SLACK_FORM)
        if hook.target_format is TargetFormat.HTTP or not kind:
            return
    if not any(_type_fits(each, kind) for each in allowed):
        raise Unsupported(
            f"The content type {kind[:100]!r} is not taken here: {', '.join(allowed)}"
        )


def _type_fits(pattern: str, kind: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return kind == pattern
    return kind.startswith(before) and kind.endswith(after) and len(kind) >= len(pattern) - 1


def _parts(hook: Hook, arrival: Arrival, verified: Verified) -> list[_Part]:
    """What a request becomes: a message for each event of it, one for what is none or goes on as it came."""
    events = read_events(arrival.headers, arrival.body)
    if events is None:
        return [_Part(b"", None)]
    if hook.target_format is not TargetFormat.CLOUDEVENT:
        first = events[0] if len(events) == 1 else None
        key = b"" if first is None or verified.key else _event_key(first)
        return [_Part(key, first)]
    return list({key: _Part(key, each) for each in events if (key := _event_key(each))}.values())


def _event_key(event: Event) -> bytes:
    return _hashed("event", event["source"], event["id"])


def _hashed(*parts: str) -> bytes:
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _receipt_id(verified: Verified, parts: list[_Part]) -> str:
    if verified.id:
        return verified.id
    if len(parts) == 1 and parts[0].event is not None:
        return str(parts[0].event["id"])
    return str(uuid.uuid4())


def _form(hook: Hook, arrival: Arrival, event: Event | None) -> tuple[bytes, dict[str, str]]:
    """The payload for the target, and what a URL is told of it."""
    content_type = arrival.headers.get("content-type", "")
    if hook.target_format is TargetFormat.HTTP:
        return arrival.as_http(), _typed(hook, "application/json")
    if hook.target_format is TargetFormat.CLOUDEVENT and event is not None:
        return encode(event), _typed(hook, STRUCTURED)
    if hook.target.startswith("arn:aws:lambda:"):
        _require_json(arrival.body, content_type)
    return arrival.body, _typed(hook, content_type)


def _typed(hook: Hook, content_type: str) -> dict[str, str]:
    """A URL is told what it gets."""
    told = hook.target.startswith("http") and content_type.isascii() and content_type.isprintable()
    return {"header:Content-Type": content_type} if told and content_type else {}


def _require_json(body: bytes, content_type: str) -> None:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        known = "the body is broken" if is_json(content_type) else "this body is none"
        raise InvalidInput(
            f"A function is given JSON, and {known}; put the hook with TargetFormat http or cloudevent"
        ) from None


def _addressed(hook: Hook, event: Event | None, unique: str) -> dict[str, str]:
    """What queues in order and buses want to know beside the payload."""
    if hook.target.startswith("http"):
        return {}
    service = Arn.parse(hook.target).service
    if service == "events":
        source = str(event["source"]) if event else f"hook.{hook.name}"
        kind = str(event["type"]) if event else "forerun.webhook"
        return {"Source": source, "DetailType": kind}
    if hook.target.endswith(".fifo"):
        return {"MessageGroupId": hook.name, "MessageDeduplicationId": unique}
    return {}
