"""The kinds of things that executions depend on, each asked by what its source offers."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from forerun.aio import Clock
from forerun.errors import AccessDenied, InvalidInput, NotFound
from forerun.model import Arn
from forerun.sources.buckets import Buckets, Objects
from forerun.sources.folders import Walk, require_allowed, resolve
from forerun.sources.queues import Queues, Traffic

MOST_FILES: Final = 20_000
_AT_ONCE: Final = 500
# Two changes within this time can leave the same times.
_FRESH_S: Final = 0.1


class ObjectState:
    """An object in a bucket of the account: its ETag, size and time."""

    def __init__(self, buckets: Buckets, objects: Objects) -> None:
        self._buckets = buckets
        self._objects = objects

    async def state(self, account: str, where: Mapping[str, str]) -> str | None:
        """``None`` for an object that there is not; ``AccessDenied`` for one of another account."""
        try:
            bucket = await self._buckets.find(where["Bucket"])
        except NotFound:
            return None
        if bucket.account != account:
            raise AccessDenied(
                f"The bucket {where['Bucket'][:100]} is none of the function's account"
            )
        found = await self._objects.state(bucket.name, where["Key"])
        return None if found is None else f"{found.etag} {found.size} {found.modified!r}"


class QueueState:
    """A queue of the account: how many messages are in it."""

    def __init__(self, queues: Queues, traffic: Traffic) -> None:
        self._queues = queues
        self._traffic = traffic

    async def state(self, account: str, where: Mapping[str, str]) -> str | None:
        """``None`` for a queue that there is not; ``AccessDenied`` for one of another account."""
        named = where["Queue"]
        if named.startswith("arn:") and Arn.parse(named).account != account:
            raise AccessDenied(f"The queue {named[:200]} is none of the function's account")
        try:
            arn = named.startswith("arn:")
            queue = self._queues.by_arn(named) if arn else self._queues.find(account, named)
        except NotFound:
            return None
        backlog = await self._traffic.backlog(queue)
        # The total is exact; what is hidden of it may be a second old.
        return f"{queue.total} {backlog.visible} {backlog.hidden} {backlog.delayed}"


class FolderState:
    """A directory of the server's machine: names, sizes and times of its files, and never their contents."""

    def __init__(self, roots: Sequence[str], clock: Clock, *, most: int = MOST_FILES) -> None:
        """``roots``: in and below which directories; ``most`` files are looked at."""
        self._roots = roots
        self._clock = clock
        self._most = most

    async def state(self, account: str, where: Mapping[str, str]) -> str | None:
        """``None`` with too many files, or one that is being changed; ``AccessDenied`` outside of what is allowed."""
        path = where["Path"]
        if not path.startswith("/"):
            raise InvalidInput("Path must be absolute, such as /srv/inbox")
        walk = _Looking(path, account, self._roots, self._most)
        try:
            return await asyncio.to_thread(walk.token, self._clock.now())
        finally:
            walk.stopped = True


class _Looking:
    """One look through a directory, in a thread, until it is ``stopped``."""

    def __init__(self, path: str, account: str, roots: Sequence[str], most: int) -> None:
        self._path = path
        self._account = account
        self._roots = roots
        self._most = most
        self.stopped = False

    def token(self, now: float) -> str | None:
        real = resolve(self._path)
        require_allowed(real, self._account, self._roots)
        walk, files, newest = Walk(real), [], 0.0
        try:
            while some := walk.some(_AT_ONCE):
                for found in some:
                    newest = max(newest, found.changed)
                    files.append((found.path, *found.mark, found.changed))
                if len(files) > self._most or self.stopped:
                    return None
        except OSError:
            return None
        finally:
            walk.close()
        if walk.left_out or newest > now - _FRESH_S:
            return None
        digest = hashlib.sha256()
        for each in sorted(files):
            digest.update(repr(each).encode())
        return f"{len(files)} {digest.hexdigest()}"
