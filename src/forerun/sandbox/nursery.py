"""The zygotes of a server: started when first needed, grown into trees, replaced when they were lost.

Each has the name of the pool that its sandboxes are for: ``python3.11``, ``python3.11+sdk``, ``python3.11+a1b2c3``. The
first two are started from the interpreter; others are sprouts of these or of each other, that have imported more modules
of the runtime's own. Which there are is decided elsewhere (``grow``, ``retire``); what is asked for and is not there is
served by the one it would have sprouted from.
"""

import asyncio
import logging
import sys
from collections.abc import Callable, Container, Sequence
from typing import NamedTuple

from forerun.aio import Clock
from forerun.errors import SetupFailed
from forerun.model import WITH_SDK
from forerun.sandbox.zygotes import Loaded, Unfit, Zygote

log = logging.getLogger("forerun.sandbox")

# boto3 and what it loads late, when the first client is made.
SDK_PRELOAD = (
    "boto3",
    "boto3.session",
    "botocore.client",
    "botocore.endpoint",
    "botocore.handlers",
    "botocore.httpsession",
    "botocore.regions",
    "botocore.retries.standard",
    "botocore.session",
    "botocore.signers",
    "botocore.tokens",
    "s3transfer.manager",
)
STANDARD_PRELOAD = (
    "argparse",
    "base64",
    "collections",
    "concurrent.futures",
    "contextlib",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "email",
    "enum",
    "functools",
    "hashlib",
    "hmac",
    "http.client",
    "io",
    "json",
    "logging",
    "os",
    "random",
    "re",
    "socket",
    "ssl",
    "string",
    "struct",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "traceback",
    "typing",
    "urllib.parse",
    "urllib.request",
    "uuid",
    "zlib",
    # Compiles the code of strangers: nothing it imports may be taken from there.
    "forerun.runtime.compiling",
)
# Names of packages in the standard library of any interpreter; one that has it not says so.
STANDARD_MODULES = sys.stdlib_module_names
UNFIT_MAX = 8
DEPTH_MAX = 8
FORGOTTEN_MAX = 1000


class ZygoteInfo(NamedTuple):
    """A zygote as users see it. ``modules`` are those it was asked to import beyond its ``parent``'s, which is empty for
    one that was started from its interpreter; ``since`` is epoch seconds."""

    name: str
    parent: str
    modules: Sequence[str]
    pid: int
    loaded: Loaded
    since: float


class _Planned(NamedTuple):
    """A sprout that there shall be."""

    parent: str
    modules: Sequence[str]


