"""Event source mappings: which source shall feed which function. Checked, kept, and carried out by pollers.

What is stored is the owner's wish; the state that is shown is what the pollers say.
"""

import re
import uuid
from typing import Any, Protocol

import msgspec

from forerun.aio import Clock
from forerun.control.lookup import Lookup
from forerun.control.mapping_rules import check, kind_of
from forerun.control.paging import Page, from_marker, page_size, to_page
from forerun.control.rules import require_match
from forerun.control.tags import check_tags
from forerun.errors import AlreadyExists, Conflict, InvalidInput, NotFound, Unsupported
from forerun.model import Arn, FunctionVersion
from forerun.storage.mappings import Mapping, MappingStore

PAGE = 100
BY_OWNER = "USER_INITIATED"
NO_FUNCTION = "The function {} does not exist any more"

_ID = re.compile(r"[a-fA-F0-9-]{36}")


class MappingChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a client gives; ``config`` holds further members as AWS names them."""

    enabled: bool | None = None
    config: dict[str, Any] = {}


class Target(msgspec.Struct, frozen=True):
    """The function, or one of its qualifiers, that shall be fed."""

    name: str
    qualifier: str | None = None


class Shown(msgspec.Struct, frozen=True):
    """A mapping with its state and the result of what it did last, in AWS's words."""

    mapping: Mapping
    state: str
    result: str


class Condition(Protocol):
    """How a mapping is doing."""

    @property
    def state(self) -> str: ...  # noqa: D102

    @property
    def result(self) -> str: ...  # noqa: D102


class Carrier(Protocol):
    """Who carries mappings out; ``changed`` and ``removed`` return at once."""

    def serves(self, service: str) -> bool:
        """Whether there are sources of this kind, by the service in their ARNs."""
        ...

    async def hide_s(self, source: str) -> float:
        """Seconds for which a source hides what is taken; ``NotFound`` when there is no such source."""
        ...

    async def require(self, function: FunctionVersion, source: str) -> None:
        """Return when the function's role may take from the source; else ``InvalidInput``."""
        ...

    def changed(self, mapping: Mapping) -> None:
        """It was made or changed, and is stored."""
        ...

    def removed(self, mapping: Mapping) -> None:
        """It is not stored any more."""
        ...

    def deleting(self, account: str, mapping_id: str) -> Mapping | None:
        """A mapping that is not stored any more, of which something runs still."""
        ...

    def condition(self, mapping: Mapping) -> Condition:
        """How a mapping is doing."""
        ...


