"""The kinds of isolation: what each says of itself, and that process mode runs functions as well."""

from pathlib import Path

import pytest
from tests.servers import eventually, running

pytestmark = pytest.mark.slow

WHO = "import os\ndef handler(event, context):\n    return os.getuid()\n"
NODE = "export const handler = async (event) => event + 1;"
SCRIPT = "import sys\ndef handler(event, context):\n    sys.exit(event)\n"


def said(data: Path) -> str:
    """What the server has printed."""
    return "".join(path.read_text() for path in data.parent.glob(f"{data.name}.*.log"))


def test_process_mode_says_that_it_does_not_isolate(tmp_path: Path):
    data = tmp_path / "data"
    with running(data, mode="process") as server:
        assert "not isolated" in said(data).lower()
        name = server.function(WHO)
        assert isinstance(server.call(name), int)
        (record,) = eventually(lambda: server.invocations(name))
        assert record["isolation"] == "process"
        node = server.function(
            {"index.mjs": NODE}, runtime="nodejs20.x", handler="index.handler", Timeout=10
        )
        assert server.call(node, 1) == 2


def test_process_mode_survives_what_code_does(tmp_path: Path):
    with running(tmp_path / "data", mode="process") as server:
        name = server.function(SCRIPT)
        assert "exit status 3" in server.failure(name, 3)["errorMessage"]
        loop = server.function("def handler(event, context):\n    while True: pass\n", Timeout=1)
        assert server.failure(loop)["errorType"] == "Sandbox.Timedout"
        assert "exit status 4" in server.failure(name, 4)["errorMessage"]


@pytest.mark.root
def test_the_jail_says_so_in_every_record(tmp_path: Path):
    data = tmp_path / "data"
    with running(data, mode="auto") as server:
        assert "not isolated" not in said(data).lower()
        name = server.function(WHO)
        assert server.call(name) != 0
        (record,) = eventually(lambda: server.invocations(name))
        assert record["isolation"] == "jail"
