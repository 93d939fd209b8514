"""Which functions run once, which execution identifiers have succeeded, and what executions depended on."""

from typing import Final, NamedTuple

import msgspec

from forerun.storage.db import Db, Row, Statement

_CHUNK: Final = 1_000


class DependencySpec(msgspec.Struct, frozen=True, kw_only=True):
    """Something that executions depend on: of which ``kind`` (``s3``, ``http``, ``queue``, ``directory``), and ``where``."""

    kind: str
    where: dict[str, str]


class OnceConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a function runs once.

    ``key`` is a JMESPath expression over the event, empty for none; ``successes`` how often an identifier may succeed
    within ``expires_s`` seconds after its last success. Times are epoch seconds.
    """

    key: str = ""
    successes: int = 1
    expires_s: float = 3600.0
    depends_on: tuple[DependencySpec, ...] = ()
    keep_results: bool = True
    created: float = 0.0
    modified: float = 0.0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a successful execution answered, and when (epoch seconds); ``payload`` is ``None`` where it is not kept."""

    request_id: str
    version: str
    at: float
    content_type: str
    payload: bytes | None


class IdName(NamedTuple):
    """An execution identifier of one function."""

    account: str
    name: str
    id: str


class InputName(NamedTuple):
    """One input of a version of a function; ``input`` is a digest."""

    account: str
    name: str
    version: str
    input: bytes


class Succeeded(NamedTuple):
    """How often an identifier succeeded, until when that counts (epoch seconds), and the last result."""

    successes: int
    expires_at: float
    result: Result


class Record(NamedTuple):
    """The last success for an input, and ``state``: what it depended on before it ran."""

    state: bytes
    result: Result


