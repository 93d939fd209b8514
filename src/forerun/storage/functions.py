"""Functions and their versions. Environments are sealed on the way in and opened on the way out."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from forerun.errors import StorageFailed
from forerun.model import FunctionVersion
from forerun.storage.db import Db, Row, Statement

LATEST = "$LATEST"


class Seal(Protocol):
    """Encrypts what must not be read from the disk; bound to a context, so that it cannot be moved elsewhere."""

    def seal(self, data: bytes, context: bytes = b"") -> bytes:
        """Encrypt."""
        ...

    def open(self, sealed: bytes, context: bytes = b"") -> bytes:
        """Decrypt; ``StorageFailed`` when it was changed or belongs to another context or key."""
        ...


class RuntimePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a version's runtime is updated (``Auto``, ``Manual``, ``FunctionUpdate``), and to which ARN it is pinned."""

    update_on: str = "Auto"
    runtime_arn: str | None = None


class FunctionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to a function and not to one of its versions.

    ``published_description`` is the description $LATEST had when it was last published.
    """

    account: str
    name: str
    tags: dict[str, str] = {}
    reserved: int | None = None
    recursion: str = "Terminate"
    next_version: int = 1
    published_description: str | None = None


class VersionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One version, the bytes that its code and its layers take unpacked, and its runtime policy."""

    function: FunctionVersion
    unpacked_size: int
    layers_unpacked_size: int = 0
    runtime_policy: RuntimePolicy | None = None


_ENVIRONMENT = msgspec.json.Decoder(dict[str, str])
_CONFIG = msgspec.json.Decoder(FunctionVersion)
_POLICY = msgspec.json.Decoder(RuntimePolicy)
_TAGS = msgspec.json.Decoder(dict[str, str])


def version_number(version: str) -> int:
    """0 for ``$LATEST``, else the number."""
    return 0 if version == LATEST else int(version)


