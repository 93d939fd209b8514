"""Outlines say what profiles say, and are read from what profiles are written as."""

import random
from bisect import insort
from math import ceil

import msgspec
import pytest
from bench.imagined import ACCOUNT
from bench.labelled import PLATFORM, SCENARIOS, events_of

from forerun.profiles.fold import fold, name_calls
from forerun.profiles.merging import merge
from forerun.profiles.outline import GROWN, CalleeHead, Outline, TallyHead, outline_of
from forerun.profiles.presenting import profile_of
from forerun.profiles.tally import CalleeTally, Tally

SIZE = 60


@pytest.mark.parametrize(
    ("head", "whole"), [(TallyHead, Tally), (CalleeHead, CalleeTally)], ids=["tally", "callee"]
)
def test_fields_are_in_the_order_in_which_they_are_packed(head, whole):
    fields = head.__struct_fields__
    assert fields == whole.__struct_fields__[: len(fields)]


@pytest.mark.parametrize("one", SCENARIOS, ids=lambda one: one.name)
def test_an_outline_is_part_of_the_profile(one):
    parts = [Tally(), Tally()]
    for number, event in enumerate(events_of(one, 5, SIZE)):
        if event.record.name == "A":
            part = parts[number * 2 // SIZE % 2]
            fold(part, event, name_calls(event.calls, (), ACCOUNT, {PLATFORM}))
    whole = Tally()
    for part in parts:
        merge(whole, part)
    profile = profile_of(whole, ACCOUNT, "A", "1")
    read = [msgspec.msgpack.decode(msgspec.msgpack.encode(part), type=TallyHead) for part in parts]
    packed = msgspec.msgpack.encode(outline_of(parts))
    outlines = outline_of(read), outline_of(parts), msgspec.msgpack.decode(packed, type=Outline)
    for outline in (each.profile(ACCOUNT, "A", "1") for each in outlines):
        for name in ("since", "until", "sampled", "executions", "error_rate", "throttles"):
            assert getattr(outline, name) == getattr(profile, name), name
        assert msgspec.structs.asdict(outline.init_ms) == pytest.approx(
            msgspec.structs.asdict(profile.init_ms)
        )
        assert outline.waiting_share == pytest.approx(profile.waiting_share)
        assert msgspec.structs.asdict(outline.duration_ms) == pytest.approx(
            msgspec.structs.asdict(profile.duration_ms)
        )
        assert [each.key for each in outline.callees] == [each.key for each in profile.callees]
        for callee, wanted in zip(outline.callees, profile.callees, strict=True):
            for name in ("executions", "sampled", "likelihood", "calls", "error_rate"):
                assert getattr(callee, name) == getattr(wanted, name), name
            assert msgspec.structs.asdict(callee.latency_ms) == pytest.approx(
                msgspec.structs.asdict(wanted.latency_ms)
            )


def test_nothing_known_is_an_empty_outline():
    outline = outline_of([]).profile(ACCOUNT, "A", "1")
    assert (outline.sampled, outline.callees, outline.since) == (0, [], 0.0)


def test_counts_are_of_now_and_quantiles_of_all_but_a_twentieth():
    """What is kept up to date a thousand times a second may not sort its sketches each time."""
    chance = random.Random(7)
    parts = [Tally(), Tally()]
    outline, anew = None, 0
    took: list[float] = []
    for number in range(1, 3_001):
        tally = parts[number % 2]
        tally.sampled += 1
        tally.executions += 1
        tally.squares += 1
        ms = chance.lognormvariate(3, 0.7) * (1 + number / 1000)
        tally.duration.add(ms)
        insort(took, ms)
        before = outline
        outline = outline_of(parts, before)
        if before is not None and outline.duration.seen != before.duration.seen:
            anew += 1
        exact = outline_of(parts).profile(ACCOUNT, "A", "1")
        told = outline.profile(ACCOUNT, "A", "1")
        assert (told.executions, told.duration_ms.count) == (number, number)
        assert told.duration_ms.mean == pytest.approx(exact.duration_ms.mean)
        assert (told.duration_ms.min, told.duration_ms.max) == (
            exact.duration_ms.min,
            exact.duration_ms.max,
        )
        assert number <= outline.duration.seen * (1 + GROWN)
        # A twentieth more moves no rank by more than that; a sketch's own error is 1 %.
        for share, value in ((0.5, told.duration_ms.p50), (0.95, told.duration_ms.p95)):
            low, high = (
                took[min(number - 1, max(0, ceil((share + by) * number) - 1))]
                for by in (-GROWN, GROWN)
            )
            assert low * 0.99 <= value <= high * 1.01
    assert 50 < anew < 200
