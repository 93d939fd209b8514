"""The first machine of a cluster without an engine: it runs functions itself, from the first seconds on."""

import json
import subprocess
import time

import pytest
from tests.planes import TIMES
from tests.servers import FORERUN, Server, clean_environment, eventually, gone

pytestmark = pytest.mark.slow

DUTY_S = 12.0


def forerun(plane: Server, *words: str) -> str:
    """What a command prints that must succeed at the first try."""
    ran = subprocess.run(
        [FORERUN, *words, "--data", str(plane.data)],
        env=clean_environment(plane.data.parent),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_the_first_machine_is_a_host_and_gives_tokens_at_once(tmp_path, postgres_url):
    plane = Server.start(
        tmp_path / "plane",
        settings=TIMES
        | {
            "FORERUN_CLUSTER_DATABASE": postgres_url,
            "FORERUN_CLUSTER_NAME": "first",
            "FORERUN_CLUSTER_LISTEN": "127.0.0.1:0",
            "FORERUN_CLUSTER_HOST": "true",
            "FORERUN_CLUSTER_DUTY_S": str(DUTY_S),
        },
    )
    try:
        # Whether or not it has the duties yet.
        assert forerun(plane, "token", "create").strip()

        def alive() -> list[str]:
            told = json.loads(forerun(plane, "hosts", "--json"))["Hosts"]
            return [each["Name"] for each in told if each["Alive"]]

        assert eventually(alive, within=20, what="its host") == ["first"]
        name = plane.function("def handler(event, context):\n    return event\n")
        assert plane.call(name, {"a": 1}) == {"a": 1}
        pid = int((plane.data / "agent/keeper/agent.pid").read_text().split()[0])
        assert not gone([pid])
    finally:
        began = time.monotonic()
        assert plane.stop() == 0
    assert gone([pid])
    # What the call has told waits for no other control plane, since there is none.
    assert time.monotonic() - began < DUTY_S
