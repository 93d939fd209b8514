"""``forerun simulate``: folders of recordings in, figures and a curve out."""

import gzip
import json
import re
import time
from xml.etree import ElementTree

import pytest

from forerun.cli import connection
from forerun.cli.curves import Dot, drawn, picture

MINUTES = range(480, 720)


def table(rows, columns=MINUTES):
    """An invocations file of functions with counts per minute."""
    head = ",".join(["HashOwner", "HashApp", "HashFunction", "Trigger", *map(str, columns)])
    lines = [
        f"o,a{place},f{place},timer,{','.join(map(str, row))}" for place, row in enumerate(rows)
    ]
    return "\n".join([head, *lines, ""])


def row(period):
    return [int(minute % period == 0) for minute in MINUTES]


@pytest.fixture
def folder(tmp_path):
    """Six functions at regular times, in four hours."""
    place = tmp_path / "trace"
    place.mkdir()
    with gzip.open(place / "invocations.csv.gz", "wt") as file:
        file.write(table([row(period) for period in (1, 3, 7, 15, 30, 47)]))
    sizes = "\n".join(f"f{place},o,a{place},{64 << place}" for place in range(6))
    (place / "memory.csv").write_text(
        f"HashFunction,HashOwner,HashApp,AverageAllocatedMb\n{sizes}\n"
    )
    return place


def test_json_has_every_policy_the_curve_and_what_was_replayed(forerun, folder):
    result = forerun("simulate", str(folder), "--train", "60", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    names = [each["name"] for each in answer["policies"]]
    assert names[0] == "forerun"
    assert {"fixed-10", "fixed-20", "fixed-60", "hybrid", "greedy-dual", "clairvoyant"} < set(names)
    for each in answer["policies"]:
        assert each["invocations"] == sum(sum(row(period)[60:]) for period in (1, 3, 7, 15, 30, 47))
        assert set(each["added_latency_ms"]) == {"p50", "p95", "p99", "total"}
        assert {
            "cold_starts",
            "wasted_gb_minutes",
            "q50",
            "q75",
            "cold_percent",
            "functions",
        } < set(each)
    by_name = {each["name"]: each for each in answer["policies"]}
    # 15, 30 and 47 minutes are longer than ten, and 30 and 47 than twenty.
    assert by_name["fixed-60"]["cold_starts"] == 0
    longer = [period for period in (15, 30, 47) if period > 20]
    assert by_name["fixed-20"]["cold_starts"] == sum(sum(row(each)[60:]) for each in longer)
    assert {point["policy"] for point in answer["curve"]} == {"forerun", "fixed"}
    fixed = [point for point in answer["curve"] if point["policy"] == "fixed"]
    assert [point["dial"] for point in fixed] == sorted(point["dial"] for point in fixed)
    assert [point["cold_starts"] for point in fixed] == sorted(
        (point["cold_starts"] for point in fixed), reverse=True
    )
    assert answer["trace"]["functions"] == 6
    assert answer["trace"]["minutes"] == 240
    assert answer["skipped"] == {}


def test_people_get_a_table_and_a_curve(forerun, folder):
    result = forerun("simulate", str(folder))
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].split()[:2] == ["POLICY", "COLD"]
    assert re.search(r"^forerun +\d+ ", result.stdout, re.MULTILINE)
    assert "o forerun   + fixed" in result.stdout
    assert "6 functions, " in result.stderr


def test_some_policies_alone_and_no_curve(forerun, folder):
    result = forerun(
        "simulate", str(folder), "--policy", "fixed-5", "--policy", "hybrid", "--no-curve", "--json"
    )
    answer = json.loads(result.stdout)
    assert [each["name"] for each in answer["policies"]] == ["fixed-5", "hybrid"]
    assert answer["curve"] == []


