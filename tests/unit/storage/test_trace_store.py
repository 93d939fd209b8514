"""Segments in their database: kept as they come, found by id, function and time, bounded by age and size."""

import asyncio
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.databases import open_database
from tests.fakes.clock import FakeClock

from forerun.errors import InvalidInput, StorageFailed
from forerun.model import Segment, Span, SpanStatus
from forerun.storage import segment_codec
from forerun.storage.segment_codec import pack_segment, unpack_segment
from forerun.storage.sqlite import TRACES
from forerun.storage.traces import TraceFilter, TraceStore

ACCOUNT, OTHER = "1" * 12, "2" * 12
T0 = 1_700_000_000.0
A = "a" * 32


def trace_of(number: int) -> str:
    return f"{number:032x}"


def span(
    span_id: str = "01", *, trace_id: str = A, at: float = T0, for_s: float = 1.0, **more
) -> Span:
    values = {
        "name": "work",
        "kind": "server",
        "started": at,
        "ended": at + for_s if for_s else 0.0,
    }
    return Span(trace_id=trace_id, span_id=span_id.rjust(16, "0"), **(values | more))


def segment(
    *spans: Span, trace_id: str = A, function: str = "f", account: str = ACCOUNT, **more
) -> Segment:
    spans = spans or (span(trace_id=trace_id),)
    return Segment(account=account, trace_id=trace_id, function=function, spans=list(spans), **more)


@pytest.fixture
def clock():
    return FakeClock(T0)


@pytest.fixture
async def store(tmp_path, clock):
    db = await open_database(tmp_path / "traces.db", migrations=TRACES)
    yield TraceStore(db, clock)
    await db.close()


async def ids(store, wanted=None, **more) -> list[str]:
    page = await store.summaries(ACCOUNT, wanted, **more)
    assert page.before == ""
    return [each.trace_id for each in page.traces]


@pytest.mark.databases
async def test_what_is_kept_comes_back(store):
    kept = segment(
        span("01", attributes={"text": "ä", "n": 1 << 40, "x": 0.5, "yes": True}),
        span("02", parent_id="0" * 15 + "1", at=T0 + 0.5, status=SpanStatus.FAULT, service="f"),
        version="7",
        request_id="r-1",
    )
    await store.append([kept])
    assert await store.trace(ACCOUNT, A) == kept.spans
    [(id_, again)] = await store.segments_since(0)
    assert again == kept
    assert await store.segments_since(id_) == []
    assert await store.between(ACCOUNT, T0, T0 + 1) == [kept]
    assert await store.between(ACCOUNT, T0 + 1, T0 + 2) == []
    assert await store.trace(ACCOUNT, A.upper()) == kept.spans


@pytest.mark.databases
async def test_accounts_see_their_own_even_under_one_trace_id(store):
    await store.append([segment(span("01")), segment(span("02"), account=OTHER)])
    assert [each.span_id[-2:] for each in await store.trace(ACCOUNT, A)] == ["01"]
    assert [each.span_id[-2:] for each in await store.trace(OTHER, A)] == ["02"]
    [mine] = (await store.summaries(ACCOUNT)).traces
    assert mine.segments == 1
    assert await store.between("3" * 12, 0.0, T0 * 2) == []


@pytest.mark.databases
async def test_spans_that_come_twice_are_shown_once(store):
    await store.append(
        [segment(span("01", name="done"), span("02", name="known", source="forerun"))]
    )
    await store.append([segment(span("01", name="again"))])
    await store.append([segment(span("01", name="begun", for_s=0.0))])
    await store.append([segment(span("02", name="somebody else's", source="otlp"))])
    assert [each.name for each in await store.trace(ACCOUNT, A)] == ["again", "known"]


@pytest.mark.databases
async def test_spans_are_told_by_their_start_not_their_arrival(store):
    for number in (3, 1, 2):
        await store.append([segment(span(f"0{number}", at=T0 + number))])
    assert [each.span_id[-1] for each in await store.trace(ACCOUNT, A)] == ["1", "2", "3"]


@pytest.mark.databases
async def test_a_large_trace_is_read_whole_and_a_huge_one_in_part(store):
    await store.append([segment(span(f"{n:04x}", at=T0 + n)) for n in range(500)])
    assert len(await store.trace(ACCOUNT, A)) == 500
    assert len(await store.trace(ACCOUNT, A, most=100)) == 100


@pytest.mark.databases
async def test_a_summary_tells_a_trace_at_a_glance(store):
    root = segment(span("01", at=T0, for_s=2.0), function="entry")
    below = segment(
        span("02", parent_id="01", at=T0 + 1, for_s=3.0, status=SpanStatus.THROTTLE),
        span("03", parent_id="02", at=T0 + 1),
        function="worker",
    )
    unknown = segment(span("04", parent_id="02", at=T0 + 0.5), function="")
    await store.append([below, unknown, root])
    [found] = (await store.summaries(ACCOUNT)).traces
    assert (found.trace_id, found.root, found.functions) == (A, "entry", ["entry", "worker"])
    assert (found.started, found.duration_s) == (T0, 4.0)
    assert (found.status, found.errors) == (SpanStatus.THROTTLE, 1)
    assert (found.executions, found.segments, found.spans) == (2, 3, 4)


