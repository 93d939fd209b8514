"""The code store: packages as uploaded, and unpacked for sandboxes to mount.

``DIR/code/DIGEST.zip`` are packages, ``DIR/trees/DIGEST/`` unpacked trees, named by what is in them and by the scope
that shares it, so that equal code is kept once and a stored name never changes its content; what packages have in
common is split off as objects (``trees``, ``objects``). All appear by rename, complete and synced, or not at all. With a
vault packages and objects are there, too, before they are answered for, and are brought from there when they are missing.
Who finds that no version refers to something any more may ``discard`` it. ``DIR/trees/DIGEST.*``, what hosts make of a
tree, goes with it.
"""

import asyncio
import base64
import hashlib
import os
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from forerun.aio import Clock
from forerun.control.packaging.distributions import Part
from forerun.control.packaging.packages import imports_sdk
from forerun.control.packaging.recipes import read_recipe
from forerun.control.packaging.trees import Contents, Trees
from forerun.control.packaging.whole import remove, write_whole
from forerun.errors import InvalidInput, NotFound, RequestTooLarge, StorageFailed, Throttled
from forerun.storage.vault import NO_VAULT, Vault

UNPACKING = 4
UNPACK_SECONDS = 120.0
KEEP_SECONDS = 3600.0
# Files of packages whose contents are remembered, until the packager has looked at them.
REMEMBERED = 100_000
# Bytes unpacked; below, a new package keeps what others have, too, until a plan says otherwise.
LEAST_APART = 1 << 20
# Beside packages and trees, and not one of them.
OBJECTS = "objects"

R = TypeVar("R")


class StoredPackage(NamedTuple):
    """A package that is on disk: base64 SHA-256 as AWS prints it, the digest that names its tree, bytes as uploaded
    and unpacked. ``uses_sdk``: its Python imports the AWS SDK and does not bring it."""

    sha256: str
    digest: str
    size: int
    unpacked_size: int
    uses_sdk: bool = False


