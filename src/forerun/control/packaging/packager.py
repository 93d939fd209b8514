"""Decides behind calls how packages are delivered, and does it: splits what others use, too, joins what nobody does.

A function's change makes it look at what the function's packages hold, and at those that have something in common with them;
all others are looked at in turns. Nobody waits for it: a package works in either form, and while it is changed.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from forerun.aio import Clock, TaskOwner
from forerun.control.packaging.code import CodeStore
from forerun.control.packaging.objects import ObjectStore
from forerun.errors import ForerunError, NotFound
from forerun.model import Arn
from forerun.prediction import (
    COLLECTION,
    SINGLE,
    DeliveryCosts,
    PackagePart,
    PackagingPlan,
    different_versions,
    plan_package,
)
from forerun.storage.functions import FunctionStore
from forerun.storage.layers import LayerStore
from forerun.storage.packaging import PackageRow, PackagingStore, PartRow

log = logging.getLogger("forerun.packager")

QUIET_S = 0.2
WAITING = 10_000
VERSIONS = 100
NEIGHBOURS = 50
REVISITED = 20
COLLECTED = 200
TIDIED = 100


class Packager:
    """``start`` then ``close``, once each; ``sweep`` now and then. ``grace_s``: seconds that a package that was split can be had
    as a single file, too, so that a copy of the directory that is being made misses nothing."""

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        store: PackagingStore,
        functions: FunctionStore,
        layers: LayerStore,
        code: CodeStore,
        clock: Clock,
        costs: DeliveryCosts,
        grace_s: float,
    ) -> None:
        self._store = store
        self._functions = functions
        self._layers = layers
        self._code = code
        self._clock = clock
        self.costs = costs
        self._grace_s = grace_s
        self._owner = TaskOwner("packager")
        self._due: dict[tuple[str, str], None] = {}
        self._awake = asyncio.Event()
        # Objects are thrown away by nobody while somebody splits.
        self._changing = asyncio.Lock()
        self._unchecked: list[str] = []
        self._recovered = False

    def changed(self, account: str, name: str, _retired: Sequence[str] = ()) -> None:
        """A function was made, changed or deleted. Returns at once; beyond ``WAITING`` of them the sweep comes to them."""
        if len(self._due) < WAITING:
            self._due[account, name] = None
            self._awake.set()

    def start(self) -> None:
        """Look at what changes from now on."""
        self._owner.spawn(self._work(), name="work")

    async def close(self) -> None:
        """Give up what was not looked at; the sweep of the next start comes to it."""
        await self._owner.close()

    async def sweep(self) -> None:
        """A bounded part of what time asks for: other plans, single files and objects that nobody needs, damage."""
        now = self._clock.now()
        for digest in await self._store.take_oldest(now, REVISITED):
            row = await self._store.package(digest)
            if row is not None:
                await self._guarded(self._settle(row))
        for work in (self._tidy, self._collect, self._mend):
            await self._guarded(work())

    async def packages_of(self, account: str, name: str) -> list[tuple[str, str, str]]:
        """The packages that a function's versions use: digest, owner, and a name for it; the newest version's first."""
        versions = await self._functions.versions(account, name, -1, VERSIONS)
        found = {}
        for version in versions:
            function = version.function
            found[function.code_digest] = (account, "the function's package")
            for text in function.layers:
                arn = Arn.parse(text)
                _, layer, number = arn.resource.split(":")
                if (kept := await self._layers.find(arn.account, layer, int(number))) is not None:
                    found[kept.code_digest] = (arn.account, f"layer {layer}:{number}")
        return [(digest, *about) for digest, about in found.items()]

    async def plan(self, digest: str, owner: str) -> tuple[PackageRow, PackagingPlan]:
        """What a package holds, and what is planned for it. Raises ``StorageFailed`` for one that is not to be had."""
        row = await self._store.package(digest)
        if row is None:
            contents = await self._code.contents(digest, owner)
            form = COLLECTION if self._code.is_collection(digest) else SINGLE
            # Of a collection that nothing was known of, everything may be needed.
            apart = form == COLLECTION
            parts = tuple(
                PartRow(
                    part.object,
                    part.root,
                    part.name,
                    part.version,
                    len(part.files),
                    part.size,
                    apart,
                )
                for part in contents.parts
            )
            row = PackageRow(digest, owner, contents.files, contents.size, form, parts)
            await self._store.keep(row, self._clock.now())
        least = self._least
        parts_now = [
            PackagePart(
                object=part.object,
                name=part.name,
                version=part.version,
                files=part.files,
                size=part.size,
                others=await self._store.others(part.object, digest) if part.size > least else 0,
                here=self._code.objects.tree(part.object).exists(),
            )
            for part in row.parts
        ]
        now = COLLECTION if row.form == COLLECTION else SINGLE
        plan = plan_package(parts_now, files=row.files, size=row.size, costs=self.costs, now=now)
        return row, plan

    async def describe(self, account: str, name: str) -> dict[str, object]:
        """The plan of each of a function's packages, and what differs between them. Raises ``NotFound``."""
        packages = await self.packages_of(account, name)
        if not packages:
            raise NotFound(f"There is no function {name} in account {account}")
        shown, parts = [], []
        for digest, owner, about in packages:
            row, plan = await self.plan(digest, owner)
            parts.append((about, [(part.name, part.version) for part in row.parts]))
            shown.append(_shown(about, row, plan))
        return {
            "FunctionName": name,
            "Packages": shown,
            "ExpectedMs": round(sum(float(each["ExpectedMs"]) for each in shown), 1),
            "Warnings": different_versions(parts),
        }

    @property
    def _least(self) -> int:
        """Bytes of a part below which a file of its own is never worth it."""
        return int(self.costs.file_s * self.costs.bytes_per_s)

    async def _work(self) -> None:
        await self._guarded(self._recover())
        while True:
            try:
                async with asyncio.timeout(max(1.0, self._grace_s)):
                    await self._awake.wait()
            except TimeoutError:
                await self._guarded(self._tidy())
                continue
            self._awake.clear()
            # Whoever deploys has more to come, and a first call.
            await self._clock.sleep(QUIET_S)
            while self._due:
                account, name = next(iter(self._due))
                del self._due[account, name]
                await self._guarded(self._attend(account, name))
            await self._guarded(self._mend())

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ForerunError as error:
            log.warning("%s", error.message)

    async def _recover(self) -> None:
        """Know of every collection on the disk before an object is thrown away, whatever the database forgot."""
        for digest, objects in await self._code.collections():
            row = await self._store.package(digest)
            if row is None:
                scope = next(iter(objects), "all").partition("-")[0]
                row, _ = await self.plan(digest, "" if scope == "all" else scope)
            apart = {part.object for part in row.parts if part.apart}
            if row.form == SINGLE or not apart.issuperset(objects):
                await self._store.settle(digest, objects | apart, self._clock.now())
        self._recovered = True

    async def _attend(self, account: str, name: str) -> None:
        packages = await self.packages_of(account, name)
        await self._store.use(account, name, [digest for digest, _, _ in packages])
        for digest, owner, _ in packages:
            row, plan = await self.plan(digest, owner)
            await self._carry_out(row, plan)
            for other in await self._store.neighbours(digest, self._least, NEIGHBOURS):
                if (neighbour := await self._store.package(other)) is not None:
                    await self._settle(neighbour)

    async def _settle(self, row: PackageRow) -> None:
        row, plan = await self.plan(row.digest, row.owner)
        await self._carry_out(row, plan)

    async def _carry_out(self, row: PackageRow, plan: PackagingPlan) -> None:
        apart = frozenset(part.object for part in row.parts if part.apart)
        async with self._changing:
            try:
                if plan.form == COLLECTION and not plan.objects <= apart:
                    await self._split(row, plan.objects | apart)
                elif plan.form == SINGLE and row.form == COLLECTION:
                    await self._code.join(row.digest)
                    await self._store.settle(row.digest, (), None)
                    log.info("%s is one file: %s", row.digest, plan.reason)
            except ForerunError as error:
                # It stays as it was; what was reserved for it is looked at again by the sweep.
                log.warning("%s is left as it is: %s", row.digest, error.message)

    async def _split(self, row: PackageRow, objects: frozenset[str]) -> None:
        await self._store.reserve(row.digest, objects)
        await self._code.split(row.digest, row.owner, objects)
        await self._store.settle(row.digest, objects, self._clock.now())
        log.info("%s is a collection of %d files", row.digest, len(objects) + 1)

    async def _tidy(self) -> None:
        before = self._clock.now() - self._grace_s
        for digest in await self._store.untidy(before, TIDIED):
            async with self._changing:
                if await self._code.tidy(digest, before):
                    await self._store.tidied(digest)

    async def _collect(self) -> None:
        """Throw away objects that no package needs, and look whether others are still what they were."""
        if not self._recovered:
            return
        objects = self._code.objects
        if not self._unchecked:
            self._unchecked = sorted(await asyncio.to_thread(objects.names))
        part, self._unchecked = self._unchecked[:COLLECTED], self._unchecked[COLLECTED:]
        for name in part:
            async with self._changing:
                if await self._store.holders(name):
                    continue
                await self._code.discard_object(name)
        if part:
            await asyncio.to_thread(_examine, objects, part[0])

    async def _mend(self) -> None:
        """Give trees sound files in place of damaged ones."""
        damaged = self._code.objects.damaged
        while damaged:
            name = damaged.pop()
            for digest in await self._store.holders(name):
                await self._code.mend(digest, name)


def _examine(objects: ObjectStore, name: str) -> None:
    """Whether one object is what it was, stored and unpacked; the one is made again of the other."""
    if not objects.repair(name):
        log.warning("what is stored of object %s is damaged", name)
    elif objects.tree(name).exists():
        objects.check(name)


def _shown(about: str, row: PackageRow, plan: PackagingPlan) -> dict[str, Any]:
    return {
        "Package": about,
        "Digest": row.digest,
        "Form": row.form,
        "Planned": plan.form,
        "Reason": plan.reason,
        "Size": row.size,
        "Files": row.files,
        "UseRate": round(plan.use_rate, 4),
        "ThresholdUseRate": round(plan.threshold, 4),
        "CachedShare": round(plan.cached_share, 4),
        "ExpectedMs": round(plan.expected_s * 1000, 1),
        "SingleMs": round(plan.single_s * 1000, 1),
        "CollectionMs": round(plan.collection_s * 1000, 1),
        "Delivered": [
            {
                "Object": each.object,
                "Name": each.name,
                "Version": each.version,
                "Files": each.files,
                "Size": each.size,
                "OtherFunctions": each.others,
                "CachedShare": round(each.cached, 4),
                "OnHost": each.here,
            }
            for each in plan.files
        ],
    }
