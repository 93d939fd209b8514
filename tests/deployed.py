"""Templates, deployed to a real server by the installed command."""

import json
import subprocess
from pathlib import Path

from tests.servers import FORERUN, Server, clean_environment


def deploy(
    server: Server, project: Path, stack: str, *more: str
) -> tuple[dict[str, str], dict[str, str]]:
    """``template.yaml`` of a folder, which must go well: what was done to each resource, and the outputs."""
    done = subprocess.run(
        [
            FORERUN,
            "deploy",
            project / "template.yaml",
            "--name",
            stack,
            "--json",
            "--data",
            server.data,
            *more,
        ],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
        env=clean_environment(project),
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    return {each["logical_id"]: each["action"] for each in result["resources"]}, result["outputs"]
