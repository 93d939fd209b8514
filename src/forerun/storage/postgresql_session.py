"""One connection to PostgreSQL, made again when it was lost: runs a caller's statements as one transaction.

A single statement is a transaction by itself and costs one round trip. What is said about losses is strict: a
transaction is only called undone when it surely is, so that nobody runs it twice.
"""

import socket
from collections.abc import Sequence
from typing import Any, LiteralString

import asyncpg

from forerun.errors import Conflict
from forerun.storage.db import Row, Statement
from forerun.storage.dialect import for_postgresql
from forerun.storage.postgresql_errors import is_over, is_undone

PREPARED = 1024
CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
SILENCE_MS = 10_000
# Longer than any statement takes; the server gives up before the client does, which leaves no doubt.
STATEMENT_SECONDS = 25.0
CLIENT_SECONDS = 30.0

_SETTINGS = {
    "application_name": "forerun",
    # Our statements are short: compiling them costs more than it saves.
    "jit": "off",
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    # A process that was paused must not hold others up; what it had begun is undone.
    "idle_in_transaction_session_timeout": "5s",
    "default_transaction_isolation": "read committed",
    "TimeZone": "UTC",
}


Answer = list[list[Row]] | Exception


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
        [rows] = await self._transaction([statements], durable=durable, begin="BEGIN", apart=False)
        assert not isinstance(rows, Exception)
        return rows

    async def write_in_turn(
        self, callers: Sequence[Sequence[Statement]], *, durable: bool, turn: int
    ) -> list[Answer]:
        """The statements of several callers as one transaction, while no other process writes in turn ``turn``.

        A caller's failure undoes its own statements only, and is its answer. Raises as ``write``, for all of them.
        """
        begin = f"BEGIN; SELECT pg_advisory_xact_lock({turn})"
        if len(callers) > 1:
            try:
                return await self._transaction(callers, durable=durable, begin=begin, apart=False)
            except Exception as error:
                if isinstance(error, Undone) or is_undone(error) or is_over(error):
                    raise
            # One of them failed: once more, each so that it can be undone by itself.
            return await self._transaction(callers, durable=durable, begin=begin, apart=True)
        try:
            return await self._transaction(callers, durable=durable, begin=begin, apart=False)
        except Exception as error:
            if isinstance(error, Undone) or is_undone(error) or is_over(error):
                raise
            return [error]

    async def _transaction(
        self, callers: Sequence[Sequence[Statement]], *, durable: bool, begin: str, apart: bool
    ) -> list[Answer]:
        try:
            await self._begin(begin, durable=durable)
            answers: list[Answer] = []
            if apart:
                await self._simply("SAVEPOINT caller")
            for statements in callers:
                if apart:
                    answers.append(await self._apart(statements))
                else:
                    answers.append([await self._one(statement) for statement in statements])
        except Exception as error:
            await self._roll_back(error)
            self._over(error, safe=True)
            raise
        try:
            await self._simply("COMMIT")
        except Exception as error:
            self._over(error, safe=False)
            raise
        return answers

    async def _apart(self, statements: Sequence[Statement]) -> Answer:
        """A caller's part of a transaction; its failure is what it comes to, unless it is everybody's."""
        try:
            rows = [await self._one(statement) for statement in statements]
        except Exception as error:
            if isinstance(error, Undone) or is_undone(error) or is_over(error):
                raise
            await self._simply("ROLLBACK TO caller")
            return error
        await self._simply("RELEASE caller; SAVEPOINT caller")
        return rows

    async def _simply(self, sql: str) -> None:
        await self._connection.execute(sql, timeout=CLIENT_SECONDS)

    async def _alone(self, statement: Statement, *, durable: bool) -> list[Row]:
        if self.soft is durable:
            try:
                await self._simply(f"SET synchronous_commit = {self._safe if durable else 'off'}")
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

    async def _begin(self, begin: str, *, durable: bool) -> None:
        if self.soft is durable:
            begin += f"; SET LOCAL synchronous_commit = {self._safe if durable else 'off'}"
        await self._simply(begin)

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
            await self._simply("ROLLBACK")
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
        _notice_silence(connection)
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


def _notice_silence(connection: Any) -> None:
    """A server that is gone without a word is noticed when it has not acknowledged what was sent for so long."""
    peer = connection._transport.get_extra_info("socket")  # noqa: SLF001 asyncpg has no other way to it
    if peer is not None and peer.family in (socket.AF_INET, socket.AF_INET6):
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MS)


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
