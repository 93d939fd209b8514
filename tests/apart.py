"""Scripts that have to run as somebody else, or alone in a process group of their own."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from forerun.sandbox import find_pythons

NOBODY = 65534
_ROOT = str(Path(__file__).parents[1])


@contextmanager
def as_ordinary_user(script: str) -> Iterator[tuple[Path, Any]]:
    """A folder, and the JSON that ``script`` prints: run by Debian's own interpreter as nobody, the folder its argument."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    pythons = find_pythons([Path("/usr/bin")], None)
    if version not in pythons:
        pytest.skip(f"no {version} that another user may run")
    data = Path(tempfile.mkdtemp(prefix="forerun-rootless-"))
    try:
        os.chown(data, NOBODY, NOBODY)
        ran = subprocess.run(
            [pythons[version].program, "-c", script, data],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd="/",
            env={"PYTHONPATH": ":".join([_ROOT, *filter(None, sys.path)])},
            capture_output=True,
            timeout=40,
            check=False,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        yield data, json.loads(ran.stdout)
    finally:
        shutil.rmtree(data)


def in_own_network(script: str, folder: Path, *, within: float) -> str:
    """What ``script`` prints, which makes a network of its own and may end its process group; ``folder`` is its argument."""
    if shutil.which("nft") is None or shutil.which("ip") is None:
        pytest.skip("needs ip and nft (apt-get install iproute2 nftables)")
    path = [_ROOT, *sys.path]
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n" + script, folder],
        capture_output=True,
        text=True,
        timeout=within,
        start_new_session=True,
        check=False,
    )
    assert ran.stdout, ran.stderr
    return ran.stdout
