"""Functions: created, changed, listed and deleted. Every change gets a new revision and a new sandbox key."""

import re
import uuid
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from forerun.aio import Clock
from forerun.control.changes import Changes
from forerun.control.configuration import Change, Machine, changed
from forerun.control.layers import Layers, LayerSet
from forerun.control.lookup import NUMBER, Lookup, require_revision
from forerun.control.packaging.code import CodeStore, StoredPackage
from forerun.control.paging import Page, from_marker, page_size, to_page
from forerun.control.rules import require_match, require_present
from forerun.control.tags import check_tags
from forerun.control.versions import Versions, busy, numbered
from forerun.errors import AlreadyExists, CodeStorageExceeded, Conflict, InvalidInput
from forerun.model import FunctionVersion, LoggingConfig
from forerun.storage.functions import (
    LATEST,
    FunctionRecord,
    FunctionStore,
    VersionRecord,
    version_number,
)
from forerun.storage.ownership import OwnershipStore

RETRIES = 5
_NAME = re.compile(r"[a-zA-Z0-9-_]{1,64}")


class CodeLimits(NamedTuple):
    """Bytes: a function with its layers unpacked, and all packages of an account."""

    unzipped: int
    account: int


class CodeUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """Other code for a function; ``dry_run`` checks everything and changes nothing."""

    package: bytes
    architectures: tuple[str, ...] | None = None
    publish: bool = False
    dry_run: bool = False