def test_hosts_and_processes_change_no_sum(forerun, folder, monkeypatch):
    monkeypatch.setattr("forerun.cli.replaying.WORTH_A_PROCESS", 0)
    shown = []
    for more in (("--jobs", "1"), ("--jobs", "2"), ("--hosts", "3", "--jobs", "2")):
        result = forerun(
            "simulate", str(folder), "--policy", "fixed-10", "--policy", "hybrid", "--no-curve",
            "--json", *more,
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)["policies"]
        shown.append(
            [(each["name"], each["cold_starts"], each["wasted_gb_minutes"]) for each in found]
        )
    assert shown[0] == shown[1] == shown[2]


def test_the_memory_of_a_host_is_what_greedy_dual_has(forerun, folder):
    result = forerun(
        "simulate", str(folder), "--policy", "greedy-dual", "--policy", "fixed-60", "--no-curve",
        "--memory", "1000", "--json",
    )  # fmt: skip
    greedy, fixed = json.loads(result.stdout)["policies"]
    assert fixed["minutes_over_memory"] > greedy["minutes_over_memory"]


def test_the_curve_as_a_picture(forerun, folder, tmp_path):
    target = tmp_path / "curve.svg"
    assert forerun("simulate", str(folder), "--svg", str(target)).exit_code == 0
    root = ElementTree.fromstring(target.read_text())
    assert len(root.findall(".//{*}polyline")) == 2
    titles = [each.text for each in root.findall(".//{*}title")]
    assert any(each.startswith("fixed 120: ") for each in titles)
    assert any(each.startswith("forerun 1: ") for each in titles)


def test_calls_that_were_recorded_one_by_one(forerun, tmp_path):
    rows = [f"a,f{n % 3},{n * 40 + 2},{1 + n % 2}" for n in range(60)]
    (tmp_path / "calls.csv").write_text(
        "\n".join(["app,func,end_timestamp,duration", *rows, "a,f,9,-1"])
    )
    result = forerun("simulate", str(tmp_path), "--json", "--no-curve", "--start-ms", "250")
    answer = json.loads(result.stdout)
    assert answer["trace"]["schema"] == "calls"
    assert answer["skipped"] == {"calls with negative durations": 1}
    by_name = {each["name"]: each for each in answer["policies"]}
    assert by_name["fixed-60"]["cold_starts"] == 3
    assert by_name["fixed-60"]["added_latency_ms"]["total"] == 750.0
    assert all(each["invocations"] == 60 for each in answer["policies"])


def test_what_was_skipped_is_said(forerun, folder):
    extra = table([row(5)]).replace(",1,", ",-1,", 1).replace("f0", "other")
    (folder / "invocations.csv.gz").unlink()
    (folder / "some.csv").write_text(table([row(7)]) + extra.splitlines()[1] + "\n")
    (folder / "unknown.csv").write_text("x,y\n1,2\n")
    result = forerun("simulate", str(folder), "--policy", "hybrid", "--no-curve")
    assert "Skipped: 1 files of unknown schema." in result.stderr
    assert "Skipped: 1 rows with negative counts." in result.stderr


def packed(text):
    return gzip.compress(text.encode())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv.gz", packed(table([row(3)] * 400))[:-300], r"a\.csv\.gz, line \d+: the file is cut off"),
        ("a.csv.gz", b"no gzip at all", r"a\.csv\.gz, line 1: damaged"),
        ("a.csv", b"HashFunction,1\n\xff\xfe,1\n", r"a\.csv, line 1 or after: not UTF-8"),
        ("a.csv", b"HashFunction,1\n" + b"x" * 3_000_000, r"a\.csv, line 2: longer than"),
        ("a.csv", b"", r"a\.csv, line 1: a line with the names of columns is missing"),
        ("a.csv", b"app,name,duration\nx,y,1\n", "neither per minute"),
        ("a.csv", b"func,end_timestamp,duration\nx,1,1\n", r"a\.csv, line 1: column 'app' is missing"),
        ("a.txt", b"x", "has no .csv or .csv.gz file"),
    ],
    ids=["cut", "no-gzip", "bytes", "endless", "empty", "unknown", "column", "no-table"],
)  # fmt: skip
def test_what_cannot_be_read_is_named_with_its_line(forerun, tmp_path, name, content, said):
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / name).write_bytes(content)
    result = forerun("simulate", str(folder), "--json")
    assert result.exit_code == 2
    assert re.search(said, result.stderr), result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "FOLDER, or --history"),
        (("{}", "--history"), "FOLDER, or --history"),
        (("{}/nothing",), "is not a folder"),
        (("{}", "--policy", "sometimes"), "There is no policy 'sometimes'"),
        (("{}", "--train", "240"), "leaves nothing to count"),
        (("{}", "--hosts", "0"), "--hosts"),
        (("{}", "--no-curve", "--svg", "x.svg"), "--svg"),
    ],
    ids=["nothing", "both", "missing", "policy", "train", "hosts", "svg"],
)
def test_wrong_usage(forerun, folder, arguments, said):
    result = forerun("simulate", *(each.format(folder) for each in arguments))
    assert result.exit_code == 2
    assert said in result.stderr


