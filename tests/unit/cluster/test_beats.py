"""Beats: changes only, of bounded size, and nothing believed that cannot be."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forerun.cluster import Beat
from forerun.cluster.beats import (
    ENTRIES_MAX,
    Pace,
    State,
    Telling,
    Unbelievable,
    changes,
    merge,
    read,
)
from forerun.host import HostStats, Standing
from forerun.model import ChannelQuality, Phase

STATS = HostStats(
    name="host-1",
    isolation="jail",
    memory_mb=1000,
    booked_mb=10,
    states={"idle": 1},
    pools={"python3.11": (1, 2)},
    waiting=0,
    starts={"warm": 3},
    destroyed=0,
    failed=0,
)
counts = st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(1, 3), max_size=20)


def state(**parts: object) -> State:
    values = {
        "stats": STATS,
        "phase": Phase.ACTIVE,
        "disk_free_mb": 5,
        "idle": {},
        "trees": {},
        "running": {},
        "channels": {},
        "standings": {},
    }
    return State(**values | parts)


@given(st.lists(counts, max_size=8), st.integers(1, 5))
def test_changes_add_up_to_what_is(states, most) -> None:
    told: dict[str, int] = {}
    known: dict[str, int] = {}
    for now in states:
        changed = changes(told, now, 0, most)
        assert len(changed) <= most
        merge(known, changed)
        assert known == told
    last = states[-1] if states else {}
    for _ in range(60):
        merge(known, changes(told, last, 0, most))
    assert known == last


def test_a_host_with_many_versions_tells_them_once_and_then_only_what_changes() -> None:
    idle = {f"{number:06d}-a-key-as-long-as-they-are": 1 for number in range(10_000)}
    telling = Telling()
    sizes = []
    known: dict[str, int] = {}
    for turn in range(8):
        if turn > 5:
            idle["new"] = turn
        beat = telling.beat(state(idle=idle), float(turn))
        packed = msgspec.msgpack.encode(beat)
        assert len(beat.idle) <= ENTRIES_MAX
        sizes.append(len(packed))
        merge(known, beat.idle)
    assert known == idle
    assert max(sizes) < 200_000
    assert max(sizes[5:]) < 1000


def test_a_beat_goes_and_comes() -> None:
    telling = Telling()
    full = state(
        idle={"k": 2},
        trees={"d": True},
        running={"1": 3},
        channels={"a:1": ChannelQuality(1.5)},
        standings={"k": Standing(idle=1)},
    )
    first = read(msgspec.msgpack.encode(telling.beat(full, 1.0)), "host-1", None)
    assert (first.whole, first.idle, first.stats) == (True, {"k": 2}, STATS)
    second = read(msgspec.msgpack.encode(telling.beat(state(), 2.0)), "host-1", first)
    assert (second.whole, second.idle, second.trees) == (False, {"k": 0}, {"d": False})
    assert second.channels == {"a:1": None}
    assert second.standings == {"k": None}


BEAT = Telling().beat(state(), 1.0)
LIES = {
    "other-name": {"stats": msgspec.structs.replace(STATS, name="host-2")},
    "negative": {"stats": msgspec.structs.replace(STATS, booked_mb=-1)},
    "too-large": {"disk_free_mb": 2**60},
    "not-a-number": {"sent": math.nan},
    "endless": {"sent": math.inf},
    "endless-channel": {"channels": {"a:1": ChannelQuality(math.inf)}},
    "negative-count": {"idle": {"k": -5}},
    "long-key": {"idle": {"k" * 5000: 1}},
    "many": {"trees": {str(number): True for number in range(2 * ENTRIES_MAX + 1)}},
    "out-of-turn": {"sequence": 7},
    "not-whole": {"whole": False},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_what_cannot_be_is_not_believed(lie) -> None:
    packed = msgspec.msgpack.encode(msgspec.structs.replace(BEAT, **lie))
    with pytest.raises(Unbelievable):
        read(packed, "host-1", None)


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", msgspec.msgpack.encode([1]), msgspec.msgpack.encode({"sequence": "1"})],
    ids=["nothing", "noise", "list", "types"],
)
def test_what_is_no_beat_is_none(body) -> None:
    with pytest.raises(Unbelievable):
        read(body, "host-1", None)


def test_a_clock_that_goes_backwards() -> None:
    last = read(msgspec.msgpack.encode(BEAT), "host-1", None)
    later = msgspec.structs.replace(BEAT, sequence=2, whole=False, sent=0.5)
    with pytest.raises(Unbelievable, match="backwards"):
        read(msgspec.msgpack.encode(later), "host-1", last)


def test_fields_of_a_newer_host_are_ignored() -> None:
    told = msgspec.to_builtins(BEAT) | {"weather": {"sun": 1}}
    assert isinstance(read(msgspec.msgpack.encode(told), "host-1", None), Beat)


def test_beats_that_come_far_too_fast() -> None:
    pace, now = Pace(0.0), 0.0
    for _ in range(5000):
        now += 1 / 20
        pace.take(now)
    _take(pace, 900, now)
    with pytest.raises(Unbelievable, match="fast"):
        _take(pace, 200, now)


def _take(pace: Pace, count: int, now: float) -> None:
    for _ in range(count):
        pace.take(now)
