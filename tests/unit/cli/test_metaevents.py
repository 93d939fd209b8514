"""Metaevents on the command line: from flags or a file to a rule, and a rule in words."""

import json

import pytest

from forerun.cli import connection

RULE = {
    "Name": "dead",
    "Job": f"arn:aws:lambda:us-home-1:{'1' * 12}:function:alarm:live",
    "Enabled": True,
    "Held": False,
    "Fired": 3,
    "Refused": 1,
    "FiredAt": 0.0,
    "NextMoment": None,
    "When": {"event": "execution.ended"},
    "Why": ["The criteria do not hold now.", "When: it says why"],
    "LastEvent": {"event": "execution.ended", "function": "f", "at": 5.0},
    "Jobs": [{"Id": "a-1", "RequestId": "r-1", "At": 5.0, "Chain": ["one", "dead"]}],
    "Evaluations": [
        {
            "Until": 5.0,
            "Times": 7,
            "Event": "",
            "Held": True,
            "Parts": [{"Held": True, "Value": 5.04321}, {"Held": False, "Value": None}],
            "Job": "",
            "Refused": "its cooldown lasts 3 s more",
        }
    ],
}


@pytest.fixture
def server(monkeypatch):
    """What was asked of the server; it knows one rule."""
    asked = []

    def get(_self, path, **query):
        asked.append((path, query))
        return {"Metaevents": [RULE]} if path.endswith("s") else {"Metaevent": RULE}

    def post(_self, path, **members):
        asked.append((path, {key: value for key, value in members.items() if value is not None}))
        if path.endswith("test-metaevent"):
            step = {"At": 5.0, "Event": "", "Held": True, "Fires": True}
            part = {"Path": "When", "Says": "no backup", "Held": True, "Value": 5.0}
            return {"Fires": [5.0], "Steps": [step | {"Parts": [part]}]}
        return {"Metaevent": RULE}

    monkeypatch.setattr(connection.Connection, "get", get)
    monkeypatch.setattr(connection.Connection, "post", post)
    return asked


ABSENT = {"absent": {"event": "execution.started", "function": "backup"}, "within": "5s"}
LEAF = {"event": "execution.ended", "function": "work", "where": "event.cold"}
ON = ("--on", "execution.ended", "--of", "work", "--where", "event.cold")


@pytest.mark.parametrize(
    ("flags", "given"),
    [
        (("--absent", "backup", "--within", "5s"), {"When": ABSENT}),
        (ON, {"When": LEAF}),
        (
            (*ON, "--times", "3", "--over", "1m"),
            {"When": {"count": LEAF, "over": "1m", "at_least": 3}},
        ),
        (
            ("--on", "host.changed", "--disabled"),
            {"When": {"event": "host.changed"}, "Enabled": False},
        ),
        (
            (*ON, "--input", '{"a": 1}', "--cooldown", "1h", "--description", "d"),
            {"When": LEAF, "Input": {"a": 1}, "Cooldown": "1h", "Description": "d"},
        ),
    ],
    ids=["absent", "event", "count", "disabled", "rest"],
)
def test_flags_make_a_rule(forerun, server, flags, given):
    result = forerun("metaevents", "put", "dead", *flags, "--run", "alarm")
    assert result.exit_code == 0, result.output
    assert server == [("/forerun/put-metaevent", {"Name": "dead", "Job": "alarm", **given})]
    assert "dead runs alarm:live." in result.stderr
    assert "it says why" in result.stderr


def test_a_file_makes_a_rule_and_flags_change_it(forerun, server, tmp_path):
    file = tmp_path / "rule.yaml"
    file.write_text(
        "When:\n  absent: {event: execution.started}\n  within: 5s\nJob: old\nDescription: 2026-01-01\n"
    )
    assert forerun("metaevents", "put", "dead", "--file", str(file), "--run", "new").exit_code == 0
    [(_, given)] = server
    assert given == {
        "Name": "dead",
        "When": {"absent": {"event": "execution.started"}, "within": "5s"},
        "Job": "new",
        "Description": "2026-01-01",
    }


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "needs criteria and a job"),
        (("--run", "a"), "needs criteria and a job"),
        (("--absent", "backup", "--run", "a"), "--absent and --within go together"),
        (("--within", "5s", "--run", "a"), "--absent and --within go together"),
        (("--of", "f", "--run", "a"), "belong to --on EVENT"),
        (("--on", "execution.ended", "--times", "3", "--run", "a"), "--times and --over"),
        (("--on", "execution.ended", "--run", "a", "--input", "{"), "--input is not JSON"),
        (("--file", "missing.yaml", "--run", "a"), "does not exist"),
    ],
    ids=[
        "nothing",
        "no criteria",
        "no within",
        "no absent",
        "no event",
        "no over",
        "input",
        "file",
    ],
)
def test_what_cannot_be_meant_is_refused(forerun, server, flags, words):
    result = forerun("metaevents", "put", "dead", *flags)
    assert result.exit_code == 2
    assert words in result.output
    assert server == []


@pytest.mark.parametrize("text", ["{", "- a\n- b\n", "\xff"], ids=["broken", "a list", "no text"])
def test_a_file_that_is_no_rule(forerun, server, tmp_path, text):
    file = tmp_path / "rule.yaml"
    file.write_bytes(text.encode("latin-1"))
    result = forerun("metaevents", "put", "dead", "--file", str(file))
    assert result.exit_code == 1
    assert str(file) in result.output.replace("\n", "")


def test_rules_are_lines(forerun, server):
    head, line = forerun("metaevents", "list").stdout.splitlines()
    assert head.split("  ")[0] == "NAME"
    assert line.split() == ["dead", "alarm:live", "waits", "3", "1", "-", "-"]


def test_a_rule_says_why(forerun, server):
    result = forerun("metaevents", "show", "dead")
    assert "it says why" in result.stderr
    assert "its cooldown lasts 3 s more" in result.stdout
    assert "5.043, -" in result.stdout
    assert "one / dead" in result.stdout
    assert json.loads(forerun("metaevents", "show", "dead", "--json").stdout) == {"Metaevent": RULE}


def test_criteria_are_tried(forerun, server, tmp_path):
    rule, events = tmp_path / "rule.yaml", tmp_path / "events.json"
    rule.write_text(json.dumps({"When": ABSENT, "Job": "x", "Cooldown": "1m"}))
    events.write_text('[{"event": "execution.started", "at": 1}]')
    result = forerun("metaevents", "test", str(rule), str(events))
    assert result.exit_code == 0, result.output
    [(path, given)] = server
    assert path == "/forerun/test-metaevent"
    assert given == {
        "When": ABSENT,
        "Events": [{"event": "execution.started", "at": 1}],
        "Cooldown": "1m",
    }
    assert "no backup (5)" in result.stdout
    assert "It would run 1 jobs." in result.stderr


def test_a_rule_is_deleted(forerun, server):
    assert forerun("metaevents", "delete", "dead").exit_code == 0
    assert server == [("/forerun/delete-metaevent", {"Name": "dead"})]
