"""Profiles on the terminal: what is asked of the server, and what of its answer is shown."""

import json

import msgspec
import pytest
from tests.unit.profiles.findings.profiles import callee, profile, relation

from forerun.cli import connection
from forerun.profiles import Likelihood, PathShare, compare, reach, service_map

THROUGH = callee(
    "B", via="s:80", channels={"header": 600.0}, likelihood=Likelihood(value=0.6, low=0.5, high=0.7)
)
A = profile(
    callees=[callee("s:80"), THROUGH],
    critical_path=[
        PathShare(who="service:s:80", ms=150.0, share=0.75),
        PathShare(who="self", ms=50.0, share=0.25),
    ],
)
B = profile(function="B", callees=[callee("A")])
PAGES = {
    "/forerun/profile": {"Profile": A},
    "/forerun/reach": reach(A, {"A": A, "B": B}),
    "/forerun/map": service_map({"A": A, "B": B}, {"A": 100.0}),
    "/forerun/compare": {
        "From": {"version": "1", "sampled": 1000},
        "To": {"version": "2", "sampled": 900},
        "Changes": compare(A, profile(callees=[THROUGH])),
    },
    "/forerun/monitoring": {
        "OneIn": 7,
        "Reason": "the tag says 7",
        "CallsPerHour": 1234.5,
        "Monitored": 3,
        "Executions": 20,
    },
}


@pytest.fixture
def asked(monkeypatch):
    """What the server was asked; it answers with ``PAGES``."""
    questions = []

    def get(_self, path, **query):
        questions.append((path, {name: value for name, value in query.items() if value}))
        return json.loads(msgspec.json.encode(PAGES[path]))

    monkeypatch.setattr(connection.Connection, "get", get)
    return questions


@pytest.fixture
def tags(monkeypatch):
    """What the function's tags were changed to."""
    changes = []

    class Client:
        def get_function(self, **_given):
            return {"Configuration": {"FunctionArn": "arn:f"}}

        def tag_resource(self, **given):
            changes.append(given)

        untag_resource = tag_resource

    monkeypatch.setattr(connection.Connection, "client", lambda *_, **__: Client())
    return changes


def test_a_profile_shows_its_numbers(forerun, asked):
    shown = forerun("profile", "A", "--version", "1", "--hours", "3").stdout
    assert asked == [
        ("/forerun/profile", {"FunctionName": "A", "Qualifier": "1", "Hours": 3}),
    ]
    lines = {line.strip().split("  ")[0]: line for line in shown.splitlines()}
    assert lines["A"].split() == ["A", "version", "1"]
    assert "200.0" in lines["duration, ms"]
    assert "60 % (50 % to 70 %)" in lines["B through s:80"]
    assert "75 %  150.0 ms" in shown.split("What it waits for")[1]
    assert lines["itself"].split()[-2:] == ["50.0", "ms"]


def test_relations_are_told_in_words(forerun, asked, monkeypatch):
    pair = relation(callee("B"), callee("s:80"))
    monkeypatch.setitem(PAGES, "/forerun/profile", {"Profile": profile(relations=[pair])})
    assert "B ends before s:80 begins" in forerun("profile", "A").stdout


def test_the_graph_is_a_tree_with_its_cycles(forerun, asked):
    shown = forerun("profile", "A", "--graph").stdout
    assert asked == [("/forerun/reach", {"FunctionName": "A"})]
    head, *rest = shown.splitlines()
    assert head == "A"
    assert any(line.lstrip("├└─ ").startswith("B  60 %") and "s:80" in line for line in rest)
    assert "cycle: A calls B calls A" in rest


def test_the_map_lists_calls(forerun, asked):
    shown = forerun("map").stdout
    calls = {tuple(line.split()[:2]) for line in shown.splitlines() if "%" in line}
    assert calls == {("A", "s:80"), ("A", "B"), ("B", "A")}
    assert "cycle: A calls B calls A" in shown


@pytest.mark.parametrize(
    ("given", "query"),
    [
        (("--compare", "1", "2"), {"From": "1", "To": "2"}),
        (("--drift", "6"), {"Hours": 6}),
    ],
    ids=["versions", "drift"],
)
def test_what_changed_is_told_in_sentences(forerun, asked, given, query):
    shown = forerun("profile", "A", *given).stdout
    assert asked == [("/forerun/compare", {"FunctionName": "A", **query})]
    assert "does not call s:80 any more" in shown


@pytest.mark.parametrize("command", [("profile", "A"), ("profile", "A", "--graph"), ("map",)])
def test_json_is_what_the_server_says(forerun, asked, command):
    said = json.loads(forerun(*command, "--json").stdout)
    page = json.loads(msgspec.json.encode(PAGES[asked[0][0]]))
    assert said == page.get("Profile", page)


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        ("on", [{"Resource": "arn:f", "Tags": {"forerun:monitoring": "on"}}]),
        ("7", [{"Resource": "arn:f", "Tags": {"forerun:monitoring": "7"}}]),
        ("auto", [{"Resource": "arn:f", "TagKeys": ["forerun:monitoring"]}]),
    ],
)
def test_the_switch_sets_the_tag_and_says_what_follows(forerun, asked, tags, value, changes):
    shown = forerun("monitor", "f", value).stdout
    assert tags == changes
    assert "one in 7 executions is watched: the tag says 7" in shown
    assert "3 of 20 were watched" in shown


def test_the_switch_knows_its_values(forerun, asked, tags):
    result = forerun("monitor", "f", "sometimes")
    assert result.exit_code == 2
    assert "on, off, auto or a number" in result.stderr
    assert tags == asked == []
