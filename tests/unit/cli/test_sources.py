"""Sources on the terminal: one line each, and below what somebody should know."""

import json

import pytest

from forerun.cli import connection

ACCOUNT = "1" * 12
MAPPING = {
    "Source": f"arn:aws:sqs:us-home-1:{ACCOUNT}:jobs",
    "Target": f"arn:aws:lambda:us-home-1:{ACCOUNT}:function:work:live",
    "Kind": "mapping",
    "Id": "an id",
    "State": "Enabled",
    "Reason": "USER_INITIATED",
    "Waiting": 12,
    "Hidden": 3,
    "Delayed": 0,
    "OldestSeconds": 4.26,
    "InFlight": 5,
    "Running": 5,
    "AtOnce": 10,
    "PerSecond": 80.04,
    "FailuresPerMinute": 2,
    "LastResult": "OK",
}
QUEUE = {"Source": MAPPING["Source"], "Kind": "queue", "Waiting": 12, "PerSecond": 80.0}


@pytest.fixture
def rows(monkeypatch):
    rows = [MAPPING, QUEUE]
    answer = lambda _self, path, **_: {"Sources": rows} if path == "/forerun/sources" else None  # noqa: E731
    monkeypatch.setattr(connection.Connection, "get", answer)
    return rows


def test_each_source_is_a_line(forerun, rows):
    head, mapping, queue = (
        " ".join(line.split()) for line in forerun("sources").stdout.splitlines()
    )
    assert head == "SOURCE KIND TARGET STATE WAITING OLDEST S IN FLIGHT AT ONCE PER S FAILURES/MIN"
    assert mapping == "sqs:jobs mapping lambda:work:live Enabled 12 4.30 5 10 80.0 2"
    assert queue == "sqs:jobs queue 12 - - - 80.0 -"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"LastResult": "PROBLEM: Function call failed"}, "PROBLEM: Function call failed"),
        ({"State": "Disabled", "Reason": "The function does not exist"}, "does not exist"),
        ({"State": "Disabled"}, ""),
        ({}, ""),
    ],
    ids=["failed", "orphaned", "disabled", "fine"],
)
def test_what_is_wrong_is_said(forerun, rows, change, words):
    rows[:] = [MAPPING | change]
    result = forerun("sources")
    assert (words in result.stderr) if words else (result.stderr == "")


def test_without_sources_it_is_said_how_to_have_one(forerun, rows):
    rows.clear()
    assert "create-event-source-mapping" in forerun("sources").stderr


def test_machines_get_it_whole(forerun, rows):
    assert json.loads(forerun("sources", "--json").stdout) == {"Sources": rows}
