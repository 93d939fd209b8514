import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from forerun.errors import InvalidInput
from forerun.settings import ClientSettings, Settings, ahead, cluster, groups


def test_defaults_are_a_loopback_server_in_the_users_data_directory():
    settings = Settings.load({"HOME": "/home/ada"})
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 9700)
    assert settings.server.data_dir == Path("~/.local/share/forerun").expanduser()
    assert re.fullmatch(r"[a-z]{2}-[a-z]+-\d", settings.server.region)
    assert settings.sandbox.mode == "auto"


def test_argument_wins_over_environment_over_file(tmp_path):
    (tmp_path / "forerun.toml").write_text(
        "[server]\nport = 1111\ndrain_s = 5\n[host]\npool_max = 9\n[sandbox]\npreload = ['boto3']\n"
    )
    environ = {
        "FORERUN_DATA": str(tmp_path),
        "FORERUN_SERVER_PORT": "2222",
        "FORERUN_HOST_POOL_MAX": "8",
    }
    settings = Settings.load(environ, listen="0.0.0.0:3333")
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 3333)
    assert settings.server.drain_s == 5.0
    assert settings.host.pool_max == 8
    assert settings.sandbox.preload == ("boto3",)
    assert Settings.load(environ).server.port == 2222


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        (":80", ("127.0.0.1", 80)),
        ("9", ("127.0.0.1", 9)),
        ("[::1]:7", ("::1", 7)),
    ],
)
def test_listen(text, expected, tmp_path):
    server = Settings.load({"FORERUN_DATA": str(tmp_path), "FORERUN_LISTEN": text}).server
    assert (server.host, server.port) == expected


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"FORERUN_SERVER_PORT": "70000"}, "server.port"),
        ({"FORERUN_SERVER_PORT": "x"}, "a whole number"),
        ({"FORERUN_SERVER_JSON_LOGS": "maybe"}, "true or false"),
        ({"FORERUN_SANDBOX_MODE": "docker"}, "one of auto, jail, process"),
        ({"FORERUN_SERVER_REGION": "Home"}, "grammar"),
        ({"FORERUN_LISTEN": "localhost"}, "HOST:PORT"),
        ({"FORERUN_HOST_POOL_MIN": "99"}, "host.pool_max"),
        ({"FORERUN_HOST_ACCOUNT_POOLS": "12:python3.11:2:borrow"}, "host.account_pools"),
        ({"FORERUN_HOST_ACCOUNT_POOLS": "111111111111:python3.11:0:borrow"}, "from 1 to 10000"),
        ({"FORERUN_HOST_ACCOUNT_POOLS": "111111111111:python3.11:2:wait"}, "throttle, with"),
        (
            {
                "FORERUN_HOST_ACCOUNT_POOLS": "111111111111:a1:1:borrow,111111111111:a1:2:throttle",
            },
            "twice",
        ),
        ({"FORERUN_HOST_COLOUR": "red"}, "unknown setting host.colour"),
        ({"FORERUN_CONFIG": "/nowhere.toml"}, "does not exist"),
        ({"FORERUN_LIMITS_UNRESERVED_CONCURRENCY": "2000"}, "account_concurrency"),
    ],
)
def test_bad_values_are_named(environ, named, tmp_path):
    with pytest.raises(InvalidInput, match=re.escape(named)):
        Settings.load({"FORERUN_DATA": str(tmp_path)} | environ)


@pytest.mark.parametrize(
    "content", ["port = 1", "[server]\nport = true", "[server\n", "[colour]\nred = 1"]
)
def test_bad_files_are_named(content, tmp_path):
    (tmp_path / "forerun.toml").write_text(content)
    with pytest.raises(InvalidInput):
        Settings.load({}, server_data_dir=str(tmp_path))


def test_unrelated_variables_are_left_alone(tmp_path):
    environ = {"FORERUN_DATA": str(tmp_path), "FORERUN_DEMO": "1", "PATH": "/bin"}
    assert Settings.load(environ).server.port == 9700


def test_client_settings_take_the_data_directory_before_the_endpoint(tmp_path):
    environ = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "FORERUN_DATA": str(tmp_path)}
    assert ClientSettings.load(environ).endpoint == "http://127.0.0.1:1"
    other = ClientSettings.load(environ, data_dir=str(tmp_path / "other"))
    assert other.endpoint is None
    assert other.credentials_path == tmp_path / "other" / "credentials.json"


def test_every_setting_is_explained():
    source = "".join(map(inspect.getsource, (groups, ahead, cluster)))
    for group in dataclasses.fields(Settings):
        for item in dataclasses.fields(group.type):
            assert re.search(rf'^    {item.name}: .+= .+\n    """\S', source, re.MULTILINE), (
                f"{group.name}.{item.name} has no docstring"
            )
