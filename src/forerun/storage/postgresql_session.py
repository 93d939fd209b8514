"""One connection to PostgreSQL, made again when it was lost: runs a caller's statements as one transaction.

A single statement is a transaction by itself and costs one round trip. What is said about losses is strict: a
transaction is only called undone when it surely is, so that nobody runs it twice.
"""

from collections.abc import Sequence
from typing import Any, LiteralString

import asyncpg

from forerun.errors import Conflict
from forerun.storage.db import Row, Statement
from forerun.storage.dialect import for_postgresql
from forerun.storage.postgresql_errors import is_over

PREPARED = 1024
CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
# Longer than any statement takes; the server gives up before the client does, which leaves no doubt.
STATEMENT_SECONDS = 25.0
CLIENT_SECONDS = 30.0

_SETTINGS = {
    "application_name": "forerun",
    # Our statements are short: compiling them costs more than it saves.
    "jit": "off",
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    # A process that was paused must not hold others up.
    "idle_in_transaction_session_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "default_transaction_isolation": "read committed",
    "TimeZone": "UTC",
}


class Undone(Exception):
    """The connection was lost, or could not be made, before anything could be committed; the cause says why."""


class Session:
    """A connection and its prepared statements; used by one task at a time."""

    def __init__(self, url: str, schema: str) -> None:
        self._url = url
        self._schema = schema
        self._connection: Any = None
        self._prepared: dict[str, Any] = {}
        self._safe = "on"
        self.soft = False
        """Whether single statements are not waited for until they are on disk."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None and not self._connection.is_closed()

    async def connect(self) -> None:
        """Make the connection. Raises what the client raises."""
        self.drop()
        connection = await connected(self._url, self._schema)
        self._connection = connection
        level = await connection.fetchval("SELECT current_setting('synchronous_commit')")
        if level == "off":
            await connection.execute("SET synchronous_commit = on")
            level = "on"
        self._safe = level

    def drop(self) -> None:
        """Give the connection up, whatever it is doing."""
        connection, self._connection = self._connection, None
        self._prepared.clear()
        self.soft = False
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        """Say goodbye; gives up after ``CLOSE_SECONDS``."""
        connection, self._connection = self._connection, None
        self._prepared.clear()
        if connection is not None:
            try:
                await connection.close(timeout=CLOSE_SECONDS)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                connection.terminate()

    async def read(self, sql: LiteralString, args: Sequence[Any]) -> list[Row]:
        """Rows of a query; ``Undone`` when the connection was lost."""
        try:
            rows, _ = await self._execute(sql, args)
        except Exception as error:
            self._over(error, safe=True)
            raise
        return rows

    async def write(self, statements: Sequence[Statement], *, durable: bool) -> list[list[Row]]:
        """The statements as one transaction.

        Raises ``Conflict`` for a missed ``expect``, ``Undone`` when the connection was lost while the outcome is certain,
        and else what the client raises: then it is not certain when ``is_over`` of the error.
        """
        if len(statements) == 1 and statements[0].expect is None:
            return [await self._alone(statements[0], durable=durable)]
        try:
            await self._begin(durable=durable)
            rows = [await self._one(statement) for statement in statements]
        except Exception as error:
            await self._roll_back(error)
            self._over(error, safe=True)
            raise
        try:
            await self._connection.execute("COMMIT", timeout=CLIENT_SECONDS)
        except Exception as error:
            self._over(error, safe=False)
            raise
        return rows

    async def _alone(self, statement: Statement, *, durable: bool) -> list[Row]:
        if self.soft is durable:
            try:
                await self._connection.execute(
                    f"SET synchronous_commit = {self._safe if durable else 'off'}",
                    timeout=CLIENT_SECONDS,
                )
            except Exception as error:
                self._over(error, safe=True)
                raise
            self.soft = not durable
        try:
            prepared = await self._prepare(statement.sql)
        except Exception as error:
            self._over(error, safe=True)
            raise
        try:
            return _rows(await prepared.fetch(*statement.args, timeout=CLIENT_SECONDS))
        except Exception as error:
            self._forget(statement.sql, error)
            self._over(error, safe=False)
            raise

    async def _begin(self, *, durable: bool) -> None:
        begin = "BEGIN"
        if self.soft is durable:
            begin += f"; SET LOCAL synchronous_commit = {self._safe if durable else 'off'}"
        await self._connection.execute(begin, timeout=CLIENT_SECONDS)

    async def _one(self, statement: Statement) -> list[Row]:
        rows, affected = await self._execute(statement.sql, statement.args)
        if statement.expect is not None and affected != statement.expect:
            raise Conflict("The resource was changed meanwhile; read it again and retry.")
        return rows

    async def _execute(self, sql: LiteralString, args: Sequence[Any]) -> tuple[list[Row], int]:
        prepared = await self._prepare(sql)
        try:
            rows = _rows(await prepared.fetch(*args, timeout=CLIENT_SECONDS))
        except Exception as error:
            self._forget(sql, error)
            raise
        return rows, len(rows) or _affected(prepared.get_statusmsg())

    async def _prepare(self, sql: LiteralString) -> Any:
        prepared = self._prepared.get(sql)
        if prepared is None:
            if len(self._prepared) >= PREPARED:
                self._prepared.clear()
            prepared = self._prepared[sql] = await self._connection.prepare(
                for_postgresql(sql), timeout=CLIENT_SECONDS
            )
        return prepared

    def _forget(self, sql: LiteralString, error: Exception) -> None:
        """A statement that was prepared before the schema changed is prepared anew, by whoever tries again."""
        if isinstance(error, asyncpg.InvalidCachedStatementError):
            self._prepared.pop(sql, None)
            raise Undone from error

    async def _roll_back(self, error: Exception) -> None:
        if not self.connected or (is_over(error) and not isinstance(error, Undone)):
            return
        try:
            await self._connection.execute("ROLLBACK", timeout=CLIENT_SECONDS)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            self.drop()

    def _over(self, error: Exception, *, safe: bool) -> None:
        """Drop a connection that is of no use any more; ``Undone`` when that is ``safe`` to say."""
        if isinstance(error, Undone):
            return
        # The client's own complaints come before anything is sent.
        if self.connected and (not is_over(error) or isinstance(error, asyncpg.InterfaceError)):
            return
        self.drop()
        if safe and not isinstance(error, TimeoutError):
            raise Undone from error


async def connected(url: str, schema: str) -> Any:
    """A connection whose names are looked up in ``schema``, and that takes and gives values as SQLite does."""
    connection = await asyncpg.connect(
        url,
        timeout=CONNECT_SECONDS,
        command_timeout=CLIENT_SECONDS,
        # The session keeps its own; with none at all the client would prepare each statement each time.
        statement_cache_size=16,
        server_settings=_SETTINGS | {"search_path": f'"{schema}"'},
    )
    try:
        # A comparison is 0 or 1; what is added up is a number like any other.
        await connection.set_type_codec(
            "bool", schema="pg_catalog", encoder=_bool_out, decoder=_bool_in, format="binary"
        )
        await connection.set_type_codec(
            "numeric", schema="pg_catalog", encoder=str, decoder=_number_in, format="text"
        )
    except BaseException:
        connection.terminate()
        raise
    return connection


def _bool_out(value: object) -> bytes:
    return b"\1" if value else b"\0"


def _bool_in(value: bytes) -> int:
    return value[0]


def _number_in(text: str) -> int | float:
    return float(text) if "." in text or "N" in text else int(text)


def _rows(records: Sequence[Any]) -> list[Row]:
    return [tuple(record) for record in records]


def _affected(status: str) -> int:
    """Rows that a command says it changed: ``INSERT 0 3``, ``UPDATE 3``; none for commands that count nothing."""
    number = status.rpartition(" ")[2]
    return int(number) if number.isdecimal() else 0
