"""The code store: packages as uploaded, and unpacked for sandboxes to mount.

``DIR/code/SHA.zip`` are packages, ``DIR/trees/DIGEST/`` unpacked trees, named by what is in them, so that equal code
is kept once and a stored name never changes its content. Both appear by rename, complete and synced, or not at all.
Who finds that no version refers to something any more may ``discard`` it. ``DIR/trees/DIGEST.*``, what hosts make of a
tree, goes with it.
"""

import asyncio
import base64
import contextlib
import errno
import hashlib
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from forerun.aio import Clock
from forerun.control.packages import imports_sdk, unpack
from forerun.errors import InvalidInput, RequestTooLarge, StorageFailed, Throttled

UNPACKING = 4
UNPACK_SECONDS = 120.0
KEEP_SECONDS = 3600.0
SYNC_EACH = 64

T = TypeVar("T")
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
    """Packages and trees below one directory."""

    def __init__(
        self, directory: Path, *, clock: Clock, zipped_limit: int, unzipped_limit: int
    ) -> None:
        self._blobs = directory / "code"
        self._trees = directory / "trees"
        self._clock = clock
        self._zipped_limit = zipped_limit
        self._unzipped_limit = unzipped_limit
        self._slots = asyncio.Semaphore(UNPACKING)
        # Taking up an entry again and throwing it away must not overlap.
        self._lock = threading.Lock()

    async def start(self) -> None:
        """Make the directories and remove what an interrupted server left half-done."""
        await asyncio.to_thread(self._prepare)

    def path(self, digest: str) -> str:
        """Absolute path of an unpacked tree."""
        return str((self._trees / digest).absolute())

    def blob_path(self, digest: str) -> Path:
        """Where the package with that digest lies."""
        return self._blobs / f"{digest}.zip"

    async def put(self, package: bytes) -> StoredPackage:
        """Check, unpack and keep a package.

        Raises ``RequestTooLarge`` beyond the zipped limit, ``PackageInvalid`` and ``PackageTooLarge`` (both
        ``InvalidInput``) for the zip itself, ``StorageFailed`` when the disk does not take it.
        """
        if not package:
            raise InvalidInput("Uploaded file must be a non-empty zip")
        if len(package) > self._zipped_limit:
            raise RequestTooLarge(
                f"The package has {len(package)} bytes; it must be smaller than {self._zipped_limit} bytes"
            )
        return await self._run(self._put, package)

    async def merge(self, digests: Sequence[str]) -> str | None:
        """One tree of several layers' packages, later ones over earlier ones; ``None`` for no layers."""
        if len(digests) < 2:
            return digests[0] if digests else None
        return await self._run(self._merge, tuple(digests))

    async def digests(self) -> set[str]:
        """Everything that is kept."""
        return await asyncio.to_thread(self._digests)

    async def discard(self, digest: str) -> bool:
        """Remove package and tree of that digest; false when somebody has just asked for them to be kept."""
        return await asyncio.to_thread(self._discard, digest)

    async def _run(self, work: Callable[[T], R], argument: T) -> R:
        try:
            async with asyncio.timeout(UNPACK_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            raise Throttled(
                "Too many packages are being unpacked; try again.", reason="CallerRateLimitExceeded"
            ) from None
        try:
            return await asyncio.to_thread(work, argument)
        except OSError as error:
            raise StorageFailed(f"The package cannot be stored: {error}") from error
        finally:
            self._slots.release()

    def _prepare(self) -> None:
        for directory in (self._blobs, self._trees):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for entry in directory.glob(".*"):
                _remove(entry)

    def _put(self, package: bytes) -> StoredPackage:
        raw = hashlib.sha256(package).digest()
        digest = raw.hex()
        tree = self._trees / digest
        if self._take_up(tree):
            unpacked = _size_of(tree)
        else:
            unpacked = self._build(digest, [io.BytesIO(package)])
        if not self._take_up(self.blob_path(digest)):
            self._write_blob(digest, package)
        sha256 = base64.b64encode(raw).decode()
        return StoredPackage(sha256, digest, len(package), unpacked, imports_sdk(tree))

    def _merge(self, digests: tuple[str, ...]) -> str:
        merged = hashlib.sha256(":".join(digests).encode()).hexdigest()
        if not self._take_up(self._trees / merged):
            with contextlib.ExitStack() as stack:
                packages = [
                    stack.enter_context(self.blob_path(digest).open("rb")) for digest in digests
                ]
                self._build(merged, packages)
        return merged

    def _take_up(self, entry: Path) -> bool:
        """Whether it is there; then it counts as new again, so that ``discard`` lets it be."""
        now = self._clock.now()
        with self._lock:
            try:
                os.utime(entry, (now, now))
            except FileNotFoundError:
                return False
        return True

    def _build(self, digest: str, packages: Sequence[BinaryIO]) -> int:
        unfinished = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=self._trees))
        try:
            size = sum(
                unpack(package, unfinished, limit=self._unzipped_limit) for package in packages
            )
            unfinished.chmod(0o755)
            _sync_tree(unfinished)
            now = self._clock.now()
            os.utime(unfinished, (now, now))
            with contextlib.suppress(FileExistsError), _not_empty_is_existing():
                unfinished.rename(self._trees / digest)
            _sync(self._trees)
        finally:
            _remove(unfinished)
        return size

    def _write_blob(self, digest: str, package: bytes) -> None:
        descriptor, name = tempfile.mkstemp(prefix=".writing-", dir=self._blobs)
        unfinished = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as output:
                output.write(package)
                output.flush()
                os.fsync(output.fileno())
            now = self._clock.now()
            os.utime(unfinished, (now, now))
            unfinished.rename(self.blob_path(digest))
            _sync(self._blobs)
        finally:
            unfinished.unlink(missing_ok=True)

    def _digests(self) -> set[str]:
        return {
            entry.name.partition(".")[0]
            for directory in (self._blobs, self._trees)
            for entry in os.scandir(directory)
            if not entry.name.startswith(".")
        }

    def _discard(self, digest: str) -> bool:
        limit = self._clock.now() - KEEP_SECONDS
        entries = [
            entry for entry in (self.blob_path(digest), self._trees / digest) if entry.exists()
        ]
        with self._lock:
            if any(entry.stat().st_mtime >= limit for entry in entries):
                return False
            # What a host has made of the tree lies beside it, under the same name with an ending.
            entries += self._trees.glob(f"{digest}.*")
            rubbish = [entry.rename(entry.with_name(f".rubbish-{entry.name}")) for entry in entries]
        for entry in rubbish:
            _remove(entry)
        return True


@contextlib.contextmanager
def _not_empty_is_existing() -> Iterator[None]:
    """A rename onto a full directory fails in two ways, depending on the file system; both mean it exists."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FileExistsError from error
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _size_of(tree: Path) -> int:
    """Bytes of all files, as ``unpack`` counts them."""
    return sum(
        (Path(directory) / name).lstat().st_size
        for directory, _, names in os.walk(tree)
        for name in names
    )


def _sync_tree(tree: Path) -> None:
    """Everything below is on disk when this returns."""
    files = [Path(directory) / name for directory, _, names in os.walk(tree) for name in names]
    if len(files) > SYNC_EACH:
        os.sync()
        return
    for file in files:
        if not file.is_symlink():
            _sync(file)
    for directory, _, _ in os.walk(tree):
        _sync(Path(directory))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