class CodeStore:
    """Packages and trees below one directory.

    Equal code of different accounts is kept once only with ``share_accounts``: who has a file sees how many names it
    has, and who uploads a package how long that takes.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        zipped_limit: int,
        unzipped_limit: int,
        share_accounts: bool = False,
        vault: Vault = NO_VAULT,
    ) -> None:
        self._vault = vault
        self._code = directory / "code"
        self._trees = directory / "trees"
        self._made = Trees(self._code, self._trees, limit=unzipped_limit, vault=vault)
        self.objects = self._made.objects
        self._clock = clock
        self._zipped_limit = zipped_limit
        self._share_accounts = share_accounts
        self._slots = asyncio.Semaphore(UNPACKING)
        # Taking up an entry again and throwing it away must not overlap.
        self._lock = threading.Lock()
        self._contents: dict[str, Contents] = {}
        self._bringing: dict[str, asyncio.Lock] = {}

    async def start(self) -> None:
        """Make the directories and remove what an interrupted server left half-done."""
        await asyncio.to_thread(self._prepare)

    def path(self, digest: str) -> str:
        """Absolute path of an unpacked tree."""
        return str((self._trees / digest).absolute())

    def blob_path(self, digest: str) -> Path:
        """Where the package with that digest lies when it is one file."""
        return self._made.zip_path(digest)

    def scope(self, account: str) -> str:
        """Who has equal content in common with that account."""
        return "all" if self._share_accounts or not account else account

    async def put(self, package: bytes, account: str = "") -> StoredPackage:
        """Check, unpack and keep a package of an account.

        Raises ``RequestTooLarge`` beyond the zipped limit, ``PackageInvalid`` and ``PackageTooLarge`` (both
        ``InvalidInput``) for the zip itself, ``StorageFailed`` when the disk does not take it.
        """
        if not package:
            raise InvalidInput("Uploaded file must be a non-empty zip")
        if len(package) > self._zipped_limit:
            raise RequestTooLarge(
                f"The package has {len(package)} bytes; it must be smaller than {self._zipped_limit} bytes"
            )
        return await self._run(lambda: self._put(package, self.scope(account)))

    async def merge(self, digests: Sequence[str]) -> str | None:
        """One tree of several layers' packages, later ones over earlier ones; ``None`` for no layers."""
        if len(digests) < 2:
            return digests[0] if digests else None
        return await self._run(lambda: self._merge(tuple(digests)))

    async def read(self, digest: str) -> bytes:
        """The package as it was uploaded. Raises ``NotFound`` when it is gone."""
        try:
            return await asyncio.to_thread(self._made.read, digest)
        except FileNotFoundError as error:
            raise NotFound("The package is not stored any more") from error

    async def bring(self, *paths: str | None) -> None:
        """See to it that these trees are on this host: those that are missing are made of what is stored.

        Raises ``StorageFailed`` when that cannot be.
        """
        for path in paths:
            if path is not None and not os.path.isdir(path):  # noqa: PTH112, ASYNC240  a look of a microsecond
                await self._bring(Path(path).name)

    async def contents(self, digest: str, account: str) -> Contents:
        """What a package holds, which may have to be read for it. Raises ``StorageFailed``."""
        found = self._contents.get(digest)
        if found is None:
            await self.bring(self.path(digest))
            scope = self.scope(account)
            found = await self._run(lambda: self._made.contents(digest, scope))
            self._remember(digest, found)
        return found

    async def split(self, digest: str, account: str, objects: Collection[str]) -> None:
        """Deliver a package as a collection from now on. Raises ``StorageFailed``; then nothing has changed."""
        contents = await self.contents(digest, account)
        parts = [part for part in contents.parts if part.object in objects]
        await self._run(lambda: self._split(digest, parts))

    async def join(self, digest: str) -> None:
        """Deliver it as a single file from now on. Raises ``StorageFailed``; then nothing has changed."""
        await self._run(lambda: self._made.join(digest))

    async def mend(self, digest: str, name: str) -> None:
        """Give its tree the files of an object that was damaged and made again. Raises ``StorageFailed``."""
        await self._run(lambda: self._made.mend(digest, name))

    async def discard_object(self, name: str) -> bool:
        """Remove an object, stored and unpacked; false when somebody has just asked for it to be kept."""
        return await asyncio.to_thread(self._discard_object, name)

    async def tidy(self, digest: str, before: float) -> bool:
        """Whether a single file was removed that has been a collection since before that time."""
        return await asyncio.to_thread(self._tidy, digest, before)

    def is_collection(self, digest: str) -> bool:
        """Whether the package can be had as a collection."""
        return self._made.recipe_path(digest).exists()

    async def collections(self) -> list[tuple[str, set[str]]]:
        """Packages that can be had as collections, each with the names of its objects."""
        return await asyncio.to_thread(self._collections)

    async def digests(self) -> set[str]:
        """Everything that is kept."""
        return await asyncio.to_thread(self._digests)

    async def discard(self, digest: str) -> bool:
        """Remove package and tree of that digest; false when somebody has just asked for them to be kept."""
        return await asyncio.to_thread(self._discard, digest)

    async def _run(self, work: Callable[[], R]) -> R:
        try:
            async with asyncio.timeout(UNPACK_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise Throttled(
                "Too many packages are being unpacked; try again.", reason="CallerRateLimitExceeded"
            ) from None
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise StorageFailed(f"The package cannot be stored: {error}") from error
        finally:
            self._slots.release()

    async def _bring(self, digest: str) -> None:
        lock = self._bringing.setdefault(digest, asyncio.Lock())
        try:
            async with lock:
                if not self._made.tree(digest).is_dir():
                    await self._run(lambda: self._made.restore(digest))
        except (StorageFailed, InvalidInput) as error:
            raise StorageFailed(f"Code {digest} cannot be brought: {error.message}") from error
        finally:
            self._bringing.pop(digest, None)

    def _remember(self, digest: str, contents: Contents) -> None:
        with self._lock:
            self._contents[digest] = contents
            files = sum(each.files for each in self._contents.values())
            while files > REMEMBERED and len(self._contents) > 1:
                files -= self._contents.pop(next(iter(self._contents))).files

    def _prepare(self) -> None:
        for directory in (self._code, self._trees):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for entry in directory.glob(".*"):
                remove(entry)
        self.objects.prepare()

    def _put(self, package: bytes, scope: str) -> StoredPackage:
        raw = hashlib.sha256(package)
        digest = raw.hexdigest()
        if scope != "all":
            digest = hashlib.sha256(f"{scope}:{digest}".encode()).hexdigest()
        tree = self._trees / digest
        if self._take_up(tree):
            unpacked = _size_of(tree)
        else:
            unpacked, contents = self._made.build(digest, package, scope)
            self._take_up(tree)
            self._remember(digest, contents)
        self._made.obtain(digest)
        forms = (self.blob_path(digest), self._made.recipe_path(digest))
        if not self._take_up(*forms):
            self._keep(digest, package)
        self._vault.keep(next(form for form in forms if form.exists()))
        sha256 = base64.b64encode(raw.digest()).decode()
        return StoredPackage(sha256, digest, len(package), unpacked, imports_sdk(tree))

    def _split(self, digest: str, parts: Sequence[Part]) -> None:
        self._made.split(digest, parts)
        self._take_up(self._made.recipe_path(digest))
        for part in parts:
            self._take_up(self.objects.path(part.object))
            self._take_up(self.objects.tree(part.object))

    def _keep(self, digest: str, package: bytes) -> None:
        """Write the package; if most of it is in stored objects, without what they have."""
        contents = self._contents.get(digest)
        parts = [
            part
            for part in (contents.parts if contents else ())
            if part.size >= LEAST_APART
            and self.objects.has(part.object)
            and self._take_up(self.objects.path(part.object))
        ]
        if 2 * sum(part.size for part in parts) < len(package) or not self._made.keep_apart(
            digest, package, parts
        ):
            write_whole(self.blob_path(digest), (package,))
        self._take_up(self.blob_path(digest), self._made.recipe_path(digest))

    def _merge(self, digests: tuple[str, ...]) -> str:
        merged = hashlib.sha256(":".join(digests).encode()).hexdigest()
        if not self._take_up(self._trees / merged):
            self._made.merge(merged, digests)
            self._take_up(self._trees / merged)
        return merged

    def _take_up(self, *entries: Path) -> bool:
        """Whether one is there; then it counts as new again, so that ``discard`` lets it be."""
        now = self._clock.now()
        with self._lock:
            for entry in entries:
                try:
                    os.utime(entry, (now, now))
                except FileNotFoundError:
                    continue
                return True
        return False

    def _tidy(self, digest: str, before: float) -> bool:
        with self._lock:
            return self._made.tidy(digest, before)

    def _collections(self) -> list[tuple[str, set[str]]]:
        for name in self._vault.names(self._code):
            if name.endswith(".parts"):
                self._vault.bring(self._code / name)
        recipes = sorted(self._code.glob("[!.]*.parts"))
        for path in recipes:
            self._vault.follow(path)
        return [
            (path.stem, {name for name, _ in read_recipe(path)[0].objects})
            for path in recipes
            if path.exists()
        ]

    def _discard_object(self, name: str) -> bool:
        with self._lock:
            if self.objects.changed(name) >= self._clock.now() - KEEP_SECONDS:
                return False
            self.objects.discard(name)
        return True

    def _digests(self) -> set[str]:
        names = {
            entry.name
            for directory in (self._code, self._trees)
            for entry in os.scandir(directory)
            if not entry.name.startswith(".") and entry.name != OBJECTS
        }
        return {name.partition(".")[0] for name in names | self._vault.names(self._code)}

    def _discard(self, digest: str) -> bool:
        limit = self._clock.now() - KEEP_SECONDS
        made = self._made
        forms = (made.zip_path(digest), made.recipe_path(digest), made.layers_path(digest))
        entries = [entry for entry in (*forms, self._trees / digest) if entry.exists()]
        with self._lock:
            if any(entry.stat().st_mtime >= limit for entry in entries):
                return False
            if not all([self._vault.drop(form, untouched_since=limit) for form in forms]):
                return False
            self._contents.pop(digest, None)
            # What a host has made of the tree lies beside it, under the same name with an ending.
            entries += self._trees.glob(f"{digest}.*")
            rubbish = [entry.rename(entry.with_name(f".rubbish-{entry.name}")) for entry in entries]
        for entry in rubbish:
            remove(entry)
        return True


def _size_of(tree: Path) -> int:
    """Bytes of all files, as ``unpack`` counts them."""
    return sum(
        (Path(directory) / name).lstat().st_size
        for directory, _, names in os.walk(tree)
        for name in names
    )