class Nursery:
    """See the module. ``make`` answers a zygote to be started, for its name and the modules it must not import."""

    def __init__(self, make: Callable[[str, Container[str]], Zygote], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._zygotes: dict[str, Zygote] = {}
        self._since: dict[str, float] = {}
        self._starting: dict[str, asyncio.Lock] = {}
        self._planned: dict[str, _Planned] = {}
        # Where sandboxes come from whose zygote was given up.
        self._instead: dict[str, str] = {}
        self._retired: list[Zygote] = []
        self._unfit: set[str] = set()
        self._closed = False

    def living(self, name: str) -> Zygote | None:
        """The zygote that makes sandboxes of this name now; ``None`` when it has to be started."""
        zygote = self._zygotes.get(self._known(name))
        return zygote if zygote is not None and zygote.alive else None

    def has(self, name: str) -> bool:
        """Whether a zygote of this very name was grown and lives."""
        zygote = self._zygotes.get(name)
        return zygote is not None and zygote.alive and name in self._planned

    def infos(self) -> list[ZygoteInfo]:
        """Those that live, parents before their sprouts."""
        found = [
            ZygoteInfo(
                name,
                *self._planned.get(name, _Planned("", ())),
                zygote.pid,
                zygote.loaded,
                self._since[name],
            )
            for name, zygote in self._zygotes.items()
            if zygote.alive
        ]
        return sorted(found, key=lambda info: info.since)

    async def get(self, name: str) -> Zygote:
        """The zygote of this name, or the one that stands in for it; started if need be. Raises ``SetupFailed``."""
        name = self._known(name)
        if name not in self._planned:
            return await self._root(name)
        try:
            return await self._sprout(name)
        except SetupFailed as error:
            log.warning("%s is given up: %s", name, error.message)
            self.retire(name)
        return await self.get(name)

    async def grow(self, name: str, parent: str, modules: Sequence[str]) -> Loaded:
        """Let there be a zygote of this name that has imported ``modules`` beyond its parent's; what it has loaded.

        Raises ``SetupFailed``, ``Unfit`` for a module that cannot be preloaded; then there is none.
        """
        self._planned[name] = _Planned(parent, tuple(modules))
        self._instead.pop(name, None)
        try:
            return (await self._sprout(name)).loaded
        except BaseException:
            self.retire(name)
            raise

    def retire(self, name: str) -> None:
        """Fork no more sandboxes from it. Its process stays until the last of its sandboxes and sprouts has ended."""
        planned = self._planned.pop(name, None)
        if planned is None:
            return
        if len(self._instead) >= FORGOTTEN_MAX:
            self._instead.clear()
        self._instead[name] = planned.parent
        zygote = self._zygotes.pop(name, None)
        if zygote is not None:
            self._retired.append(zygote)

    async def sweep(self) -> None:
        """End the retired ones that nobody depends on any more."""
        for zygote in [one for one in self._retired if not one.living or not one.alive]:
            self._retired.remove(zygote)
            await zygote.close()

    async def close(self) -> None:
        """End all, and with them their sandboxes; none is started any more."""
        self._closed = True
        zygotes = [*self._retired, *self._zygotes.values()]
        self._retired, self._planned = [], {}
        self._zygotes.clear()
        for zygote in reversed(zygotes):
            await zygote.close()

    def _known(self, name: str) -> str:
        """The name of a zygote that there is or can be, in the place of this one."""
        name = name.partition("@")[0]
        for _ in range(DEPTH_MAX):
            if name in self._planned or name not in self._instead:
                break
            name = self._instead[name]
        runtime, _, more = name.partition("+")
        rooted = name in self._planned or f"+{more}" in ("+", WITH_SDK)
        return name if rooted else runtime

    async def _root(self, name: str) -> Zygote:
        """One that is started from its interpreter, without modules that no zygote can import."""
        async with self._starting.setdefault(name, asyncio.Lock()):
            if (zygote := await self._present(name)) is not None:
                return zygote
            if self._closed:
                raise SetupFailed("The sandboxes were closed.")
            for _ in range(UNFIT_MAX):
                zygote = self._make(name, self._unfit)
                try:
                    await zygote.start()
                except Unfit as error:
                    log.warning("%s", error.message)
                    self._unfit.update(error.modules)
                else:
                    return self._keep(name, zygote)
            raise SetupFailed(f"The zygote of {name} has too many modules that start threads.")

    async def _sprout(self, name: str) -> Zygote:
        planned = self._planned[name]
        async with self._starting.setdefault(name, asyncio.Lock()):
            if (zygote := await self._present(name)) is not None:
                return zygote
            parent = await self.get(planned.parent)
            zygote = await parent.sprout(list(planned.modules))
            if self._planned.get(name) is not planned:
                self._retired.append(zygote)
                raise SetupFailed("It is not wanted any more.")
            return self._keep(name, zygote)

    async def _present(self, name: str) -> Zygote | None:
        zygote = self._zygotes.get(name)
        if zygote is None or zygote.alive:
            return zygote
        await zygote.close()
        return None

    def _keep(self, name: str, zygote: Zygote) -> Zygote:
        self._zygotes[name] = zygote
        zygote.name = name
        self._since[name] = self._clock.now()
        return zygote
