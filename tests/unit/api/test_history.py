"""``GET /forerun/history``: what was called per minute, of the caller's own account."""

from types import SimpleNamespace

import pytest

from forerun.api.caller import Caller
from forerun.api.history import HistoryRoutes
from forerun.errors import InvalidInput
from forerun.model import Qualified
from forerun.prediction import Cost
from forerun.storage.activity import Spark

NOW = 1_700_000_040.0
MINE = Caller(
    account="000000000001",
    region="eu-north-1",
    principal_arn="arn:aws:iam::000000000001:user/me",
    request_id="r",
    access_key_id="k",
    source_ip="127.0.0.1",
    user_agent="t",
)


class Known:
    """Counts and costs of one account."""

    def __init__(self, sparks=(), costs=None):
        self._sparks = sparks
        self._costs = costs or {}
        self.asked = []

    async def sparks(self, account, *, since, until):
        assert account == MINE.account
        self.asked.append((since, until))
        return list(self._sparks)

    def named(self, account, name):
        return [each for each in self._costs if each[:2] == (account, name)]

    def cost(self, function):
        return self._costs[function]


async def ask(known, **query):
    clock = SimpleNamespace(now=lambda: NOW)
    return await HistoryRoutes(known, known, clock).routes()["history"](MINE, query)


async def test_calls_by_function_and_minute_with_what_is_known_of_their_sandboxes():
    costs = {
        Qualified(MINE.account, "f"): Cost(64.0, 20.0),
        Qualified(MINE.account, "f", "live"): Cost(50.0, 30.0),
        Qualified("000000000002", "g"): Cost(1.0, 1.0),
    }
    known = Known([Spark("f", 600, 3, 1), Spark("f", 660, 0, 0), Spark("g", 600, 1, 0)], costs)
    answer = await ask(known, Since="600", Until="721")
    assert answer == {
        "first": 10,
        "end": 13,
        "functions": [
            {"name": "f", "memory_mb": 50.0, "start_ms": 30.0, "calls": [(10, 3)]},
            {"name": "g", "memory_mb": 128.0, "start_ms": 100.0, "calls": [(10, 1)]},
        ],
    }
    assert known.asked == [(600, 780)]


async def test_the_last_hour_where_nothing_is_said():
    known = Known()
    answer = await ask(known)
    assert answer["functions"] == []
    assert (answer["end"] - answer["first"]) in (60, 61)
    assert known.asked[0][1] >= NOW


@pytest.mark.parametrize(
    "query",
    [
        {"Since": "x"},
        {"Since": "-5"},
        {"Until": "1.5"},
        {"Until": "9" * 5000},
        {"Since": "100", "Until": "50"},
        {"Since": "0", "Until": "21601"},
    ],
    ids=["word", "negative", "fraction", "endless", "backwards", "long"],
)
async def test_times_that_cannot_be_are_refused_by_name(query):
    known = Known()
    with pytest.raises(InvalidInput, match=r"Since|Until"):
        await ask(known, **query)
    assert not known.asked
