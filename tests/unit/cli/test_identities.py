import asyncio
import json

import pytest
from click.testing import CliRunner

from forerun.cli import main
from forerun.storage import open_sqlite


@pytest.fixture
def administer(tmp_path):
    """Run a command on a data directory whose database a server has open."""
    loop = asyncio.new_event_loop()
    database = loop.run_until_complete(open_sqlite(tmp_path / "forerun.db"))

    def run(*arguments):
        return CliRunner().invoke(main, [*arguments, "--data", str(tmp_path)])

    yield run
    loop.run_until_complete(database.close())
    loop.close()


def test_accounts_and_keys_from_first_to_last(administer):
    made = administer("account", "create", "shop", "--json")
    assert made.exit_code == 0, made.stderr
    first = json.loads(made.stdout)
    assert len(first["account"]) == 12
    assert len(first["secret_access_key"]) == 40
    assert administer("account", "create", "other", "--id", "123456789012").exit_code == 0
    assert "shop" in administer("account", "list").stdout

    second = json.loads(administer("key", "create", "--account", "123456789012", "--json").stdout)
    assert second["account"] == "123456789012"
    assert administer("key", "disable", second["access_key_id"]).exit_code == 0
    listed = json.loads(administer("key", "list", "--account", "123456789012", "--json").stdout)
    assert [item["active"] for item in listed] == [True, False]
    assert all("secret_access_key" not in item for item in listed)
    assert administer("key", "enable", second["access_key_id"]).exit_code == 0
    assert administer("key", "delete", second["access_key_id"]).exit_code == 0
    shown = administer("key", "list", "--account", "123456789012").stdout
    assert second["access_key_id"] not in shown
    assert "(root)" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["key", "create"], "forerun account create"),
        (["key", "disable", "AKIANOTTHERE"], "no key AKIANOTTHERE"),
        (["key", "list", "--account", "000000000000"], "no account"),
        (["account", "create", "x", "--id", "12"], "12 digits"),
    ],
)
def test_what_is_not_there_is_named(administer, arguments, message):
    if "--account" in arguments:
        administer("account", "create", "shop")
    result = administer(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr


def test_an_account_is_made_once(administer):
    arguments = ("account", "create", "shop", "--id", "123456789012")
    assert administer(*arguments).exit_code == 0
    assert "already" in administer(*arguments).stderr


def test_without_a_server_nothing_is_made(tmp_path):
    result = CliRunner().invoke(main, ["key", "list", "--data", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "forerun up" in result.stderr
    assert not (tmp_path / "none").exists()
