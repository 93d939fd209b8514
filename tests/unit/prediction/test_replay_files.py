"""Recordings as others write them: what cannot be is refused with file and line, or left out and counted."""

from array import array
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forerun.errors import InvalidInput
from forerun.prediction.replay import (
    MinuteReader,
    Schema,
    Sizes,
    Source,
    read_calls,
    schema_of,
)

HEAD = "HashOwner,HashApp,HashFunction,Trigger"


def by_minutes(*files, sizes=""):
    """The recording of files (name, text), and what was skipped."""
    skipped = Counter()
    known = Sizes()
    if sizes:
        known.read(Source("memory.csv", sizes.splitlines(keepends=True)), skipped)
    reader = MinuteReader(known, start_ms=1000.0)
    for name, text in files:
        reader.add(Source(name, text.splitlines(keepends=True)))
    return reader.read(skipped)


def one(text, **more):
    return by_minutes(("invocations.csv", text), **more)


def by_calls(text):
    skipped = Counter()
    source = Source("calls.csv", text.splitlines(keepends=True))
    return read_calls([source], skipped, memory_mb=128.0, start_ms=1000.0)


def test_calls_per_minute():
    found = one(
        f"{HEAD},480,481,482\no,a,f,timer,0,2,1\no,a,g,http,1,0,0\n",
        sizes="HashOwner,HashApp,HashFunction,AverageAllocatedMb\no,a,f,55.5\n",
    )
    f, g = found.functions
    assert (found.first, found.end, found.minutes) == (480, 483, 3)
    assert (f.about.name, f.about.group, f.about.kind) == ("f", ("o", "a"), "timer")
    assert (g.about.kind, g.about.memory_mb, f.about.memory_mb) == ("call", 128.0, 55.5)
    assert (f.minutes, f.counts) == (array("I", [481, 482]), array("I", [2, 1]))
    assert not found.skipped


def test_days_follow_each_other_whatever_the_order_of_their_files():
    days = [
        (f"invocations_per_function_md.anon.d{day:02d}.csv", f"{HEAD},1,2\no,a,f,http,{day},0\n")
        for day in (3, 1)
    ]
    found = by_minutes(*days)
    (calls,) = found.functions
    assert (calls.minutes, calls.counts) == (array("I", [1, 2881]), array("I", [1, 3]))
    assert found.skipped == {"minutes that are missing": 2882 - 4}


def test_memory_may_be_that_of_the_app_alone():
    sizes = "HashOwner,HashApp,SampleCount,AverageAllocatedMb\no,a,9,210\n"
    (calls,) = one(f"{HEAD},1\no,a,f,http,1\n", sizes=sizes).functions
    assert calls.about.memory_mb == 210


def test_columns_may_come_in_any_order_and_minutes_may_be_missing():
    found = one("485,HashFunction,480\n7,f,1\n")
    (calls,) = found.functions
    assert (calls.minutes, calls.counts) == (array("I", [480, 485]), array("I", [1, 7]))
    assert found.skipped == {"minutes that are missing": 4}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("o,a,g,http,-5,1", "rows with negative counts"),
        ("o,a,g,http,x,1", "rows with counts that are no numbers"),
        ("o,a,g,http,1.5,1", "rows with counts that are no numbers"),
        ("o,a,g,http,,1", "rows with counts that are no numbers"),
        ("o,a,g,http,٣,1", "rows with counts that are no numbers"),
        ("o,a,g,http,99999999999999,1", "rows with counts that cannot be"),
        ("o,a,g,http,4294967296,1", "rows with counts that cannot be"),
        ("o,a,g,http,1", "rows with too few or too many cells"),
        ("o,a,g,http,1,1,1", "rows with too few or too many cells"),
        ("o,a,f,http,4,4", "functions told twice"),
    ],
)
def test_a_row_that_cannot_be_is_left_out_and_counted(row, reason):
    found = one(f"{HEAD},1,2\no,a,f,http,1,0\n{row}\n\n")
    assert [calls.about.name for calls in found.functions] == ["f"]
    assert found.skipped == {reason: 1}


@pytest.mark.parametrize("memory", ["-1", "0", "nan", "inf", "", "much", "1e9"])
def test_memory_that_cannot_be_is_left_out_and_counted(memory):
    found = one(f"{HEAD},1\no,a,f,http,1\n", sizes=f"HashFunction,AverageAllocatedMb\nf,{memory}\n")
    assert found.functions[0].about.memory_mb == 128.0
    assert found.skipped == {"memory that cannot be": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "bad.csv, line 1: a line with the names of columns is missing"),
        ("\n", "bad.csv, line 1: a line with the names of columns is missing"),
        ("HashApp,1,2\n", "bad.csv, line 1: column 'HashFunction' is missing"),
        ("HashFunction,1,1\n", "bad.csv, line 1: column '1' is there twice"),
        ("HashFunction,1,01\n", "bad.csv, line 1: a minute is there twice"),
        ("HashFunction,1\n", "bad.csv has no function that can be used"),
        ("HashFunction,1\nf,-1\n", "bad.csv has no function that can be used"),
        ("HashFunction,1,999999\nf,1,1\n", "bad.csv, line 1: more than"),
        (f"HashFunction,1\nf,1\n{'x' * 200_000},1\n", "bad.csv, line 3: field larger than"),
    ],
    ids=[
        "empty",
        "blank",
        "no-function",
        "twice",
        "minute-twice",
        "no-row",
        "no-good-row",
        "span",
        "field",
    ],
)
def test_a_file_that_is_broken_as_a_whole_is_named_with_its_line(text, said):
    with pytest.raises(InvalidInput) as error:
        by_minutes(("bad.csv", text))
    assert error.value.message.startswith(said)


