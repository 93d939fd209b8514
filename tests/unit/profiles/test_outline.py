"""Outlines say what profiles say, and are read from what profiles are written as."""

import msgspec
import pytest
from bench.imagined import ACCOUNT
from bench.labelled import PLATFORM, SCENARIOS, events_of

from forerun.profiles.fold import fold, name_calls
from forerun.profiles.merging import merge
from forerun.profiles.outline import CalleeHead, TallyHead, outline_of
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
    for outline in (outline_of(read, ACCOUNT, "A", "1"), outline_of(parts, ACCOUNT, "A", "1")):
        for name in ("since", "until", "sampled", "executions", "error_rate", "throttles"):
            assert getattr(outline, name) == getattr(profile, name), name
        assert outline.waiting_share == pytest.approx(profile.waiting_share)
        assert outline.duration_ms.p95 == profile.duration_ms.p95
        assert [each.key for each in outline.callees] == [each.key for each in profile.callees]
        for callee, wanted in zip(outline.callees, profile.callees, strict=True):
            for name in ("executions", "sampled", "likelihood", "calls", "error_rate"):
                assert getattr(callee, name) == getattr(wanted, name), name
            assert callee.latency_ms.p95 == wanted.latency_ms.p95


def test_nothing_known_is_an_empty_outline():
    outline = outline_of([], ACCOUNT, "A", "1")
    assert (outline.sampled, outline.callees, outline.since) == (0, [], 0.0)
