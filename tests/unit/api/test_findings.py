"""``GET /forerun/findings``: of one function or of all, of the caller's account alone."""

import time
from types import SimpleNamespace

import pytest
from tests.unit.profiles.findings.profiles import always, callee, profile, spread

from forerun.api.caller import Caller
from forerun.api.findings import FindingRoutes
from forerun.errors import InvalidInput, NotFound
from forerun.profiles.findings import turned

MINE = Caller(
    account="000000000001",
    region="eu-north-1",
    principal_arn="arn:aws:iam::000000000001:user/me",
    request_id="r",
    access_key_id="k",
    source_ip="127.0.0.1",
    user_agent="t",
)


class Learned:
    """Profiles, and an alias ``live`` of version 7 of each function."""

    def __init__(self, *profiles):
        self.profiles = profiles

    async def get(self, account, name, version):
        assert account == MINE.account
        found = (each for each in self.profiles if (each.function, each.version) == (name, version))
        return next(found, None)

    async def list(self, account):
        assert account == MINE.account
        return list(self.profiles)

    outlines = list

    async def resolve(self, account, name, qualifier, draw):
        assert account == MINE.account
        if qualifier != "live":
            raise NotFound(f"There is no alias {qualifier}")
        return SimpleNamespace(function=SimpleNamespace(version="7"))


async def get(learned, **query):
    return await FindingRoutes(learned, learned).routes()["findings"](MINE, query)


waits = profile(callees=[always(critical_share=0.6)])
starts = profile(function="S", init_ms=spread(400.0, 200))


async def test_of_one_function_the_version_watched_last():
    old = profile(version="7", until=1.0, init_ms=spread(400.0, 200))
    answer = await get(Learned(old, waits, starts), FunctionName="A")
    assert [(each.function, each.kind) for each in answer["Findings"]] == [("A", "waiting")]
    assert (answer["Watched"], answer["AtLeast"]) == (1000, 20)


@pytest.mark.parametrize(
    "query",
    [
        {"FunctionName": "A", "Qualifier": "7"},
        {"FunctionName": "A", "Qualifier": "live"},
        {"FunctionName": "A:7"},
        {"FunctionName": "arn:aws:lambda:r:000000000001:function:A:live"},
    ],
    ids=["version", "alias", "in-name", "arn"],
)
async def test_of_a_version(query):
    old = profile(version="7", until=1.0, init_ms=spread(400.0, 200))
    answer = await get(Learned(old, waits), **query)
    assert [(each.version, each.kind) for each in answer["Findings"]] == [("7", "init")]


async def test_of_all_functions_surest_and_largest_first():
    answer = await get(Learned(starts, waits))
    assert [each.function for each in answer["Findings"]] == ["A", "S"]
    assert answer["Watched"] == 2000
    only = await get(Learned(starts, waits), Kind="init")
    assert [each.function for each in only["Findings"]] == ["S"]


async def test_cycles_are_told_from_each_of_their_functions():
    waits_for_c = profile(function="X", callees=[callee("C")])
    chain = [profile(function=name, callees=[callee(to)]) for name, to in ("AB", "BC", "CA")]
    answer = await get(Learned(*chain, waits_for_c))
    assert sorted(each.title for each in answer["Findings"]) == [
        "A calls B calls C calls A: a cycle",
        "B calls C calls A calls B: a cycle",
        "C calls A calls B calls C: a cycle",
    ]
    assert turned([["B", "A"], ["C"]], "A") == [["A", "B"]]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"FunctionName": "nobody"}, NotFound),
        ({"FunctionName": "A", "Qualifier": "8"}, NotFound),
        ({"FunctionName": "A", "Qualifier": "dead"}, NotFound),
        ({"FunctionName": "no/name"}, InvalidInput),
        ({"FunctionName": "arn:aws:lambda:r:000000000002:function:A"}, InvalidInput),
        ({"Kind": "magic"}, InvalidInput),
    ],
    ids=["unknown", "version", "alias", "malformed", "foreign", "kind"],
)
async def test_what_cannot_be_answered_says_why(query, error):
    with pytest.raises(error):
        await get(Learned(waits), **query)


async def test_a_thousand_functions_are_answered_soon():
    many = [
        profile(function=f"f{n}", callees=[always(f"c{m}", critical_share=0.1) for m in range(10)])
        for n in range(1000)
    ]
    began = time.monotonic()
    await get(Learned(*many))
    assert time.monotonic() - began < 5
