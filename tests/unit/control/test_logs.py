import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.databases import open_database
from tests.fakes.clock import FakeClock

from forerun.control import log_reading
from forerun.control.log_filter import compile_filter
from forerun.control.log_reading import LogReader, LogSearch
from forerun.control.logs import LogService
from forerun.errors import AlreadyExists, InvalidInput, NotFound
from forerun.model import LogLine
from forerun.storage.log_groups import LogGroupStore, StreamOrder
from forerun.storage.logs import ROW_EVENTS, SPAN_MS, LogBatch, LogStore

ACCOUNT, GROUP = "1" * 12, "/aws/lambda/f"
DAY_MS = 86_400_000


class Logs:
    def __init__(self, db, clock, cap_bytes=1 << 30):
        self.store = LogStore(db, clock)
        self.service = LogService(LogGroupStore(db, clock), self.store, clock, cap_bytes=cap_bytes)
        self.reader = LogReader(self.store)
        self.now_ms = int(clock.now() * 1000)

    async def add(self, *lines, group=GROUP, stream="s"):
        """Append one batch of (time, text)."""
        events = [LogLine(time, text) for time, text in lines]
        await self.store.append(
            [LogBatch(account=ACCOUNT, group=group, stream=stream, lines=events)]
        )

    async def search(self, pattern="", limit=100, token=None, group=GROUP, **where):
        found = await self.service.group(ACCOUNT, group)
        search = LogSearch(compile_filter(pattern), **where)
        return await self.reader.search(found.id, search, limit=limit, token=token)

    async def texts(self, *args, **kwargs):
        return [event.text for event in (await self.search(*args, **kwargs)).events]

    async def page(self, stream="s", **options):
        found = await self.service.group(ACCOUNT, GROUP)
        return await self.reader.page(found.id, stream, **options)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def db(tmp_path):
    db = await open_database(tmp_path / "state.db")
    yield db
    await db.close()


@pytest.fixture
async def logs(db, clock):
    return Logs(db, clock)


async def test_events_of_streams_come_in_the_order_of_time(logs):
    await logs.add((1_000, "a"), (3_000, "c"), stream="s1")
    await logs.add((2_000, "b"), (2_500, "ERROR b2"), (4_000, "d"), stream="s2")
    assert await logs.texts() == ["a", "b", "ERROR b2", "c", "d"]
    assert await logs.texts("ERROR") == ["ERROR b2"]
    assert await logs.texts(streams=frozenset({"s1"})) == ["a", "c"]
    assert await logs.texts(streams=frozenset({"s1", "s2"}), start_ms=2_000, end_ms=3_000) == [
        "b",
        "ERROR b2",
        "c",
    ]
    assert await logs.texts(stream_prefix="s2") == ["b", "ERROR b2", "d"]
    ids = [event.id for event in (await logs.search()).events]
    assert ids == sorted(ids)
    assert {len(each) for each in ids} == {56}


