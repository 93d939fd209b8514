"""What was really called is told for replay, and a policy's figures come out."""

import json
import subprocess
import time

import pytest
from tests.servers import FORERUN, Server, eventually

pytestmark = pytest.mark.slow

CODE = "def handler(event, context):\n    return event\n"
CALLS = 7


def history(server: Server, name: str) -> dict[str, object]:
    """What is told of one function in the last hour."""
    now = int(time.time())
    answer = server.platform(f"/forerun/history?Since={now - 3600}&Until={now + 60}")
    found = [each for each in answer["functions"] if each["name"] == name]
    return found[0] if found else {}


def simulate(server: Server, tmp_path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(FORERUN), "simulate", "--history", "--data", str(server.data), "--json", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        env=server.environment(tmp_path),
        check=False,
    )


def test_calls_are_told_by_minute_with_what_their_sandboxes_cost(server):
    name = server.function(CODE)
    for _ in range(CALLS):
        server.call(name, {})

    def all_of_them() -> dict[str, object]:
        found = history(server, name)
        return found if sum(count for _, count in found.get("calls", [])) == CALLS else {}

    found = eventually(all_of_them, what="all calls")
    assert abs(found["calls"][0][0] * 60 - time.time()) < 300
    assert 0 < found["memory_mb"] <= 128
    assert found["start_ms"] > 0


def test_nobody_is_told_of_others(server, tmp_path):
    name = server.function(CODE)
    server.call(name, {})
    eventually(lambda: history(server, name), what="the call")
    path = f"/forerun/history?Since={int(time.time()) - 3600}"
    made = subprocess.run(
        [str(FORERUN), "account", "create", "stranger", "--data", str(server.data), "--json"],
        capture_output=True,
        check=True,
        timeout=30,
        env=server.environment(tmp_path),
    )
    other = json.loads(made.stdout)

    def asked():
        keys = (other["access_key_id"], other["secret_access_key"])
        headers = server.signed("GET", path, service="forerun", keys=keys)
        found = server.request("GET", path, headers=headers)
        return found if found.status == 200 else None

    answer = eventually(asked, what="the new key to be known")
    assert answer.json()["functions"] == []


def test_own_history_is_replayed(server, tmp_path):
    name = server.function(CODE)
    server.call(name, {})
    eventually(lambda: history(server, name), what="the call")
    result = simulate(server, tmp_path, "--since", "1h", "--no-curve")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["policies"][0]["name"] == "forerun"
    assert answer["policies"][0]["invocations"] >= 1
    assert answer["trace"]["functions"] >= 1