def test_days_that_overlap_are_refused_by_name():
    text = f"{HEAD},1,2\no,a,f,http,1,1\n"
    with pytest.raises(InvalidInput, match=r"a\.csv and b\.csv tell the same minutes"):
        by_minutes(("a.csv", text), ("b.csv", text))


def test_calls_one_by_one():
    found = by_calls("app,func,end_timestamp,duration\na,f,10.5,0.5\na,g,12.0,4.0\nb,f,12.5,0.25\n")
    assert [about.name for about in found.functions] == ["f", "g", "f"]
    assert [(call.begin, call.seconds, call.place) for call in found.calls] == [
        (8.0, 4.0, 1),
        (10.0, 0.5, 0),
        (12.25, 0.25, 2),
    ]
    assert (found.first_s, found.end_s) == (8.0, 12.5)
    assert not found.skipped, "in the order of their ends is an order, too"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a,f,5,-1", "calls with negative durations"),
        ("a,f,5,nan", "calls with durations that cannot be"),
        ("a,f,5,1e9", "calls with durations that cannot be"),
        ("a,f,-5,1", "calls with times that cannot be"),
        ("a,f,1e30,1", "calls with times that cannot be"),
        ("a,f,soon,1", "calls with times that cannot be"),
        ("a,f,5", "rows with too few or too many cells"),
    ],
)
def test_a_call_that_cannot_be_is_left_out_and_counted(row, reason):
    found = by_calls(f"app,func,end_timestamp,duration\na,f,20,1\n{row}\n")
    assert len(found.calls) == 1
    assert found.skipped == {reason: 1}


def test_a_clock_that_jumps_back_is_sorted_and_counted():
    rows = "".join(f"a,f,{at},1\n" for at in (10, 20, 5, 30))
    found = by_calls(f"app,func,end_timestamp,duration\n{rows}")
    assert [call.begin for call in found.calls] == [4, 9, 19, 29]
    assert found.skipped == {"calls out of order, sorted": 1}


def test_what_began_before_the_recording_has_no_negative_time():
    found = by_calls("app,func,end_timestamp,duration\na,f,10,100\na,f,20,1\n")
    assert [call.begin for call in found.calls] == [30.0, 139.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("app,func,duration\n", "'end_timestamp' is missing"),
        ("app,func,end_timestamp,duration\n", "no call that can be used"),
        ("app,func,end_timestamp,duration\na,f,1,1\na,f,99999999999,1\n", "minutes apart"),
    ],
    ids=["column", "nothing", "span"],
)
def test_calls_that_are_broken_as_a_whole_are_refused(text, said):
    with pytest.raises(InvalidInput, match=said):
        by_calls(text)


@pytest.mark.parametrize(
    ("header", "schema"),
    [
        (f"{HEAD},1,2", Schema.MINUTES),
        ("app,func,end_timestamp,duration", Schema.CALLS),
        ("HashOwner,HashApp,SampleCount,AverageAllocatedMb", Schema.MEMORY),
        ("HashOwner,HashApp,HashFunction,Average,Count,Minimum,Maximum", Schema.DURATIONS),
        ("TraceID,SpanID,ParentID", None),
        ("HashFunction,Trigger", None),
    ],
)
def test_schemas_are_told_by_their_columns(header, schema):
    assert schema_of(header.split(",")) is schema


cells = st.one_of(
    st.integers(-3, 9).map(str),
    st.sampled_from(["", "x", "nan", "-0", "1e3", '"', '"a', "\x00", "\ufeff", "9" * 40, "0x1"]),
    st.text(max_size=6),
)
names = st.sampled_from(
    [
        "HashFunction",
        "HashApp",
        "AverageAllocatedMb",
        "1",
        "2",
        "7",
        "app",
        "func",
        "duration",
        "end_timestamp",
        "",
    ]
)
tables = st.tuples(
    st.lists(names, max_size=7), st.lists(st.lists(cells, max_size=7), max_size=8)
).map(lambda made: [",".join(row) + "\n" for row in (made[0], *made[1])])


def sentence(read):
    """What is said when it cannot be read; empty when it can."""
    try:
        read()
    except InvalidInput as error:
        return error.message
    return ""


def checked_minutes(lines, skipped):
    reader = MinuteReader(Sizes(), start_ms=1.0)
    reader.add(Source("some.csv", lines))
    found = reader.read(skipped)
    for calls in found.functions:
        assert list(calls.minutes) == sorted(set(calls.minutes))
        assert all(found.first <= minute < found.end for minute in calls.minutes)
        assert all(count > 0 for count in calls.counts)


def checked_calls(lines, skipped):
    source = Source("some.csv", lines)
    found = read_calls([source], skipped, memory_mb=1.0, start_ms=1.0)
    assert all(call.begin >= 0 and call.seconds >= 0 for call in found.calls)
    assert list(found.calls) == sorted(found.calls)


@settings(max_examples=400, deadline=None)
@given(st.one_of(tables, st.lists(st.text(max_size=60), max_size=8)))
def test_whatever_is_read_gives_a_recording_or_a_sentence(lines):
    skipped = Counter()
    for read in (checked_minutes, checked_calls):
        said = sentence(lambda read=read: read(lines, skipped))
        assert not said or "some.csv" in said
    said = sentence(lambda: Sizes().read(Source("some.csv", lines), skipped))
    assert not said or said.startswith("some.csv, line ")
    assert all(count > 0 for count in skipped.values())
