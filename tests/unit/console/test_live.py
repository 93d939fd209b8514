"""The live tail gives what was stored to those who watch, and never more than they can take."""

import pytest
from tests.fakes.clock import FakeClock

from forerun.console import Tails
from forerun.console.live import BOUND, LINES, TEXT
from forerun.model import InvocationRecord, LogLine, Timings


def record(account: str = "a") -> InvocationRecord:
    return InvocationRecord(
        request_id="r", account=account, name="f", version="1", timings=Timings(ended=5.0)
    )


@pytest.fixture
def tails() -> Tails:
    return Tails(FakeClock())


async def test_lines_come_with_their_call_to_watchers_of_the_account(tails: Tails):
    with tails.watch("a") as mine, tails.watch("b") as other:
        tails.written([(record(), [LogLine(1500, "hello")])])
        line, call = await mine.take(1)
        assert line == {"what": "log", "at": 1.5, "name": "f", "text": "hello"}
        assert (call["what"], call["name"], call["at"]) == ("call", "f", 5.0)
        assert await other.take(0.01) == []


async def test_nobody_watches_nothing_is_kept(tails: Tails):
    tails.written([(record(), [])])
    with tails.watch("a") as tail:
        assert await tail.take(0.01) == []
    assert tails._tails == []


async def test_what_comes_too_fast_is_counted(tails: Tails):
    with tails.watch("a") as tail:
        tails.written([(record(), [])] * (BOUND + 7))
        events = await tail.take(1)
        assert len(events) == BOUND + 1
        assert events[-1]["text"] == "7 calls came too fast to be shown"
        tails.written([(record(), [])])
        assert len(await tail.take(1)) == 1


async def test_one_call_shows_only_so_many_lines(tails: Tails):
    with tails.watch("a") as tail:
        tails.written([(record(), [LogLine(1, "x" * (TEXT + 9))] * (LINES + 3))])
        events = await tail.take(1)
        assert len(events) == LINES + 2
        assert len(events[0]["text"]) == TEXT
        assert "3 more lines" in events[LINES]["text"]
