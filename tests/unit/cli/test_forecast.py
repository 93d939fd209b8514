"""Forecasts on the terminal: what is asked of the server, and what of its answer is shown."""

import json

import pytest

from forerun.cli import connection

NOW = 1_700_000_000.0
SCORE = {
    "Calls": 120,
    "Hits": 90,
    "Misses": 10,
    "HitShare": 0.9,
    "Expected": 100,
    "Came": 95,
    "LeadS": 1.25,
    "WastedGbS": 3.5,
}
WINDOW = {
    "since": NOW + 20,
    "until": NOW + 40,
    "probability": 0.93,
    "reason": "period",
    "count": 1,
    "cause": "30",
}
LATER = WINDOW | {"since": NOW + 3600, "until": NOW + 3660, "cause": "", "count": 4}
HELD = {
    "Version": "7",
    "Idle": 0,
    "Provisioned": 2,
    "LingerS": 0.0,
    "LeaseS": 19.5,
    "Reason": "period",
    "Cause": "pause",
    "Standing": {"idle": 1, "working": 1, "preparing": 1, "provisioned": 2, "failure": "no memory"},
}
FORECAST = {
    "at": NOW,
    "calls": 120,
    "last": NOW - 10,
    "burst": 1,
    "period_s": 30.0,
    "regularity": 0.97,
    "habits": [
        {
            "tick_s": 1.0,
            "gaps": 64,
            "shortest_s": 29.0,
            "median_s": 30.0,
            "longest_s": 7300.0,
            "age_s": 10.0,
            "chances": {"age": 0.021, "own": 0.001},
        }
    ],
    "days": [["09:00", [1, 2]], ["09:30", [1]]],
    "leaders": [
        {
            "name": "shop",
            "lag_s": 3.0,
            "correlation": 0.9,
            "seen": 7,
            "gain": 1.5,
            "believed": True,
        },
        {
            "name": "else",
            "lag_s": 3.0,
            "correlation": 0.1,
            "seen": 1,
            "gain": 1.5,
            "believed": False,
        },
    ],
    "windows": [WINDOW, LATER],
}
ONE = {
    "Enabled": True,
    "FunctionName": "f",
    "Qualifier": "",
    "Qualifiers": ["", "prod"],
    "Now": NOW,
    "Forecast": FORECAST,
    "Expected": [WINDOW],
    "Held": [HELD],
    "StartMs": {"typical": 12.5, "slow": 40.0},
    "MemoryMb": 31.0,
    "Score": SCORE,
    "Hours": [],
}
ALL = {
    "Enabled": True,
    "Functions": [
        {"FunctionName": "f", "Qualifier": "prod", "LastCall": NOW, "PeriodS": 30.0, "Next": WINDOW}
        | SCORE,
        {"FunctionName": "g", "Qualifier": "", "LastCall": NOW, "PeriodS": 0.0, "Next": None}
        | SCORE
        | {"LeadS": None},
    ],
    "Total": SCORE,
}


@pytest.fixture
def server(monkeypatch):
    """What the server answers, and what it was asked."""
    page = {"answer": ONE, "asked": []}

    def get(_self, path, **query):
        page["asked"].append((path, {name: value for name, value in query.items() if value}))
        return json.loads(json.dumps(page["answer"]))

    monkeypatch.setattr(connection.Connection, "get", get)
    return page


def test_a_forecast_says_what_when_why_and_how_right(forerun, server):
    result = forerun("forecast", "f")
    shown = result.stdout
    assert server["asked"] == [("/forerun/forecast", {"FunctionName": "f"})]
    assert "a call, 93 %: it is called every 30 s" in shown
    assert "4 calls at once, 93 %: it is often called at this time" in shown
    assert "a period of 30 s, kept to 97 %" in shown
    assert "64 gaps of 29 s to 2 h, mostly 30 s; a call now by age 2.1%, own 0.1%" in shown
    assert "called at 09:00, 09:30 (UTC) on days before" in shown
    assert "follows shop after 3 s: 7 times, correlation 0.90, 1.5 calls for each" in shown
    assert "else" not in shown
    assert (
        "version 7: 2 provisioned, others go after their call, for 19.5 s (period); "
        "there are 1 idle, 1 at work, 1 in the making; no memory"
    ) in shown
    assert "costs 12.5 ms, at most 40.0; 31 MB are held" in shown
    assert "95 of 100 expected came, 1.2 s after their sandboxes were begun" in shown
    assert "90 found a sandbox that was there because they were expected, 10 had to wait" in shown
    assert "waiting sandboxes have cost 3.500 GB-s" in shown
    assert "also called as prod" in result.stderr


def test_of_a_name_that_was_not_called_nothing_is_known(forerun, server):
    server["answer"] = ONE | {"Forecast": None, "Expected": [], "Held": [], "Qualifiers": []}
    result = forerun("forecast", "f", "--qualifier", "1")
    assert server["asked"] == [("/forerun/forecast", {"FunctionName": "f", "Qualifier": "1"})]
    assert "has not been called that way yet" in result.stderr


def test_all_functions_are_a_table(forerun, server):
    server["answer"] = ALL
    result = forerun("forecast")
    head, first, second = result.stdout.splitlines()
    assert head.split()[:3] == ["FUNCTION", "CALLS", "NEXT"]
    assert first.split()[0] == "f:prod"
    assert "period 30" in first
    assert second.split()[:4] == ["g", "120", "-", "-"]
    assert "Of 100 calls that would have waited for a start 90 % did not" in result.stderr


def test_machines_get_it_whole(forerun, server):
    assert json.loads(forerun("forecast", "f", "--json").stdout) == ONE


def test_that_it_is_off_is_said(forerun, server):
    server["answer"] = ONE | {"Enabled": False}
    assert "foresight.enabled is false" in forerun("forecast", "f").stderr


def test_a_qualifier_needs_a_name(forerun, server):
    result = forerun("forecast", "--qualifier", "1")
    assert result.exit_code == 2
    assert "needs the NAME" in result.stderr