EVENTS = st.lists(
    st.lists(st.integers(0, 3 * SPAN_MS), min_size=1, max_size=6), min_size=1, max_size=12
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batches=EVENTS,
    limit=st.integers(1, 7),
    bounds=st.tuples(st.integers(0, 3 * SPAN_MS), st.integers(0, 3 * SPAN_MS)),
    chunk=st.integers(1, 4),
)
async def test_pages_neither_skip_nor_repeat(tmp_path_factory, batches, limit, bounds, chunk):
    db = await open_database(tmp_path_factory.mktemp("logs") / "state.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_reading, "_CHUNK", chunk)
        patch.setattr(log_reading, "MAX_ROWS", 2 * chunk)
        logs = Logs(db, FakeClock())
        try:
            await _check_pages(logs, batches, limit, bounds)
        finally:
            await db.close()


async def _check_pages(logs, batches, limit, bounds):
    start, end = min(bounds), max(bounds)
    expected = []
    for number, times in enumerate(batches):
        lines = [(time, f"{number}.{index}") for index, time in enumerate(times)]
        await logs.add(*lines)
        expected += [line for line in lines if start <= line[0] <= end]
    found, token = [], None
    while True:
        page = await logs.search(limit=limit, token=token, start_ms=start, end_ms=end)
        found += [(event.time_ms, event.text) for event in page.events]
        if (token := page.token) is None:
            break
    assert sorted(found) == sorted(expected)
    assert [time for time, _ in found] == sorted(time for time, _ in expected)

    down, token = [], None
    while True:
        page = await logs.page(limit=limit, token=token, start_ms=start, end_ms=end + 1)
        if page.backward == token:
            break
        down = [(event.time_ms, event.text) for event in page.events] + down
        token = page.backward
    assert down == found
    up, token = [], None
    while True:
        page = await logs.page(
            limit=limit, token=token, from_head=True, start_ms=start, end_ms=end + 1
        )
        if page.forward == token:
            break
        up += [(event.time_ms, event.text) for event in page.events]
        token = page.forward
    assert up == found


@pytest.mark.databases
async def test_a_reader_at_the_end_sees_what_comes_later_and_can_turn_back(logs):
    await logs.add((1_000, "a"), (2_000, "b"))
    tail = await logs.page(limit=1)
    assert [event.text for event in tail.events] == ["b"]
    end = await logs.page(token=tail.forward)
    assert (end.events, end.forward) == ([], tail.forward)
    assert [event.text for event in (await logs.page(token=end.backward)).events] == ["a", "b"]
    await logs.add((3_000, "c"))
    assert [event.text for event in (await logs.page(token=end.forward)).events] == ["c"]
    head = await logs.page(token=tail.backward)
    assert [event.text for event in head.events] == ["a"]
    before = await logs.page(token=head.backward)
    assert (before.events, before.backward) == ([], head.backward)
    assert [each.text for each in (await logs.page(token=before.forward, limit=2)).events] == [
        "a",
        "b",
    ]


@pytest.mark.databases
async def test_an_empty_stream_has_tokens_too(logs):
    await logs.service.create_group(ACCOUNT, GROUP, {})
    await logs.service.create_stream(ACCOUNT, GROUP, "s")
    for from_head in (False, True):
        page = await logs.page(from_head=from_head)
        assert page.events == []
        await logs.page(token=page.backward)
    await logs.add((5_000, "first"))
    assert [each.text for each in (await logs.page(token=page.forward)).events] == ["first"]


@pytest.mark.parametrize(
    "token", ["", "x", "f/1/s", "g/" + "0" * 56 + "/s", "f/" + "9" * 56 + "/s"]
)
async def test_foreign_tokens_are_refused(logs, token):
    await logs.add((1, "a"))
    with pytest.raises(InvalidInput, match="nextToken"):
        await logs.page(token=token)
    with pytest.raises(InvalidInput, match="nextToken"):
        await logs.search(token=token)


@pytest.mark.databases
async def test_a_long_invocation_is_found_by_any_of_its_moments(logs):
    await logs.add(*((minute * 60_000, f"m{minute}") for minute in range(15)))
    assert await logs.texts(start_ms=7 * 60_000, end_ms=8 * 60_000) == ["m7", "m8"]


async def test_what_user_code_claims_of_time_or_text_costs_nobody_else_his_logs(logs):
    await logs.store.append(
        [
            LogBatch(account=ACCOUNT, group=GROUP, stream="evil", lines=[LogLine(1 << 64, "x")]),
            LogBatch(account=ACCOUNT, group=GROUP, stream="evil", lines=[LogLine(-5, "\ud800")]),
            LogBatch(account=ACCOUNT, group=GROUP, stream="good", lines=[LogLine(5, "é")]),
            LogBatch(account=ACCOUNT, group=GROUP, stream="none", lines=[]),
        ]
    )
    assert await logs.texts() == ["é", "x", "?"]


@pytest.mark.databases
async def test_streams_know_their_first_and_last_event(logs, clock):
    await logs.add((5_000, "a"), (6_000, "b"), stream="s1")
    await logs.add((1_000, "c"), stream="s1")
    await logs.add((9_000, "d"), stream="s2")
    await logs.service.create_stream(ACCOUNT, GROUP, "s3")

    async def names(**order):
        streams = await logs.service.streams(ACCOUNT, GROUP, StreamOrder(**order))
        return [stream.name for stream in streams]

    assert await names() == ["s1", "s2", "s3"]
    assert await names(descending=True) == ["s3", "s2", "s1"]
    assert await names(by_event=True, descending=True) == ["s2", "s1", "s3"]
    assert await names(by_event=True, descending=True, after=("s2", 9_000)) == ["s1", "s3"]
    assert await names(by_event=True, after=("s1", 6_000)) == ["s2"]
    first = (await logs.service.streams(ACCOUNT, GROUP, StreamOrder()))[0]
    assert (first.first_ms, first.last_ms) == (1_000, 6_000)


@pytest.mark.databases
async def test_groups_are_listed_and_deleted_with_what_they_hold(logs):
    for name in ("/a/1", "/a/2", "/b"):
        await logs.add((1_000, "old"), group=name)
    groups = await logs.service.groups(ACCOUNT, prefix="/a")
    assert [group.name for group in groups] == ["/a/1", "/a/2"]
    assert all(group.stored_bytes > 0 for group in groups)
    assert [each.name for each in await logs.service.groups(ACCOUNT, after="/a/1")] == [
        "/a/2",
        "/b",
    ]
    assert await logs.service.groups("2" * 12) == []
    await logs.service.delete_group(ACCOUNT, "/a/1")
    with pytest.raises(NotFound):
        await logs.service.delete_group(ACCOUNT, "/a/1")
    await logs.add((2_000, "new"), group="/a/1")
    assert await logs.texts(group="/a/1") == ["new"]
    assert await logs.service.expire(0.0) == 1
    assert await logs.texts(group="/a/1") == ["new"]
    await logs.service.delete_stream(ACCOUNT, "/b", "s")
    assert await logs.texts(group="/b") == []
    assert (await logs.service.group(ACCOUNT, "/b")).stored_bytes == 0
    with pytest.raises(NotFound):
        await logs.service.delete_stream(ACCOUNT, "/b", "s")


@pytest.mark.databases
async def test_retention_removes_what_is_past_it(logs, clock):
    await logs.add((logs.now_ms - 3 * DAY_MS, "old"), stream="gone")
    await logs.add((logs.now_ms, "new"))
    assert await logs.service.expire(clock.now()) == 0
    await logs.service.retain(ACCOUNT, GROUP, 1)
    assert await logs.service.expire(clock.now()) == 1
    assert await logs.texts() == ["new"]
    streams = await logs.service.streams(ACCOUNT, GROUP, StreamOrder())
    assert [stream.name for stream in streams] == ["s"]
    with pytest.raises(InvalidInput, match="retentionInDays"):
        await logs.service.retain(ACCOUNT, GROUP, 2)
    await logs.service.retain(ACCOUNT, GROUP, None)
    assert (await logs.service.group(ACCOUNT, GROUP)).retention_days == 0


async def test_the_oldest_go_when_there_is_no_room(db, clock):
    logs = Logs(db, clock, cap_bytes=50_000)
    for number in range(2_500):
        await clock.advance(0.001)
        await logs.add((number, f"event {number:04} " + "x" * 60), stream=f"s{number // 500}")
    assert await logs.store.total_bytes() > 150_000
    assert await logs.service.expire(clock.now()) == 2_000
    left = await logs.texts(limit=10_000)
    assert len(left) == 500
    assert left[-1].startswith("event 2499")
    streams = await logs.service.streams(ACCOUNT, GROUP, StreamOrder())
    assert [stream.name for stream in streams] == ["s4"]


async def test_put_takes_what_is_in_time_and_says_what_is_not(logs):
    await logs.service.create_group(ACCOUNT, GROUP, {})
    await logs.service.retain(ACCOUNT, GROUP, 30)
    with pytest.raises(NotFound, match="stream"):
        await logs.service.put(ACCOUNT, GROUP, "s", [LogLine(logs.now_ms, "a")])
    await logs.service.create_stream(ACCOUNT, GROUP, "s")
    now = logs.now_ms
    refused = await logs.service.put(
        ACCOUNT, GROUP, "s", [LogLine(now - 5, "a"), LogLine(now + 3 * 3_600_000, "late")]
    )
    assert refused == (None, 1, None)
    refused = await logs.service.put(ACCOUNT, GROUP, "s", [LogLine(now - 15 * DAY_MS, "old")])
    assert refused == (1, None, None)
    await logs.service.retain(ACCOUNT, GROUP, 1)
    refused = await logs.service.put(
        ACCOUNT, GROUP, "s", [LogLine(now - DAY_MS - 1, "old"), LogLine(now - DAY_MS + 9, "b")]
    )
    assert refused == (None, None, 1)
    assert await logs.texts() == ["b", "a"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "1 to 10000"),
        ([(2, "a"), (1, "b")], "chronological"),
        ([(1, "a"), (DAY_MS + 2, "b")], "24 hours"),
        ([(1, "x" * 1_048_551)], "too large"),
        ([(1, "x" * 600_000), (2, "x" * 600_000)], "Upload too large"),
    ],
)
async def test_bad_puts_are_refused(logs, lines, said):
    await logs.service.create_group(ACCOUNT, GROUP, {})
    await logs.service.create_stream(ACCOUNT, GROUP, "s")
    with pytest.raises(InvalidInput, match=said):
        await logs.service.put(ACCOUNT, GROUP, "s", [LogLine(*line) for line in lines])