@pytest.mark.databases
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(TraceFilter(), [4, 3, 2, 1], id="all"),
        pytest.param(TraceFilter(function="g"), [4, 2], id="function"),
        pytest.param(TraceFilter(function="none"), [], id="no-such-function"),
        pytest.param(TraceFilter(errors=True), [4, 3], id="errors"),
        pytest.param(TraceFilter(function="g", errors=True), [4], id="function-errors"),
        pytest.param(TraceFilter(since=T0 + 2), [4, 3, 2], id="since"),
        pytest.param(TraceFilter(until=T0 + 2), [1], id="until"),
        pytest.param(TraceFilter(since=T0 + 2, until=T0 + 4), [3, 2], id="between"),
        pytest.param(TraceFilter(min_duration_s=2.5), [4, 3], id="duration"),
    ],
)
async def test_filters(store, wanted, expected):
    for number in range(1, 5):
        await store.append(
            [
                segment(
                    span(
                        trace_id=trace_of(number),
                        at=T0 + number,
                        for_s=float(number),
                        status=SpanStatus.FAULT if number > 2 else SpanStatus.OK,
                    ),
                    trace_id=trace_of(number),
                    function="g" if number % 2 == 0 else "f",
                )
            ]
        )
    assert await ids(store, wanted) == [trace_of(number) for number in expected]


@pytest.mark.databases
async def test_pages_have_every_trace_once(store):
    """Also those whose segments lie on both sides of a page's end, and of equal times."""
    for number in range(30):
        at = T0 + number // 3
        await store.append(
            [
                segment(span("01", trace_id=trace_of(number), at=at), trace_id=trace_of(number)),
                segment(
                    span("02", trace_id=trace_of(number), at=at - 5), trace_id=trace_of(number)
                ),
            ]
        )
    seen, before = [], ""
    while True:
        page = await store.summaries(ACCOUNT, limit=4, before=before)
        seen += [int(each.trace_id, 16) for each in page.traces]
        before = page.before
        if not before:
            break
    assert sorted(seen) == list(range(30))
    assert [number // 3 for number in seen] == sorted((n // 3 for n in range(30)), reverse=True)


@pytest.mark.databases
async def test_what_is_imported_late_stands_where_it_happened(store, clock):
    await store.append([segment(span(trace_id=trace_of(1), at=T0), trace_id=trace_of(1))])
    await clock.advance(7200)
    await store.append([segment(span(trace_id=trace_of(2), at=T0 - 10), trace_id=trace_of(2))])
    assert await ids(store) == [trace_of(1), trace_of(2)]


@pytest.mark.databases
async def test_trim_by_age_of_arrival(store, clock):
    await store.append(
        [segment(span(trace_id=trace_of(n)), trace_id=trace_of(n)) for n in range(3)]
    )
    await clock.advance(100)
    late = segment(span(trace_id=trace_of(9), at=T0 - 86_400), trace_id=trace_of(9))
    await store.append([late])
    assert await store.trim(before=T0 + 50, max_bytes=1 << 30) == 3
    assert await ids(store) == [trace_of(9)]
    assert await store.trim(before=T0 + 50, max_bytes=1 << 30) == 0


@pytest.mark.databases
async def test_trim_by_size_takes_the_oldest_and_room_is_used_again(store, tmp_path):
    noise = "".join(chr(33 + (n * n * 7919) % 90) for n in range(3000))

    def batch(first):
        return [
            segment(
                span(trace_id=trace_of(n), attributes={"x": noise[n % 1000 :] + str(n)}),
                trace_id=trace_of(n),
            )
            for n in range(first, first + 1000)
        ]

    bound = 3 << 20
    for first in range(0, 12_000, 1000):
        await store.append(batch(first))
        await store.trim(before=0.0, max_bytes=bound)
        assert await store.size() <= bound
    newest = await store.segments_since(0, limit=100_000)
    assert 0 < len(newest) < 12_000
    kept = [int(each.trace_id, 16) for _, each in newest]
    assert kept == list(range(kept[0], 12_000))
    for file in tmp_path.glob("traces.db"):
        assert file.stat().st_size <= bound * 2


@pytest.mark.databases
async def test_a_bound_that_nothing_meets_ends(store):
    await store.append([segment()])
    assert await store.trim(before=0.0, max_bytes=1) == 1
    assert await store.trim(before=0.0, max_bytes=1) == 0


@pytest.mark.databases
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(Segment(account=ACCOUNT, trace_id=A, spans=[]), id="no-spans"),
        pytest.param(segment(trace_id="xyz"), id="no-hex"),
        pytest.param(segment(trace_id="ab"), id="short"),
        pytest.param(segment(trace_id="ab " * 16), id="blanks"),
        pytest.param(segment(function="\ud800"), id="function-no-text"),
        pytest.param(segment(span(name="\ud800")), id="span-no-text"),
        pytest.param(segment(span(attributes={"n": 1 << 80})), id="number-too-large"),
    ],
)
async def test_what_cannot_be_kept_is_refused(store, bad):
    with pytest.raises(InvalidInput):
        await store.append([segment(), bad])
    assert await ids(store) == []


