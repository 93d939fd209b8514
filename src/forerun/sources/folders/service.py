"""The watched directories of all accounts: put, listed, deleted, and looked after while the server runs."""

import asyncio
import os
import re
from collections.abc import Sequence

import msgspec

from forerun.aio import Clock, TaskOwner
from forerun.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from forerun.model import Arn, function_arn, parse_function_ref
from forerun.sources import Outbox
from forerun.sources.folders.keeper import Keeper, Means, Standing
from forerun.sources.folders.roots import require_allowed, require_named, resolve
from forerun.sources.folders.watcher import Watcher
from forerun.storage.folders import Folder, FolderConfig, FolderStore

FOLDERS = 100
SWEEP = 5000
SWEEP_S = 1.0
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TARGETS = ("lambda", "sqs", "sns", "events")


class FolderWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks a folder to be; see ``FolderConfig``. ``existing``: files that are there already are told, too."""

    name: str
    path: str
    target: str
    pattern: str = ""
    events: tuple[str, ...] = ("created", "modified")
    recursive: bool = True
    settle_s: float = 1.0
    scan_s: float = 60.0
    existing: bool = False


class Folders:
    """Watched directories; ``start`` then ``close``. ``roots`` is what the operator allows, see ``events.folders``."""

    def __init__(
        self,
        store: FolderStore,
        outbox: Outbox,
        clock: Clock,
        *,
        region: str,
        roots: Sequence[str],
    ) -> None:
        self._store = store
        self._means = Means(store, outbox, clock, region)
        self._clock = clock
        self._region = region
        self._roots = roots
        self._keepers: dict[int, tuple[Keeper, asyncio.Task[None]]] = {}
        self._by_path: dict[bytes, list[Keeper]] = {}
        self._watchers: list[Watcher] = []
        self._rewatch = asyncio.Event()
        self._unwatched: set[int] = set()
        self._owner = TaskOwner("folders")

    async def start(self) -> None:
        """Look after what is stored; each directory is looked through for what changed meanwhile."""
        for folder in await self._store.all():
            self._keep(folder)
        self._owner.spawn(self._watch(), name="watch")
        self._owner.spawn(self._sweep(), name="sweep")

    async def close(self) -> None:
        """Look no more."""
        await self._owner.close()
        for watcher in self._watchers:
            await asyncio.to_thread(watcher.close)
        self._watchers.clear()

    async def put(self, account: str, wish: FolderWish) -> Folder:
        """Make a folder, or change it; with another path it begins anew. Raises ``InvalidInput``, ``AccessDenied``."""
        if not _NAME.fullmatch(wish.name):
            raise InvalidInput("Name must be 1 to 64 letters, digits, '-', '_' or '.'")
        target = self.target_of(account, wish.target)
        require_named(wish.path, account, self._roots)
        path = await asyncio.to_thread(resolve, wish.path)
        require_allowed(path, account, self._roots)
        now = self._clock.now()
        old = await self._store.find(account, wish.name)
        config = FolderConfig(
            path=path,
            target=target,
            pattern=wish.pattern,
            events=wish.events,
            recursive=wish.recursive,
            settle_s=wish.settle_s,
            scan_s=wish.scan_s,
            since=0.0 if wish.existing else now,
            created=now if old is None else old.config.created,
            modified=now,
        )
        if old is not None and old.config.path == path:
            await self._drop(old.id)
            found = (config.pattern, config.recursive)
            if found == (old.config.pattern, old.config.recursive):
                config = msgspec.structs.replace(config, since=old.config.since)
            folder = msgspec.structs.replace(old, config=config)
            await self._store.save(folder)
        else:
            folder = await self._make(account, wish.name, config, old)
        self._keep(folder)
        return folder

    async def delete(self, account: str, name: str) -> None:
        """Watch it no more; ``NotFound``."""
        folder, _ = await self.find(account, name)
        await self._store.remove(folder.id)
        await self._drop(folder.id)
        self._owner.spawn(self._sweep(), name="sweep")

    async def find(self, account: str, name: str) -> tuple[Folder, Standing]:
        """A folder and how it is doing; ``NotFound``."""
        folder = await self._store.find(account, name)
        if folder is None:
            raise NotFound(f"There is no folder {name!r}")
        return folder, self._standing(folder.id)

    async def of_account(self, account: str) -> list[tuple[Folder, Standing]]:
        """All folders of an account by name."""
        found = await self._store.of_account(account)
        return [(folder, self._standing(folder.id)) for folder in found]

    async def files(self, folder: Folder) -> int:
        """How many files of a folder are known."""
        return await self._store.count(folder.id)

    def target_of(self, account: str, text: str) -> str:
        """The ARN or URL of a target, which may be a function's name; ``InvalidInput`` for anything else."""
        if text.startswith(("http://", "https://")):
            return text
        if not text.startswith("arn:"):
            ref = parse_function_ref(text)
            if ref.account not in (None, account):
                raise InvalidInput("Target must be of the folder's own account")
            return function_arn(self._region, account, ref.name, ref.qualifier)
        arn = Arn.parse(text)
        if arn.service not in _TARGETS:
            raise InvalidInput(
                "Target must be a function's name, an http(s) URL, or the ARN of a function, a queue, a topic or an "
                f"event bus, not {text!r}"
            )
        if (arn.account, arn.region) != (account, self._region):
            raise InvalidInput("Target must be of the folder's own account and region")
        return text

    # Inside

    async def _make(
        self, account: str, name: str, config: FolderConfig, old: Folder | None
    ) -> Folder:
        if old is not None:
            await self._store.remove(old.id)
            await self._drop(old.id)
            self._owner.spawn(self._sweep(), name="sweep")
        elif len(await self._store.of_account(account)) >= FOLDERS:
            raise Conflict(f"An account has at most {FOLDERS} folders")
        folder = Folder(account=account, name=name, config=config)
        try:
            folder_id = await self._store.add(folder)
        except AlreadyExists:
            raise Conflict(f"The folder {name} is being put by somebody else") from None
        return msgspec.structs.replace(folder, id=folder_id)

    def _standing(self, folder_id: int) -> Standing:
        found = self._keepers.get(folder_id)
        return found[0].standing if found is not None else Standing()

    def _keep(self, folder: Folder) -> None:
        account, roots = folder.account, self._roots
        keeper = Keeper(
            folder,
            self._means,
            allowed=lambda path: require_allowed(path, account, roots),
            restored=lambda: self._begin_watch(folder.id),
        )
        task = self._owner.spawn(keeper.run(), name=f"keep-{folder.name}")
        self._keepers[folder.id] = keeper, task
        self._changed_set()
        self._begin_watch(folder.id)

    async def _drop(self, folder_id: int) -> None:
        keeper, task = self._keepers.pop(folder_id, (None, None))
        if keeper is not None and task is not None:
            task.cancel()
            await asyncio.wait([task])
            self._changed_set()
            self._rewatch.set()

    def _changed_set(self) -> None:
        self._by_path = {}
        for keeper, _ in self._keepers.values():
            self._by_path.setdefault(os.fsencode(keeper.path), []).append(keeper)

    def _begin_watch(self, folder_id: int) -> None:
        self._unwatched.add(folder_id)
        self._rewatch.set()

    async def _watch(self) -> None:
        """Have the kernel tell of changes; whenever the set of directories is another one, anew, without a gap."""
        loop = asyncio.get_running_loop()

        def changed(paths: set[bytes]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._hint, paths)

        while True:
            await self._rewatch.wait()
            self._rewatch.clear()
            begun, self._unwatched = self._unwatched, set()
            keepers = [keeper for keeper, _ in self._keepers.values()]
            fresh = []
            for recursive in (True, False):
                paths = {k.path for k in keepers if k.folder.config.recursive == recursive}
                present = [path for path in sorted(paths) if os.path.isdir(path)]  # noqa: PTH112, ASYNC240 one look each
                if present:
                    fresh.append(Watcher(present, changed, recursive=recursive))
            for watcher in fresh:
                await asyncio.to_thread(watcher.start)
            old, self._watchers = self._watchers, fresh
            for watcher in old:
                await asyncio.to_thread(watcher.close)
            # What changed before the kernel watched is found by looking.
            for keeper in keepers:
                if keeper.folder.id in begun:
                    keeper.look_soon()

    def _hint(self, paths: set[bytes]) -> None:
        for path in paths:
            above, _, _ = path.rpartition(b"/")
            while above:
                for keeper in self._by_path.get(above, ()):
                    keeper.hint(path[len(above) + 1 :])
                above, _, _ = above.rpartition(b"/")

    async def _sweep(self) -> None:
        while await self._store.sweep(SWEEP) == SWEEP:
            await self._clock.sleep(SWEEP_S)
