"""Event source mappings: which source shall feed which function. Checked and kept; nothing polls the sources yet.

The states are the truth of what is kept: a mapping is ``Enabled`` or ``Disabled`` because its owner said so.
"""

import re
import uuid
from typing import Any

import msgspec

from forerun.aio import Clock
from forerun.control.lookup import Lookup
from forerun.control.paging import Page, from_marker, page_size, to_page
from forerun.control.rules import require_match
from forerun.control.tags import check_tags
from forerun.errors import AlreadyExists, InvalidInput, NotFound
from forerun.model import Arn
from forerun.storage.mappings import Mapping, MappingStore

PAGE = 100
FILTERS = 10

_ID = re.compile(r"[a-fA-F0-9-]{36}")
_STREAMS = ("kinesis", "dynamodb", "kafka")
_SOURCES = ("sqs", *_STREAMS, "mq", "rds")
# What a source of a kind has when its owner does not say otherwise: batch size, and retries where they are counted.
_BATCH = {"sqs": 10}
_STREAM_DEFAULTS: dict[str, Any] = {
    "BisectBatchOnFunctionError": False,
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "ParallelizationFactor": 1,
    "TumblingWindowInSeconds": 0,
}


class MappingChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a client gives; ``config`` holds further members as AWS names them."""

    enabled: bool | None = None
    config: dict[str, Any] = {}


class Target(msgspec.Struct, frozen=True):
    """The function, or one of its qualifiers, that shall be fed."""

    name: str
    qualifier: str | None = None


class Mappings:
    """Creates, reads, changes and deletes mappings."""

    def __init__(self, *, store: MappingStore, lookup: Lookup, clock: Clock) -> None:
        self._store = store
        self._lookup = lookup
        self._clock = clock

    async def create(
        self,
        account: str,
        target: Target,
        source: str | None,
        change: MappingChange,
        tags: dict[str, str] | None = None,
    ) -> Mapping:
        """A new mapping; ``AlreadyExists`` when the function has one for that source."""
        check_tags(tags or {})
        kind = _kind(source, change.config)
        config = _defaults(kind) | change.config
        _check(kind, config)
        if kind in _STREAMS and "StartingPosition" not in config:
            raise InvalidInput(
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: "
                "Member must not be null."
            )
        await self._lookup.version(account, target.name, target.qualifier)
        if source:
            await self._require_new(account, target, source)
        mapping = Mapping(
            id=str(uuid.uuid4()),
            account=account,
            name=target.name,
            qualifier=target.qualifier or "",
            source=source or "",
            enabled=change.enabled is not False,
            config=config,
            tags=tags or {},
            last_modified=self._clock.now(),
        )
        await self._store.add(mapping)
        return mapping

    async def get(self, account: str, mapping_id: str) -> Mapping:
        """The mapping with that id."""
        require_match("uUID", mapping_id, _ID)
        mapping = await self._store.find(account, mapping_id)
        if mapping is None:
            raise NotFound("The resource you requested does not exist.")
        return mapping

    async def update(
        self, account: str, mapping_id: str, target: Target | None, change: MappingChange
    ) -> Mapping:
        """Change what is given."""
        mapping = await self.get(account, mapping_id)
        config = mapping.config | change.config
        _check(_kind(mapping.source, config), config)
        if target is not None:
            await self._lookup.version(account, target.name, target.qualifier)
            mapping = msgspec.structs.replace(
                mapping, name=target.name, qualifier=target.qualifier or ""
            )
        mapping = msgspec.structs.replace(
            mapping,
            enabled=mapping.enabled if change.enabled is None else change.enabled,
            config=config,
            last_modified=self._clock.now(),
        )
        await self._store.replace(mapping)
        return mapping

    async def delete(self, account: str, mapping_id: str) -> Mapping:
        """Remove the mapping and return what it was."""
        mapping = await self.get(account, mapping_id)
        await self._store.remove(mapping_id)
        return mapping

    async def page(
        self,
        account: str,
        marker: str | None,
        limit: int | None,
        *,
        name: str | None = None,
        source: str | None = None,
    ) -> Page[Mapping]:
        """Mappings by id, of one function or source if given."""
        [after] = from_marker(marker, ("",))
        size = page_size(limit, PAGE)
        found = await self._store.page(account, str(after), size + 1, name=name, source=source)
        return to_page(found, [(mapping.id,) for mapping in found], size)

    async def _require_new(self, account: str, target: Target, source: str) -> None:
        same = await self._store.page(account, "", PAGE, name=target.name, source=source)
        for mapping in same:
            if mapping.qualifier == (target.qualifier or ""):
                arn = self._lookup.arn(account, target.name, target.qualifier)
                raise AlreadyExists(
                    f'An event source mapping with event source arn (" {source} ") and function (" {arn} ") already '
                    f"exists. Please update or delete the existing mapping with UUID {mapping.id}"
                )


def _kind(source: str | None, config: dict[str, Any]) -> str:
    if not source:
        if "SelfManagedEventSource" not in config:
            raise InvalidInput(
                "Unrecognized event source: give EventSourceArn or SelfManagedEventSource."
            )
        return "kafka"
    service = Arn.parse(source).service
    if service not in _SOURCES:
        raise InvalidInput(f"Unrecognized event source: {source}")
    return service


def _defaults(kind: str) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "BatchSize": _BATCH.get(kind, 100),
        "MaximumBatchingWindowInSeconds": 0 if kind == "sqs" or kind in _STREAMS else 1,
    }
    return defaults | (_STREAM_DEFAULTS if kind in ("kinesis", "dynamodb") else {})


def _check(kind: str, config: dict[str, Any]) -> None:
    size, window = config["BatchSize"], config["MaximumBatchingWindowInSeconds"]
    if not 1 <= size <= 10000 or not 0 <= window <= 300:
        raise InvalidInput(
            "BatchSize must be from 1 to 10000 and MaximumBatchingWindowInSeconds from 0 to 300."
        )
    if kind == "sqs" and size > 10 and window == 0:
        raise InvalidInput(
            "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
        )
    filters = (config.get("FilterCriteria") or {}).get("Filters") or []
    if len(filters) > FILTERS:
        raise InvalidInput(f"FilterCriteria may have at most {FILTERS} filters.")
    for item in filters:
        try:
            msgspec.json.decode(item.get("Pattern") or "{}", type=dict[str, Any])
        except msgspec.DecodeError:
            raise InvalidInput("Invalid filter pattern definition.") from None