class OnceStore:
    """Configurations, identifiers and records over ``Db``."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def put(self, account: str, name: str, config: OnceConfig) -> None:
        """Set a function's configuration."""
        await self._db.write(
            Statement(
                "INSERT INTO once_configs (account, name, config) VALUES ($1, $2, $3)"
                " ON CONFLICT (account, name) DO UPDATE SET config = excluded.config",
                (account, name, msgspec.json.encode(config)),
            )
        )

    async def config(self, account: str, name: str) -> OnceConfig | None:
        """A function's configuration."""
        rows = await self._db.fetch(
            "SELECT config FROM once_configs WHERE account = $1 AND name = $2", account, name
        )
        return _CONFIG.decode(rows[0][0]) if rows else None

    async def configs(
        self, account: str, *, after: str, limit: int
    ) -> list[tuple[str, OnceConfig]]:
        """Those of an account by function, ``after`` excluded."""
        rows = await self._db.fetch(
            "SELECT name, config FROM once_configs WHERE account = $1 AND name > $2"
            " ORDER BY name LIMIT $3",
            account,
            after,
            limit,
        )
        return [(name, _CONFIG.decode(config)) for name, config in rows]

    async def configured(self) -> list[tuple[str, str]]:
        """Accounts and names of all functions that have a configuration."""
        rows = await self._db.fetch("SELECT account, name FROM once_configs")
        return [(account, name) for account, name in rows]

    async def remove(self, account: str, name: str) -> bool:
        """Delete a function's configuration and the records made under it; whether there was one."""
        gone, _ = await self._db.write(
            Statement(
                "DELETE FROM once_configs WHERE account = $1 AND name = $2 RETURNING 1",
                (account, name),
            ),
            _delete_records(account, name),
        )
        return bool(gone)

    async def forget_function(self, account: str, name: str) -> None:
        """Delete all there is of a function."""
        await self._db.write(
            Statement("DELETE FROM once_configs WHERE account = $1 AND name = $2", (account, name)),
            Statement("DELETE FROM once_ids WHERE account = $1 AND name = $2", (account, name)),
            _delete_records(account, name),
        )

    # Identifiers

    async def found(self, which: IdName) -> Succeeded | None:
        """How an identifier stands, expired or not."""
        rows = await self._db.fetch(
            "SELECT successes, expires_at, request_id, version, at, content_type, payload"
            " FROM once_ids WHERE account = $1 AND name = $2 AND id = $3",
            *which,
        )
        if not rows:
            return None
        return Succeeded(rows[0][0], rows[0][1], _result(rows[0][2:]))

    async def succeeded(self, which: IdName, result: Result, expires_at: float) -> None:
        """Count one success more, from 1 when those before have expired; on disk when this returns."""
        await self._db.write(
            Statement(
                "/*free*/ INSERT INTO once_ids (account, name, id, successes, expires_at, request_id, version,"
                " at, content_type, payload) VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9)"
                " ON CONFLICT (account, name, id) DO UPDATE SET"
                " successes = CASE WHEN once_ids.expires_at <= excluded.at THEN 1 ELSE once_ids.successes + 1 END,"
                " expires_at = excluded.expires_at, request_id = excluded.request_id,"
                " version = excluded.version, at = excluded.at,"
                " content_type = excluded.content_type, payload = excluded.payload",
                (
                    *which,
                    expires_at,
                    result.request_id,
                    result.version,
                    result.at,
                    result.content_type,
                    result.payload,
                ),
            )
        )

    # Records

    async def record(self, which: InputName) -> Record | None:
        """The last success for an input."""
        rows = await self._db.fetch(
            "SELECT state, request_id, version, at, content_type, payload FROM once_records"
            " WHERE account = $1 AND name = $2 AND version = $3 AND input = $4",
            *which,
        )
        if not rows:
            return None
        return Record(rows[0][0], _result(rows[0][1:]))

    async def remember(self, which: InputName, record: Record) -> None:
        """Replace the record of an input. One that is lost costs an execution; so nobody waits for the disk."""
        result = record.result
        await self._db.write(
            Statement(
                "/*free*/ INSERT INTO once_records (account, name, version, input, state, request_id, at,"
                " content_type, payload) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
                " ON CONFLICT (account, name, version, input) DO UPDATE SET state = excluded.state,"
                " request_id = excluded.request_id, at = excluded.at,"
                " content_type = excluded.content_type, payload = excluded.payload",
                (
                    *which,
                    record.state,
                    result.request_id,
                    result.at,
                    result.content_type,
                    result.payload,
                ),
            ),
            durable=False,
        )

    async def forget(self, which: InputName) -> None:
        """Remove the record of an input."""
        await self._db.write(
            Statement(
                "DELETE FROM once_records"
                " WHERE account = $1 AND name = $2 AND version = $3 AND input = $4",
                tuple(which),
            )
        )

    # Bounds

    async def expire(self, now: float) -> int:
        """Remove identifiers that have expired at ``now``; how many were."""
        removed = 0
        while True:
            [gone] = await self._db.write(
                Statement(
                    "DELETE FROM once_ids WHERE (account, name, id) IN (SELECT account, name, id FROM once_ids"
                    " WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2) RETURNING 1",
                    (now, _CHUNK),
                ),
                durable=False,
            )
            removed += len(gone)
            if len(gone) < _CHUNK:
                return removed

    async def trim(self, *, records: int, result_bytes: int) -> None:
        """Keep of each account so many of the newest records, and so many bytes of results: the oldest go first.

        An identifier stays without its result; a record goes whole.
        """
        await self._db.write(
            Statement(
                "DELETE FROM once_records WHERE (account, name, version, input) IN"
                " (SELECT account, name, version, input FROM (SELECT account, name, version, input,"
                " row_number() OVER newest AS place,"
                " sum(coalesce(length(payload), 0)) OVER newest AS bytes FROM once_records"
                " WINDOW newest AS (PARTITION BY account ORDER BY at DESC, name, version, input"
                " ROWS UNBOUNDED PRECEDING)) AS placed"
                " WHERE place > $1 OR bytes > $2)",
                (records, result_bytes),
            ),
            Statement(
                "UPDATE once_ids SET payload = NULL WHERE (account, name, id) IN"
                " (SELECT account, name, id FROM (SELECT account, name, id,"
                " sum(length(payload)) OVER (PARTITION BY account ORDER BY at DESC, name, id"
                " ROWS UNBOUNDED PRECEDING) AS bytes FROM once_ids"
                " WHERE payload IS NOT NULL) AS placed WHERE bytes > $1)",
                (result_bytes,),
            ),
            durable=False,
        )

    async def counts(self, account: str, name: str, now: float) -> tuple[int, int]:
        """How many identifiers of a function are known that have not expired, and how many records there are."""
        [(ids, records)] = await self._db.fetch(
            "SELECT (SELECT count(*) FROM once_ids WHERE account = $1 AND name = $2"
            " AND expires_at > $3),"
            " (SELECT count(*) FROM once_records WHERE account = $1 AND name = $2)",
            account,
            name,
            now,
        )
        return ids, records


_CONFIG = msgspec.json.Decoder(OnceConfig)


def _delete_records(account: str, name: str) -> Statement:
    return Statement("DELETE FROM once_records WHERE account = $1 AND name = $2", (account, name))


def _result(row: Row) -> Result:
    request_id, version, at, content_type, payload = row
    return Result(
        request_id=request_id, version=version, at=at, content_type=content_type, payload=payload
    )
