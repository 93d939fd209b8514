"""Published versions: numbered, and never changed after."""

import uuid

import msgspec

from forerun.aio import Clock
from forerun.control.changes import Changes
from forerun.control.lookup import Lookup, require_revision
from forerun.control.paging import Page, from_marker, page_size, to_page
from forerun.control.rules import require_length
from forerun.errors import AlreadyExists, Conflict, InvalidInput
from forerun.model import FunctionVersion
from forerun.storage.functions import FunctionRecord, FunctionStore, VersionRecord, version_number

RETRIES = 5


class Versions:
    """Publishes and lists versions."""

    def __init__(
        self, *, store: FunctionStore, lookup: Lookup, changes: Changes, clock: Clock
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._changes = changes
        self._clock = clock

    async def publish(
        self,
        account: str,
        name: str,
        *,
        description: str | None = None,
        code_sha256: str | None = None,
        revision: str | None = None,
    ) -> FunctionVersion:
        """Make a version of ``$LATEST``; the newest version when nothing was changed since it was made."""
        if description is not None:
            require_length("description", description, 0, 256)
        for _ in range(RETRIES):
            record, latest = await self._lookup.version(account, name)
            function = latest.function
            require_revision(revision, function.revision_id)
            if code_sha256 is not None and code_sha256 != function.code_sha256:
                raise InvalidInput(
                    f"CodeSHA256 ({code_sha256}) is different from current CodeSHA256 in $LATEST "
                    f"({function.code_sha256}). Please try again with the CodeSHA256 in $LATEST."
                )
            newest = await self._store.versions(account, name, 0, 1, newest_first=True)
            if newest and unchanged(record, latest, newest[0]):
                return newest[0].function
            published = numbered(latest, record.next_version, description, self._clock.now())
            try:
                await self._store.publish(published, latest=function)
            except (Conflict, AlreadyExists):
                continue
            self._changes.tell(account, name)
            return published.function
        raise busy(self._lookup.arn(account, name))

    async def newest(self, account: str, name: str) -> FunctionVersion | None:
        """The version that was published last."""
        found = await self._store.versions(account, name, 0, 1, newest_first=True)
        return found[0].function if found else None

    async def page(
        self, account: str, name: str, marker: str | None, limit: int | None
    ) -> Page[FunctionVersion]:
        """``$LATEST`` and all versions by number."""
        [after] = from_marker(marker, (-1,))
        size = page_size(limit)
        found = await self._store.versions(account, name, int(after), size + 1)
        if not found and not marker:
            raise self._lookup.missing(account, name)
        functions = [version.function for version in found]
        return to_page(functions, [(version_number(f.version),) for f in functions], size)


def busy(arn: str) -> Conflict:
    """The error for a function that others change all the time."""
    return Conflict(
        "The operation cannot be performed at this time. "
        f"An update is in progress for resource: {arn}"
    )


def numbered(
    latest: VersionRecord, number: int, description: str | None, now: float
) -> VersionRecord:
    """The version with that number, made from ``$LATEST``."""
    function = msgspec.structs.replace(
        latest.function,
        version=str(number),
        sandbox_key=uuid.uuid4().hex,
        revision_id=str(uuid.uuid4()),
        last_modified=now,
        description=latest.function.description if description is None else description,
    )
    return msgspec.structs.replace(latest, function=function)


def unchanged(record: FunctionRecord, latest: VersionRecord, newest: VersionRecord) -> bool:
    """Whether code and configuration of ``$LATEST`` are still what ``newest`` was made from.

    The description is compared with the one $LATEST had then: a version may have been given one of its own.
    """
    return record.published_description == latest.function.description and _substance(
        latest.function
    ) == _substance(newest.function)


def _substance(function: FunctionVersion) -> FunctionVersion:
    return msgspec.structs.replace(
        function,
        version="",
        sandbox_key="",
        revision_id="",
        last_modified=0.0,
        description="",
    )
