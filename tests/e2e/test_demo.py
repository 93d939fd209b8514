"""The demonstration is what a newcomer sees first: it has to work from beginning to end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.timeout(120)
def test_the_demo_runs_through_and_leaves_nothing_running(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "examples/demo.py"],
        env={**os.environ, "DEMO_DIR": str(tmp_path / "demo")},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for word in (
        "accepted",
        "rejected",
        "TE-601: 12 ordered, 8 in stock",
        "16 of 16",
        "warm",
        "Dear Ada",
        "q-002 accepted, taken after",
        "orders wait, 0 were given up",
        "sqs:orders-inbox",
    ):
        assert word in done.stdout
    assert not _processes_with(str(tmp_path))


def _processes_with(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found
