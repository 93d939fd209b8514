"""How asynchronous invocations are retried, aged out and reported, per qualifier."""

import re

import msgspec

from forerun.aio import Clock
from forerun.control.changes import Changes
from forerun.control.lookup import Lookup
from forerun.control.paging import Page, from_marker, page_size, to_page
from forerun.control.rules import require_range
from forerun.errors import InvalidInput, NotFound, Unsupported
from forerun.model import Arn, DestinationConfig, EventInvokeConfig
from forerun.storage.event_invoke import EventInvokeStore
from forerun.storage.functions import LATEST

_RESOURCES = {
    "lambda": re.compile(r"function:[a-zA-Z0-9-_]{1,64}(:(\$LATEST|[a-zA-Z0-9-_]{1,128}))?"),
    "sqs": re.compile(r"[a-zA-Z0-9_-]{1,80}"),
    "sns": re.compile(r"[a-zA-Z0-9_-]{1,256}"),
    "events": re.compile(r"event-bus/[/.\-_A-Za-z0-9]{1,256}"),
}
"""What a destination's ARN names, by its service: functions, buses, and queues and topics that are not FIFO."""
_ACCOUNT = re.compile(r"[0-9]{12}")


class EventInvokeChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a client gives; ``None`` where it gives nothing. A destination ``""`` takes one away."""

    max_retries: int | None = None
    max_age_s: int | None = None
    on_success: str | None = None
    on_failure: str | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is given."""
        return all(
            value is None
            for value in (self.max_retries, self.max_age_s, self.on_success, self.on_failure)
        )


class EventInvokes:
    """Sets, reads and removes event-invoke configurations."""

    def __init__(
        self, *, store: EventInvokeStore, lookup: Lookup, changes: Changes, clock: Clock
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._changes = changes
        self._clock = clock

    async def put(
        self, account: str, name: str, qualifier: str | None, change: EventInvokeChange
    ) -> EventInvokeConfig:
        """Set the configuration; what is not given gets its default."""
        await self._check(account, name, qualifier, change)
        return await self._save(account, name, qualifier, EventInvokeConfig(), change)

    async def update(
        self, account: str, name: str, qualifier: str | None, change: EventInvokeChange
    ) -> EventInvokeConfig:
        """Change what is given; ``NotFound`` when there is no configuration yet."""
        await self._check(account, name, qualifier, change)
        current = await self.get(account, name, qualifier)
        return await self._save(account, name, qualifier, current, change)

    async def get(self, account: str, name: str, qualifier: str | None) -> EventInvokeConfig:
        """The configuration of a qualifier; ``NotFound`` when it has none."""
        await self._lookup.version(account, name, qualifier)
        config = await self._store.find(account, name, qualifier or LATEST)
        if config is None:
            raise self._missing(account, name, qualifier)
        return config

    async def delete(self, account: str, name: str, qualifier: str | None) -> None:
        """Remove the configuration; ``NotFound`` when there is none."""
        await self._lookup.version(account, name, qualifier)
        if not await self._store.remove(account, name, qualifier or LATEST):
            raise self._missing(account, name, qualifier)
        self._changes.tell(account, name)

    async def page(
        self, account: str, name: str, marker: str | None, limit: int | None
    ) -> Page[tuple[str, EventInvokeConfig]]:
        """A function's configurations by qualifier."""
        [after] = from_marker(marker, ("",))
        size = page_size(limit)
        await self._lookup.version(account, name)
        found = await self._store.page(account, name, str(after), size + 1)
        return to_page(found, [(qualifier,) for qualifier, _ in found], size)

    async def _save(
        self,
        account: str,
        name: str,
        qualifier: str | None,
        current: EventInvokeConfig,
        change: EventInvokeChange,
    ) -> EventInvokeConfig:
        old = current.destinations
        config = EventInvokeConfig(
            max_retries=current.max_retries if change.max_retries is None else change.max_retries,
            max_age_s=current.max_age_s if change.max_age_s is None else change.max_age_s,
            destinations=DestinationConfig(
                on_success=(old.on_success if change.on_success is None else change.on_success)
                or None,
                on_failure=(old.on_failure if change.on_failure is None else change.on_failure)
                or None,
            ),
            last_modified=self._clock.now(),
        )
        await self._store.save(account, name, qualifier or LATEST, config)
        self._changes.tell(account, name)
        return config

    async def _check(
        self, account: str, name: str, qualifier: str | None, change: EventInvokeChange
    ) -> None:
        if change.empty:
            raise InvalidInput(
                "You must specify at least one of error handling or destination setting."
            )
        if change.max_retries is not None:
            require_range("maximumRetryAttempts", change.max_retries, 0, 2)
        if change.max_age_s is not None:
            require_range("maximumEventAgeInSeconds", change.max_age_s, 60, 21600)
        await self._lookup.version(account, name, qualifier)
        for destination in (change.on_success, change.on_failure):
            if destination:
                await self._check_destination(account, name, qualifier, destination)

    async def _check_destination(
        self, account: str, name: str, qualifier: str | None, text: str
    ) -> None:
        arn = Arn.parse(text)
        if arn.service == "s3":
            raise Unsupported(f"Buckets are not served as destinations yet: {text}")
        resource = _RESOURCES.get(arn.service)
        if (
            resource is None
            or not resource.fullmatch(arn.resource)
            or not _ACCOUNT.fullmatch(arn.account)
            or arn.region != self._lookup.region
        ):
            raise InvalidInput(
                f"The provided destination config DestinationConfig is invalid: {text} is not the ARN of a function, an "
                f"event bus, or a standard queue or topic in {self._lookup.region}."
            )
        if arn.service != "lambda":
            return
        target = arn.resource.split(":")
        if arn.account != account:
            return
        of_target = target[2] if len(target) == 3 else LATEST
        if target[1] == name and of_target == (qualifier or LATEST):
            raise InvalidInput("You can't specify the function as a destination for itself.")
        await self._lookup.version(account, target[1], target[2] if len(target) == 3 else None)

    def _missing(self, account: str, name: str, qualifier: str | None) -> NotFound:
        arn = self._lookup.arn(account, name, qualifier or LATEST)
        return NotFound(f"The function {arn} doesn't have an EventInvokeConfig")
