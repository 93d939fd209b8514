"""What the commands of many machines say: to people, and when something is not there."""

import json
import socket

import click
import pytest
from click.testing import CliRunner

import forerun.sandbox
from forerun.cli import connection, hosts, main
from forerun.cli.failures import Refused, explain
from forerun.cli.options import read_secret

HOST = {
    "Name": "h1", "Phase": "cordoned", "Alive": True, "Zone": "a", "Sandboxes": 3, "Running": 1, "BookedMb": 128, "MemoryMb": 1024, "DiskFreeMb": 2000,
    "BeatAgeS": 0.25, "Version": "0.1.0", "Address": "10.0.0.1:9701", "Failure": "",
}  # fmt: skip


@pytest.fixture
def told(monkeypatch):
    """What the server answers; an exception is raised."""
    answers = {}

    def ask(self, path, **_):
        answer = answers[path.removeprefix("/forerun/")]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(connection.Connection, "get", ask)
    monkeypatch.setattr(connection.Connection, "post", ask)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    return answers


@pytest.fixture
def jailed(monkeypatch):
    """A machine that lacks nothing for sandboxes."""
    monkeypatch.setattr(forerun.sandbox, "probe", list)


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


def test_help_groups_the_commands():
    shown = run("--help").stdout
    heads = [line for line in shown.splitlines() if line.endswith(":") and line[:1].strip()]
    assert heads[1:] == [
        "The server:",
        "Functions:",
        "What happened, and what will:",
        "Events:",
        "Many machines:",
    ]
    many = shown.partition("Many machines:")[2]
    for name in ("migrate", "join", "hosts", "cordon", "drain", "token", "limits"):
        assert f"\n  {name} " in many


def test_hosts_are_a_table_and_json(told):
    told["hosts"] = {"Hosts": [HOST, HOST | {"Name": "h2", "Alive": False, "Failure": "no memory"}]}
    shown = run("hosts")
    assert shown.stdout.splitlines()[1].split()[:4] == ["h1", "cordoned", "alive", "a"]
    assert "2000" in shown.stdout.splitlines()[1]
    assert "gone" in shown.stdout.splitlines()[2]
    assert "h2: no memory" in shown.stderr
    assert json.loads(run("hosts", "--json").stdout) == told["hosts"]
    told["hosts"] = {"Hosts": []}
    assert "forerun token create" in run("hosts").stderr


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("hosts",), "hosts"),
        (("cordon", "h1"), "cordon"),
        (("drain", "h1"), "drain"),
        (("token", "create"), "create-join-token"),
        (("token", "list"), "join-tokens"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-",
)
def test_a_single_machine_says_how_it_becomes_a_cluster(told, words, path):
    told[path] = Refused("GET answered 404", 404, f"There is no POST /forerun/{path}; there are: x")
    refused = run(*words)
    assert refused.exit_code == 1
    assert "single machine" in refused.stderr
    assert "forerun migrate" in refused.stderr
    assert "there are: x" not in refused.stderr


def test_a_host_that_is_not_there_names_the_next_step(told):
    told["drain"] = Refused("POST answered 404", 404, "There is no host h9.")
    assert run("drain", "h9").stderr == (
        "Error: There is no host h9. See which there are with: forerun hosts\n"
    )
    told["drain"] = Refused("POST /forerun/drain answered 403: not you", 403, "not you")
    assert "answered 403: not you" in run("drain", "h9").stderr


