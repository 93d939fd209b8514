"""Notices: told to those who heed, and of executions only where somebody watches."""

import pytest

from forerun.events import Bus, FunctionChanged, Watch, Watched


def changed(name: str) -> FunctionChanged:
    return FunctionChanged(account="1", name=name, change="updated", at=1.0)


async def test_who_heeds_hears_notices_in_order_and_who_listens_hears_none():
    bus = Bus()
    heard, events = [], []

    async def heed(notices):
        heard.extend(notice.name for notice in notices)

    async def listen(told):
        events.extend(told)

    bus.note(changed("before anybody heeds"))
    listener = bus.heed("heeding", heed, gather_s=60.0, bound=3)
    bus.listen("listening", listen, gather_s=0.0)
    for name in "abcd":
        bus.note(changed(name))
    await listener.flush()
    assert heard == ["a", "b", "c"]
    bus.note(changed("e"))
    await bus.close()
    assert heard == ["a", "b", "c", "e"]
    assert events == []
    assert bus.dropped() == {"heeding": 1, "listening": 0}


@pytest.mark.parametrize(
    ("watched", "expected"),
    [
        (Watched(), Watch.NOTHING),
        (Watched({("1", "f"): Watch.METADATA}), Watch.METADATA),
        (Watched({("1", "g"): Watch.OUTPUT}), Watch.NOTHING),
        (Watched({("2", "f"): Watch.OUTPUT}), Watch.NOTHING),
        (Watched({("1", "f"): Watch.METADATA}, {"1": Watch.OUTPUT}), Watch.OUTPUT),
        (Watched({("1", "f"): Watch.OUTPUT}, {"1": Watch.METADATA}), Watch.OUTPUT),
        (Watched({}, {"1": Watch.METADATA}), Watch.METADATA),
        (Watched({}, {"2": Watch.OUTPUT}), Watch.NOTHING),
    ],
    ids=["nobody", "function", "other", "foreign", "all-more", "one-more", "all", "foreign-all"],
)
def test_the_more_that_somebody_wants_counts(watched, expected):
    bus = Bus()
    bus.watch(watched)
    assert bus.watched("1", "f") is expected
