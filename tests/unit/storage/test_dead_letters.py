"""The platform's dead letters: kept once, read in order, bounded for each account by itself."""

import pytest
from tests.databases import open_database
from tests.unit.storage.test_outbox import ACCOUNT, letter, message

from forerun.storage.dead_letters import DeadLetterStore
from forerun.storage.sqlite import MESSAGES

pytestmark = pytest.mark.databases

OTHER = "2" * 12


@pytest.fixture
async def store(tmp_path):
    db = await open_database(tmp_path / "messages.db", migrations=MESSAGES)
    yield DeadLetterStore(db)
    await db.close()


def of(account, name, **changes):
    return letter(name, message=message(name, account=account), **changes)


async def test_letters_are_read_in_pages_by_their_account_alone(store):
    await store.put(*(of(ACCOUNT, f"a{number}") for number in range(5)), of(OTHER, "b"))
    first = await store.letters(ACCOUNT, limit=2)
    rest = await store.letters(ACCOUNT, after=first[-1].id, limit=10)
    assert [each.id for each in (*first, *rest)] == ["a0", "a1", "a2", "a3", "a4"]
    assert await store.letter(OTHER, "a1") is None
    assert not await store.remove(OTHER, "a1")
    assert await store.letter(ACCOUNT, "a1") == of(ACCOUNT, "a1")


async def test_a_letter_that_is_put_again_is_one(store):
    await store.put(of(ACCOUNT, "a", detail="first"))
    await store.put(of(ACCOUNT, "a", detail="second"), of(OTHER, "a"))
    [kept] = await store.letters(ACCOUNT)
    assert kept.detail == "first"
    assert await store.remove(ACCOUNT, "a")
    assert not await store.remove(ACCOUNT, "a")
    assert len(await store.letters(OTHER)) == 1


@pytest.mark.parametrize("bound", ["rows", "bytes"])
async def test_the_oldest_of_an_account_go_first_and_nobody_elses(store, bound):
    await store.put(*(of(ACCOUNT, f"a{number:03}") for number in range(700)), of(OTHER, "b"))
    size = (await store.sizes())[ACCOUNT].bytes
    bounds = {"rows": 70, "size": size} if bound == "rows" else {"rows": 700, "size": size // 10}
    assert await store.trim(ACCOUNT, **bounds) == 630
    left = await store.letters(ACCOUNT, limit=1000)
    assert [each.id for each in left] == [f"a{number:03}" for number in range(630, 700)]
    assert len(await store.letters(OTHER)) == 1


async def test_letters_expire(store):
    await store.put(of(ACCOUNT, "old", failed_at=10.0), of(ACCOUNT, "new", failed_at=20.0))
    assert await store.expire(20.0) == 1
    assert [each.id for each in await store.letters(ACCOUNT)] == ["new"]
