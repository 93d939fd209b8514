"""``GET /forerun/forecast`` and ``/forerun/foresight``: what is expected, of whom, and how right that was; of the caller's own."""

import msgspec
import pytest
from tests.unit.control.looking_ahead import ACCOUNT, Rig, qualified, resolved

from forerun.api.caller import Caller
from forerun.api.forecasts import ForecastRoutes
from forerun.errors import InvalidInput, NotFound
from forerun.host import Standing
from forerun.model import Qualified, Reason, StartType, Successor

MINE = Caller(
    account=ACCOUNT,
    region="eu-north-1",
    principal_arn=f"arn:aws:iam::{ACCOUNT}:user/me",
    request_id="r",
    access_key_id="k",
    source_ip="127.0.0.1",
    user_agent="t",
)
OTHER = "2" * 12


class Asked(Rig):
    """Foresight, and what can be asked of it."""

    def __init__(self):
        super().__init__()
        self.names.define()
        self.host.standing = lambda key: Standing(idle=1)
        routes = ForecastRoutes(self.foresight, self.notebook, self.names, self.host).routes()
        self.routes = routes
        self.foresight.start()

    async def get(self, name, **query):
        return msgspec.json.decode(msgspec.json.encode(await self.routes[name](MINE, query)))


@pytest.fixture
async def rig():
    rig = Asked()
    yield rig
    await rig.close()


async def test_what_is_expected_and_held_and_how_right_it_was(rig):
    rig.call(start=StartType.POOL)
    rig.call(start=StartType.PREWARMED, foresight="hit", idle_mb_s=512.0)
    rig.expect(0.0, 30.0, count=2, reason=Reason.LEADER, cause="shop")
    await rig.advance(1.0)
    answer = await rig.get("forecast", FunctionName="f")
    assert (answer["FunctionName"], answer["Qualifier"], answer["Qualifiers"]) == ("f", "", [""])
    [window] = answer["Expected"]
    assert (window["count"], window["reason"], window["cause"]) == (2, "leader", "shop")
    [held] = answer["Held"]
    assert (held["Version"], held["Idle"], held["Reason"], held["Cause"]) == (
        "$LATEST",
        2,
        "leader",
        "shop",
    )
    assert held["Standing"]["idle"] == 1
    assert answer["Score"] == {
        "Calls": 2,
        "Hits": 1,
        "Misses": 1,
        "HitShare": 0.5,
        "Expected": 1,
        "Came": 0,
        "LeadS": None,
        "WastedGbS": 0.5,
    }
    assert answer["Hours"][-1]["Calls"] == 2
    assert answer["MemoryMb"] == 30


async def test_nothing_is_known_of_what_was_never_called(rig):
    answer = await rig.get("forecast", FunctionName="f")
    assert (answer["Forecast"], answer["Expected"], answer["Held"]) == (None, [], [])
    assert answer["Score"]["Calls"] == 0
    assert answer["Score"]["HitShare"] is None


async def test_a_function_that_is_not_there_is_not_found(rig):
    with pytest.raises(NotFound):
        await rig.get("forecast", FunctionName="nobody")


async def test_another_accounts_function_is_refused(rig):
    with pytest.raises(InvalidInput, match="your own account"):
        await rig.get("forecast", FunctionName=f"arn:aws:lambda:us-home-1:{OTHER}:function:f")


async def test_the_list_has_the_callers_own_latest_first(rig):
    rig.call(resolved("old"))
    await rig.advance(2.0)
    rig.call()
    rig.arrivals.put(Qualified(OTHER, "theirs")).counts.calls = 1
    rig.expect(0.0, 30.0)
    await rig.advance(1.0)
    answer = await rig.get("forecast")
    assert [each["FunctionName"] for each in answer["Functions"]] == ["f", "old"]
    assert answer["Functions"][0]["Next"]["reason"] == "recent"
    assert answer["Functions"][1]["Next"] is None
    assert answer["Total"]["Calls"] == 2
    assert len((await rig.get("forecast", MaxItems="1"))["Functions"]) == 1


@pytest.mark.parametrize("given", ["0", "1001", "-1", "x", "1" * 30])
async def test_a_bad_number_is_refused_by_name(rig, given):
    with pytest.raises(InvalidInput, match="MaxItems"):
        await rig.get("forecast", MaxItems=given)


async def test_how_it_goes_altogether(rig):
    rig.names.define("b")
    rig.learned = {qualified("a"): [Successor(function=qualified("b"), likelihood=0.9, samples=50)]}
    await rig.advance(2.5)
    rig.began("a", "5" * 16, "request")
    await rig.until(lambda: rig.host.holds("b.$LATEST"))
    answer = await rig.get("foresight")
    [run] = answer["Running"]
    assert run["request_id"] == "request"
    assert run["ahead"][0]["function"] == "b"
    assert ("b", "caller", "request") in {
        (each["FunctionName"], each["Reason"], each["Cause"]) for each in answer["Held"]
    }


async def test_pools_say_why_they_are_what_they_are(rig):
    rig.policy.rhythms[qualified()] = (10.0, 1.0)
    for _ in range(8):
        rig.call(start=StartType.PREWARMED, foresight="hit")
        await rig.advance(0.3)
    answer = await rig.get("foresight")
    pool = answer["Pools"]["python3.11"]
    assert (pool["Floor"], pool["Base"], pool["Functions"]) == (1, 4, 1)
    assert "4 x (1 - 1.00 x 1.00)" in pool["Reason"]
    assert answer["Errors"] == 0
    assert answer["Known"] == 1
