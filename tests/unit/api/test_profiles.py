"""``GET /forerun/profile`` and its neighbours: what callers may ask, of their own account alone."""

import msgspec
import pytest
from tests.fakes.clock import FakeClock
from tests.unit.api.test_findings import MINE, Learned
from tests.unit.profiles.findings.profiles import callee, profile, spread

from forerun.api.profiles import ProfileRoutes
from forerun.errors import InvalidInput, NotFound
from forerun.profiles.minute import Minute, series
from forerun.storage.activity import Spark, Totals

NOW = 1_700_000_000.0


class Known(Learned):
    """Profiles, of which the last hours had those that are ``late``."""

    def __init__(self, *profiles, late=()):
        super().__init__(*profiles)
        self.late = {each.function: each for each in late}

    async def outlines(self, account):
        return await self.list(account)

    async def recent(self, account, name, version, hours):
        assert (account, version, hours) == (MINE.account, "1", 3)
        return self.late.get(name)


class Counted:
    """Activity of one function, A."""

    def __init__(self):
        self.asked = []

    async def of_version(self, account, name, version):
        assert account == MINE.account
        return (12, 3.0)

    async def totals(self, account, *, since):
        assert (account, since) == (MINE.account, NOW - 3600)
        return {"A": Totals(110, 5, 10)}

    async def series(self, account, name, *, since, until, step_s):
        self.asked.append((name, since, until, step_s))
        return series([(int(since), Minute(calls=4))], int(since), int(until), step_s or 60)

    async def sparks(self, account, *, since, until):
        return [Spark("A", since, 4, 1), Spark("A", since + 60, 2, 0)]


async def ask(route, *profiles, late=(), activity=None, **query):
    known = Known(*profiles, late=late)
    routes = ProfileRoutes(known, activity or Counted(), known, FakeClock(NOW)).routes()
    return msgspec.json.decode(msgspec.json.encode(await routes[route](MINE, query)))


CALLS = profile(callees=[callee("B"), callee("s:80")], until=6000.0)
OLD = profile(version="7", until=1.0, duration_ms=spread(900.0))


@pytest.mark.parametrize(
    ("query", "version"),
    [
        ({"FunctionName": "A"}, "1"),
        ({"FunctionName": "A", "Qualifier": "7"}, "7"),
        ({"FunctionName": "A:7"}, "7"),
        ({"FunctionName": "A", "Qualifier": "live"}, "7"),
        ({"FunctionName": f"arn:aws:lambda:eu-north-1:{MINE.account}:function:A"}, "1"),
    ],
    ids=["watched last", "version", "version in the name", "alias", "ARN"],
)
async def test_a_profile_is_that_of_the_version_that_is_meant(query, version):
    found = (await ask("profile", OLD, CALLS, **query))["Profile"]
    assert found["version"] == version
    assert (found["invocations"], found["per_hour"]) == (12, 3.0)


@pytest.mark.parametrize("route", ["profile", "reach"])
@pytest.mark.parametrize(
    ("query", "error", "said"),
    [
        ({}, InvalidInput, "FunctionName is missing"),
        ({"FunctionName": "a b"}, InvalidInput, "functionName"),
        ({"FunctionName": "arn:aws:lambda:x:999999999999:function:A"}, InvalidInput, "your own"),
        ({"FunctionName": "nobody"}, NotFound, "No execution of nobody was watched"),
        ({"FunctionName": "A", "Qualifier": "9"}, NotFound, "version 9 of A"),
        ({"FunctionName": "A", "Qualifier": "no"}, NotFound, "no alias"),
    ],
    ids=["no name", "bad name", "another's", "unknown", "unknown version", "unknown alias"],
)
async def test_what_is_asked_wrongly_is_said(route, query, error, said):
    with pytest.raises(error, match=said):
        await ask(route, CALLS, **query)


async def test_the_last_hours_have_a_profile_of_their_own():
    late = profile(sampled=17)
    found = await ask("profile", CALLS, late=[late], FunctionName="A", Hours="3")
    assert found["Profile"]["sampled"] == 17
    with pytest.raises(NotFound, match="in the last 3 hours"):
        await ask("profile", CALLS, FunctionName="A", Hours="3")
    for hours in ("0", "25", "1.5", "-1", "x"):
        with pytest.raises(InvalidInput, match=r"Hours|positive number"):
            await ask("profile", CALLS, FunctionName="A", Hours=hours)


async def test_versions_and_hours_are_compared():
    found = await ask("compare", OLD, CALLS, FunctionName="A", From="live", To="1")
    assert (found["From"]["version"], found["To"]["version"]) == ("7", "1")
    assert {each["what"] for each in found["Changes"]} >= {"duration_ms.p50", "likelihood"}
    late = profile(duration_ms=spread(900.0))
    drifted = await ask("compare", CALLS, late=[late], FunctionName="A", Hours="3")
    assert any(each["what"] == "duration_ms.p50" for each in drifted["Changes"])
    with pytest.raises(InvalidInput, match="From and To"):
        await ask("compare", CALLS, FunctionName="A", From="1")


async def test_the_map_tells_rates_of_executions_that_ran():
    found = await ask("map", CALLS)
    (rate,) = [node["per_hour"] for node in found["nodes"] if node["id"] == "function:A"]
    assert rate == 100.0
    assert {edge["to"] for edge in found["edges"]} == {"function:B", "service:s:80"}
    assert {edge["from"] for edge in found["edges"]} == {"function:A"}


async def test_all_profiles_are_told_in_short():
    found = (await ask("profiles", OLD, CALLS))["Profiles"]
    assert [(each["version"], each["callees"]) for each in found] == [("7", 0), ("1", 2)]


async def test_activity_has_the_last_hour_unless_more_is_asked():
    counted = Counted()
    assert (await ask("activity", activity=counted, FunctionName="A"))["total"] == 4
    await ask("activity", activity=counted, FunctionName="A", Since="60", Until="660", StepS="300")
    assert counted.asked == [("A", NOW - 3600, NOW, 0), ("A", 60.0, 660.0, 300)]


async def test_activity_of_all_is_a_line_each():
    found = await ask("activity", Since="600", Until="780")
    assert found["functions"] == {"A": {"calls": [4, 2, 0], "errors": [1, 0, 0]}}
    assert (found["since"], found["until"], found["step_s"]) == (600, 780, 60)
    for query in ({"Since": "600", "Until": "600"}, {"Since": "0"}, {"Since": "x"}):
        with pytest.raises(InvalidInput, match=r"Since|Until"):
            await ask("activity", **query)