class Functions:
    """The life of functions; their versions, aliases and policies have services of their own."""

    def __init__(  # noqa: PLR0913 the wiring of a service, all by keyword
        self,
        *,
        store: FunctionStore,
        ownership: OwnershipStore,
        lookup: Lookup,
        versions: Versions,
        layers: Layers,
        code: CodeStore,
        changes: Changes,
        clock: Clock,
        machine: Callable[[], Machine],
        limits: CodeLimits,
    ) -> None:
        self._store = store
        self._ownership = ownership
        self._lookup = lookup
        self._versions = versions
        self._layers = layers
        self._code = code
        self._changes = changes
        self._clock = clock
        self._machine = machine
        self._limits = limits

    async def create(
        self,
        account: str,
        name: str,
        change: Change,
        package: bytes,
        *,
        publish: bool = False,
        tags: dict[str, str] | None = None,
    ) -> FunctionVersion:
        """Store a new function; version 1 of it with ``publish``.

        Raises ``AlreadyExists``, and ``InvalidInput`` naming the member that is not acceptable.
        """
        require_match("functionName", name, _NAME)
        require_present("role", change.role)
        if change.runtime is None or change.handler is None:
            raise InvalidInput(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages."
            )
        check_tags(tags or {})
        machine = self._machine()
        blank = FunctionVersion(
            account=account,
            region=self._lookup.region,
            name=name,
            version=LATEST,
            sandbox_key="",
            revision_id="",
            runtime="",
            handler="",
            role="",
            code_sha256="",
            code_digest="",
            code_size=0,
            architectures=(machine.architecture,),
            logging=LoggingConfig(group=f"/aws/lambda/{name}"),
        )
        function = changed(blank, change, machine)
        if await self._store.find(account, name) is not None:
            raise AlreadyExists(f"Function already exist: {name}")
        layers = await self._layers.resolve(account, change.layers or ())
        stored = await self._keep(account, package, layers.unpacked_size)
        latest = self._renewed(
            VersionRecord(function=function, unpacked_size=0), stored=stored, layers=layers
        )
        record = FunctionRecord(account=account, name=name, tags=tags or {})
        versions = [latest]
        if publish:
            versions.append(numbered(latest, 1, None, self._clock.now()))
            record = msgspec.structs.replace(
                record, next_version=2, published_description=function.description
            )
        try:
            await self._store.create(record, versions)
        except AlreadyExists:
            raise AlreadyExists(f"Function already exist: {name}") from None
        self._changes.tell(account, name)
        return versions[-1].function

    async def get(
        self, account: str, name: str, qualifier: str | None = None
    ) -> tuple[FunctionRecord, FunctionVersion]:
        """The function and the version that the qualifier means."""
        record, version = await self._lookup.version(account, name, qualifier)
        return record, version.function

    async def update_code(
        self,
        account: str,
        name: str,
        update: CodeUpdate,
        *,
        revision: str | None = None,
    ) -> FunctionVersion:
        """Give ``$LATEST`` other code, and publish it if asked."""
        _, current = await self._lookup.version(account, name)
        require_revision(revision, current.function.revision_id)
        stored = await self._keep(account, update.package, current.layers_unpacked_size)
        change = Change(architectures=update.architectures)

        def renewed(version: VersionRecord) -> VersionRecord:
            self._require_fit(stored.unpacked_size + version.layers_unpacked_size)
            function = changed(version.function, change, self._machine())
            return self._renewed(msgspec.structs.replace(version, function=function), stored=stored)

        if update.dry_run:
            return renewed(current).function
        function = await self._change(account, name, revision, renewed)
        if update.publish:
            return await self._versions.publish(account, name)
        return function

    async def update_configuration(
        self, account: str, name: str, change: Change, *, revision: str | None = None
    ) -> FunctionVersion:
        """Change what is given of the configuration of ``$LATEST``."""
        _, current = await self._lookup.version(account, name)
        require_revision(revision, current.function.revision_id)
        layers = None
        if change.layers is not None:
            layers = await self._layers.resolve(account, change.layers)

        def renewed(version: VersionRecord) -> VersionRecord:
            if layers is not None:
                self._require_fit(version.unpacked_size + layers.unpacked_size)
            function = changed(version.function, change, self._machine())
            return self._renewed(msgspec.structs.replace(version, function=function), layers=layers)

        return await self._change(account, name, revision, renewed)

    async def delete(self, account: str, name: str, qualifier: str | None = None) -> None:
        """Delete a function with all that belongs to it, or one of its numbered versions."""
        if qualifier is None:
            retired = await self._sandbox_keys(account, name)
            await self._store.remove(account, name)
            self._changes.tell(account, name, retired)
            return
        if qualifier == LATEST:
            raise InvalidInput("$LATEST version cannot be deleted without deleting the function.")
        if not NUMBER.fullmatch(qualifier):
            raise InvalidInput("Deletion of aliases is not currently supported.")
        _, version = await self._lookup.version(account, name, qualifier)
        try:
            await self._store.remove_version(account, name, qualifier)
        except Conflict:
            raise Conflict(
                f"Unable to delete version because aliases reference it: {qualifier}"
            ) from None
        self._changes.tell(account, name, [version.function.sandbox_key])

    async def page(
        self,
        account: str,
        marker: str | None,
        limit: int | None,
        *,
        all_versions: bool = False,
    ) -> Page[FunctionVersion]:
        """An account's functions by name, with all their versions if asked."""
        name, number = from_marker(marker, ("", -1))
        size = page_size(limit)
        found = await self._store.page(
            account, (str(name), int(number)), size + 1, all_versions=all_versions
        )
        functions = [version.function for version in found]
        keys: list[tuple[str | int, ...]] = [
            (function.name, version_number(function.version)) for function in functions
        ]
        return to_page(functions, keys, size)

    async def _sandbox_keys(self, account: str, name: str) -> list[str]:
        keys: list[str] = []
        after = -1
        while step := await self._store.versions(account, name, after, 1000):
            keys += [version.function.sandbox_key for version in step]
            after = version_number(step[-1].function.version)
        if not keys:
            raise self._lookup.missing(account, name)
        return keys

    async def _keep(self, account: str, package: bytes, layers_size: int) -> StoredPackage:
        usage = await self._ownership.usage(account)
        if usage.code_bytes + len(package) > self._limits.account:
            raise CodeStorageExceeded("Code storage limit exceeded.")
        stored = await self._code.put(package, account)
        self._require_fit(stored.unpacked_size + layers_size)
        return stored

    def _require_fit(self, unpacked: int) -> None:
        if unpacked > self._limits.unzipped:
            raise InvalidInput(
                f"Function code combined with layers exceeds the maximum allowed size of {self._limits.unzipped} "
                f"bytes. The actual size is {unpacked} bytes."
            )

    def _renewed(
        self,
        version: VersionRecord,
        *,
        stored: StoredPackage | None = None,
        layers: LayerSet | None = None,
    ) -> VersionRecord:
        """The version with another revision, and the code and layers that are given."""
        function = msgspec.structs.replace(
            version.function,
            revision_id=str(uuid.uuid4()),
            sandbox_key=uuid.uuid4().hex,
            last_modified=self._clock.now(),
        )
        if stored is not None:
            function = msgspec.structs.replace(
                function,
                code_sha256=stored.sha256,
                code_digest=stored.digest,
                code_size=stored.size,
                uses_sdk=stored.uses_sdk and function.runtime.startswith("python"),
            )
            version = msgspec.structs.replace(version, unpacked_size=stored.unpacked_size)
        if layers is not None:
            function = msgspec.structs.replace(
                function,
                layers=layers.arns,
                layer_sizes=layers.sizes,
                layers_digest=layers.digest,
            )
            version = msgspec.structs.replace(version, layers_unpacked_size=layers.unpacked_size)
        return msgspec.structs.replace(version, function=function)

    async def _change(
        self,
        account: str,
        name: str,
        revision: str | None,
        renewed: Callable[[VersionRecord], VersionRecord],
    ) -> FunctionVersion:
        for _ in range(RETRIES):
            _, current = await self._lookup.version(account, name)
            require_revision(revision, current.function.revision_id)
            new = renewed(current)
            try:
                await self._store.replace(new, revision=current.function.revision_id)
            except Conflict:
                continue
            self._changes.tell(account, name, [current.function.sandbox_key])
            return new.function
        raise busy(self._lookup.arn(account, name))