def test_two_recordings_in_one_folder_are_refused(forerun, folder):
    (folder / "calls.csv").write_text("app,func,end_timestamp,duration\na,f,1,1\n")
    result = forerun("simulate", str(folder))
    assert result.exit_code == 2
    assert "folders apart" in result.stderr


# -- own history -----------------------------------------------------------------------------------------------------


@pytest.fixture
def history(monkeypatch):
    """A server whose one function is called every seven minutes."""
    asked = []

    def get(_self, path, *, Since, Until):  # noqa: N803 as in the query
        assert path == "/forerun/history"
        asked.append((Since, Until))
        first, end = Since // 60, Until // 60
        calls = [[minute, 2] for minute in range(first, end) if minute % 7 == 0]
        sample = {"name": "f", "memory_mb": 512.0, "start_ms": 40.0, "calls": calls}
        return {"first": first, "end": end, "functions": [sample]}

    monkeypatch.setattr(connection.Connection, "get", get)
    return asked


def test_own_history_is_asked_for_in_stretches(forerun, history):
    result = forerun("simulate", "--history", "--since", "1d", "--json", "--no-curve")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert len(history) == 4
    assert all(end - since == 6 * 3600 for since, end in history)
    assert history[-1][1] == pytest.approx(time.time(), abs=120)
    by_name = {each["name"]: each for each in answer["policies"]}
    assert by_name["fixed-10"]["cold_starts"] == 1
    assert by_name["fixed-10"]["added_latency_ms"]["total"] == 40.0


def test_an_empty_history_is_said(forerun, monkeypatch):
    monkeypatch.setattr(
        connection.Connection, "get", lambda *_, **__: {"first": 0, "end": 1, "functions": []}
    )
    result = forerun("simulate", "--history", "--since", "1h")
    assert result.exit_code == 2
    assert "Nothing was called in the last 1h" in result.stderr


@pytest.mark.parametrize("answer", [{}, {"first": 0, "end": 1, "functions": [{"name": 3}]}])
def test_a_history_that_cannot_be_read_is_said(forerun, monkeypatch, answer):
    monkeypatch.setattr(connection.Connection, "get", lambda *_, **__: answer)
    result = forerun("simulate", "--history", "--since", "1h")
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr


# -- drawing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dots",
    [
        [],
        [Dot("a", "1", 0.0, 0.0)],
        [Dot("a", "1", 5.0, 5.0), Dot("a", "2", 5.0, 5.0)],
        [Dot("<&>", "1", 1e-3, 1e9), Dot("b", "2", 1e7, 0.0)],
    ],
    ids=["none", "nothing", "same", "far"],
)
def test_curves_of_few_and_odd_values_are_drawn_within_their_bounds(dots):
    lines = drawn(dots, width=40, height=8)
    assert all(len(line) <= 80 for line in lines)
    assert sum(line[9:10] == "|" for line in lines) == 8
    ElementTree.fromstring(picture(dots, "a < b"))
