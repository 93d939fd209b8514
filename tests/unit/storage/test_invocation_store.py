import pytest
from tests.databases import open_database

from forerun.model import InvocationRecord, Timings
from forerun.storage.invocations import InvocationFilter, InvocationStore
from forerun.storage.sequence import Sequence, number_at

pytestmark = pytest.mark.databases

ACCOUNT = "1" * 12


class Clock:
    def __init__(self, now: float = 1_000.0):
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def record(request_id: str, name: str = "f", **changes) -> InvocationRecord:
    values = {"account": ACCOUNT, "version": "1", "timings": Timings(received=5.5)}
    return InvocationRecord(request_id=request_id, name=name, **(values | changes))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def store(tmp_path, clock):
    db = await open_database(tmp_path / "state.db")
    yield InvocationStore(db, clock)
    await db.close()


async def test_pages_newest_first_without_gap_or_repeat(store):
    await store.append([record(f"r{index}") for index in range(25)])
    seen, before = [], None
    while True:
        page = await store.list(ACCOUNT, InvocationFilter(name="f"), limit=10, before=before)
        seen += [each.request_id for each in page.records]
        before = page.before
        if before is None:
            break
        await store.append([record("later")])
    assert seen == [f"r{index}" for index in reversed(range(25))]


async def test_filters_and_owners_are_kept_apart(store, clock):
    await store.append([record("old", status="error")])
    clock.time = 2_000.0
    await store.append(
        [
            record("a", status="error", start_type="warm"),
            record("b", name="g", invocation_type="Event"),
            record("c", account="2" * 12),
        ]
    )
    await store.append([])

    async def ids(**wanted):
        page = await store.list(ACCOUNT, InvocationFilter(**wanted))
        return [each.request_id for each in page.records]

    assert await ids() == ["b", "a", "old"]
    assert await ids(name="g") == ["b"]
    assert await ids(status="error", since=1_500.0) == ["a"]
    assert await ids(start_type="warm") == ["a"]
    assert await ids(invocation_type="Event") == ["b"]
    assert await store.counts(ACCOUNT, since=1_500.0) == {"f": {"error": 1}, "g": {"success": 1}}


async def test_every_attempt_of_a_request_is_kept(store):
    await store.append([record("r", attempt=1, status="error")])
    await store.append([record("r", attempt=2)])
    assert [each.attempt for each in await store.attempts("r")] == [1, 2]
    one = await store.one("r")
    assert one.attempt == 2
    assert one.timings.received == 5.5
    assert await store.one("unknown") is None


async def test_trim_by_age_and_by_rows(store, clock):
    await store.append([record(f"old{index}") for index in range(5)])
    clock.time = 2_000.0
    await store.append([record(f"new{index}") for index in range(5)])
    assert await store.trim(before=1_500.0, max_rows=100) == 5
    assert await store.trim(before=1_500.0, max_rows=2) == 3
    assert [each.request_id for each in (await store.list(ACCOUNT)).records] == ["new4", "new3"]


def test_numbers_grow_even_when_the_clock_goes_back(clock):
    sequence = Sequence(clock)
    first = sequence.take()
    clock.time -= 100
    assert sequence.take() > first >= number_at(1_000.0)
