"""What others remember is told by the transaction that changes it, whatever way it is changed, on a real PostgreSQL."""

import asyncio

import pytest

from forerun.errors import Conflict
from forerun.storage import Statement
from forerun.storage.identity import AccessKey, Account, IdentityStore
from forerun.storage.postgresql import open_postgresql


class Plain:
    """Seals nothing."""

    def seal(self, secret: bytes, context: bytes) -> bytes:
        return secret

    def open(self, sealed: bytes, context: bytes) -> bytes:
        return sealed


@pytest.fixture
async def db(postgres_url):
    db = await open_postgresql(postgres_url, schema="forerun")
    yield db
    await db.close()


async def told(db):
    return [tuple(row) for row in await db.fetch("SELECT topic, key FROM changes ORDER BY number")]


def function(name):
    return Statement(
        "INSERT INTO functions (account, name, tags, recursion, next_version) VALUES ($1, $2, $3, $4, $5)",
        ("111111111111", name, b"{}", "Terminate", 1),
    )


async def test_a_change_of_a_function_names_it_and_a_refused_one_is_not_told(db):
    await db.write(function("f"))
    assert await told(db) == [("function", "111111111111:f")]
    with pytest.raises(Conflict):
        await db.write(
            Statement("UPDATE functions SET recursion = $1 WHERE name = $2", ("Allow", "f")),
            Statement("DELETE FROM functions WHERE name = $1", ("g",), expect=1),
        )
    assert len(await told(db)) == 1
    await db.write(Statement("DELETE FROM functions WHERE name = $1", ("f",)))
    assert await told(db) == [("function", "111111111111:f")] * 2


async def test_changes_of_identities_are_told(db):
    store = IdentityStore(db, Plain())
    account = Account("111111111111", "a", 1.0)
    key = AccessKey(id="AKIAX", account=account.id, user="", secret="s", created=1.0)
    await store.create_account(account, key)
    await store.activate_key("AKIAX", active=False)
    assert set(await told(db)) == {("identity", "")}
    assert len(await told(db)) == 2


async def test_how_a_function_runs_once_is_told_from_the_other_schema(postgres_url, db):
    messages = await open_postgresql(postgres_url, schema="messages")
    try:
        await messages.write(
            Statement(
                "INSERT INTO once_configs (account, name, config) VALUES ($1, $2, $3)",
                ("111111111111", "f", b"{}"),
            )
        )
    finally:
        await messages.close()
    assert await told(db) == [("function", "111111111111:f")]


async def test_a_host_is_told_when_it_changes_and_not_when_it_is_seen(db):
    await db.write(
        Statement(
            "INSERT INTO hosts (name, incarnation, address, phase, node, info, joined, seen)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            ("h", "i", "a:1", "active", "", b"{}", 1.0, 1.0),
        )
    )
    await db.write(Statement("UPDATE hosts SET seen = $1", (2.0,)))
    assert await told(db) == [("hosts", "")]
    await db.write(Statement("UPDATE hosts SET phase = $1", ("cordoned",)))
    assert await told(db) == [("hosts", "")] * 2


async def test_many_that_change_different_functions_at_once_all_succeed(db):
    async def change(number):
        for name in (f"f{number}", f"g{number}"):
            await db.write(function(name))

    await asyncio.gather(*(change(number) for number in range(20)))
    rows = await db.fetch("SELECT number FROM changes ORDER BY number")
    assert [row[0] for row in rows] == list(range(1, 41))
