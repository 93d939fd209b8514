"""Has a poller for every mapping that is enabled, and says how each is doing.

A poller never changes: when its mapping does another begins, while the one before ends what it had taken.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from forerun.aio import TaskOwner
from forerun.control.delivery.batch_runs import NOTHING_YET, Around, Wish
from forerun.control.delivery.batching import BatchLimits
from forerun.control.delivery.filtering import compile_filters
from forerun.control.delivery.poller import Poller
from forerun.errors import ForerunError
from forerun.model import Arn, FunctionVersion, function_arn
from forerun.sources import Backlog, Pollable
from forerun.storage.mappings import Mapping as Stored
from forerun.storage.mappings import MappingStore

log = logging.getLogger("forerun.pollers")

PAGE = 500
REPORT = "ReportBatchItemFailures"
NOT_SERVED = "the platform serves no source of this kind"


class Condition(msgspec.Struct, frozen=True):
    """A mapping's state, and the result of what it did last, in AWS's words."""

    state: str
    result: str = NOTHING_YET


def wish_of(mapping: Stored, *, at_once: int) -> Wish:
    """What a stored mapping asks for; ``at_once`` is the most batches at once where it does not say. ``InvalidInput``."""
    config = mapping.config
    scaling = config.get("ScalingConfig") or {}
    return Wish(
        account=mapping.account,
        name=mapping.name,
        qualifier=mapping.qualifier or None,
        source=mapping.source,
        limits=BatchLimits(
            messages=config.get("BatchSize", 10),
            window_s=float(config.get("MaximumBatchingWindowInSeconds", 0)),
        ),
        at_once=scaling.get("MaximumConcurrency") or at_once,
        report_items=REPORT in (config.get("FunctionResponseTypes") or ()),
        wants=compile_filters(config.get("FilterCriteria")),
    )


class MappingRuns:
    """``start``, then told of every change (``changed``, ``removed``); ``close`` at the end.

    ``orphaned`` is called with a mapping whose function is gone; it is to be disabled.
    """

    def __init__(
        self,
        *,
        store: MappingStore,
        pollables: Mapping[str, Pollable],
        around: Around,
        at_once: int,
        orphaned: Callable[[Stored], None],
    ) -> None:
        self._store = store
        self._pollables = pollables
        self._around = around
        self._at_once = at_once
        self._orphaned = orphaned
        self._pollers: dict[str, Poller] = {}
        self._mappings: dict[str, Stored] = {}
        self._deleted: dict[str, Stored] = {}
        self._ending: dict[str, list[Poller]] = {}
        self._results: dict[str, str] = {}
        self._owner = TaskOwner("mappings")

    async def start(self) -> None:
        """Begin with those that are stored."""
        after = ""
        while found := await self._store.every(after, PAGE):
            for mapping in found:
                self.changed(mapping)
            after = found[-1].id

    async def close(self, *, grace_s: float) -> None:
        """Take nothing more, and let what runs end, for at most ``grace_s`` seconds."""
        pollers = [
            *self._pollers.values(),
            *(each for some in self._ending.values() for each in some),
        ]
        self._pollers.clear()
        for poller in pollers:
            poller.stop()
        closing = [
            self._owner.spawn(poller.close(grace_s=grace_s), name="close") for poller in pollers
        ]
        for task in closing:
            await task
        await self._owner.close()

    def changed(self, mapping: Stored) -> None:
        """It was made or changed, and is stored."""
        self._end(mapping.id)
        self._mappings[mapping.id] = mapping
        if mapping.enabled:
            self._begin(mapping)

    def removed(self, mapping: Stored) -> None:
        """It is not stored any more."""
        self._end(mapping.id)
        self._mappings.pop(mapping.id, None)
        if mapping.id in self._ending:
            self._deleted[mapping.id] = mapping
        else:
            self._results.pop(mapping.id, None)

    def deleting(self, account: str, mapping_id: str) -> Stored | None:
        """A mapping that is not stored any more, of which something runs still."""
        mapping = self._deleted.get(mapping_id)
        return mapping if mapping is not None and mapping.account == account else None

    def condition(self, mapping: Stored) -> Condition:
        """How a mapping is doing."""
        poller, ending = self._pollers.get(mapping.id), mapping.id in self._ending
        result = poller.result if poller is not None else NOTHING_YET
        if result == NOTHING_YET:
            result = self._results.get(mapping.id, NOTHING_YET)
        if mapping.id in self._deleted:
            state = "Deleting"
        elif not mapping.enabled or self._pollable(mapping) is None:
            state = "Disabling" if ending else "Disabled"
        elif ending:
            state = "Updating"
        else:
            state = "Enabled" if poller is not None and poller.polling else "Enabling"
        return Condition(state, result)

    def serves(self, service: str) -> bool:
        """Whether there are sources of this kind, by the service in their ARNs."""
        return service in self._pollables

    async def hide_s(self, source: str) -> float:
        """Seconds for which a source hides what is taken; ``NotFound`` when there is no such source."""
        return await self._pollables[Arn.parse(source).service].hide_s(source)

    async def require(self, function: FunctionVersion, source: str) -> None:
        """Return when the function's role may take from the source; else ``InvalidInput``."""
        await self._around.require(function, source)

    async def rows(self, account: str) -> list[dict[str, Any]]:
        """The mappings of an account for a table of sources, by source and function."""
        rows = [
            await self._row(mapping)
            for mapping in self._mappings.values()
            if mapping.account == account
        ]
        return sorted(rows, key=lambda row: (row["Source"], row["Target"]))

    def _begin(self, mapping: Stored) -> None:
        pollable = self._pollable(mapping)
        if pollable is None:
            log.warning("mapping %s of %s: %s", mapping.id, mapping.source, NOT_SERVED)
            return
        try:
            wish = wish_of(mapping, at_once=self._at_once)
        except ForerunError as error:
            self._results[mapping.id] = f"PROBLEM: {error.message}"
            return
        poller = Poller(
            wish,
            pollable,
            self._around,
            orphaned=lambda: self._orphaned(mapping),
            drained=lambda: self._drained(mapping.id, poller),
        )
        self._pollers[mapping.id] = poller
        poller.start()

    def _pollable(self, mapping: Stored) -> Pollable | None:
        return self._pollables.get(Arn.parse(mapping.source).service) if mapping.source else None

    def _end(self, mapping_id: str) -> None:
        poller = self._pollers.pop(mapping_id, None)
        if poller is not None:
            self._results[mapping_id] = poller.result
            self._ending.setdefault(mapping_id, []).append(poller)
            poller.stop()

    def _drained(self, mapping_id: str, poller: Poller) -> None:
        ending = self._ending.get(mapping_id, [])
        if poller in ending:
            ending.remove(poller)
            self._results[mapping_id] = poller.result
        if not ending:
            self._ending.pop(mapping_id, None)
            if self._deleted.pop(mapping_id, None) is not None:
                self._results.pop(mapping_id, None)

    async def _row(self, mapping: Stored) -> dict[str, Any]:
        poller, pollable = self._pollers.get(mapping.id), self._pollable(mapping)
        condition = self.condition(mapping)
        backlog = Backlog()
        if pollable is not None:
            try:
                backlog = await pollable.backlog(mapping.source)
            except ForerunError as error:
                condition = Condition(condition.state, f"PROBLEM: {error.message}")
        now = self._around.clock.monotonic()
        region = Arn.parse(mapping.source).region if mapping.source else ""
        row: dict[str, Any] = {
            "Source": mapping.source,
            "Target": function_arn(
                region, mapping.account, mapping.name, mapping.qualifier or None
            ),
            "Kind": "mapping",
            "Id": mapping.id,
            "State": condition.state,
            "Reason": mapping.reason,
            "Waiting": backlog.visible,
            "Hidden": backlog.hidden,
            "Delayed": backlog.delayed,
            "OldestSeconds": round(backlog.oldest_s, 3),
            "InFlight": 0,
            "Running": 0,
            "AtOnce": 0,
            "PerSecond": 0.0,
            "FailuresPerMinute": 0,
            "LastResult": condition.result,
        }
        if poller is not None:
            row |= {
                "InFlight": poller.in_flight,
                "Running": poller.running,
                "AtOnce": poller.at_once,
                "PerSecond": round(poller.taken.per_second(now), 1),
                "FailuresPerMinute": poller.failed.per_minute(now),
            }
        return row
