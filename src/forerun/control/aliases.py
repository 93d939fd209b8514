"""Aliases: created, moved, weighted, deleted."""

import uuid

import msgspec

from forerun.control.changes import Changes
from forerun.control.lookup import ALIAS, NUMBER, Lookup, require_revision
from forerun.control.paging import Page, from_marker, page_size, to_page
from forerun.control.rules import require_length, require_match
from forerun.control.versions import RETRIES, busy
from forerun.errors import AlreadyExists, Conflict, InvalidInput
from forerun.storage.aliases import Alias, AliasStore
from forerun.storage.functions import LATEST


class AliasChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a client gives of an alias; ``None`` leaves what is there. ``weights`` replaces the whole routing."""

    version: str | None = None
    description: str | None = None
    weights: dict[str, float] | None = None


class Aliases:
    """Creates, reads, changes and deletes aliases."""

    def __init__(self, *, store: AliasStore, lookup: Lookup, changes: Changes) -> None:
        self._store = store
        self._lookup = lookup
        self._changes = changes

    async def create(self, account: str, name: str, alias: str, change: AliasChange) -> Alias:
        """A new alias; ``AlreadyExists`` when the function has one of that name."""
        require_length("name", alias, 1, 128)
        require_match("name", alias, ALIAS)
        made = Alias(
            account=account,
            name=name,
            alias=alias,
            version=change.version or LATEST,
            description=change.description or "",
            weights=change.weights or {},
            revision=str(uuid.uuid4()),
        )
        await self._check(made)
        try:
            await self._store.add(made)
        except AlreadyExists:
            raise AlreadyExists(
                f"Alias already exists: {self._lookup.arn(account, name, alias)}"
            ) from None
        self._changes.tell(account, name)
        return made

    async def get(self, account: str, name: str, alias: str) -> Alias:
        """An alias by its name."""
        return await self._lookup.alias(account, name, alias)

    async def update(
        self,
        account: str,
        name: str,
        alias: str,
        change: AliasChange,
        *,
        revision: str | None = None,
    ) -> Alias:
        """Change what is given."""
        for _ in range(RETRIES):
            current = await self._lookup.alias(account, name, alias)
            require_revision(revision, current.revision)
            given = {
                field: value
                for field in ("version", "description", "weights")
                if (value := getattr(change, field)) is not None
            }
            new = msgspec.structs.replace(current, revision=str(uuid.uuid4()), **given)
            await self._check(new)
            try:
                await self._store.replace(new, revision=current.revision)
            except Conflict:
                continue
            self._changes.tell(account, name)
            return new
        raise busy(self._lookup.arn(account, name, alias))

    async def delete(self, account: str, name: str, alias: str) -> None:
        """Delete an alias, if it is there, with its policy, URL, event configuration and provisioned concurrency."""
        require_match("name", alias, ALIAS)
        await self._lookup.version(account, name)
        await self._store.remove(account, name, alias)
        self._changes.tell(account, name)

    async def page(
        self,
        account: str,
        name: str,
        marker: str | None,
        limit: int | None,
        *,
        version: str | None = None,
    ) -> Page[Alias]:
        """The function's aliases by name, only those that send calls to ``version`` if given."""
        [after] = from_marker(marker, ("",))
        size = page_size(limit)
        found = await self._store.page(account, name, str(after), size + 1, version=version)
        if not found:
            await self._lookup.version(account, name)
        return to_page(found, [(alias.alias,) for alias in found], size)

    async def _check(self, alias: Alias) -> None:
        require_length("description", alias.description, 0, 256)
        if alias.version != LATEST and not NUMBER.fullmatch(alias.version):
            raise InvalidInput(
                f"The function version {alias.version} is not acceptable: an alias points to a number or to $LATEST."
            )
        await self._lookup.version(alias.account, alias.name, alias.version)
        if len(alias.weights) > 1:
            raise InvalidInput(
                "Number of items in AdditionalVersionWeights cannot be greater than 1"
            )
        for version, weight in alias.weights.items():
            if LATEST in (alias.version, version):
                raise InvalidInput(
                    "$LATEST is not supported for an alias pointing to more than 1 version"
                )
            if not NUMBER.fullmatch(version) or not 0.0 <= weight <= 1.0:
                raise InvalidInput(
                    f"AdditionalVersionWeights must give a version number a weight from 0.0 to 1.0, not {version}: {weight}"
                )
            if version == alias.version:
                raise InvalidInput(
                    f"Invalid function version {version}. "
                    f"Function version {version} is already included in routing configuration."
                )
            await self._lookup.version(alias.account, alias.name, version)
