"""Function URLs: an address of its own for a function or an alias."""

import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from forerun.aio import Clock
from forerun.control.changes import Changes
from forerun.control.lookup import ALIAS, Lookup
from forerun.control.paging import Page, from_marker, page_size, to_page
from forerun.control.rules import require_match, require_one_of, require_range
from forerun.errors import AlreadyExists, InvalidInput, NotFound
from forerun.storage.urls import UrlRecord, UrlStore

METHODS = ("GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*")
ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
ID_LENGTH = 32
KNOWN = 10_000

_LISTS = {
    "AllowHeaders": (100, 1024),
    "AllowMethods": (6, 6),
    "AllowOrigins": (100, 253),
    "ExposeHeaders": (100, 1024),
}


class FunctionUrl(msgspec.Struct, frozen=True, kw_only=True):
    """A function URL as it is served. ``qualifier`` is ``None`` or an alias; ``cors`` has AWS's member names."""

    id: str
    url: str
    domain: str
    account: str
    name: str
    qualifier: str | None
    auth_type: str
    cors: dict[str, Any] | None
    invoke_mode: str
    created: float
    last_modified: float

    @property
    def streams(self) -> bool:
        """Whether results are sent as the handler writes them."""
        return self.invoke_mode == "RESPONSE_STREAM"


class UrlChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a client gives; ``None`` leaves what is there."""

    auth_type: str | None = None
    cors: dict[str, Any] | None = None
    invoke_mode: str | None = None


class FunctionUrls:
    """Creates, finds, changes and deletes function URLs."""

    def __init__(
        self,
        *,
        store: UrlStore,
        lookup: Lookup,
        changes: Changes,
        clock: Clock,
        url_for: Callable[[str], str],
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._changes = changes
        self._clock = clock
        self._url_for = url_for
        self._known: dict[str, FunctionUrl] = {}
        self._forgotten = 0
        self._behind: Callable[[], bool] | None = None
        changes.listen(self.forget)

    def follow(self, behind: Callable[[], bool]) -> None:
        """Where others change URLs, too: nothing remembered is used while this may not know of it."""
        self._behind = behind

    async def create(
        self, account: str, name: str, qualifier: str | None, change: UrlChange
    ) -> FunctionUrl:
        """Give a function or an alias a URL; ``AlreadyExists`` when it has one."""
        _check(change)
        if change.auth_type is None:
            raise InvalidInput("AuthType must be NONE or AWS_IAM")
        await self._require(account, name, qualifier)
        now = self._clock.now()
        record = UrlRecord(
            id="".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH)),
            account=account,
            name=name,
            qualifier=qualifier or "",
            auth_type=change.auth_type,
            cors=change.cors,
            invoke_mode=change.invoke_mode or "BUFFERED",
            created=now,
            last_modified=now,
        )
        try:
            await self._store.add(record)
        except AlreadyExists:
            raise AlreadyExists(
                "Failed to create function url config for "
                f"[functionArn = {self._lookup.arn(account, name, qualifier)}]. "
                "Error message:  FunctionUrlConfig exists for this Lambda function"
            ) from None
        self._changes.tell(account, name)
        return self._served(record)

    async def get(self, account: str, name: str, qualifier: str | None) -> FunctionUrl:
        """The URL of a function or alias; ``NotFound`` when it has none."""
        return self._served(await self._record(account, name, qualifier))

    async def by_id(self, url_id: str) -> FunctionUrl:
        """The URL with that id; remembered until its function is changed. ``NotFound`` when there is none."""
        known = self._known.get(url_id)
        if known is not None and (self._behind is None or not self._behind()):
            return known
        forgotten = self._forgotten
        record = await self._store.by_id(url_id)
        if record is None:
            raise NotFound("There is no function URL of that id.")
        url = self._served(record)
        if forgotten == self._forgotten:
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[url_id] = url
        return url

    async def update(
        self, account: str, name: str, qualifier: str | None, change: UrlChange
    ) -> FunctionUrl:
        """Change what is given."""
        _check(change)
        record = await self._record(account, name, qualifier)
        given = {
            field: value
            for field in ("auth_type", "cors", "invoke_mode")
            if (value := getattr(change, field)) is not None
        }
        record = msgspec.structs.replace(record, last_modified=self._clock.now(), **given)
        await self._store.replace(record)
        self._changes.tell(account, name)
        return self._served(record)

    async def delete(self, account: str, name: str, qualifier: str | None) -> None:
        """Take the URL away; ``NotFound`` when there is none."""
        record = await self._record(account, name, qualifier)
        await self._store.remove(record.id)
        self._changes.tell(account, name)

    async def page(
        self, account: str, name: str, marker: str | None, limit: int | None
    ) -> Page[FunctionUrl]:
        """A function's URLs, its own first, then those of aliases by name."""
        [after] = from_marker(marker, ("",))
        size = page_size(limit)
        await self._lookup.version(account, name)
        found = await self._store.page(account, name, str(after), size + 1)
        keys: list[tuple[str | int, ...]] = [(f"!{record.qualifier}",) for record in found]
        return to_page([self._served(record) for record in found], keys, size)

    async def _record(self, account: str, name: str, qualifier: str | None) -> UrlRecord:
        _check_qualifier(qualifier)
        record = await self._store.find(account, name, qualifier or "")
        if record is None:
            raise NotFound("The resource you requested does not exist.")
        return record

    async def _require(self, account: str, name: str, qualifier: str | None) -> None:
        _check_qualifier(qualifier)
        await self._lookup.version(account, name, qualifier)

    def _served(self, record: UrlRecord) -> FunctionUrl:
        url = self._url_for(record.id)
        return FunctionUrl(
            id=record.id,
            url=url,
            domain=urlsplit(url).hostname or "",
            account=record.account,
            name=record.name,
            qualifier=record.qualifier or None,
            auth_type=record.auth_type,
            cors=record.cors,
            invoke_mode=record.invoke_mode,
            created=record.created,
            last_modified=record.last_modified,
        )

    def clear(self) -> None:
        """Anything may have changed."""
        self._forgotten += 1
        self._known.clear()

    def forget(self, account: str, name: str, _retired: object = ()) -> None:
        """Something about the function changed."""
        # Rare, and the table is small: no index is kept for it.
        self._forgotten += 1
        for url_id, url in list(self._known.items()):
            if url.account == account and url.name == name:
                del self._known[url_id]


def _check_qualifier(qualifier: str | None) -> None:
    if qualifier is not None:
        require_match("qualifier", qualifier, ALIAS)


def _check(change: UrlChange) -> None:
    if change.auth_type is not None:
        require_one_of("authType", change.auth_type, ("NONE", "AWS_IAM"))
    if change.invoke_mode is not None:
        require_one_of("invokeMode", change.invoke_mode, ("BUFFERED", "RESPONSE_STREAM"))
    for member, (most, characters) in _LISTS.items():
        values = (change.cors or {}).get(member) or []
        if len(values) > most or any(len(value) > characters for value in values):
            raise InvalidInput(
                f"Cors.{member} may have at most {most} items of at most {characters} characters"
            )
        if any(not value.isprintable() for value in values):
            raise InvalidInput(f"Cors.{member} has an item with characters that no header may have")
    for method in (change.cors or {}).get("AllowMethods") or []:
        require_one_of("cors.allowMethods", method, METHODS)
    max_age = (change.cors or {}).get("MaxAge")
    if max_age is not None:
        require_range("cors.maxAge", max_age, 0, 86400)