@pytest.mark.databases
@pytest.mark.parametrize("before", ["x", "1", "1.", ".1", "-1.2", "1.2.3", "٣.٣", "9" * 60 + ".1"])
async def test_a_marker_that_is_none_is_refused(store, before):
    with pytest.raises(InvalidInput, match="no marker"):
        await store.summaries(ACCOUNT, before=before)


@pytest.mark.databases
async def test_a_trace_id_that_is_none_is_refused(store):
    with pytest.raises(InvalidInput, match="32 hexadecimal"):
        await store.trace(ACCOUNT, "1-2-3")


@pytest.mark.databases
@pytest.mark.parametrize(
    "times",
    [(float("nan"), 0.0), (float("inf"), 1.0), (-1.0, -5.0), (1e300, 1e308), (5.0, float("-inf"))],
    ids=str,
)
async def test_no_time_breaks_anything(store, times):
    odd = span()
    odd.started, odd.ended = times
    await store.append([segment(odd)])
    assert await ids(store) == [A]
    assert len(await store.trace(ACCOUNT, A)) == 1


attributes = st.dictionaries(
    st.text(max_size=20),
    st.text(max_size=50)
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.integers(-(2**63), 2**63 - 1),
    max_size=5,
)


@given(
    st.lists(
        st.builds(
            Span,
            trace_id=st.just(A),
            span_id=st.text(max_size=16),
            name=st.text(max_size=30),
            started=st.floats(allow_nan=False),
            ended=st.floats(allow_nan=False),
            status=st.sampled_from(SpanStatus),
            attributes=attributes,
        ),
        max_size=5,
    ),
    st.text(max_size=10),
)
def test_any_segment_survives_its_bytes(spans, version):
    kept = Segment(account=ACCOUNT, trace_id=A, spans=spans, version=version, request_id="r")
    assert unpack_segment(pack_segment(kept)) == (version, "r", spans)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_segment_are_a_clear_failure(body):
    with pytest.raises(StorageFailed):
        unpack_segment(body)


few = st.integers(0, 3)
heads = st.tuples(few, few, st.integers(0, 5), st.integers(0, 3), st.sampled_from(SpanStatus))
filters = st.builds(
    TraceFilter,
    function=st.sampled_from(["", "f0", "f1"]),
    since=st.sampled_from([0.0, T0 + 1, T0 + 3]),
    until=st.sampled_from([0.0, T0 + 2, T0 + 4]),
    errors=st.booleans(),
    min_duration_s=st.sampled_from([0.0, 1.0, 2.0]),
)


def fits(kept: Segment, wanted: TraceFilter) -> bool:
    first = kept.spans[0]
    return (
        wanted.function in ("", kept.function)
        and first.started >= wanted.since
        and (not wanted.until or first.started < wanted.until)
        and (not wanted.errors or first.status is not SpanStatus.OK)
        and max(0.0, first.ended - first.started) >= wanted.min_duration_s
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(heads, max_size=25), filters, st.integers(1, 4))
def test_every_list_is_what_looking_at_each_would_give(given_heads, wanted, limit):
    segments = [
        segment(
            span(f"{n:02}", trace_id=trace_of(trace), at=at, for_s=float(long), status=status),
            trace_id=trace_of(trace),
            function=f"f{function}",
        )
        for n, (trace, function, offset, long, status) in enumerate(given_heads)
        for at in (T0 + offset,)
    ]

    async def listed() -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            db = await open_database(Path(folder) / "traces.db", migrations=TRACES)
            store = TraceStore(db, FakeClock(T0))
            await store.append(segments)
            found, before = [], ""
            while True:
                page = await store.summaries(ACCOUNT, wanted, limit=limit, before=before)
                assert len(page.traces) <= limit
                found += [each.trace_id for each in page.traces]
                before = page.before
                if not before:
                    break
            await db.close()
            return found

    newest: dict[str, float] = {}
    for each in segments:
        if fits(each, wanted):
            at = each.spans[0].started
            newest[each.trace_id] = max(at, newest.get(each.trace_id, 0.0))
    found = asyncio.run(listed())
    assert sorted(found) == sorted(newest)
    assert [newest[each] for each in found] == sorted(newest.values(), reverse=True)


def test_the_dictionary_that_rows_were_written_with_is_still_the_same():
    assert zlib.adler32(segment_codec._FIRST) == 2518119540
