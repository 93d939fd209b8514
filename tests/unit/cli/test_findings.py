import json

import msgspec
import pytest
from tests.unit.profiles.findings.profiles import always, profile

from forerun.cli import connection
from forerun.profiles.findings import findings


@pytest.fixture
def answer(monkeypatch):
    """What the server answers, and what it was asked."""
    found = findings(profile(callees=[always(critical_share=0.6)]))
    page = {"Findings": msgspec.to_builtins(found), "Watched": 1000, "AtLeast": 20}
    page["asked"] = []

    def get(_self, path, **query):
        page["asked"].append((path, query))
        return page

    monkeypatch.setattr(connection.Connection, "get", get)
    return page


def test_findings_of_one_function_come_with_their_numbers(forerun, answer):
    shown = forerun("findings", "A", "--version", "1").stdout
    assert "1. A spends 60 % of its time waiting for B  [waiting, measured]" in shown
    assert "gain  120.0 ms (60 %) of each execution: " in shown
    assert "executions watched 1,000 executions; " in shown
    assert answer["asked"] == [
        ("/forerun/findings", {"FunctionName": "A", "Qualifier": "1"}),
    ]


def test_all_findings_are_a_table(forerun, answer):
    result = forerun("findings")
    head, row = result.stdout.splitlines()
    assert head.split()[:3] == ["FUNCTION", "VERSION", "FINDING"]
    assert "waiting for B" in row
    assert row.endswith("120.0 ms (60 %)")
    assert "forerun findings NAME" in result.stderr


def test_findings_as_json_and_of_one_kind(forerun, answer):
    assert json.loads(forerun("findings", "A", "--json").stdout) == answer["Findings"]
    assert json.loads(forerun("findings", "A", "--json", "--kind", "waiting").stdout)
    other = forerun("findings", "A", "--kind", "init")
    assert other.stdout == ""
    assert "Nothing of kind init" in other.stderr


@pytest.mark.parametrize(
    ("watched", "said"), [(3, "findings need 20"), (5000, "in 5,000 executions")]
)
def test_nothing_found_says_why(forerun, answer, watched, said):
    answer.update(Findings=[], Watched=watched)
    assert said in forerun("findings", "A").stderr


def test_a_version_needs_a_function(forerun, answer):
    assert forerun("findings", "--version", "1").exit_code == 2
