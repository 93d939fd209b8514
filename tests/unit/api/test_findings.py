"""``GET /forerun/findings``: of one function or of all, of the caller's account alone."""

import time

import pytest
from tests.unit.profiles.findings.profiles import always, callee, profile, spread

from forerun.api.caller import Caller
from forerun.api.findings import FindingRoutes, turned
from forerun.errors import InvalidInput, NotFound

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
    """Profiles by function, in one version each."""

    def __init__(self, *profiles, cycles=()):
        self.by_name = {each.function: each for each in profiles}
        self._cycles = cycles
        self.asked = []

    async def profile(self, account, name, qualifier):
        self.asked.append((account, name, qualifier))
        if name not in self.by_name:
            raise NotFound(f"Nothing is known of {name}")
        return self.by_name[name]

    async def latest(self, account):
        assert account == MINE.account
        return self.by_name

    async def cycles(self, account):
        assert account == MINE.account
        return self._cycles


async def get(learned, **query):
    return await FindingRoutes(learned).routes()["findings"](MINE, query)


waits = profile(callees=[always(critical_share=0.6)])
starts = profile(function="S", init_ms=spread(400.0, 200))


async def test_of_one_function():
    learned = Learned(waits, starts)
    answer = await get(learned, FunctionName="A", Qualifier="live")
    assert [(each.function, each.kind) for each in answer["Findings"]] == [("A", "waiting")]
    assert (answer["Watched"], answer["AtLeast"]) == (1000, 20)
    await get(learned, FunctionName="A:7")
    assert [asked[1:] for asked in learned.asked] == [("A", "live"), ("A", "7")]


async def test_of_all_functions_surest_and_largest_first():
    answer = await get(Learned(starts, waits))
    assert [each.function for each in answer["Findings"]] == ["A", "S"]
    assert answer["Watched"] == 2000
    only = await get(Learned(starts, waits), Kind="init")
    assert [each.function for each in only["Findings"]] == ["S"]


async def test_cycles_are_told_from_each_of_their_functions():
    chain = [profile(function=name, callees=[callee(to)]) for name, to in ("AB", "BC", "CA")]
    answer = await get(Learned(*chain, cycles=[["B", "C", "A"]]))
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
        ({"FunctionName": "no/name"}, InvalidInput),
        ({"FunctionName": "arn:aws:lambda:r:000000000002:function:A"}, InvalidInput),
        ({"Kind": "magic"}, InvalidInput),
    ],
    ids=["unknown", "malformed", "foreign", "kind"],
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
