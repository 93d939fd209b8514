"""The trees of code on a host: brought once however many ask at once, from another host that has them or a control plane."""

import asyncio
import logging
import os
import shutil
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from forerun.aio import TaskOwner, cut
from forerun.cluster import manifest
from forerun.cluster.frames import TreeLead, TreeSource
from forerun.cluster.knocking import Knocker
from forerun.cluster.manifest import MANIFEST_MAX, BadTree, is_digest
from forerun.cluster.tls import Peer
from forerun.cluster.trees import Planting, remove_unfinished
from forerun.errors import ForerunError, HostUnreachable, NotFound, StorageFailed
from forerun.model import SandboxSpec

log = logging.getLogger("forerun.cluster")

FETCHING = 4
FETCH_S = 180.0
PIECE_S = 20.0
PIECE = 1 << 20
# Between being brought and being in a sandbox.
FRESH_S = 60.0
# Bytes that stay free on the disk, whatever is fetched.
RESERVE = 256 << 20


class HostTrees:
    """Below ``directory``, by their digests. ``lead`` says where one is to be found; ``in_use`` are those that sandboxes have.

    ``limit`` is how many bytes a tree may have.
    """

    def __init__(
        self,
        directory: Path,
        *,
        lead: Callable[[str], Awaitable[TreeLead]],
        knocker: Knocker,
        in_use: Callable[[], set[str]],
        limit: int,
        reserve: int = RESERVE,
    ) -> None:
        self._directory = directory
        self._lead = lead
        self._knocker = knocker
        self._in_use = in_use
        self._limit = limit
        self._reserve = reserve
        self._there: OrderedDict[str, bool] = OrderedDict()
        self._touched: dict[str, float] = {}
        self._fetching: dict[str, asyncio.Task[str]] = {}
        self._slots = asyncio.Semaphore(FETCHING)
        self._owner = TaskOwner("trees")

    def start(self) -> None:
        """See what is there, and remove what is not complete. Raises ``StorageFailed``."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            remove_unfinished(self._directory)
            for item in sorted(self._directory.iterdir(), key=lambda path: path.stat().st_mtime):
                if is_digest(item.name) and item.is_dir():
                    self._there[item.name] = True
        except OSError as error:
            raise StorageFailed(f"{self._directory} cannot be used: {error}") from error

    async def close(self) -> None:
        """Fetch nothing more."""
        await self._owner.close()

    @property
    def there(self) -> Mapping[str, bool]:
        """Digests of those that are here."""
        return self._there

    def path(self, digest: str) -> str:
        """Where it lies, or will."""
        return str((self._directory / digest).absolute())

    async def find(self, digest: str) -> str:
        """The path of one that is here, for others that want it. Raises ``NotFound``."""
        if digest not in self._there:
            raise NotFound(f"the tree {digest} is not on this host")
        return self.path(digest)

    async def bring(self, spec: SandboxSpec) -> None:
        """See to it that what a version needs is here. Raises ``StorageFailed``."""
        for path in (spec.code_dir, spec.layers_dir):
            if path is not None:
                digest = os.path.basename(path)  # noqa: PTH119 a microsecond
                self._touched[digest] = asyncio.get_running_loop().time()
                if digest in self._there and os.path.isdir(self.path(digest)):  # noqa: PTH112, ASYNC240  a look of a microsecond
                    self._there.move_to_end(digest)
                else:
                    await self._once(digest)

    async def _once(self, digest: str) -> None:
        task = self._fetching.get(digest)
        if task is None:
            task = self._fetching[digest] = self._owner.spawn(self._tried(digest), name="fetch")
            task.add_done_callback(lambda _: self._fetching.pop(digest, None))
        # Whoever leaves must not take it from the others.
        done, _ = await asyncio.wait({task}, timeout=FETCH_S)
        if not done:
            raise StorageFailed(f"code {digest} could not be fetched in time")
        failure = "the agent ends" if task.cancelled() else task.result()
        if failure:
            raise StorageFailed(f"code {digest} cannot be brought: {failure}")

    async def _tried(self, digest: str) -> str:
        """Why it could not be fetched; empty when it was."""
        try:
            await self._fetch(digest)
        except (ForerunError, OSError, EOFError) as error:
            return str(error) or type(error).__name__
        return ""

    async def _fetch(self, digest: str) -> None:
        async with asyncio.timeout(FETCH_S), self._slots:
            lead = await self._lead(digest)
            if lead.size > self._limit or lead.size < 0:
                raise StorageFailed(f"it has {lead.size} bytes; the limit is {self._limit}")
            await self._make_room(lead.size)
            failure: Exception = HostUnreachable("nobody has it")
            for source in lead.sources:
                try:
                    await self._take(digest, lead, source)
                except (ForerunError, OSError, EOFError, TimeoutError) as error:
                    failure = error
                    log.warning("%s has not given %s: %s", source.name, digest, error or "no end")
                else:
                    self._there[digest] = True
                    log.info("%s is here, %d bytes from %s", digest, lead.size, source.name)
                    return
            if isinstance(failure, OSError):
                raise StorageFailed(f"it cannot be written: {failure}") from failure
            raise failure

    async def _take(self, digest: str, lead: TreeLead, source: TreeSource) -> None:
        knocked = await self._knocker.knock(
            source.address, "tree", {"digest": digest}, expect=Peer(source.name, source.role)
        )
        reader, writer = knocked.streams()
        try:
            size = knocked.fields.get("manifest")
            if not isinstance(size, int) or not 0 <= size <= MANIFEST_MAX:
                raise BadTree(f"a manifest of {size} bytes")
            async with asyncio.timeout(PIECE_S):
                packed = await reader.readexactly(size)
            if manifest.seal(packed) != lead.manifest:
                raise BadTree("its manifest is not the one that it must have")
            entries = await asyncio.to_thread(manifest.read, packed)
            left = sum(entry.size for entry in entries if entry.kind == "f")
            if left != lead.size:
                raise BadTree(f"it has {left} bytes, where {lead.size} were told")
            planting = await asyncio.to_thread(Planting, Path(self.path(digest)), entries)
            await self._plant(planting, reader, left)
        finally:
            cut(writer.transport)

    async def _plant(self, planting: Planting, reader: asyncio.StreamReader, left: int) -> None:
        try:
            while left:
                held: list[bytes] = []
                size = 0
                async with asyncio.timeout(PIECE_S):
                    while size < min(PIECE, left):
                        piece = await reader.read(min(PIECE, left - size))
                        if not piece:
                            raise EOFError("the connection ended within it")  # noqa: TRY301
                        held.append(piece)
                        size += len(piece)
                left -= size
                await asyncio.to_thread(planting.take, b"".join(held))
            await asyncio.to_thread(planting.finish)
        except BaseException:
            # In no thread: it must be gone even when everything ends.
            planting.discard()
            raise

    async def _make_room(self, size: int) -> None:
        """Give up trees that nobody uses, the longest unused first, when the disk is short. Raises ``StorageFailed``."""
        if self._free() >= size + self._reserve:
            return
        fresh = asyncio.get_running_loop().time() - FRESH_S
        self._touched = {one: at for one, at in self._touched.items() if at > fresh}
        used = self._in_use() | set(self._fetching) | set(self._touched)
        for digest in [one for one in self._there if one not in used]:
            del self._there[digest]
            await asyncio.to_thread(self._remove, digest)
            if self._free() >= size + self._reserve:
                return
        raise StorageFailed(
            f"the disk of this host is full: {self._free()} bytes are free, {size + self._reserve} are needed"
        )

    def _free(self) -> int:
        return shutil.disk_usage(self._directory).free

    def _remove(self, digest: str) -> None:
        log.info("%s is given up: the disk is full", digest)
        place = self._directory / digest
        gone = place.with_name(f".fetching-gone-{digest}")
        try:
            place.rename(gone)
        except OSError:
            return
        shutil.rmtree(gone, ignore_errors=True)
        # What this host has made of the tree lies beside it, under the same name with an ending.
        for beside in self._directory.glob(f"{digest}.*"):
            if beside.is_dir():
                shutil.rmtree(beside, ignore_errors=True)
            else:
                beside.unlink(missing_ok=True)