@pytest.mark.parametrize("words", [("hosts",), ("token", "create")], ids=["hosts", "token"])
def test_while_nobody_has_the_duties_commands_wait(monkeypatch, words):
    answers = [{"Hosts": [HOST], "Token": "t", "Address": "10.0.0.1:9701"}]
    answers += [Refused("answered 503", 503, "No control plane has the duties.")] * 2

    def ask(*_, **__):
        answer = answers.pop()
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(connection.Connection, "get" if words == ("hosts",) else "post", ask)
    monkeypatch.setattr(hosts, "_AGAIN_S", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert run(*words).exit_code == 0
    assert not answers


def test_when_nobody_ever_has_the_duties_commands_say_so(monkeypatch, told):
    monkeypatch.setattr(hosts, "_PATIENCE_S", 0)
    told["create-join-token"] = Refused("POST answered 503: nobody", 503, "nobody")
    refused = run("token", "create")
    assert (refused.exit_code, refused.stderr) == (1, "Error: POST answered 503: nobody\n")


def test_what_a_cluster_needs_besides_is_named():
    failure = explain(ModuleNotFoundError("No module named 'asyncpg'", name="asyncpg"))
    assert failure is not None
    assert "pip install 'forerun[cluster]'" in failure.message
    assert explain(ModuleNotFoundError("No module named 'x'", name="x")) is None


def needs(*words):
    done = run("doctor", "--json", *words)
    return done.exit_code, {each["name"]: each for each in json.loads(done.stdout)}


@pytest.mark.usefixtures("jailed")
def test_doctor_says_what_a_control_plane_lacks():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, found = needs(
            *("--cluster", "--database", "postgresql://x@127.0.0.1:1/y"),
            *("--cluster-listen", f"127.0.0.1:{port}", "--engine", "none"),
        )
    assert code == 1
    assert found["cluster extra"]["ok"]
    assert "cannot be opened" in found["database"]["detail"]
    assert "--cluster-listen IP:9701" in found["address"]["remedy"]
    assert "in use" in found[f"port {port}"]["detail"]
    assert f"port {port + 1}" not in found
    assert needs("--cluster")[1]["database"]["detail"] == "none is named"


@pytest.mark.slow
@pytest.mark.usefixtures("jailed")
def test_doctor_asks_the_database(postgres_url):
    _, found = needs("--cluster", "--database", postgres_url)
    assert found["database"]["ok"], found
    assert "UTF8" in found["database"]["detail"]


@pytest.mark.usefixtures("jailed")
def test_doctor_looks_for_the_door_of_a_cluster():
    with socket.create_server(("127.0.0.1", 0)) as door:
        address = f"127.0.0.1:{door.getsockname()[1]}"
        code, found = needs("--join", address)
        assert (code, found["control plane"]["ok"]) == (0, True)
    code, found = needs("--join", address)
    assert (code, found["control plane"]["ok"]) == (1, False)
    assert "firewall" in found["control plane"]["remedy"]
    assert "HOST:PORT" in needs("--join", "nowhere")[1]["control plane"]["detail"]


@pytest.mark.usefixtures("jailed")
def test_doctor_says_nothing_of_clusters_unasked():
    assert needs() == (0, {})


def test_what_hosts_say_of_themselves_does_not_speak_to_the_terminal(told):
    told["hosts"] = {"Hosts": [HOST | {"Zone": "\x1b[2J", "Failure": "\x1b]0;you\x07\nand\x9b31m"}]}
    said = CliRunner().invoke(main, ["hosts"])
    assert said.exit_code == 0, said.output
    assert not set(said.output) & {"\x1b", "\x07", "\x9b"}


@pytest.mark.parametrize("command", [("join", "c:9700"), ("agent", "--data", "/nowhere")])
@pytest.mark.parametrize("zone", ["a b", "-a", "z" * 64, "é"], ids=ascii)
def test_a_zone_that_no_tag_could_name_is_refused(command, zone):
    said = run(*command, f"--zone={zone}")
    assert said.exit_code == 2
    assert "1 to 63 letters, digits" in " ".join(said.output.split())


@pytest.mark.parametrize("form", ["itself", "input", "file"])
def test_a_secret_need_not_stand_on_the_command_line(tmp_path, form):
    (tmp_path / "token").write_text("fr1.secret\nmore\n")
    given = {"itself": "fr1.secret", "input": "-", "file": f"@{tmp_path / 'token'}"}[form]

    @click.command()
    @click.option("--token")
    def tell(token):
        click.echo(read_secret(token, "--token"))

    said = CliRunner().invoke(tell, ["--token", given], input="fr1.secret\n")
    assert said.output == "fr1.secret\n"
    missing = CliRunner().invoke(tell, ["--token", "@/nowhere"])
    assert "cannot be read" in missing.output