class FunctionStore:
    """Functions and versions over ``Db``."""

    def __init__(self, db: Db, seal: Seal) -> None:
        self._db = db
        self._seal = seal

    async def create(self, record: FunctionRecord, versions: Sequence[VersionRecord]) -> None:
        """Store a new function with its first versions; ``AlreadyExists`` when the name is taken."""
        await self._db.write(
            Statement(
                "INSERT INTO functions VALUES ($1, $2, $3, $4, $5, $6, $7)",
                (
                    record.account,
                    record.name,
                    msgspec.json.encode(record.tags),
                    record.reserved,
                    record.recursion,
                    record.next_version,
                    record.published_description,
                ),
            ),
            *(self._insert(version) for version in versions),
        )

    async def find(
        self, account: str, name: str, version: str = LATEST
    ) -> tuple[FunctionRecord, VersionRecord] | None:
        """A function with one of its versions."""
        rows = await self._db.fetch(
            "SELECT v.config, v.sealed_environment, v.unpacked_size, v.layers_unpacked_size, v.runtime_policy,"
            " f.tags, f.reserved, f.recursion, f.next_version, f.published_description"
            " FROM function_versions v JOIN functions f ON f.account = v.account AND f.name = v.name"
            " WHERE v.account = $1 AND v.name = $2 AND v.number = $3",
            account,
            name,
            version_number(version),
        )
        if not rows:
            return None
        row = rows[0]
        record = FunctionRecord(
            account=account,
            name=name,
            tags=_TAGS.decode(row[5]),
            reserved=row[6],
            recursion=row[7],
            next_version=row[8],
            published_description=row[9],
        )
        return record, self._version(row)

    async def replace(self, version: VersionRecord, *, revision: str) -> None:
        """Change a version that still has that revision; ``Conflict`` when it has not."""
        function = version.function
        config, environment = self._packed(function)
        await self._db.write(
            Statement(
                "UPDATE function_versions SET revision = $1, config = $2, sealed_environment = $3, code_digest = $4,"
                " layers_digest = $5, code_size = $6, unpacked_size = $7, layers_unpacked_size = $8"
                " WHERE account = $9 AND name = $10 AND number = $11 AND revision = $12",
                (
                    function.revision_id,
                    config,
                    environment,
                    function.code_digest,
                    function.layers_digest,
                    function.code_size,
                    version.unpacked_size,
                    version.layers_unpacked_size,
                    function.account,
                    function.name,
                    version_number(function.version),
                    revision,
                ),
                1,
            )
        )

    async def publish(self, version: VersionRecord, *, latest: FunctionVersion) -> None:
        """Add a numbered version made from ``latest``; ``Conflict`` when that changed or the number is taken."""
        function = version.function
        await self._db.write(
            Statement(
                "UPDATE functions SET next_version = next_version + 1, published_description = $1"
                " WHERE account = $2 AND name = $3 AND next_version = $4 AND EXISTS (SELECT 1 FROM function_versions"
                " WHERE account = $2 AND name = $3 AND number = 0 AND revision = $5)",
                (
                    latest.description,
                    function.account,
                    function.name,
                    version_number(function.version),
                    latest.revision_id,
                ),
                1,
            ),
            self._insert(version),
        )

    async def remove(self, account: str, name: str) -> None:
        """Delete a function and all that belongs to it."""
        await self._db.write(
            Statement("DELETE FROM functions WHERE account = $1 AND name = $2", (account, name))
        )

    async def remove_version(self, account: str, name: str, version: str) -> None:
        """Delete one numbered version with what was configured for it; ``Conflict`` when an alias points at it."""
        where = (account, name, version)
        await self._db.write(
            Statement(
                "UPDATE aliases SET revision = revision WHERE account = $1 AND name = $2"
                " AND (version = $3 OR weights LIKE '%\"' || $3 || '\"%')",
                where,
                0,
            ),
            Statement(
                "DELETE FROM function_versions WHERE account = $1 AND name = $2 AND number = $3",
                (account, name, version_number(version)),
            ),
            Statement(
                "DELETE FROM function_policies WHERE account = $1 AND name = $2 AND qualifier = $3",
                where,
            ),
            Statement(
                "DELETE FROM event_invoke_configs WHERE account = $1 AND name = $2 AND qualifier = $3",
                where,
            ),
            Statement(
                "DELETE FROM provisioned_concurrency WHERE account = $1 AND name = $2 AND qualifier = $3",
                where,
            ),
        )

    async def page(
        self, account: str, after: tuple[str, int], limit: int, *, all_versions: bool
    ) -> list[VersionRecord]:
        """Versions of an account's functions by name and number, ``$LATEST`` only unless all are asked for."""
        if all_versions:
            rows = await self._db.fetch(
                "SELECT v.config, v.sealed_environment, v.unpacked_size, v.layers_unpacked_size, v.runtime_policy FROM function_versions v"
                " WHERE v.account = $1 AND (v.name, v.number) > ($2, $3) ORDER BY v.name, v.number LIMIT $4",
                account,
                *after,
                limit,
            )
        else:
            rows = await self._db.fetch(
                "SELECT v.config, v.sealed_environment, v.unpacked_size, v.layers_unpacked_size, v.runtime_policy FROM function_versions v"
                " WHERE v.account = $1 AND v.name > $2 AND v.number = 0 ORDER BY v.name LIMIT $3",
                account,
                after[0],
                limit,
            )
        return [self._version(row) for row in rows]

    async def overview(
        self, account: str, after: str, limit: int
    ) -> list[tuple[FunctionVersion, dict[str, str]]]:
        """``$LATEST`` and tags of functions whose names follow ``after``; environments are left closed, hence empty."""
        rows = await self._db.fetch(
            "SELECT v.config, f.tags FROM function_versions v"
            " JOIN functions f ON f.account = v.account AND f.name = v.name"
            " WHERE v.account = $1 AND v.name > $2 AND v.number = 0 ORDER BY v.name LIMIT $3",
            account,
            after,
            limit,
        )
        return [(_CONFIG.decode(config), _TAGS.decode(tags)) for config, tags in rows]

    async def versions(
        self, account: str, name: str, after: int, limit: int, *, newest_first: bool = False
    ) -> list[VersionRecord]:
        """Versions of one function by number, ``$LATEST`` (0) first; ``after=-1`` begins at the start.

        With ``newest_first`` the numbered versions in reverse order instead.
        """
        if newest_first:
            rows = await self._db.fetch(
                "SELECT v.config, v.sealed_environment, v.unpacked_size, v.layers_unpacked_size, v.runtime_policy FROM function_versions v"
                " WHERE v.account = $1 AND v.name = $2 AND v.number > 0 ORDER BY v.number DESC LIMIT $3",
                account,
                name,
                limit,
            )
        else:
            rows = await self._db.fetch(
                "SELECT v.config, v.sealed_environment, v.unpacked_size, v.layers_unpacked_size, v.runtime_policy FROM function_versions v"
                " WHERE v.account = $1 AND v.name = $2 AND v.number > $3 ORDER BY v.number LIMIT $4",
                account,
                name,
                after,
                limit,
            )
        return [self._version(row) for row in rows]

    def _insert(self, version: VersionRecord) -> Statement:
        function = version.function
        config, environment = self._packed(function)
        return Statement(
            "INSERT INTO function_versions VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
            (
                function.account,
                function.name,
                version_number(function.version),
                function.revision_id,
                config,
                environment,
                function.code_digest,
                function.layers_digest,
                function.code_size,
                version.unpacked_size,
                version.layers_unpacked_size,
                msgspec.json.encode(version.runtime_policy) if version.runtime_policy else None,
            ),
        )

    def _packed(self, function: FunctionVersion) -> tuple[bytes, bytes]:
        config = msgspec.json.encode(msgspec.structs.replace(function, environment={}))
        return config, self._seal.seal(
            msgspec.json.encode(function.environment), _context(function)
        )

    def _version(self, row: Row) -> VersionRecord:
        function = _CONFIG.decode(row[0])
        try:
            environment = _ENVIRONMENT.decode(self._seal.open(row[1], _context(function)))
            function = msgspec.structs.replace(function, environment=environment)
        except StorageFailed:
            # The function stays visible and can be updated or deleted; running it says what is wrong.
            function = msgspec.structs.replace(function, environment_error=True)
        return VersionRecord(
            function=function,
            unpacked_size=row[2],
            layers_unpacked_size=row[3],
            runtime_policy=_POLICY.decode(row[4]) if row[4] is not None else None,
        )


def _context(function: FunctionVersion) -> bytes:
    return f"environment/{function.account}/{function.name}".encode()