class Mappings:
    """Creates, reads, changes and deletes mappings; ``carrier`` is set before the first of them is made."""

    def __init__(self, *, store: MappingStore, lookup: Lookup, clock: Clock) -> None:
        self._store = store
        self._lookup = lookup
        self._clock = clock
        self.carrier: Carrier | None = None

    async def create(
        self,
        account: str,
        target: Target,
        source: str | None,
        change: MappingChange,
        tags: dict[str, str] | None = None,
    ) -> Mapping:
        """A new mapping; ``AlreadyExists`` when the function has one for that source.

        Raises ``InvalidInput`` in AWS's words when the source is missing, hides what is taken for less than the function's
        timeout, or may not be read by the function's role; ``Unsupported`` for sources that are not served.
        """
        check_tags(tags or {})
        kind = kind_of(source, change.config)
        config = {**kind.defaults, **change.config}
        arn = source or ""
        check(kind, arn, config)
        _, version = await self._lookup.version(account, target.name, target.qualifier)
        await self._require_source(version.function, arn)
        await self._require_new(account, target, arn)
        mapping = Mapping(
            id=str(uuid.uuid4()),
            account=account,
            name=target.name,
            qualifier=target.qualifier or "",
            source=arn,
            enabled=change.enabled is not False,
            config=config,
            tags=tags or {},
            last_modified=self._clock.now(),
        )
        await self._store.add(mapping)
        self._tell(mapping)
        return mapping

    async def show(self, account: str, mapping_id: str) -> Shown:
        """The mapping with that id, also while the last of what it took runs after its end."""
        require_match("uUID", mapping_id, _ID)
        mapping = await self._store.find(account, mapping_id)
        if mapping is None and self.carrier is not None:
            mapping = self.carrier.deleting(account, mapping_id)
        if mapping is None:
            raise NotFound("The resource you requested does not exist.")
        return self.shown(mapping)

    def shown(self, mapping: Mapping, state: str | None = None) -> Shown:
        """A mapping as it is now; ``state`` is what has just been asked for."""
        if self.carrier is None:
            return Shown(mapping, state or "Disabled", "")
        condition = self.carrier.condition(mapping)
        return Shown(mapping, state or condition.state, condition.result)

    async def update(
        self, account: str, mapping_id: str, target: Target | None, change: MappingChange
    ) -> Mapping:
        """Change what is given; raises as ``create``."""
        mapping = await self._get(account, mapping_id)
        config = {**mapping.config, **change.config}
        check(kind_of(mapping.source, config), mapping.source, config)
        if target is not None:
            mapping = msgspec.structs.replace(
                mapping, name=target.name, qualifier=target.qualifier or ""
            )
        enabled = mapping.enabled if change.enabled is None else change.enabled
        if target is not None or enabled:
            _, version = await self._lookup.version(
                account, mapping.name, mapping.qualifier or None
            )
            await self._require_source(version.function, mapping.source)
        mapping = msgspec.structs.replace(
            mapping,
            enabled=enabled,
            config=config,
            reason=BY_OWNER,
            last_modified=self._clock.now(),
        )
        await self._store.replace(mapping)
        self._tell(mapping)
        return mapping

    async def delete(self, account: str, mapping_id: str) -> Mapping:
        """Remove the mapping and return what it was."""
        mapping = await self._get(account, mapping_id)
        await self._store.remove(mapping_id)
        if self.carrier is not None:
            self.carrier.removed(mapping)
        return mapping

    async def check_function(self, account: str, name: str) -> None:
        """Disable the mappings of a function, or of qualifiers of it, that are not there any more."""
        after = ""
        while found := await self._store.page(account, after, PAGE, name=name, source=None):
            for mapping in found:
                await self._disable_if_orphaned(mapping)
            after = found[-1].id

    async def _disable_if_orphaned(self, mapping: Mapping) -> None:
        if not mapping.enabled:
            return
        try:
            await self._lookup.version(mapping.account, mapping.name, mapping.qualifier or None)
        except NotFound:
            arn = self._lookup.arn(mapping.account, mapping.name, mapping.qualifier or None)
            changed = msgspec.structs.replace(
                mapping,
                enabled=False,
                reason=NO_FUNCTION.format(arn),
                last_modified=self._clock.now(),
            )
            try:
                await self._store.replace(changed)
            except Conflict:
                return
            self._tell(changed)

    def _tell(self, mapping: Mapping) -> None:
        if self.carrier is not None:
            self.carrier.changed(mapping)

    async def _get(self, account: str, mapping_id: str) -> Mapping:
        require_match("uUID", mapping_id, _ID)
        mapping = await self._store.find(account, mapping_id)
        if mapping is None:
            raise NotFound("The resource you requested does not exist.")
        return mapping

    async def _require_source(self, function: FunctionVersion, source: str) -> None:
        carrier, service = self.carrier, Arn.parse(source).service
        if carrier is None or not carrier.serves(service):
            raise Unsupported(f"Event source mappings of {service} are not served here.")
        try:
            hide_s = await carrier.hide_s(source)
        except NotFound as error:
            raise InvalidInput(
                "Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. "
                f"SQS Error Message: {error.message}"
            ) from None
        await carrier.require(function, source)
        if hide_s < function.timeout_s:
            raise InvalidInput(
                f"Queue visibility timeout: {hide_s:g} seconds is less than Function timeout: "
                f"{function.timeout_s} seconds"
            )

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