async def test_names_and_tags_have_a_grammar(logs):
    for name in ("", "a b", "x" * 513):
        with pytest.raises(InvalidInput, match="logGroupName"):
            await logs.service.create_group(ACCOUNT, name, {})
    await logs.service.create_group(ACCOUNT, "x" * 512, {"k": "v"})
    with pytest.raises(AlreadyExists):
        await logs.service.create_group(ACCOUNT, "x" * 512, {})
    for stream in ("", "a:b", "a*"):
        with pytest.raises(InvalidInput, match="logStreamName"):
            await logs.service.create_stream(ACCOUNT, "x" * 512, stream)
    await logs.service.tag(ACCOUNT, "x" * 512, add={"l": "w"}, remove=("k",))
    assert (await logs.service.group(ACCOUNT, "x" * 512)).tags == {"l": "w"}
    for tags in ({"aws:x": "1"}, {"": "1"}, {str(index): "" for index in range(51)}):
        with pytest.raises(InvalidInput, match="tag"):
            await logs.service.tag(ACCOUNT, "x" * 512, add=tags)


async def test_many_lines_of_one_moment_keep_their_order(logs):
    lines = [(1_000, f"{number:03}") for number in range(3 * ROW_EVENTS + 1)]
    await logs.add(*lines[:100])
    await logs.add(*lines[100:])
    assert await logs.texts(limit=1_000) == [text for _, text in lines]
    tail = await logs.page(limit=70)
    assert [event.text for event in tail.events] == [text for _, text in lines[-70:]]
