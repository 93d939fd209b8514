"""Looking ahead from what runs: functions that running executions are likely to call are prepared at once, because of them."""

import pytest
from tests.unit.control.looking_ahead import Rig, qualified

from forerun.model import Reason, StartType, Successor


@pytest.fixture
async def rig():
    rig = Rig()
    rig.names.define()
    rig.foresight.start()
    yield rig
    await rig.close()
    assert rig.foresight.failed == 0


async def learned(rig, name="a", **more):
    """Executions of ``a`` call ``b`` nine times out of ten."""
    values = {"function": qualified("b"), "likelihood": 0.9, "samples": 50} | more
    rig.names.define("b")
    rig.learned = {qualified(name): [Successor(**values)]}
    await rig.advance(2.5)


async def test_what_running_executions_lead_to_is_prepared_at_once(rig):
    await learned(rig, calls=2)
    end = rig.began("a", "5" * 16)
    await rig.until(lambda: rig.host.holds("b.$LATEST"))
    told = rig.host.holds("b.$LATEST")
    assert (told.idle, told.start) == (2, StartType.PRELOADED)
    assert (told.reason, told.cause) == (Reason.CALLER, "request")
    end()
    await rig.until(lambda: rig.host.holds("b.$LATEST").idle == 0)


async def test_its_call_takes_the_expectation_back(rig):
    await learned(rig)
    end = rig.began("a", "5" * 16)
    await rig.until(lambda: rig.host.holds("b.$LATEST"))
    rig.began("b", "6" * 16, "other", cause="5" * 16)()
    await rig.until(lambda: rig.host.holds("b.$LATEST").idle == 0)
    end()


async def test_what_is_unlikely_is_not_prepared(rig):
    await learned(rig, likelihood=0.3)
    rig.began("a", "5" * 16)()
    await rig.advance(5.0)
    assert rig.host.holds("b.$LATEST") is None


async def test_many_executions_at_once_are_seen_to_together(rig):
    await learned(rig)
    ends = [rig.began("a", f"{number:016x}") for number in range(100)]
    await rig.until(lambda: rig.host.holds("b.$LATEST"))
    for end in ends:
        end()
    await rig.until(lambda: rig.host.holds("b.$LATEST").idle == 0)
    assert len(rig.host.told) < 20
