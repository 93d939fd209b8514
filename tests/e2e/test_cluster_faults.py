"""A cluster under faults for half a minute: what clients and functions saw of it is as it must be."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.hosts import needs_hosts

pytestmark = [pytest.mark.soak, pytest.mark.root, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]


def test_what_is_seen_under_faults_is_accepted(tmp_path: Path) -> None:
    needs_hosts()
    kept = tmp_path / "history"
    command = [sys.executable, ROOT / "bench" / "jepsen.py", "--minutes", "0.5", "--seed", "7"]
    ended = subprocess.run(
        [*command, "--keep", kept],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        timeout=380,
        check=False,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-3000:]
    entries = [json.loads(line)["entry"] for line in kept.read_text().splitlines()]
    # There was something to see.
    for kind, least in (("sent", 15), ("called", 30), ("read", 10), ("ran", 40), ("faults", 2)):
        assert entries.count(kind) >= least, ended.stdout[-3000:]
    again = subprocess.run(
        [sys.executable, ROOT / "bench" / "jepsen.py", "--check", kept],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert again.returncode == 0
