"""Limits of one machine, as they are shown: it counts by itself, so that what may run now is what may run at most."""

import json
import os
import subprocess
import threading

import pytest
from tests.servers import FORERUN, Server, eventually, running

pytestmark = pytest.mark.slow

WAITS = """
import os, time
def handler(event, context):
    while not os.path.exists(event["until"]):
        time.sleep(0.02)
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    path = tmp_path_factory.mktemp("limited")
    # The function looks for a file of the test's.
    mode = {
        "FORERUN_LIMITS_ACCOUNT_CONCURRENCY": "20",
        "FORERUN_LIMITS_UNRESERVED_CONCURRENCY": "5",
    }
    with running(path / "data", mode="process", settings=mode) as server:
        yield server


def limits(server: Server) -> dict[str, dict]:
    answer = server.platform("/forerun/limits")
    assert answer["Step"] == 0
    return {each["FunctionName"]: each for each in answer["Limits"]}


def test_a_reservation_is_shown_beside_what_others_share(limited, tmp_path):
    name = limited.function(WAITS)
    limited.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    eventually(lambda: name in limits(limited))
    shown = limits(limited)
    assert (shown[""]["Maximum"], shown[""]["Current"]) == (17, 17)
    assert (shown[name]["Maximum"], shown[name]["Current"]) == (3, 3)
    until = tmp_path / "until"
    call = threading.Thread(target=limited.call, args=(name, {"until": str(until)}))
    call.start()
    try:
        eventually(lambda: limits(limited)[name]["Running"] == 1)
        assert limits(limited)[""]["Running"] == 0
        settings = limited.lambda_.get_account_settings()["AccountLimit"]
        assert settings["ConcurrentExecutions"] == 20
        assert settings["UnreservedConcurrentExecutions"] == 17
    finally:
        until.touch()
        call.join(20)
    eventually(lambda: limits(limited)[name]["Running"] == 0)


def test_the_command_says_what_the_page_says(limited):
    command = [str(FORERUN), "limits", "--data", str(limited.data)]
    table = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert "all other functions" in table.stdout
    assert "the current limit always is the maximum" in table.stderr
    shown = subprocess.run(
        [*command, "--json"], capture_output=True, text=True, check=True, timeout=20
    )
    assert json.loads(shown.stdout)["Limits"][0]["Hosts"][0]["Name"] == os.uname().nodename
