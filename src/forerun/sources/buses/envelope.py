"""An event as rules and targets see it: EventBridge's envelope, as values to match and as JSON to send. Pure."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from forerun.errors import InvalidInput
from forerun.model import Message, Origin, iso_time
from forerun.sources.buses.names import Place

_RESOURCES = msgspec.json.Decoder(list[str])
PRINCIPAL = "events.amazonaws.com"
# Names of attributes of messages to buses, beside those that ``Message`` knows; rules write them when they forward.
EVENT_ID, EVENT_ACCOUNT, EVENT_TIME, HOPS = "EventId", "EventAccount", "Time", "Hops"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event. ``detail`` is a JSON object as it was given; ``time`` is ISO 8601.

    ``hops`` counts the rules that forwarded it from bus to bus; ``origin`` is the execution that sent it.
    """

    id: str
    detail_type: str
    source: str
    account: str
    time: str
    region: str
    resources: Sequence[str]
    detail: bytes
    hops: int = 0
    origin: Origin = Origin()

    def values(self) -> dict[str, Any]:
        """The envelope with its detail read. ``InvalidInput`` when that is no JSON object."""
        return {**self._head(), "detail": read_detail(self.detail)}

    def encoded(self) -> bytes:
        """The envelope as JSON, with the detail exactly as it was given."""
        head = msgspec.json.encode(self._head())
        return head[:-1] + b',"detail":' + self.detail + b"}"

    def _head(self) -> dict[str, Any]:
        return {
            "version": "0",
            "id": self.id,
            "detail-type": self.detail_type,
            "source": self.source,
            "account": self.account,
            "time": self.time,
            "region": self.region,
            "resources": self.resources,
        }


def read_detail(text: bytes | str) -> dict[str, Any]:
    """The detail of an event; ``InvalidInput`` when it is no JSON object."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise InvalidInput("Detail is malformed.") from None


def event_time(moment: float) -> str:
    """A time as events have it, to the second."""
    return iso_time(moment, "seconds")


def event_of(message: Message, place: Place, now: float) -> Event:
    """The event that a message to a bus is; the same for the same message. Raises ``InvalidInput``."""
    told = message.attributes
    source, detail_type = told.get("Source", ""), told.get("DetailType", "")
    if not source or not detail_type:
        raise InvalidInput("An event needs a Source and a DetailType")
    if source.startswith("aws.") and message.principal == "scheduler.amazonaws.com":
        raise InvalidInput("Not authorized for the source.")
    forwarded = message.principal == PRINCIPAL
    event_id = told.get(EVENT_ID) if forwarded else None
    return Event(
        id=event_id or str(uuid.uuid5(uuid.NAMESPACE_URL, f"{message.source}?{message.id}")),
        detail_type=detail_type,
        source=source,
        account=(told.get(EVENT_ACCOUNT) if forwarded else None) or message.account,
        time=(told.get(EVENT_TIME) if forwarded else None)
        or event_time(message.occurred_at or now),
        region=place.region,
        resources=_resources(told),
        detail=message.payload,
        hops=int(told.get(HOPS, "0")) if forwarded else 0,
        origin=message.origin,
    )


def forwarding(event: Event) -> dict[str, str]:
    """The attributes of the message that carries an event to another bus, whose payload is the detail."""
    return {
        "Source": event.source,
        "DetailType": event.detail_type,
        "Resources": msgspec.json.encode(event.resources).decode(),
        EVENT_ID: event.id,
        EVENT_ACCOUNT: event.account,
        EVENT_TIME: event.time,
        HOPS: str(event.hops + 1),
    }


def _resources(told: Mapping[str, str]) -> list[str]:
    try:
        return _RESOURCES.decode(told.get("Resources", "[]"))
    except (msgspec.DecodeError, UnicodeError):
        raise InvalidInput("Resources must be a JSON array of texts") from None
