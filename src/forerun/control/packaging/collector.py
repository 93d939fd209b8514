"""Removes code that nothing refers to any more, an hour after its last reference went: sandboxes may still run it."""

from forerun.aio import Clock
from forerun.control.packaging.code import KEEP_SECONDS, CodeStore
from forerun.storage.code_references import CodeReferenceStore
from forerun.storage.packaging import PackagingStore

AT_ONCE = 500


class CodeCollector:
    """``sweep`` now and then; each call does a bounded part of what is due."""

    def __init__(
        self,
        *,
        code: CodeStore,
        references: CodeReferenceStore,
        packaging: PackagingStore,
        clock: Clock,
    ) -> None:
        self._code = code
        self._packaging = packaging
        self._references = references
        self._clock = clock
        self._orphans: list[str] | None = None

    async def sweep(self) -> int:
        """How many packages were removed."""
        now = self._clock.now()
        await self._note_orphans()
        removed = 0
        for digest in await self._references.released(now - KEEP_SECONDS, AT_ONCE):
            if await self._references.is_referenced(digest):
                await self._references.settle(digest)
            elif await self._code.discard(digest):
                await self._packaging.forget(digest)
                await self._references.settle(digest)
                removed += 1
        await self._references.stamp(now)
        return removed

    async def _note_orphans(self) -> None:
        """Once per start, piece by piece: code that was kept for a version which was then not stored."""
        if self._orphans is None:
            self._orphans = sorted(await self._code.digests())
        part, self._orphans = self._orphans[:AT_ONCE], self._orphans[AT_ONCE:]
        found = [digest for digest in part if not await self._references.is_referenced(digest)]
        if found:
            await self._references.note(found)
