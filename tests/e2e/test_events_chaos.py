"""Messages over all sources to a server that is killed: none that was acknowledged is lost; what is lost would be named."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

COMMAND = Path(__file__).parents[2] / "bench" / "events_chaos.py"
LOST = "acknowledged and never run"


def chaos(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Its exit code, and its lines by what they tell."""
    out = tmp_path / "found.json"
    ended = subprocess.run(
        [sys.executable, str(COMMAND), "--out", str(out), *arguments],
        env=os.environ | {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        timeout=270,
        check=False,
        text=True,
    )
    assert out.exists(), ended.stderr
    return ended.returncode, {line["what"]: line for line in json.loads(out.read_text())["lines"]}


@pytest.mark.timeout(300)
def test_nothing_is_lost_over_all_sources_when_the_server_is_killed_three_times(tmp_path: Path):
    code, found = chaos(tmp_path, "--messages", "3000", "--kills", "3", "--seed", "1")
    missed = {what: line for what, line in found.items() if line["met"] is False}
    assert (code, missed) == (0, {})
    assert found["messages acknowledged"]["value"] == 3000
    assert found["kills"]["value"] == 3


@pytest.mark.timeout(300)
@pytest.mark.soak
def test_what_is_lost_is_missed(tmp_path: Path):
    """The same with a database from which somebody deletes: it has to fail, or it would prove nothing."""
    code, found = chaos(
        tmp_path, "--messages", "2000", "--kills", "4", "--seed", "2", "--patience", "8", "--lose"
    )
    assert code == 1
    assert found[LOST]["value"] > 0
    assert "-" in found[LOST]["note"]
